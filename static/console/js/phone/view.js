// What the page of a test call shows of it: states as a ribbon, both transcripts as they form, response times.
const NS = "http://www.w3.org/2000/svg";
const WIDTH = 1000;
const LETTERS = { CONNECTING: "C", LISTENING: "L", THINKING: "T", SPEAKING: "S", OPERATOR: "O", ENDING: "E" };

export function milliseconds(value) {
  if (value === null || value === undefined) return "no data";
  return value < 10_000 ? `${Math.round(value).toLocaleString()} ms` : `${(value / 1000).toLocaleString(undefined, { minimumFractionDigits: 1, maximumFractionDigits: 1 })} s`;
}

export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

export class CourseView {
  constructor({ ribbon, transcript, state, response }) {
    Object.assign(this, { ribbon, transcript, state, response });
    this.clear();
  }

  clear() {
    this.states = [];
    this.marks = [];
    this.turns = new Map();
    this.zero = null;
    this.end = "";
    this.transcript.replaceChildren();
    this.ribbon.replaceChildren();
    this.response.textContent = "no data";
    this.setState("CONNECTING");
    this.interim = null;
  }

  snapshot(message) {
    const response = this.response.textContent;
    this.clear();
    this.zero = message.zero_wall_ms || null;
    this.states = message.states;
    this.marks = message.marks;
    if (this.states.length) this.setState(this.states.at(-1)[1]);
    message.turns.forEach((turn) => this.turn(turn));
    this.caller(message.caller);
    this.end = message.end;
    if (this.response.textContent === "no data") this.response.textContent = response;
  }

  change({ changes }) {
    if (changes.zero_wall_ms) [this.zero] = changes.zero_wall_ms;
    for (const state of changes.state ?? []) {
      this.states.push(state);
      this.setState(state[1]);
    }
    this.marks.push(...(changes.mark ?? []));
    for (const turn of changes.turn ?? []) this.turn(turn);
    for (const text of changes.caller ?? []) this.caller(text);
    for (const reason of changes.end ?? []) this.end = reason;
  }

  setState(name) {
    this.state.dataset.state = name;
    this.state.querySelector(".state-letter").textContent = LETTERS[name] ?? "·";
    this.state.querySelector("[data-word]").textContent = name[0] + name.slice(1).toLowerCase();
  }

  turn(turn) {
    const known = this.turns.get(turn.number) ?? {};
    this.turns.set(turn.number, { ...known, ...turn });
    if (turn.user) known.user = this.bubble(known.user, "user", "Caller", turn.user);
    if (turn.agent || turn.unheard) {
      known.agent = this.bubble(known.agent, "agent", "Agent", turn.agent);
      if (turn.unheard) {
        const struck = document.createElement("s");
        struck.textContent = ` ${turn.unheard}`;
        known.agent.append(struck);
      }
      if (known.user && known.user.compareDocumentPosition(known.agent) & Node.DOCUMENT_POSITION_PRECEDING) known.agent.before(known.user);
    }
    this.turns.set(turn.number, { ...turn, user: known.user, agent: known.agent });
    if (turn.response_ms !== null) this.response.textContent = milliseconds(turn.response_ms);
    this.follow();
  }

  caller(text) {
    if (!text) {
      this.interim?.remove();
      this.interim = null;
      return;
    }
    this.interim = this.bubble(this.interim, "user bubble-interim", "Caller", text);
    this.follow();
  }

  bubble(known, kind, who, text) {
    const bubble = known ?? document.createElement("div");
    bubble.className = `bubble bubble-${kind}`;
    const name = document.createElement("span");
    name.className = "who";
    name.textContent = who;
    bubble.replaceChildren(name, document.createTextNode(text));
    if (!known) this.transcript.append(bubble);
    return bubble;
  }

  follow() {
    this.transcript.scrollTop = this.transcript.scrollHeight;
  }

  /** Draw the ribbon up to now. */
  draw(now) {
    if (this.zero === null || !this.states.length) return;
    const length = Math.max(1000, now - this.zero);
    const place = (ms) => Math.min(WIDTH, (ms / length) * WIDTH);
    const parts = this.states.map(([from, name], number) => {
      const until = this.states[number + 1]?.[0] ?? length;
      return rect(place(from), place(until) - place(from), 24, 0, `ribbon-${name}`);
    });
    const marks = this.marks.map(([at, kind]) => rect(place(at), 4, 10, 0, `ribbon-${kind}`));
    this.ribbon.replaceChildren(...parts, ...marks);
  }

  summary() {
    const turns = [...this.turns.values()];
    const responses = turns.map((turn) => turn.response_ms).filter((ms) => ms !== null).sort((one, other) => one - other);
    const middle = Math.floor(responses.length / 2);
    const median = responses.length % 2 ? responses[middle] : (responses[middle - 1] + responses[middle]) / 2;
    return {
      answers: responses.length,
      median: responses.length ? median : null,
      worst: responses.at(-1) ?? null,
      cuts: turns.filter((turn) => turn.cut).length,
    };
  }
}

function rect(x, width, height, y, name) {
  const shape = document.createElementNS(NS, "rect");
  shape.setAttribute("x", x.toFixed(1));
  shape.setAttribute("y", y);
  shape.setAttribute("width", Math.max(0, width).toFixed(1));
  shape.setAttribute("height", height);
  shape.setAttribute("class", name);
  return shape;
}
