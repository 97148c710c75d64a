// The live board: rows kept true by the socket, in an order that stands still while somebody is inside the list.
import { connect } from "./live.js";
import { keys } from "./keys.js";
import { announce } from "./say.js";
import { localTimes } from "./times.js";
import { drawer } from "./board-drawer.js";
import { clock, milliseconds } from "./board-text.js";

const board = document.getElementById("board");
const body = document.getElementById("rows");
const region = document.getElementById("calls-region");
const table = region.querySelector("table");
const applyPill = document.getElementById("apply");
const pauseButton = document.getElementById("pause");
const emptyPanel = document.getElementById("empty");
const noneMatch = document.getElementById("none-match");
const template = document.getElementById("row-template").content.firstElementChild;
const RIBBON_MS = 60_000;
const FRESH_MS = 5_000;
const ANNOUNCE_MS = 3_000;
const WINDOW_FROM = 60; // longer lists have rows only around what is seen
const OVER = 12; // rows beyond each edge of it
const STILL_MS = 10_000; // nobody has touched anything for so long: the focus says no more that somebody is inside
const FAR_MS = 1e9; // the last stretch of a ribbon lasts until now, whenever that is

// As voiceagent/console/board/rows.py has them.
const FILTERS = {
  all: () => true,
  slow: (row) => row.slow !== "",
  attention: (row) => row.score > 0,
  long: (row) => row.kinds.includes("long"),
  errors: (row) => row.kinds.includes("error"),
  fallback: (row) => row.kinds.includes("fallback") || row.kinds.includes("error"),
};
const ended = (row) => (row.ended > 0 ? 1 : 0);
const ORDERS = {
  attention: (a, b) => ended(a) - ended(b) || b.score - a.score || a.zero - b.zero,
  newest: (a, b) => ended(a) - ended(b) || b.zero - a.zero,
  longest: (a, b) => ended(a) - ended(b) || a.zero - b.zero,
};
const WHO = { caller: "Caller: ", assistant: "Assistant: ", "": "" };

const calls = new Map(); // id → { row, tr, parts, paths, due }
let listed = []; // calls in the order of the page: all of them, though only those in the window have a row there
let order = board.dataset.order;
let filter = board.dataset.filter;
let skewMs = 0; // the server's clock minus ours
let frozenAt = null; // when what is shown was true, once it is no longer kept so
let pointerInside = false;
let movedAt = 0; // when a key was pressed or the pointer moved last
let closedAt = null; // where the pointer closed the drawer: whether somebody comes into the list is not known until they move
let focusGiven = false; // the focus in the list was given back by that, and not sought
let stood = false; // somebody was inside when that was looked at last
let started = 0;
let finished = 0;
let announcing = 0;
let first = true;

/** Now, on the server's clock; while nothing comes, when something came last. */
export const now = () => frozenAt ?? Date.now() + skewMs;

// --- one row

function make(id) {
  const tr = template.cloneNode(true);
  const parts = { tr, state: tr.querySelector(".state"), svg: tr.querySelector("svg"), open: tr.querySelector("[data-open]") };
  for (const part of tr.querySelectorAll("[data-f]")) parts[part.dataset.f] = part;
  tr.dataset.call = id;
  const steps = tr.querySelector(".steps");
  if (steps) steps.hidden = false;
  parts.open.href = `?call=${encodeURIComponent(id)}`;
  return { row: {}, tr, parts, paths: {}, due: {} };
}

const text = (part, value) => { if (part.textContent !== value) part.textContent = value; };
const TEXTS = ["letter", "word", "number", "name", "history", "line", "test", "turn", "words", "answer", "memory", "outcome"];

function fill(call, fields) {
  const { row, parts, tr } = call;
  for (const name of TEXTS) if (name in fields) text(parts[name], fields[name]);
  if ("state" in fields) parts.state.dataset.state = fields.state;
  if ("who" in fields || "interim" in fields) {
    text(parts.who, WHO[row.who] ?? "");
    parts.words.className = `said words ${row.interim} by-${row.who}`;
  }
  if ("slow" in fields) parts.answer.className = fields.slow;
  if ("trend" in fields) {
    text(parts.trend, fields.trend[0]);
    parts.trend.title = fields.trend[1];
  }
  if ("chips" in fields) parts.chips.replaceChildren(...fields.chips.map(chip));
  if ("operators" in fields) parts.operators.replaceChildren(...fields.operators.map(operator));
  if ("ended" in fields) tr.classList.toggle("over-row", fields.ended > 0);
  if ("ribbon" in fields || "cuts" in fields) ribbon(call);
}

function chip([, words, tone, counts]) {
  const item = document.createElement("li");
  item.className = tone ? `chip chip-${tone}` : "chip";
  if (counts) {
    const mark = document.createElement("span");
    mark.setAttribute("aria-hidden", "true");
    mark.textContent = "▲ ";
    const why = document.createElement("span");
    why.className = "visually-hidden";
    why.textContent = "Needs attention: ";
    item.append(mark, why);
  }
  item.append(words);
  return item;
}

function operator([name, does]) {
  const item = document.createElement("li");
  item.className = "chip";
  item.textContent = name;
  item.title = `${name}: ${does}`;
  return item;
}

// Heights of the stretches, from the top of 16: low for listening, full for speaking. One path for each state.
const TOPS = { L: 9, T: 5, S: 0, O: 0, C: 12, E: 12, "!": 12 };
const KINDS = [...Object.keys(TOPS), "cut"];

function ribbon({ row, parts, paths }) {
  const drawn = Object.fromEntries(KINDS.map((kind) => [kind, ""]));
  row.ribbon.forEach(([at, letter], place) => {
    if (!(letter in TOPS)) return;
    const until = row.ribbon[place + 1]?.[0] ?? FAR_MS;
    drawn[letter] += `M${at} ${TOPS[letter]}H${until}V16H${at}Z`;
  });
  for (const at of row.cuts) drawn.cut += `M${at} 0h600v16h-600Z`;
  for (const [kind, d] of Object.entries(drawn)) {
    if (!paths[kind]) {
      if (!d) continue;
      paths[kind] = document.createElementNS("http://www.w3.org/2000/svg", "path");
      paths[kind].setAttribute("class", `r-${kind}`);
      kind === "cut" || !paths.cut ? parts.svg.append(paths[kind]) : parts.svg.insertBefore(paths[kind], paths.cut);
    }
    paths[kind].setAttribute("d", d);
  }
}

function tick(call, at) {
  const { row, parts } = call;
  const until = row.ended || at;
  text(parts.elapsed, clock(until - row.zero));
  text(parts.since, row.ended ? "" : `${Math.max(0, Math.floor((at - row.since) / 1000))}\u00a0s`);
  parts.svg.setAttribute("viewBox", `${until - row.zero - RIBBON_MS} 0 ${RIBBON_MS} 16`);
}

// --- all rows

function put(id, fields) {
  let call = calls.get(id);
  if (call) {
    if (!call.row.ended && fields.ended) finished += 1;
  } else {
    call = make(id);
    calls.set(id, call);
    if (!first) {
      started += 1;
      call.tr.classList.add("fresh");
      call.freshUntil = performance.now() + FRESH_MS;
    }
  }
  Object.assign(call.row, fields);
  Object.assign(call.due, fields);
  if (call.tr.isConnected) draw(call);
}

/** What has changed since the row was drawn last. A row outside the window waits until it is inside. */
function draw(call) {
  const fields = call.due;
  call.due = {};
  fill(call, fields);
  tick(call, now());
}

function drop(id) {
  const call = calls.get(id);
  calls.delete(id);
  if (call && !inside()) place(listed.filter((other) => other !== call));
}

/** Whether somebody is inside the list: then nothing moves there. */
const inside = () => pointerInside || focusInside();

function focusInside() {
  return !focusGiven && performance.now() - movedAt < STILL_MS && body.contains(document.activeElement);
}

function wanted() {
  return [...calls.values()].filter((call) => FILTERS[filter](call.row)).sort((a, b) => ORDERS[order](a.row, b.row));
}

/** How many rows would come, go or move. */
function waiting(list) {
  const there = new Map(listed.map((call, at) => [call, at]));
  const places = list.map((call) => there.get(call)).filter((at) => at !== undefined);
  const tails = []; // of increasing runs: what need not move
  for (const at of places) {
    let low = 0;
    for (let high = tails.length; low < high;) {
      const middle = (low + high) >> 1;
      if (tails[middle] < at) low = middle + 1;
      else high = middle;
    }
    tails[low] = at;
  }
  return list.length - places.length + (there.size - places.length) + (places.length - tails.length);
}

function arrange({ force = false } = {}) {
  const list = wanted();
  stood = inside();
  const stands = stood && !force;
  if (stands) append(list);
  const changes = stands ? waiting(list) : 0;
  applyPill.hidden = changes === 0 && !paused;
  if (changes) text(applyPill, changes === 1 ? "1 change, apply" : `${changes} changes, apply`);
  if (!stands) place(list);
  const live = [...calls.values()].filter((call) => !call.row.ended).length;
  const count = list.length === calls.size ? `${live}` : `${list.length} of ${calls.size}`;
  text(document.getElementById("shown-count"), count);
  const holds = listed.length > 0;
  region.hidden = !holds;
  noneMatch.hidden = holds || calls.size === 0;
  // While Redis is away nobody knows that there are no calls.
  const isEmpty = calls.size === 0 && !holds && !document.getElementById("away");
  if (emptyPanel.hidden && isEmpty) renewEmpty();
  emptyPanel.hidden = !isEmpty;
}

/** What is new comes to the end of a list that stands still, and stays marked there. */
function append(list) {
  const there = new Set(listed);
  const fresh = list.filter((call) => !there.has(call));
  if (!fresh.length) return;
  const again = new Set(fresh.map((call) => call.tr.dataset.call)); // one that was gone and has come back
  place([...listed.filter((call) => !again.has(call.tr.dataset.call)), ...fresh]);
}

function place(list) {
  listed = list;
  render();
}

// A list that is long has rows only around what is seen; gaps keep the place of the others.
const gaps = [0, 1].map(() => {
  const gap = document.createElement("tr");
  gap.setAttribute("aria-hidden", "true");
  gap.append(document.createElement("td"));
  gap.firstChild.colSpan = 10;
  return gap;
});
let rowPx = 60;

function render() {
  const [from, until] = view();
  const rows = listed.slice(from, until);
  const trs = rows.map((call) => call.tr);
  if (from > 0) trs.unshift(gap(0, from));
  if (until < listed.length) trs.push(gap(1, listed.length - until));
  const keep = new Set(trs);
  const focused = document.activeElement;
  for (const tr of [...body.children]) if (!keep.has(tr)) tr.remove();
  let next = body.firstElementChild;
  for (const tr of trs) {
    if (tr === next) next = next.nextElementSibling;
    else body.insertBefore(tr, next);
  }
  if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true }); // it was moved
  rows.forEach((call, at) => {
    call.tr.setAttribute("aria-rowindex", from + at + 2);
    if (Object.keys(call.due).length) draw(call);
  });
  table.setAttribute("aria-rowcount", listed.length + 1);
}

function gap(which, count) {
  gaps[which].style.height = `${count * rowPx}px`;
  return gaps[which];
}

/** From which row to which there are rows now. The one with the focus is always among them. */
function view() {
  if (listed.length <= WINDOW_FROM) return [0, listed.length];
  rowPx = listed.find((call) => call.tr.offsetHeight)?.tr.offsetHeight ?? rowPx;
  const above = -body.getBoundingClientRect().top / rowPx;
  let from = Math.max(0, Math.floor(above) - OVER);
  let until = Math.min(listed.length, Math.ceil(above + innerHeight / rowPx) + OVER);
  const focused = listed.findIndex((call) => call.tr.contains(document.activeElement));
  if (focused >= 0) {
    from = Math.min(from, focused);
    until = Math.max(until, focused + 1);
  }
  return [Math.min(from, listed.length), Math.max(until, 0)];
}

let rendering = 0;
for (const moved of ["scroll", "resize"]) {
  addEventListener(moved, () => {
    if (listed.length > WINDOW_FROM) rendering ||= requestAnimationFrame(() => { rendering = 0; render(); });
  }, { passive: true });
}

async function renewEmpty() {
  const answer = await fetch(emptyPanel.dataset.address).catch(() => null);
  if (!answer?.ok) return;
  emptyPanel.innerHTML = await answer.text();
  localTimes(emptyPanel);
}

function tell() {
  if (announcing || !(started || finished)) return;
  announcing = setTimeout(() => {
    const said = [];
    if (started) said.push(started === 1 ? "A call started" : `${started} calls started`);
    if (finished) said.push(finished === 1 ? "a call ended" : `${finished} calls ended`);
    announce(said.join(", "));
    started = finished = announcing = 0;
  }, ANNOUNCE_MS);
}

// --- the strip

let longestSince = 0;

function figures(strip) {
  for (const [name, figure] of Object.entries(strip)) {
    const box = document.querySelector(`.figure[data-filter="${name}"]`);
    if (!box) continue;
    if (name === "long") longestSince = figure.since ?? 0;
    if (figure.value || name !== "long") text(box.querySelector("[data-f=value]"), figure.value);
    text(box.querySelector("[data-f=target]"), figure.target);
    text(box.querySelector("[data-f=note]"), figure.note);
    box.querySelector("[data-f=value]").className = `figure-value tabular ${figure.off}`;
    box.title = figure.hover ?? "";
  }
}

function everySecond() {
  const at = now();
  for (const call of calls.values()) {
    if (call.tr.isConnected) tick(call, at);
    if (!stood && call.freshUntil < performance.now()) call.tr.classList.remove("fresh");
  }
  if (stood && !inside()) arrange();
  if (longestSince) text(document.querySelector('.figure[data-filter="long"] [data-f=value]'), clock(at - longestSince));
  const stale = live.state === "lost" && live.shownAt ? Math.floor((Date.now() + skewMs - frozenAt) / 1000) : 0;
  text(document.getElementById("age"), stale > 0 ? `· as it was ${stale} s ago` : "");
}

// --- what the socket says

let paused = false;

function heard(message) {
  skewMs = new Date(message.at).getTime() - Date.now();
  frozenAt = null;
}

function onSnapshot(message) {
  if (message.away) return;
  heard(message);
  const there = new Set(message.rows.map((row) => row.id));
  for (const row of message.rows) put(row.id, row);
  for (const id of [...calls.keys()]) if (!there.has(id)) drop(id);
  if (first) listed = []; // what the server drew is drawn anew, from the same template
  first = false;
  figures(message.strip);
  document.getElementById("away")?.remove();
  arrange({ force: !listed.length });
  detail.follow();
  detail.show(calls.get(detail.id)?.row);
  tell();
}

function onChange(message) {
  heard(message);
  for (const [id, fields] of Object.entries(message.rows ?? {})) put(id, fields);
  for (const id of message.gone ?? []) drop(id);
  if (message.strip) figures(message.strip);
  arrange();
  if (detail.id && message.rows?.[detail.id]) detail.show(calls.get(detail.id).row);
  tell();
}

function onState(state) {
  if (state === "lost") frozenAt ??= now() - live.quietMs;
  else if (state === "paused") frozenAt ??= now();
  else if (state === "live") frozenAt = null;
  board.dataset.connection = state;
}

function onKept(count) {
  applyPill.hidden = false;
  text(applyPill, count === 1 ? "1 change, apply" : `${count} changes, apply`);
}

const live = connect("/console/live/", {
  onSnapshot, onChange, onState, onKept,
  onMessage: (message) => { if (message.type === "drawer") detail.take(message); },
});
const detail = drawer({ live, now, closed: (id) => calls.get(id)?.tr.focus() });

// --- what people do

pauseButton.hidden = false;
pauseButton.addEventListener("click", () => pause(!paused));

function pause(on) {
  paused = on;
  pauseButton.setAttribute("aria-pressed", String(on));
  text(pauseButton, on ? "Go live" : "Pause");
  on ? live.pause() : live.resume();
  if (!on) applyPill.hidden = true;
}

applyPill.addEventListener("click", () => {
  if (paused) pause(false);
  arrange({ force: true });
});

for (const moved of ["keydown", "pointermove", "pointerdown"]) {
  addEventListener(moved, (event) => {
    movedAt = performance.now();
    if (moved === "pointermove" && atClosing(event)) return;
    closedAt = null;
    if (moved !== "pointermove") focusGiven = false;
  }, { capture: true, passive: true });
}

/** Whether the pointer is where it closed the drawer: the list came under it, not it into the list. */
const atClosing = (event) => closedAt !== null && Math.hypot(event.clientX - closedAt.x, event.clientY - closedAt.y) < 2;

for (const came of ["pointerenter", "pointermove"]) {
  region.addEventListener(came, (event) => { pointerInside ||= !atClosing(event); });
}
region.addEventListener("pointerleave", () => { pointerInside = false; arrange(); });
region.addEventListener("focusout", () => queueMicrotask(arrange));

function address(changes) {
  const to = new URL(location.href);
  for (const [name, value] of Object.entries(changes)) value ? to.searchParams.set(name, value) : to.searchParams.delete(name);
  history.pushState(null, "", to);
}

function choose(next) {
  order = next.order ?? order;
  filter = next.filter ?? filter;
  for (const link of document.querySelectorAll(".figure")) current(link, link.dataset.filter === filter);
  for (const link of document.querySelectorAll(".orders a")) current(link, link.dataset.order === order);
  for (const head of document.querySelectorAll("[data-sorts]")) {
    const by = head.dataset.sorts.split(" ").includes(order);
    by ? head.setAttribute("aria-sort", order === "newest" ? "ascending" : "descending") : head.removeAttribute("aria-sort");
  }
  arrange({ force: true });
}

function current(link, is) {
  is ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-filter], a[data-order]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const { filter: to, order: by } = link.dataset;
  const next = to ? { filter: to === filter ? "all" : to } : { order: by };
  choose(next);
  address({ filter, order });
});

body.addEventListener("click", (event) => {
  const tr = event.target.closest("tr");
  const other = event.target.closest("a:not([data-open]), button, summary, input");
  if (!tr || other || event.ctrlKey || event.metaKey || String(getSelection())) return;
  event.preventDefault();
  open(tr.dataset.call);
});

function open(id) {
  const call = calls.get(id);
  if (!call || (detail.id !== id && !detail.leave())) return;
  for (const marked of body.querySelectorAll(".selected")) marked.classList.remove("selected");
  call.tr.classList.add("selected");
  if (detail.id !== id) address({ call: id });
  detail.open(call.row);
}

function close() {
  if (!detail.id) return false;
  if (!detail.leave()) return true;
  for (const marked of body.querySelectorAll(".selected")) marked.classList.remove("selected");
  detail.close();
  address({ call: "" });
  return true;
}

// --- stepping in from a row: the call is opened, and what was chosen is begun there

const menu = document.getElementById("row-menu");
const STEP_WAIT_MS = 3_000;

body.addEventListener("click", (event) => {
  const button = event.target.closest(".steps");
  if (!button || !menu) return;
  menu.dataset.call = button.closest("tr").dataset.call;
  menu.showPopover();
  const at = button.getBoundingClientRect();
  menu.style.top = `${Math.min(at.bottom, innerHeight - menu.offsetHeight)}px`;
  menu.style.left = `${Math.max(0, at.right - menu.offsetWidth)}px`;
  menu.querySelector("button").focus();
});

menu?.addEventListener("click", (event) => {
  const step = event.target.closest("[data-step]")?.dataset.step;
  if (!step) return;
  menu.hidePopover();
  open(menu.dataset.call);
  const button = document.querySelector(step === "listen" ? "#drawer [data-listen-switch]" : `#drawer [data-do="${step}"]`);
  if (!button) return;
  button.focus();
  const until = performance.now() + STEP_WAIT_MS; // the call has to say first who has it
  const attempt = () => {
    if (detail.id !== menu.dataset.call) return;
    if (!button.disabled) button.click();
    else if (performance.now() < until) setTimeout(attempt, 50);
  };
  attempt();
});

document.getElementById("drawer-close").addEventListener("click", (event) => {
  close();
  if (event.detail === 0) return; // by a key
  focusGiven = true;
  closedAt = { x: event.clientX, y: event.clientY };
  arrange();
});

function move(by) {
  if (!listed.length) return;
  const here = listed.findIndex((call) => call.tr.contains(document.activeElement));
  const last = listed.length - 1;
  const at = here < 0 ? (by > 0 ? 0 : last) : Math.min(last, Math.max(0, here + by));
  if (!listed[at].tr.isConnected) {
    scrollBy(0, body.getBoundingClientRect().top + at * rowPx - innerHeight / 2);
    render();
  }
  listed[at].tr.focus();
}

const inList = (event) => event.target.closest?.("#rows tr");
const arrow = (by) => (event) => (inList(event) ? move(by) : false);

keys("Calls", [
  ["j", "Next call", () => move(1)],
  ["k", "Previous call", () => move(-1)],
  ["ArrowDown", "Next call, in the list", arrow(1)],
  ["ArrowUp", "Previous call, in the list", arrow(-1)],
  ["Enter", "Open the call", (event) => (event.target === inList(event) ? open(event.target.dataset.call) : false)],
  ["Escape", "Close the call, then leave the list", (event) => {
    if (!close() && !inList(event)) return false;
    if (inList(event)) document.activeElement.blur();
  }],
]);

addEventListener("popstate", () => fromAddress());

function fromAddress() {
  const query = new URLSearchParams(location.search);
  choose({
    filter: query.get("filter") in FILTERS ? query.get("filter") : "all",
    order: query.get("order") in ORDERS ? query.get("order") : "attention",
  });
  const id = query.get("call");
  if (detail.id && id !== detail.id && !detail.leave()) {
    address({ call: detail.id });
    return;
  }
  if (id && calls.has(id)) open(id);
  else if (!id && detail.id) detail.close();
}

// The address may name a call: it is opened once it is known, and only the first time.
const named = new URLSearchParams(location.search).get("call");
if (named) {
  const wait = setInterval(() => {
    if (first) return;
    clearInterval(wait);
    if (calls.has(named)) open(named);
  }, 50);
}
setInterval(everySecond, 1000);
choose({});
