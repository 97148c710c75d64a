// The lanes of the timeline on one clock: a view of from…to ms, and everything that is drawn in it.
import { Wave } from "./wave.js";

const SVG = "http://www.w3.org/2000/svg";
const LEAST_VIEW_MS = 500;
const MOST_SHEET_PX = 3e7; // browsers know no places far beyond
const DRAG_PX = 4;
const HEIGHTS = { LISTENING: 8, THINKING: 16, SPEAKING: 26, OPERATOR: 26, ENDING: 12, CONNECTING: 8 };
const RIBBON = 28;
const TICKS_MS = [100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000];
const TICK_PX = 70;

export const clock = (ms) => {
  const tenths = Math.floor(Math.max(0, ms) / 100);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
};

export class Timeline extends EventTarget {
  #place;
  #data;
  #view;
  #wave = null;
  #made = new WeakMap();
  #sheets = {};
  #sheetMs;
  #queued = 0;
  #width = 1;
  #drag = null;

  constructor(place, data) {
    super();
    this.#place = place;
    this.#data = data;
    this.#view = { from: 0, to: this.duration };
    this.#sheetMs = this.duration;
    place.hidden = false;
    for (const name of ["minimap", "ruler", "wave", "ribbon", "cursor", "crosshair", "range", "lanes"]) {
      this[`$${name}`] = place.querySelector(`#${name}`);
    }
    for (const name of ["hatch", "turn-blocks", "marks"]) {
      this.#sheets[name] = div("sheet");
      place.querySelector(`#${name}`).append(this.#sheets[name]);
    }
    this.#listen();
    this.resize();
    this.set(data);
    new ResizeObserver(() => { this.resize(); this.draw(); }).observe(this.$lanes);
  }

  get view() { return { ...this.#view }; }
  get width() { return this.#width; }
  get duration() { return Math.max(1000, this.#data.duration); }
  x(at) { return ((at - this.#view.from) / (this.#view.to - this.#view.from)) * this.#width; }
  time(x) { return this.#view.from + (x / this.#width) * (this.#view.to - this.#view.from); }

  resize() { this.#width = Math.max(1, this.$ribbon.clientWidth); }

  /** New data; the states, turns and marks are drawn anew. */
  set(data) {
    const whole = this.#view.from <= 0 && this.#view.to >= this.duration;
    this.#data = data;
    if (whole) this.#view = { from: 0, to: this.duration };
    this.#ribbon();
    this.#minimap();
    this.#boxes();
    this.draw();
  }

  show(from, to) {
    const length = Math.min(Math.max(LEAST_VIEW_MS, (this.#width * this.#sheetMs) / MOST_SHEET_PX, to - from), this.duration);
    const start = Math.min(Math.max(0, from), this.duration - length);
    this.#view = { from: start, to: start + length };
    this.draw();
    this.#tell("view");
  }

  zoom(factor, around = (this.#view.from + this.#view.to) / 2) {
    const { from, to } = this.#view;
    this.show(around - (around - from) * factor, around + (to - around) * factor);
  }

  whole() { this.show(0, this.duration); }

  /** Bring a moment into view; the view moves only if it is outside. */
  reveal(at) {
    const { from, to } = this.#view;
    if (at < from || at > to) this.show(at - (to - from) * 0.2, at + (to - from) * 0.8);
  }

  // --- drawing

  draw() {
    if (this.#queued) return;
    this.#queued = requestAnimationFrame(() => { this.#queued = 0; this.#draw(); });
  }

  #draw() {
    const { from, to } = this.#view;
    this.$ribbon.firstElementChild.setAttribute("viewBox", `${from} 0 ${to - from} ${RIBBON}`);
    const window = this.$minimap.querySelector(".window");
    window.style.insetInlineStart = `${(from / this.duration) * 100}%`;
    window.style.width = `${((to - from) / this.duration) * 100}%`;
    this.#ruler();
    for (const sheet of Object.values(this.#sheets)) {
      sheet.style.transform = `translateX(${this.x(0)}px)`;
      sheet.style.width = `${this.x(this.#sheetMs) - this.x(0)}px`;
    }
    for (const box of this.#sheets["turn-blocks"].querySelectorAll(".is-chosen")) box.classList.remove("is-chosen");
    this.#sheets["turn-blocks"].querySelector(`[data-turn="${this.chosen}"]`)?.classList.add("is-chosen");
    this.#drawWave();
    this.place(this.at ?? 0);
    this.range(this.ranged ?? null);
  }

  #boxes() {
    this.#lay("hatch", this.#data.unheard, ([from, to]) => {
      const box = div("unheard-audio");
      box.title = "Sent to the carrier, cleared before it was heard";
      return [box, from, to];
    });
    this.#lay("turn-blocks", this.#data.turns, (turn) => {
      const box = document.createElement("button");
      box.type = "button";
      box.tabIndex = -1; // the cards are the same, and are reached by Tab
      box.className = `turn-block${turn.outcome === "interrupted" ? " is-cut" : ""}`;
      box.textContent = turn.title.replace("Turn ", "");
      box.title = `${turn.title}, ${clock(turn.from)} to ${clock(turn.to)}`;
      box.dataset.turn = turn.n;
      return [box, turn.from, turn.to];
    });
    this.#lay("marks", this.#data.marks, ([at, kind, sign, text, turn]) => {
      const box = document.createElement("button");
      box.type = "button";
      box.tabIndex = -1; // each stands among the words as well
      box.className = `mark mark-${kind}`;
      box.textContent = sign;
      box.title = `${clock(at)} ${text}`;
      box.setAttribute("aria-label", box.title);
      box.dataset.seek = at;
      box.dataset.turn = turn;
      return [box, at, at];
    });
  }

  /** Put an element for each item on a lane's sheet. It stays where it is: what a move of the view moves and stretches is the sheet. */
  #lay(lane, items, make) {
    const sheet = this.#sheets[lane];
    const share = (ms) => `${(ms / this.#sheetMs) * 100}%`;
    const boxes = items.map((item) => {
      if (!this.#made.has(item)) {
        const [box, from, to] = make(item);
        box.style.insetInlineStart = share(from);
        if (to > from) box.style.width = share(to - from);
        this.#made.set(item, box);
      }
      return this.#made.get(item);
    });
    if (boxes.length !== sheet.children.length || boxes.some((box, place) => box !== sheet.children[place])) sheet.replaceChildren(...boxes);
  }

  #ruler() {
    const { from, to } = this.#view;
    const step = TICKS_MS.find((ms) => (ms / (to - from)) * this.#width >= TICK_PX) ?? 1_200_000;
    const ticks = [];
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) {
      const tick = div("tick");
      tick.textContent = step < 1000 ? clock(at) : clock(at).slice(0, -2);
      tick.style.insetInlineStart = `${this.x(at)}px`;
      ticks.push(tick);
    }
    this.$ruler.replaceChildren(...ticks);
  }

  #ribbon() {
    const spans = this.#spans();
    const states = [...new Set(spans.map(([, , state]) => state))];
    this.$ribbon.firstElementChild.replaceChildren(...states.map((state) => shape(spans, state, RIBBON - (HEIGHTS[state] ?? 8), RIBBON)));
  }

  #minimap() {
    const svg = this.$minimap.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${this.duration} 10`);
    svg.replaceChildren(...["SPEAKING", "THINKING", "OPERATOR"].map((state) => shape(this.#spans(), state, 0, 10)));
  }

  /** How long each state held: from, to, which. */
  #spans() {
    const { states, duration } = this.#data;
    return states.map(([at, state], place) => [at, Math.max(at, states[place + 1]?.[0] ?? duration), state]);
  }

  // --- the waveform

  /** Peaks as bytes: the caller's, then the assistant's; `offset` is where they begin on the call's clock. */
  wave(bytes, offset) {
    this.#wave = new Wave(this.$wave, bytes, offset, this.duration);
    this.draw();
  }

  /** Draw the waveform in the theme's colours. */
  paint() {
    this.#wave?.paint();
    this.draw();
  }

  #drawWave() {
    if (!this.#wave) return;
    this.#wave.draw(this.#view.from, this.#view.to, this.#width);
    this.waveReady = true;
  }

  // --- cursor, crosshair, range

  place(at) {
    this.at = at;
    const x = this.x(at);
    this.$cursor.hidden = x < 0 || x > this.#width;
    this.$cursor.style.transform = `translateX(${x}px)`;
  }

  range(range) {
    this.ranged = range;
    this.$range.hidden = !range;
    if (!range) return;
    this.$range.style.insetInlineStart = `${this.x(range[0])}px`;
    this.$range.style.width = `${this.x(range[1]) - this.x(range[0])}px`;
  }

  stateAt(at) { return this.#data.states.findLast(([from]) => from <= at)?.[1] ?? ""; }
  turnAt(at) { return this.#data.turns.findLast((turn) => turn.from <= at); }

  #listen() {
    const lanes = this.$lanes;
    const offset = (event) => event.clientX - this.$ribbon.getBoundingClientRect().left;
    lanes.addEventListener("pointermove", (event) => {
      const x = Math.min(Math.max(0, offset(event)), this.#width);
      this.$crosshair.hidden = false;
      this.$crosshair.style.transform = `translateX(${x}px)`;
      const at = this.time(x);
      this.#tell("hover", { at, state: this.stateAt(at), turn: this.turnAt(at) });
      if (!this.#drag) return;
      if (Math.abs(x - this.#drag.x) >= DRAG_PX) this.#drag.moved = true;
      if (this.#drag.moved) this.range([this.#drag.x, x].map((one) => this.time(one)).toSorted((a, b) => a - b));
    });
    lanes.addEventListener("pointerleave", () => { this.$crosshair.hidden = true; this.#tell("hover", null); });
    lanes.addEventListener("pointerdown", (event) => {
      if (event.button || event.target.closest("#minimap") || event.target.closest("button, a")) return;
      lanes.setPointerCapture(event.pointerId);
      this.#drag = { x: offset(event), moved: false };
    });
    lanes.addEventListener("pointerup", (event) => {
      const drag = this.#drag;
      this.#drag = null;
      if (!drag) return;
      if (drag.moved) this.#tell("range", this.ranged);
      else this.#tell("seek", this.time(offset(event)));
    });
    lanes.addEventListener("pointercancel", () => { this.#drag = null; });
    lanes.addEventListener("wheel", (event) => {
      if (event.ctrlKey) {
        event.preventDefault();
        this.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 200), this.time(offset(event)));
      } else if (event.deltaX || event.shiftKey) {
        event.preventDefault();
        const by = ((event.deltaX || event.deltaY) / this.#width) * (this.#view.to - this.#view.from);
        this.show(this.#view.from + by, this.#view.to + by);
      }
    }, { passive: false });
    const pan = (event) => {
      const box = this.$minimap.getBoundingClientRect();
      const at = ((event.clientX - box.left) / box.width) * this.duration;
      const half = (this.#view.to - this.#view.from) / 2;
      this.show(at - half, at + half);
    };
    this.$minimap.addEventListener("pointerdown", (event) => { this.$minimap.setPointerCapture(event.pointerId); pan(event); });
    this.$minimap.addEventListener("pointermove", (event) => { if (event.buttons & 1) pan(event); });
  }

  #tell(name, detail) { this.dispatchEvent(new CustomEvent(name, { detail })); }
}

/** All stretches of a state as one element: an hour has 1,200 of them, and each move lays out what there is. */
function shape(spans, state, top, bottom) {
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", spans.filter((span) => span[2] === state).map(([from, to]) => `M${from} ${top}H${to}V${bottom}H${from}Z`).join(""));
  path.setAttribute("class", `state-${state.toLowerCase()}`);
  path.dataset.state = state;
  return path;
}

function div(className) {
  const made = document.createElement("div");
  made.className = className;
  return made;
}
