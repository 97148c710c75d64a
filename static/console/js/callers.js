// Callers and memory: a few seconds of a call, lists by keyboard, an erasure's checklist.
import { playClip } from "./clips.js";
import { announce } from "./say.js";

const LOOK_AGAIN_MS = 1000;

for (const button of document.querySelectorAll("[data-clip]")) {
  button.hidden = false;
  button.addEventListener("click", () => playClip(button.dataset.clip));
}

// j and k, or arrows, from one entry or caller to the next; Enter opens, as on any link.
const links = [...document.querySelectorAll("[data-list] [data-open]")];
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, [contenteditable]")) return;
  const here = links.indexOf(document.activeElement);
  const step = { j: 1, k: -1, ...(here >= 0 ? { ArrowDown: 1, ArrowUp: -1 } : {}) }[event.key];
  if (!step || !links.length) return;
  event.preventDefault();
  links[Math.min(Math.max(here + step, 0), links.length - 1)].focus();
});

const checklist = document.getElementById("checklist");
async function look() {
  if (!checklist || checklist.querySelector("[data-done=yes]")) return;
  const answer = await fetch(checklist.dataset.part).catch(() => null);
  if (answer?.ok) {
    checklist.innerHTML = await answer.text();
    checklist.dispatchEvent(new CustomEvent("console:added", { bubbles: true }));
    if (checklist.querySelector("[data-done=yes]")) {
      announce("Erased everywhere.");
      return;
    }
  }
  setTimeout(look, LOOK_AGAIN_MS);
}
setTimeout(look, LOOK_AGAIN_MS);
