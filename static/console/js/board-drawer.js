// The open call beside the board: its transcript as it grows, the current turn's stages, the memories in play.
import { clock, milliseconds } from "./board-text.js";

const SVG = "http://www.w3.org/2000/svg";
const END_PX = 40; // this near to the end counts as reading along
const LEAST_SCALE_MS = 1_000;
const NAMES = { caller: "Caller", assistant: "Assistant", event: "" };

export function drawer({ live, now, closed }) {
  const place = document.getElementById("drawer");
  const log = document.getElementById("transcript");
  const lines = document.getElementById("lines");
  const forming = document.getElementById("forming");
  const pill = document.getElementById("new-lines");
  const waterfall = document.getElementById("waterfall");
  const memories = document.getElementById("memories");
  const parts = Object.fromEntries([...place.querySelectorAll("[data-d]")].map((part) => [part.dataset.d, part]));
  const items = new Map();
  let id = "";
  let row = null;
  let turn = null;

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < END_PX;

  function toEnd() {
    log.scrollTop = log.scrollHeight;
    pill.hidden = true;
  }

  pill.addEventListener("click", toEnd);
  log.addEventListener("scroll", () => { if (atEnd()) pill.hidden = true; });

  /** Whether what is shown may go: whoever has taken the call over is asked to hand it back first. */
  function leave() {
    return !id || place.dispatchEvent(new CustomEvent("console:leave", { bubbles: true, cancelable: true }));
  }

  /** As high as what is seen of the window below the board's head: the actions at its foot are always there. */
  function fit() {
    if (id) place.style.setProperty("--above", `${Math.max(0, place.parentElement.getBoundingClientRect().top)}px`);
  }

  for (const moved of ["scroll", "resize"]) addEventListener(moved, fit, { passive: true });

  function open(next) {
    if (id === next.id) return place.focus();
    id = next.id;
    clear();
    place.hidden = false;
    fit();
    parts.page.href = `/console/calls/${encodeURIComponent(id)}/`;
    show(next);
    follow();
    place.focus();
    place.dispatchEvent(new CustomEvent("console:call", { bubbles: true, detail: { callSid: id, row: next } }));
  }

  /** Ask for this call's words; also after the socket has come back. */
  function follow() {
    if (id) live.send({ type: "open", call_sid: id });
  }

  function clear() {
    items.clear();
    lines.replaceChildren();
    waterfall.replaceChildren();
    memories.replaceChildren();
    turn = null;
    forming.hidden = pill.hidden = true;
    mark();
  }

  function close() {
    const was = id;
    id = "";
    row = null;
    place.hidden = true;
    live.send({ type: "close" });
    place.dispatchEvent(new CustomEvent("console:call", { bubbles: true, detail: { callSid: "" } }));
    closed(was);
  }

  /** What the board's row says of it. */
  function show(next) {
    if (!next || next.id !== id) return;
    row = next;
    const texts = { number: row.number, name: row.name, letter: row.letter, word: row.word, turn: row.turn };
    for (const [name, value] of Object.entries(texts)) if (parts[name].textContent !== value) parts[name].textContent = value;
    const why = row.outcome || (row.why ? `▲ ${row.why}` : "");
    if (parts.why.textContent !== why) parts.why.textContent = why;
    parts.state.dataset.state = row.state;
    second();
    const follows = atEnd();
    const words = !row.ended && row.who === "assistant" && row.state === "SPEAKING" ? row.words : "";
    forming.hidden = !words;
    forming.querySelector("[data-words]").textContent = words;
    if (follows) toEnd();
    mark();
  }

  function second() {
    if (!row) return;
    parts.elapsed.textContent = clock((row.ended || now()) - row.zero);
  }

  /** What the socket says of its words and stages. */
  function take(message) {
    if (message.call_sid !== id) return;
    const follows = message.whole || atEnd();
    if (message.whole) clear();
    for (const item of message.items) line(item);
    document.getElementById("earlier").hidden = !message.earlier;
    turn = message.turn;
    draw();
    remember(message.memories);
    mark();
    if (follows) toEnd();
    else if (message.items.length) pill.hidden = false;
  }

  function line(item) {
    const element = document.createElement("li");
    element.className = `line by-${item.who}${item.interim ? " interim" : ""}${item.alarm ? " alarm" : ""}`;
    const head = document.createElement("span");
    head.className = "line-who";
    head.textContent = [NAMES[item.who], item.at].filter(Boolean).join(" ");
    const words = document.createElement("span");
    words.className = "said";
    words.dir = "auto";
    words.textContent = item.text;
    element.append(head, words);
    if (item.unheard) {
      const struck = document.createElement("s");
      struck.className = "said unheard";
      struck.dir = "auto";
      struck.textContent = item.unheard;
      const label = document.createElement("span");
      label.className = "soft";
      label.textContent = "not heard";
      element.append(" ", struck, " ", label);
    }
    element.dataset.ms = item.ms;
    items.get(item.key)?.remove();
    // A line is told when it is over and stands where it began.
    const later = [...lines.children].find((line) => Number(line.dataset.ms) > item.ms) ?? null;
    lines.insertBefore(element, later);
    items.set(item.key, element);
  }

  function remember(found) {
    memories.replaceChildren(...found.map((memory) => {
      const item = document.createElement("li");
      const level = document.createElement("span");
      level.className = "chip";
      level.textContent = memory.level;
      const words = document.createElement("span");
      words.className = "said";
      words.dir = "auto";
      words.textContent = memory.text;
      const about = document.createElement("span");
      about.className = "soft";
      about.textContent = `${memory.kind}, score ${memory.score}`;
      item.append(level, " ", words, " ", about);
      return item;
    }));
  }

  /** The stages on one scale; what is not over yet ends now. */
  function draw() {
    if (!turn || !row) return;
    document.getElementById("turn-number").textContent = String(turn.number);
    const at = (row.ended || now()) - row.zero;
    const until = (stage) => (stage.until < 0 ? Math.max(at, stage.from) : stage.until);
    // What matters is what the caller waits for: a voice counts until its first sound, what is heard after it not at all.
    const counts = (stage) => (stage.name === "voice" && stage.first >= 0 ? stage.first : until(stage));
    const answering = turn.stages.filter((stage) => !stage.name.startsWith("heard"));
    const scale = Math.max(LEAST_SCALE_MS, 1.15 * (Math.max(0, ...answering.map(counts)) - turn.zero));
    waterfall.replaceChildren(...turn.stages.map((stage) => bar(stage, until(stage), scale)));
  }

  function bar(stage, until, scale) {
    const element = document.createElement("div");
    element.className = `w-row${stage.bad ? " bad" : ""}${stage.cancelled ? " cancelled" : ""}${stage.until < 0 ? " growing" : ""}`;
    const name = document.createElement("span");
    name.textContent = stage.name;
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", "0 0 1000 10");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("aria-hidden", "true");
    const x = (ms) => Math.max(0, Math.min(1000, ((ms - turn.zero) / scale) * 1000));
    const rect = (from, to, kind) => {
      const made = document.createElementNS(SVG, "rect");
      made.setAttribute("class", kind);
      made.setAttribute("x", x(from));
      made.setAttribute("width", Math.max(3, x(to) - x(from)));
      made.setAttribute("height", 10);
      svg.append(made);
    };
    rect(stage.from, until, "w-bar");
    if (stage.first >= 0) rect(stage.first, stage.first, "w-first");
    const took = document.createElement("span");
    took.className = "tabular";
    took.textContent = milliseconds(until - stage.from) + (stage.until < 0 ? "…" : "");
    const note = document.createElement("span");
    note.className = "soft";
    note.textContent = stage.note;
    element.append(name, svg, took, note);
    return element;
  }

  function mark() {
    document.getElementById("no-lines").hidden = items.size > 0 || !forming.hidden;
    document.getElementById("no-stages").hidden = waterfall.childElementCount > 0;
    document.getElementById("no-memories").hidden = memories.childElementCount > 0;
  }

  setInterval(() => {
    if (!id) return;
    second();
    if (turn?.stages.some((stage) => stage.until < 0)) draw();
  }, 250);

  return { get id() { return id; }, leave, open, close, show, take, follow };
}
