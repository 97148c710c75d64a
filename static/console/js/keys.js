// The keyboard: what every page has, and what a screen adds with keys(). "?" shows the map; single letters can be switched off.
//
//   keys("Player", [["Space", "Play or pause", (event) => …], ["b", "Next barge-in", …]]);
//
// Bindings are tinykeys': "g l" is a sequence, "Shift+ArrowLeft" and "[Shift]+?" have modifiers. The default action of a key
// that is bound does not happen.
import { tinykeys } from "../../vendor/tinykeys-4.0.0/tinykeys.mjs";

const STORE = "letters";
const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", "[Shift]": "" };
const map = new Map();
let lettersOn = true;
try { lettersOn = localStorage.getItem(STORE) !== "off"; } catch { /* storage is off */ }

/** Whether a binding is of letters, digits or signs alone (WCAG 2.1.4). */
function isLetters(binding) {
  return binding.split(" ").every((press) => {
    const parts = press === "+" ? ["+"] : press.split(/(?<=.)\+/);
    return parts.at(-1).length === 1 && parts.slice(0, -1).every((part) => /^\[?Shift\]?$/.test(part));
  });
}

// What was closed keeps the focus until the next frame: nobody types there.
function isTyping(target) {
  return target instanceof Element && !target.closest("dialog:not([open])") && target.closest("input, select, textarea, [contenteditable]:not([contenteditable=false])");
}

/** Add a group of bindings: [binding, what it does, handler]. Returns what removes them. */
export function keys(group, bindings) {
  map.set(group, [...(map.get(group) ?? []), ...bindings]);
  const handlers = {};
  for (const [binding, , handler] of bindings) {
    if (!handler) continue;
    const letters = isLetters(binding);
    handlers[binding] = (event) => {
      if (letters && !lettersOn && !binding.includes("?")) return;
      if (handler(event) !== false) event.preventDefault();
    };
  }
  const ignore = (event) => event.isComposing || isTyping(event.target) || document.querySelector("dialog[open]") !== null;
  const remove = tinykeys(window, handlers, { ignore });
  return () => {
    remove();
    map.set(group, map.get(group).filter((one) => !bindings.includes(one)));
  };
}

function caps(binding) {
  const cell = document.createElement("td");
  for (const [index, press] of binding.split(" ").entries()) {
    if (index) cell.append(" ");
    const parts = press.split(/(?<=.)\+/).map((part) => NAMES[part] ?? part).filter(Boolean);
    for (const part of parts) {
      const cap = document.createElement("kbd");
      cap.textContent = part;
      cell.append(cap);
    }
  }
  return cell;
}

function draw(place) {
  place.replaceChildren();
  for (const [group, bindings] of map) {
    if (!bindings.length) continue;
    const table = document.createElement("table");
    table.className = "table keys";
    const caption = document.createElement("caption");
    caption.textContent = group;
    table.append(caption);
    for (const [binding, text] of bindings) {
      const row = table.insertRow();
      const name = document.createElement("th");
      name.scope = "row";
      name.textContent = text;
      row.append(name, caps(binding));
    }
    place.append(table);
  }
}

const dialog = document.getElementById("keys");
const button = document.getElementById("keys-open");

function open() {
  draw(dialog.querySelector("[data-keys-map]"));
  dialog.showModal();
}

if (dialog) {
  const box = dialog.querySelector("[name=letters]");
  box.checked = lettersOn;
  box.addEventListener("change", () => {
    lettersOn = box.checked;
    try { localStorage.setItem(STORE, lettersOn ? "on" : "off"); } catch { /* for this page only */ }
  });
  button.hidden = false;
  button.addEventListener("click", open);
  const pages = [...document.querySelectorAll("[data-keys]")].map((link) => [
    link.dataset.keys,
    link.textContent.trim(),
    () => link.click(),
  ]);
  keys("Everywhere", [
    ["[Shift]+?", "This map", open],
    ["/", "Search", () => document.getElementById("global-search").focus()],
    ...pages,
  ]);
}
