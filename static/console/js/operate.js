// Stepping in to a call: whisper, say, take over, hand back, end. One for every [data-operate] on the page. Its call is in data-call,
// which may change; a `console:call` event of a part around it ({callSid}) changes it.
import { listenTo, stopListening } from "./listen.js";
import { connect } from "./live.js";
import { Microphone } from "./mic.js";
import { announce, toast } from "./say.js";

const PRESENT_EVERY_MS = 2000;
const SHOWN = 5;
// What became of a request: of one's own, of somebody else's, and whether it needs a look.
const OUTCOMES = {
  "whisper shown": (one, whose) => [`${whose} note took effect with turn ${one.turn}`],
  "whisper dropped": (one, whose) => [`${whose} note never reached the assistant`, true],
  "say said": (one, whose) => [`${whose} sentence was heard`],
  "say cut": (one, whose) => [`${whose} sentence was cut short by the caller or a colleague`, true],
  "say failed": (one, whose) => [`The voice failed at ${whose.toLowerCase()} sentence`, true],
  "say dropped": (one, whose) => [`${whose} sentence was not said`, true],
  "take_over taken": (one, whose, who) => [`${who} took the call over`],
  "take_over refused": (one, whose, who) => [`${who} could not take the call over`, true],
  "hand_back done": (one, whose, who) => [`${who} handed the call back`],
  "hand_back refused": (one, whose, who) => [`${who} could not hand the call back: somebody else has it, or nobody`, true],
  "hand_back lost": (one, whose) => [`${whose} connection was lost; the assistant goes on`, true],
};

/** Of one request, however often it is sent. */
function freshKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const DONE = {
  whisper: "Whispered: it waits for the assistant's next reply.",
  say: "The assistant will say it.",
  take_over: "You have the call.",
  hand_back: "Handed back.",
  end: "The call is ending.",
};
const LEAVING = "You have this call. Hand it back before you leave it: the caller would be alone.";
const UNHEARD = "You have this call, but the caller does not hear you.";

class Panel {
  constructor(root) {
    this.root = root;
    this.me = root.dataset.me;
    this.call = "";
    this.live = null;
    this.status = null;
    this.texts = new Map(); // key of a request of this page -> its words
    this.told = new Set();
    this.present = 0;
    this.speaks = false;
    this.ending = false;
    this.checking = null; // the microphone's check that is under way, or was
    const box = this.find("[data-microphone]");
    this.microphone = box && new Microphone(box, { onLost: (why) => this.unheard(why) });
    this.find("[data-speak]")?.addEventListener("click", () => this.speak());
    for (const button of root.querySelectorAll("[data-do]")) button.addEventListener("click", () => this.open(button.dataset.do));
    for (const dialog of root.querySelectorAll("dialog")) this.prepare(dialog);
    new MutationObserver(() => this.watch(root.dataset.call)).observe(root, { attributeFilter: ["data-call"] });
    document.addEventListener("console:call", ({ target, detail }) => { if (target.contains(root)) root.dataset.call = detail.callSid; });
    document.addEventListener("console:leave", (event) => { if (event.target.contains(root) && this.present) this.stay(event); });
    addEventListener("beforeunload", (event) => { if (this.present) event.preventDefault(); });
    addEventListener("pagehide", () => this.release());
    this.watch(root.dataset.call);
  }

  find(selector) { return this.root.querySelector(selector); }

  // --- the call ---------------------------------------------------------------------------------------------------------

  watch(call) {
    if (call === this.call) return;
    this.live?.close();
    this.release();
    const listen = this.find("[data-listen]");
    if (listen && listen.dataset.listen !== call) {
      stopListening();
      listen.dataset.listen = call;
    }
    this.call = call;
    this.live = null;
    this.ending = false;
    this.told.clear();
    this.show(null, call ? "Looking who has this call…" : "No call is open.");
    if (!call) return;
    const take = (message) => this.call === call && this.show(message.status, message.why, message.type === "snapshot");
    const become = (state, why) => {
      if (this.call !== call) return;
      if (state === "refused") this.show(null, why || "This call is over.");
      else if (state === "lost") this.stale();
    };
    this.live = connect(`/console/operate/${encodeURIComponent(call)}`, { badge: false, onSnapshot: take, onChange: take, onState: become });
  }

  /** Nobody knows any more who has the call: nothing can be done until somebody does. A microphone has a connection of its own. */
  stale() {
    this.find("[data-holder]").textContent = "The connection was lost. Looking again who has this call…";
    for (const button of this.root.querySelectorAll("[data-do]")) button.disabled = true;
  }

  /** Whoever has the call does not lose it by a key that closes what they look at. */
  stay(event) {
    event.preventDefault();
    toast(LEAVING, "alarm");
    this.open("hand_back");
  }

  show(status, why, first = false) {
    this.status = status;
    const goes = status && (status.phase === "active" || status.phase === "operator");
    const open = goes && !this.ending;
    const holder = status?.holder ?? "";
    const mine = holder === this.me && holder !== "";
    const line = this.find("[data-holder]");
    line.dataset.held = mine ? "me" : holder ? "other" : "";
    line.textContent = !status ? why : goes ? this.holding(holder, mine, status.listeners ?? []) : status.phase === "connecting" ? "The call is being connected." : "This call is over.";
    this.allow("whisper", open);
    this.allow("say", open && !holder);
    this.allow("take_over", open && !holder, mine);
    this.allow("hand_back", open && mine, !mine);
    this.allow("end", open && (!holder || mine));
    const switcher = this.find("[data-listen-switch]");
    if (switcher) switcher.disabled = !goes;
    const speak = this.find("[data-speak]");
    if (speak) speak.hidden = !(open && mine && !this.speaks);
    this.showWaiting(status);
    this.showOutcomes(status?.outcomes ?? [], first);
    this.find('[data-do="hand_back"]')?.classList.toggle("primary", this.speaks);
    if (mine && goes) this.hold();
    else if (this.present) this.release();
  }

  holding(holder, mine, listeners) {
    const others = listeners.filter((one) => one !== this.me && one !== holder);
    const listening = others.length ? ` Listening: ${others.join(", ")}.` : "";
    if (this.ending) return "The call is ending; what was to be said is said first.";
    if (mine) return `${this.speaks ? "You have this call. The assistant is silent until you hand back." : UNHEARD}${listening}`;
    return (holder ? `${holder} has taken this call over.` : "The assistant has this call.") + listening;
  }

  allow(action, enabled, hidden = false) {
    const button = this.find(`[data-do="${action}"]`);
    if (!button) return;
    button.disabled = !enabled;
    button.hidden = hidden;
  }

  showWaiting(status) {
    const notes = status?.notes?.length ?? 0;
    const sayings = status?.sayings?.length ?? 0;
    const parts = [];
    if (notes) parts.push(notes === 1 ? "1 note waits for the next reply" : `${notes} notes wait for the next reply`);
    if (sayings) parts.push(sayings === 1 ? "1 sentence waits for a pause" : `${sayings} sentences wait for a pause`);
    const place = this.find("[data-waiting]");
    place.textContent = parts.length ? `${parts.join("; ")}.` : "";
    place.hidden = !parts.length;
  }

  showOutcomes(outcomes, first) {
    const items = outcomes.slice(-SHOWN).reverse().map((one) => {
      const [text, bad] = this.words(one);
      const item = document.createElement("li");
      item.textContent = text;
      item.dir = "auto";
      if (bad) item.dataset.bad = "";
      return item;
    });
    this.find("[data-outcomes]").replaceChildren(...items);
    for (const one of outcomes) {
      const id = `${one.key} ${one.action} ${one.outcome} ${one.turn} ${one.at_ms}`;
      if (this.told.has(id)) continue;
      this.told.add(id);
      if (!first) announce(this.words(one)[0]);
    }
  }

  words(one) {
    const mine = one.by === this.me;
    const make = OUTCOMES[`${one.action} ${one.outcome}`];
    if (!make) return [`${one.action}: ${one.outcome}`];
    const [text, bad] = make(one, mine ? "Your" : `${one.by}'s`, mine ? "You" : one.by);
    const said = this.texts.get(one.key);
    return [said ? `${text}: “\u2068${said}\u2069”` : `${text}.`, bad]; // isolated: no mark in it turns what follows
  }

  // --- a take-over --------------------------------------------------------------------------------------------------------

  hold() {
    if (this.present) return;
    const tell = () => this.live?.send({ type: "present" });
    tell();
    this.present = setInterval(tell, PRESENT_EVERY_MS);
  }

  release() {
    clearInterval(this.present);
    this.present = 0;
    this.speaks = false;
    this.microphone?.stop();
    const place = this.find("[data-microphone-held]");
    if (place) place.hidden = true;
  }

  /** The microphone goes into the call, with its meter beside the actions; after a reload, or when it was lost, again. */
  async speak() {
    if (!this.microphone) return;
    const place = this.find("[data-microphone-held]");
    place.append(this.microphone.box);
    place.hidden = false;
    if (!(await this.hears())) return;
    this.microphone.speak(this.call);
    this.speaks = true;
    const listen = this.find("[data-listen]");
    if (listen) listenTo(listen); // who speaks with a caller hears them
    if (this.status) this.show(this.status, "");
  }

  unheard(why) {
    const held = this.speaks;
    this.speaks = false;
    if (!held || this.status?.holder !== this.me) return;
    this.show(this.status, "");
    toast(`The caller does not hear you: ${why}`, "alarm");
  }

  // --- the dialogs ----------------------------------------------------------------------------------------------------------

  async open(action) {
    const dialog = this.find(`[data-dialog="${action}"]`);
    if (!dialog || dialog.open || !this.call) return;
    dialog.querySelector("form").reset();
    dialog.dataset.key = freshKey();
    this.fail(dialog, "");
    dialog.showModal();
    if (action === "take_over") await this.check(dialog);
  }

  prepare(dialog) {
    const form = dialog.querySelector("form");
    dialog.querySelector("[data-cancel]").addEventListener("click", () => dialog.close());
    if (dialog.dataset.dialog === "take_over") dialog.addEventListener("close", () => { if (!this.speaks) this.microphone.stop(); });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.send(dialog, form);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }

  /** Before a take-over the microphone is tried: no caller is left with a silent line. */
  async check(dialog) {
    dialog.querySelector("[data-microphone-place]").append(this.microphone.box);
    this.checking = this.microphone.check();
    await this.checking;
    if (!dialog.open && !this.speaks) this.microphone.stop();
  }

  /** Whether there is a microphone to take over with; one check at a time. */
  async hears() {
    await this.checking;
    if (!this.microphone.isReady) this.checking = this.microphone.check();
    return (await this.checking) && this.microphone.isReady;
  }

  fail(dialog, why) {
    const place = dialog.querySelector("[data-error]");
    place.textContent = why;
    place.hidden = !why;
  }

  async send(dialog, form) {
    const submit = form.querySelector("[type=submit]");
    const action = dialog.dataset.dialog;
    const fields = new FormData(form);
    fields.set("key", dialog.dataset.key);
    submit.disabled = true;
    this.fail(dialog, "");
    try {
      if (action === "take_over" && !(await this.hears())) {
        this.fail(dialog, "Without a microphone the caller would hear nobody.");
        return;
      }
      const answer = await this.post(action, fields);
      if (!answer.accepted) {
        this.fail(dialog, answer.why);
        dialog.dataset.key = freshKey(); // the next press is a new request: what forbade this one may be over
        return;
      }
      if (fields.get("text")) this.texts.set(dialog.dataset.key, fields.get("text").trim());
      if (action === "take_over") await this.speak();
      dialog.close();
      if (action === "end") {
        this.ending = true;
        this.show(this.status, "");
      }
      announce(DONE[action]);
    } catch {
      this.fail(dialog, "The server could not be reached. Try again: the same request has one effect.");
    } finally {
      submit.disabled = false;
    }
  }

  async post(action, fields) {
    const token = this.find("[data-csrf]").content.querySelector("input").value;
    const response = await fetch(`/console/operate/${encodeURIComponent(this.call)}/${action}`, {
      method: "POST",
      body: new URLSearchParams(fields),
      headers: { "X-CSRFToken": token, Accept: "application/json" },
    });
    if (response.redirected || response.status === 401) return { accepted: false, why: "You are signed out. Sign in in another tab, then try again." };
    if (!(response.headers.get("Content-Type") ?? "").startsWith("application/json")) {
      return { accepted: false, why: response.status === 403 ? "You may not do this." : `The server refused this (${response.status}).` };
    }
    return response.json();
  }
}

const panels = new Map();
for (const root of document.querySelectorAll("[data-operate]")) panels.set(root, new Panel(root));

/** Open the dialog of an action for a call, as a row's menu does. `root`: the page's [data-operate]. */
export async function act(root, call, action) {
  root.dataset.call = call;
  panels.get(root).watch(call);
  await panels.get(root).open(action);
}
