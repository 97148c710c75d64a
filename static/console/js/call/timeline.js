// The lanes of the timeline on one clock: a view of from…to ms, and everything that is drawn in it.
import WaveSurfer from "../../../vendor/wavesurfer-8.0.1/wavesurfer.esm.js";

const SVG = "http://www.w3.org/2000/svg";
const PEAK_MS = 20;
const LEAST_VIEW_MS = 500;
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
  #drawnPxPerS = 0;
  #queued = 0;
  #width = 1;
  #drag = null;

  constructor(place, data) {
    super();
    this.#place = place;
    this.#data = data;
    this.#view = { from: 0, to: Math.max(1000, data.duration) };
    place.hidden = false;
    for (const name of ["minimap", "ruler", "wave", "hatch", "ribbon", "turn-blocks", "marks", "cursor", "crosshair", "range", "lanes"]) {
      this[`$${name}`] = place.querySelector(`#${name}`);
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
    this.draw();
  }

  show(from, to) {
    const length = Math.min(Math.max(LEAST_VIEW_MS, to - from), this.duration);
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
    this.#boxes(this.$hatch, this.#data.unheard.filter(([a, b]) => b > from && a < to), ([a, b]) => {
      const box = div("unheard-audio");
      box.title = "Sent to the carrier, cleared before it was heard";
      return [box, a, b];
    });
    this.#boxes(this["$turn-blocks"], this.#data.turns.filter((turn) => turn.to > from && turn.from < to), (turn) => {
      const box = document.createElement("button");
      box.type = "button";
      box.tabIndex = -1; // the cards are the same, and are reached by Tab
      box.className = `turn-block${turn.outcome === "interrupted" ? " is-cut" : ""}${turn.n === this.chosen ? " is-chosen" : ""}`;
      box.textContent = turn.title.replace("Turn ", "");
      box.title = `${turn.title}, ${clock(turn.from)} to ${clock(turn.to)}`;
      box.dataset.turn = turn.n;
      return [box, turn.from, turn.to];
    });
    this.#boxes(this.$marks, this.#data.marks.filter(([at]) => at >= from && at <= to), ([at, kind, sign, text, turn]) => {
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
    this.#drawWave();
    this.place(this.at ?? 0);
    this.range(this.ranged ?? null);
  }

  #boxes(lane, items, make) {
    lane.replaceChildren(...items.map((item) => {
      const [box, a, b] = make(item);
      box.style.insetInlineStart = `${this.x(a)}px`;
      if (b > a) box.style.width = `${Math.max(2, this.x(b) - this.x(a))}px`;
      return box;
    }));
  }

  #ruler() {
    const { from, to } = this.#view;
    const step = TICKS_MS.find((ms) => (ms / (to - from)) * this.#width >= TICK_PX) ?? 1_200_000;
    const ticks = [];
    for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
    this.#boxes(this.$ruler, ticks, (at) => {
      const tick = div("tick");
      tick.textContent = step < 1000 ? clock(at) : clock(at).slice(0, -2);
      return [tick, at, at];
    });
  }

  #ribbon() {
    const svg = this.$ribbon.firstElementChild;
    const states = this.#data.states;
    svg.replaceChildren(...states.map(([at, state], place) => {
      const end = states[place + 1]?.[0] ?? this.#data.duration;
      const rect = document.createElementNS(SVG, "rect");
      const height = HEIGHTS[state] ?? 8;
      for (const [name, value] of Object.entries({ x: at, y: RIBBON - height, width: Math.max(0, end - at), height })) rect.setAttribute(name, value);
      rect.setAttribute("class", `state-${state.toLowerCase()}`);
      rect.dataset.state = state;
      return rect;
    }));
  }

  #minimap() {
    const svg = this.$minimap.querySelector("svg");
    svg.setAttribute("viewBox", `0 0 ${this.duration} 10`);
    const spans = this.#data.states.map(([at, state], place) => [at, this.#data.states[place + 1]?.[0] ?? this.#data.duration, state]);
    const path = (kept) => kept.map(([a, b]) => `M${a} 0H${b}V10H${a}Z`).join("");
    svg.replaceChildren(...[["SPEAKING", "state-speaking"], ["THINKING", "state-thinking"], ["OPERATOR", "state-operator"]].map(([state, name]) => {
      const shape = document.createElementNS(SVG, "path");
      shape.setAttribute("d", path(spans.filter((span) => span[2] === state)));
      shape.setAttribute("class", name);
      return shape;
    }));
  }

  // --- the waveform

  /** Peaks as bytes: the caller's, then the assistant's; `offset` is where they begin on the call's clock. */
  wave(bytes, offset) {
    const half = bytes.length / 2;
    const lead = Math.round(offset / PEAK_MS);
    const count = Math.max(half + lead, Math.ceil(this.duration / PEAK_MS));
    const sides = [bytes.subarray(0, half), bytes.subarray(half)].map((side) => {
      const peaks = new Float32Array(count);
      for (let place = 0; place < half; place += 1) if (place + lead >= 0) peaks[place + lead] = side[place] / 255;
      return peaks;
    });
    this.#peaks = { sides, duration: (count * PEAK_MS) / 1000 };
    this.paint();
  }
  #peaks = null;

  /** Draw the waveform in the theme's colours. */
  paint() {
    if (!this.#peaks) return;
    this.#wave?.destroy();
    this.$wave.replaceChildren();
    const colours = getComputedStyle(document.documentElement);
    const [caller, agent] = [colours.getPropertyValue("--listening"), colours.getPropertyValue("--speaking")];
    this.#wave = WaveSurfer.create({
      container: this.$wave,
      height: 44,
      peaks: this.#peaks.sides,
      duration: this.#peaks.duration,
      splitChannels: [caller, agent].map((colour) => ({ waveColor: colour, progressColor: colour, height: 44 })),
      cursorWidth: 0,
      interact: false,
      hideScrollbar: true,
      autoScroll: false,
      autoCenter: false,
      normalize: true,
      cspNonce: document.querySelector('meta[name="style-nonce"]')?.nonce || undefined,
    });
    this.$wave.firstElementChild.inert = true; // it scrolls with the timeline: by itself it is no stop of the Tab key
    this.#drawnPxPerS = 0;
    this.#wave.on("ready", () => { this.waveReady = true; this.#drawWave(); });
  }

  #drawWave() {
    if (!this.#wave || !this.waveReady) return;
    const { from, to } = this.#view;
    const pxPerS = (this.#width / (to - from)) * 1000;
    if (Math.abs(pxPerS - this.#drawnPxPerS) > 1e-6) {
      this.#drawnPxPerS = pxPerS;
      this.#wave.zoom(pxPerS);
    }
    this.#wave.setScroll((from / 1000) * pxPerS);
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

function div(className) {
  const made = document.createElement("div");
  made.className = className;
  return made;
}
