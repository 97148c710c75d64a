// The call page: one clock for sound, timeline, transcript and panels; the address says what is shown.
import { clipPlays, playClip } from "./clips.js";
import { announce, toast } from "./say.js";
import { Player } from "./call/player.js";
import { clock, Timeline } from "./call/timeline.js";
import { Transcript } from "./call/transcript.js";
import { keys } from "./keys.js";
import { connect } from "./live.js";

const RATES = [0.5, 0.75, 1, 1.25, 1.5, 2];
const $ = (id) => document.getElementById(id);
const data = JSON.parse($("call-data").textContent);
const address = new URLSearchParams(location.search);
const player = new Player(data);
const timeline = new Timeline($("timeline"), data);
const transcript = new Transcript($("cards"));
const panels = new Map();
let tab = document.querySelector('#tabs [aria-selected="true"]')?.dataset.tab ?? "timing";
let chosen = Number($("panel").dataset.turn || Number.NaN);
let live = null;

transcript.set(data.turns);

// --- the moment

function show(at) {
  $("clock").textContent = clock(at);
  timeline.place(at);
  transcript.follow(at, player.playing);
  for (const field of document.querySelectorAll("[data-at]:is(input)")) field.value = Math.round(at);
  for (const text of document.querySelectorAll("[data-at-text]")) text.textContent = `at ${clock(at)}`;
}

function seek(at, { reveal = true } = {}) {
  player.seek(at);
  if (reveal) timeline.reveal(player.at);
  show(player.at);
  follow(false);
  remember();
  document.dispatchEvent(new CustomEvent("travel:go", { detail: { t: player.at / 1000 } }));
}

// Time travel went somewhere: so does everything else.
document.addEventListener("travel:went", (event) => {
  player.seek(event.detail.t * 1000);
  timeline.reveal(player.at);
  show(player.at);
});

function frame() {
  player.tick();
  show(player.at);
  const { from, to } = timeline.view;
  if (player.at > to || player.at < from) timeline.show(player.at, player.at + (to - from));
  if (player.playing) requestAnimationFrame(frame);
}

player.addEventListener("play", () => { $("play").textContent = "Pause"; requestAnimationFrame(frame); });
for (const name of ["pause", "ended"]) player.addEventListener(name, () => { $("play").textContent = "Play"; show(player.at); remember(); });
player.addEventListener("seeked", () => show(player.at));
player.addEventListener("failed", () => toast("The recording could not be played. Reload the page; if that does not help, its file is damaged.", "alarm"));

// --- the address: t, turn, tab, from, to; the rest of the query stays

let writing = 0;
function remember({ push = false, now = push } = {}) {
  clearTimeout(writing);
  const write = () => {
    const query = new URLSearchParams(location.search);
    const put = (name, value) => (value === null ? query.delete(name) : query.set(name, value));
    put("t", player.at > 0 ? (player.at / 1000).toFixed(1) : null);
    put("turn", Number.isNaN(chosen) ? null : chosen);
    put("tab", tab === "timing" ? null : tab);
    const { from, to } = timeline.view;
    const whole = from <= 0 && to >= timeline.duration;
    put("from", whole ? null : (from / 1000).toFixed(1));
    put("to", whole ? null : (to / 1000).toFixed(1));
    const text = query.toString();
    const url = text ? `?${text}` : location.pathname;
    if (push) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
    for (const link of document.querySelectorAll("#tabs a")) {
      const to = new URLSearchParams(query);
      to.set("tab", link.dataset.tab);
      link.href = `?${to}`;
    }
  };
  if (now) write();
  else writing = setTimeout(write, 150);
}

function restore() {
  const query = new URLSearchParams(location.search);
  const number = (name) => (query.has(name) ? Number(query.get(name)) : Number.NaN);
  const [from, to] = [number("from") * 1000, number("to") * 1000];
  if (from < to) timeline.show(from, to);
  const wanted = number("turn");
  const turn = data.turns.find((one) => one.n === wanted);
  if (!Number.isNaN(wanted)) select(wanted, { push: false });
  const named = query.get("tab") ?? "timing";
  if (named !== tab) choose(named, { push: false });
  const t = number("t") * 1000;
  const at = Number.isNaN(t) ? turn?.from : t;
  if (at !== undefined) {
    player.seek(at);
    timeline.reveal(player.at);
    show(player.at);
  }
}
addEventListener("popstate", restore);

// --- turns and panels

function select(number, { push = true, at = null } = {}) {
  const turn = data.turns.find((one) => one.n === number);
  chosen = number;
  timeline.chosen = number;
  timeline.draw();
  transcript.choose(number);
  $("panel").dataset.turn = number;
  if (at !== null || (push && turn)) {
    player.seek(at ?? turn.from);
    timeline.reveal(player.at);
    show(player.at);
    follow(false);
  }
  if (push) remember({ push: true });
  load();
}

function choose(name, { push = true } = {}) {
  tab = name;
  for (const link of document.querySelectorAll("#tabs a")) link.setAttribute("aria-selected", String(link.dataset.tab === name));
  $("panel").setAttribute("aria-labelledby", `tab-${name}`);
  if (push) remember({ push: true });
  load();
}

let asked = 0;
async function load(query = "") {
  const key = `${chosen} ${tab} ${query}`;
  const panel = $("panel");
  const mine = ++asked;
  if (!panels.has(key)) {
    panel.setAttribute("aria-busy", "true");
    const number = Number.isNaN(chosen) ? 0 : chosen;
    try {
      const answer = await fetch(`${data.page}turns/${number}/${tab}/${query}`, { headers: { "X-Requested-With": "fetch" } });
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      panels.set(key, await answer.text());
    } catch {
      if (mine === asked) panel.replaceChildren(failed());
      panel.removeAttribute("aria-busy");
      return;
    }
  }
  if (mine !== asked) return;
  panel.innerHTML = panels.get(key); // from our own server, escaped there
  if (data.live) panels.delete(key);
  panel.removeAttribute("aria-busy");
  panel.dispatchEvent(new CustomEvent("console:added", { bubbles: true }));
}

function failed() {
  const text = document.createElement("p");
  text.className = "failed";
  text.textContent = "This panel could not be fetched. ";
  const again = document.createElement("button");
  again.type = "button";
  again.textContent = "Try again";
  again.addEventListener("click", () => load());
  text.append(again);
  return text;
}

$("tabs").addEventListener("keydown", (event) => {
  const links = [...$("tabs").querySelectorAll("a")];
  const here = links.indexOf(document.activeElement);
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (by === undefined || here < 0) return;
  event.preventDefault();
  event.stopPropagation();
  const next = links[(here + by + links.length) % links.length];
  next.focus();
  choose(next.dataset.tab);
});

$("panel").addEventListener("submit", (event) => {
  if (!event.target.matches("[data-panel-form]")) return;
  event.preventDefault();
  const query = new URLSearchParams(new FormData(event.target));
  for (const name of ["tab", "turn"]) query.delete(name);
  const range = player.range;
  if (range) { query.set("from", Math.round(range[0])); query.set("until", Math.round(range[1])); query.set("whole", "on"); }
  load(`?${query}`);
});

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  const target = event.target.closest?.("[data-tab], [data-seek], [data-wording], [data-clip], [data-turn]:is(a, button), [data-copy], [data-panel-more]");
  if (target) {
    event.preventDefault();
    if (target.dataset.wording) { wording(target); return; }
    if (target.dataset.clip) { player.pause(); playClip(target.dataset.clip); return; }
    if (target.dataset.tab) choose(target.dataset.tab);
    else if (target.matches("[data-panel-more]")) load(new URL(target.href).search);
    else if (target.dataset.copy) copy($(target.dataset.copy).textContent);
    else if (target.dataset.seek) seek(Number(target.dataset.seek));
    else select(Number(target.dataset.turn));
    return;
  }
  // A click on a line of the transcript plays from it; selecting text does not.
  const line = event.target.closest?.(".line");
  if (line && getSelection().isCollapsed && Number(line.dataset.at) >= 0) {
    const number = Number(line.closest(".card").dataset.turn);
    select(number, { at: Number(line.dataset.at) });
  }
});

/** Show or hide what was understood on the way to what the caller said. */
async function wording(link) {
  const card = link.closest(".card");
  const shown = card.querySelector("[data-wordings]");
  shown?.remove();
  link.setAttribute("aria-expanded", String(!shown));
  if (shown) return;
  const place = document.createElement("div");
  place.dataset.wordings = "";
  place.className = "wording";
  card.querySelector(".line-caller").after(place);
  try {
    const answer = await fetch(`${data.page}turns/${link.dataset.wording}/wording`, { headers: { "X-Requested-With": "fetch" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    place.outerHTML = await answer.text(); // from our own server, escaped there
  } catch {
    place.className = "failed";
    place.textContent = "What was understood on the way could not be fetched. Choose it again.";
  }
}

// The time of day of an offset, in the reader's zone and in UTC: made when somebody points at it.
const zone = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
function tellTime(event) {
  const link = event.target.closest?.(".offset[data-seek]:not([title])");
  if (!link || !data.zero) return;
  const at = new Date(data.zero + Number(link.dataset.seek));
  link.title = `${zone.format(at)} (${at.toISOString().slice(11, 19)} UTC)`;
}
for (const name of ["pointerover", "focusin"]) document.addEventListener(name, tellTime);

async function copy(text) {
  try { await navigator.clipboard.writeText(text); announce("Copied"); toast("Copied."); }
  catch { toast("The browser did not allow copying. The address bar holds the link.", "alarm"); }
}
for (const button of document.querySelectorAll("[data-copy], #copy-moment, #find")) button.hidden = false;
$("copy-moment").addEventListener("click", () => {
  const url = new URL(location.href);
  url.searchParams.set("t", (player.at / 1000).toFixed(1));
  copy(url.href);
});

// --- the timeline

timeline.addEventListener("seek", (event) => seek(event.detail, { reveal: false }));
timeline.addEventListener("view", () => remember());
timeline.addEventListener("range", (event) => range(event.detail));
timeline.addEventListener("hover", ({ detail }) => {
  $("under").textContent = detail ? `${clock(detail.at)} · ${detail.state.toLowerCase() || "no state"}${detail.turn ? ` · ${detail.turn.title}` : ""}` : "";
});

function range(chosenRange) {
  player.loop(chosenRange);
  timeline.range(chosenRange);
  $("clear-range").hidden = !chosenRange;
  for (const card of document.querySelectorAll(".card")) {
    card.hidden = Boolean(chosenRange) && (Number(card.dataset.to) < chosenRange[0] || Number(card.dataset.from) > chosenRange[1]);
  }
  if (chosenRange) {
    seek(chosenRange[0], { reveal: false });
    announce(`Range from ${clock(chosenRange[0])} to ${clock(chosenRange[1])}: it loops, and only its turns are shown`);
    if (tab === "events") load(`?whole=on&from=${Math.round(chosenRange[0])}&until=${Math.round(chosenRange[1])}`);
  }
}
$("clear-range").addEventListener("click", () => range(null));
$("play").addEventListener("click", () => player.toggle());
$("rate").addEventListener("change", () => { player.rate = Number($("rate").value); });
for (const side of ["caller", "agent"]) $(`solo-${side}`).addEventListener("click", () => solo(side));
$("zoom-in").addEventListener("click", () => timeline.zoom(0.5, player.at || undefined));
$("zoom-out").addEventListener("click", () => timeline.zoom(2));
$("zoom-all").addEventListener("click", () => timeline.whole());
document.addEventListener("console:theme", () => timeline.paint());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => timeline.paint());

function solo(side) {
  player.solo(player.soloed === side ? "" : side);
  for (const one of ["caller", "agent"]) $(`solo-${one}`).setAttribute("aria-pressed", String(player.soloed === one));
}
function pace(by) {
  const place = RATES.indexOf(player.rate) + by;
  if (!RATES[place]) return;
  player.rate = RATES[place];
  $("rate").value = String(RATES[place]);
}
function neighbour(by) {
  const place = data.turns.findIndex((turn) => turn.n === chosen);
  const next = data.turns[place + by];
  if (next) select(next.n);
}
function next(kind) {
  const at = player.at + 1;
  const mark = data.marks.find((one) => one[1] === kind && one[0] > at) ?? data.marks.find((one) => one[1] === kind);
  if (mark) seek(mark[0]);
  else announce(`There is no ${kind} in this call`);
}

// --- find

let finding = 0;
$("find").addEventListener("input", () => {
  clearTimeout(finding);
  finding = setTimeout(() => {
    const count = transcript.find($("find").value);
    $("found").textContent = $("find").value.trim() ? `${count} found` : "";
  }, 120);
});

// --- the keyboard of the player

const onButton = (event) => event.target.closest?.("button, a, summary, audio");
keys("Player", [
  ["Space", "Play or pause", (event) => (onButton(event) ? false : void player.toggle())],
  ["ArrowLeft", "2 s back", () => seek(player.at - 2000)],
  ["ArrowRight", "2 s on", () => seek(player.at + 2000)],
  ["Shift+ArrowLeft", "Previous turn", () => neighbour(-1)],
  ["Shift+ArrowRight", "Next turn", () => neighbour(1)],
  ["BracketLeft", "Slower", () => pace(-1)],
  ["BracketRight", "Faster", () => pace(1)],
  ["[Shift]++", "Larger", () => timeline.zoom(0.5, player.at || undefined)],
  ["-", "Smaller", () => timeline.zoom(2)],
  ["0", "Whole call", () => timeline.whole()],
  ["m", "Caller only", () => solo("caller")],
  ["n", "Assistant only", () => solo("agent")],
  ["b", "Next barge-in", () => next("barge-in")],
  ["e", "Next error", () => next("error")],
]);

// --- the list that the reader came from

const go = (rel) => () => {
  const link = document.querySelector(`.call-head a[rel=${rel}]`);
  if (link) link.click();
  else announce(rel === "next" ? "This is the last call of the list" : "This is the first call of the list");
};
keys("Calls of the list", [
  ["j", "Next call", go("next")],
  ["k", "Call before", go("prev")],
]);

// --- a call in progress

function follow(on) {
  const box = $("follow");
  if (box) box.checked = on;
}

function take(message) {
  if (message.archived) { final(); return; }
  // A list comes as [from which place on, its items]: what was told before stays.
  for (const name of ["states", "speech", "unheard", "marks"]) {
    if (message[name]) data[name].splice(message[name][0], Infinity, ...message[name][1]);
  }
  for (const turn of message.turns ?? []) {
    const place = data.turns.findIndex((one) => one.n === turn.n);
    if (place < 0) data.turns.push(turn);
    else data.turns[place] = turn;
  }
  for (const [number, html] of message.cards ?? []) card(number, html);
  if (Number.isNaN(chosen) && data.turns.length) select(data.turns[0].n, { push: false });
  transcript.set(data.turns);
  grown = { at: message.duration, since: performance.now() };
  grow(message.duration);
  if (message.cards?.length) {
    if ($("follow")?.checked) $("cards").lastElementChild?.scrollIntoView({ block: "nearest" });
    else $("new-messages").hidden = false;
  }
  if (message.over && growing) {
    clearInterval(growing);
    growing = 0;
    for (const text of document.querySelectorAll("[data-in-progress]")) text.textContent = "ended, being archived";
    toast("The call has ended. Its recording and panels appear when it is archived.");
  }
}

// --- the archived call in its place: at once where nothing is lost by that, else when its reader wants it

const OPEN = 'dialog[open], :popover-open, details.menu[open], [data-listen-switch][aria-pressed="true"]';
const TYPED = 'textarea, input:not([type="hidden"], [type="checkbox"], [type="radio"], [type="range"])';

/** Whether somebody would lose something: a sound, a text that is not sent, something that is open. */
function occupied() {
  return player.playing || clipPlays() || document.querySelector(OPEN) !== null
    || [...document.querySelectorAll(TYPED)].some((field) => field.value !== field.defaultValue);
}

function final() {
  clearInterval(growing);
  live.close();
  remember({ now: true });
  if (occupied()) {
    $("final").hidden = false;
    $("final").querySelector("a").href = location.pathname + location.search;
    return;
  }
  history.replaceState({ final: true }, "", location.href);
  location.reload();
}

if (history.state?.final) {
  history.replaceState(null, "", location.href);
  toast("The call is over and archived: this is its final page.");
}

let grown = null;
let growing = 0;
/** The right edge: where the call is now. */
function grow(duration) {
  data.duration = Math.max(data.duration, duration);
  player.duration = data.duration;
  $("call-length").textContent = clock(data.duration);
  timeline.set(data);
  if ($("follow")?.checked) timeline.place(data.duration);
}

function card(number, html) {
  const template = document.createElement("template");
  template.innerHTML = html; // from our own server, escaped there
  const fresh = template.content.firstElementChild;
  const old = transcript.card(number);
  if (old) old.replaceWith(fresh);
  else $("cards").append(fresh);
  $("no-words")?.remove();
  if (number === chosen) fresh.classList.add("is-chosen");
}

if (data.live && data.socket) {
  live = connect(data.socket, { onSnapshot: take, onChange: take });
  growing = setInterval(() => {
    if (live.state === "live" && grown) grow(grown.at + performance.now() - grown.since);
  }, 250);
  $("new-messages")?.addEventListener("click", () => {
    follow(true);
    $("new-messages").hidden = true;
    $("cards").lastElementChild?.scrollIntoView({ block: "end" });
  });
}

if (data.peaks) {
  fetch(data.peaks)
    .then((answer) => (answer.ok ? answer.arrayBuffer() : Promise.reject(new Error(String(answer.status)))))
    .then((bytes) => timeline.wave(new Uint8Array(bytes), data.offset ?? 0))
    .catch(() => toast("The waveform could not be fetched. The turns below show the same.", "alarm"));
} else if (data.audio) {
  const text = document.createElement("p");
  text.className = "empty";
  text.textContent = "The waveform of this older recording is being made. Reload the page in a moment.";
  $("wave").append(text);
}
timeline.chosen = chosen;
if ([...address.keys()].some((name) => ["t", "turn", "tab", "from", "to"].includes(name))) restore();
show(player.at);
// For tests, and for whoever measures.
performance.mark("call-page");
Object.assign(globalThis, { callPage: { player, timeline, data } });
