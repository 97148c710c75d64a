// What every page of the console has: theme, local times, the keyboard, results from the server.
import "./times.js";
import "./keys.js";
import "./reveal.js";
import { announce } from "./say.js";

const THEMES = ["system", "light", "dark"];
const button = document.getElementById("theme-switch");

function shown() {
  return document.documentElement.dataset.theme ?? "system";
}

function show() {
  button.querySelector("[data-theme-name]").textContent = shown();
}

if (button) {
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(shown()) + 1) % THEMES.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    try {
      if (next === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch { /* storage is off: for this page only */ }
    show();
    announce(`Theme: ${next}`);
    document.dispatchEvent(new CustomEvent("console:theme"));
  });
}

// On a telephone the screens are pushed sideways: the one that is shown is in sight.
const screens = document.querySelector(".console-nav");
const current = screens.querySelector("[aria-current=page]");
if (current) screens.scrollLeft = current.offsetLeft + current.offsetWidth - screens.clientWidth;
