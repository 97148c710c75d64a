// Time travel: the slider and the steps fetch a moment of the call and keep the address. Works without it by links and a form.
import { announce } from "./say.js";

const PAUSE_MS = 90;
const TELL_MS = 400;

class Travel {
  constructor(panel) {
    this.panel = panel;
    this.address = panel.dataset.travel;
    this.place = panel.querySelector("[data-travel-moment]");
    this.slider = panel.querySelector("#travel-slider");
    this.seconds = panel.querySelector("#travel-t");
    this.slider.hidden = false;
    this.asked = 0;
    this.slider.addEventListener("input", () => this.soon({ t: this.slider.value / 1000 }));
    panel.querySelector(".travel-when").addEventListener("submit", (event) => {
      event.preventDefault();
      this.go({ t: Number(this.seconds.value || 0) }, true);
    });
    panel.addEventListener("click", (event) => this.followed(event));
    panel.addEventListener("toggle", (event) => this.opened(event.target), true);
    panel.querySelector("[data-travel-replay]")?.addEventListener("submit", (event) => this.replay(event));
    // The page around may say which moment it is at, and is told where we went.
    document.addEventListener("travel:go", (event) => this.follow(event.detail));
  }

  /** Fill the panel once it is seen, unless the server has. */
  start() {
    if (this.place.querySelector("[data-at-ms], .empty")) return;
    const query = new URLSearchParams(location.search);
    const wanted = query.has("step") ? { step: query.get("step") } : { t: query.get("t") ?? this.panel.dataset.endsMs / 1000 };
    this.place.querySelector("[data-travel-open]")?.addEventListener("click", (event) => {
      event.preventDefault();
      this.go(wanted, false);
    });
    // A long call is run again for its first look: only when somebody asks for it, or for a moment by the address.
    if ("travelLong" in this.panel.dataset && !query.has("step")) return;
    new IntersectionObserver((seen, observer) => {
      if (!seen.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      this.go(wanted, false);
    }).observe(this.panel);
  }

  soon(where, keep = true) {
    clearTimeout(this.waiting);
    this.waiting = setTimeout(() => this.go(where, keep), PAUSE_MS);
  }

  /** The page went to another moment: so do we, if anybody has looked at us yet. */
  follow(where) {
    if (!this.place.querySelector("[data-at-ms]")) return;
    const address = new URL(location.href);
    address.searchParams.delete("step");
    history.replaceState(history.state, "", address);
    this.soon(where, false);
  }

  async go(where, keep) {
    const asked = ++this.asked;
    this.place.setAttribute("aria-busy", "true");
    const query = new URLSearchParams({ ...where, fragment: "1" });
    const telling = setInterval(() => this.tell(), TELL_MS);
    try {
      const answer = await fetch(`${this.address}?${query}`, { credentials: "same-origin" });
      if (asked !== this.asked) return;
      if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
      this.place.innerHTML = await answer.text();
      this.came(where, keep);
    } catch {
      if (asked === this.asked) this.failed(where);
    } finally {
      clearInterval(telling);
      if (asked === this.asked) this.place.removeAttribute("aria-busy");
    }
  }

  /** How far the first look has come: the whole call is run for it. */
  async tell() {
    const answer = await fetch(this.panel.dataset.travelSteps, { credentials: "same-origin" }).catch(() => null);
    const { run } = answer?.ok ? await answer.json() : { run: null };
    if (run === null || !this.place.hasAttribute("aria-busy")) return;
    let text = this.place.querySelector("[data-travel-run]");
    if (!text) {
      text = document.createElement("p");
      text.className = "soft tabular";
      text.dataset.travelRun = "";
      this.place.replaceChildren(text);
    }
    text.textContent = `Running the call again: step ${run.toLocaleString()}…`;
  }

  came(where, keep) {
    const at = this.place.querySelector("[data-at-ms]");
    if (!at) return;
    const ms = Number(at.dataset.atMs);
    if (document.activeElement !== this.slider) this.slider.value = ms;
    this.slider.setAttribute("aria-valuetext", `${at.querySelector(".travel-clock").textContent}, ${this.place.querySelector("h3").textContent}`);
    if (document.activeElement !== this.seconds) this.seconds.value = (ms / 1000).toFixed(3);
    if (!keep) return;
    const address = new URL(location.href);
    for (const name of ["t", "step"]) address.searchParams.delete(name);
    const [name, value] = "step" in where ? ["step", where.step] : ["t", (ms / 1000).toFixed(3)];
    address.searchParams.set(name, value);
    history.replaceState(history.state, "", address);
    document.dispatchEvent(new CustomEvent("travel:went", { detail: { t: ms / 1000, step: Number(at.dataset.step) } }));
  }

  failed(where) {
    const words = document.createElement("p");
    words.className = "failed";
    words.textContent = "This moment could not be fetched. ";
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => this.go(where, true));
    words.append(again);
    this.place.replaceChildren(words);
  }

  followed(event) {
    const link = event.target.closest("[data-step-to]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const label = link.textContent;
    this.go({ step: link.dataset.stepTo }, true).then(() => {
      const same = [...this.place.querySelectorAll("nav [data-step-to]")].find((one) => one.textContent === label);
      same?.focus();
      announce(this.place.querySelector("h3")?.textContent ?? "");
    });
  }

  async opened(details) {
    if (!details.matches("[data-travel-raw]") || !details.open || details.dataset.filled) return;
    details.dataset.filled = "1";
    const place = details.querySelector("[data-travel-raw-text]");
    const answer = await fetch(details.dataset.travelRaw, { credentials: "same-origin" });
    if (answer.ok) place.innerHTML = await answer.text();
    else place.textContent = "The state could not be fetched.";
  }

  async replay(event) {
    event.preventDefault();
    const form = event.target;
    const place = this.panel.querySelector("[data-travel-verdict]");
    const button = form.querySelector("button");
    button.disabled = true;
    place.textContent = "Replaying…";
    try {
      const answer = await fetch(form.action, { method: "POST", body: new FormData(form), credentials: "same-origin" });
      if (answer.ok && !answer.redirected) place.innerHTML = await answer.text();
      else place.textContent = answer.status === 403 ? "You may not replay calls." : "The replay failed. Try again.";
    } catch {
      place.textContent = "The replay could not be asked for. Is the connection there?";
    } finally {
      button.disabled = false;
    }
  }
}

for (const panel of document.querySelectorAll("[data-travel]")) new Travel(panel).start();
