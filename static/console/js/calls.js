// The list of calls: what is counted beside it, a range dragged on the histogram, rows by keyboard.
import { keys } from "./keys.js";

const form = document.getElementById("query-form");
const box = document.getElementById("query");

// --- the histogram: dragging over bars asks for their time

function minute(moment) {
  // As the language writes it, in the reader's own zone of the server: the offset is cut off, the clock stays.
  return moment.slice(0, 16);
}

function ask(start, end) {
  const rest = box.value.replace(/(?:^|\s)-?date:\S+/g, " ").trim();
  box.value = `${rest} date:>=${minute(start)} date:<${minute(end)}`.trim();
  form.requestSubmit();
}

function draw(figure) {
  const chosen = figure.querySelector(".chosen");
  const picture = figure.querySelector("svg");
  const bars = [...figure.querySelectorAll(".bar")];
  const width = picture.viewBox.baseVal.width;
  let first = -1;
  let last = -1;

  const place = (event) => {
    const area = picture.getBoundingClientRect();
    const share = (event.clientX - area.left) / area.width;
    return Math.min(bars.length - 1, Math.max(0, Math.floor(share * bars.length)));
  };
  const mark = () => {
    const [from, to] = [Math.min(first, last), Math.max(first, last)];
    chosen.setAttribute("x", String((from * width) / bars.length));
    chosen.setAttribute("width", String(first < 0 ? 0 : ((to - from + 1) * width) / bars.length));
  };
  const take = () => {
    const [from, to] = [Math.min(first, last), Math.max(first, last)];
    ask(bars[from].dataset.start, bars[to].dataset.end);
  };

  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    picture.setPointerCapture(event.pointerId);
    first = last = place(event);
    mark();
  });
  picture.addEventListener("pointermove", (event) => {
    if (first < 0) return;
    last = place(event);
    mark();
  });
  picture.addEventListener("pointerup", () => {
    if (first >= 0) take();
  });
  picture.addEventListener("pointercancel", () => {
    first = last = -1;
    mark();
  });
  // The same by keyboard: arrows move, Shift widens, Enter takes.
  picture.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const step = event.key === "ArrowRight" ? 1 : -1;
      last = first < 0 ? bars.length - 1 : Math.min(bars.length - 1, Math.max(0, last + step));
      if (!event.shiftKey || first < 0) first = last;
      mark();
      event.preventDefault();
    } else if (event.key === "Enter" && first >= 0) {
      take();
    } else if (event.key === "Escape") {
      first = last = -1;
      mark();
    }
  });
}

// --- what is counted over all calls that fit comes after the list, which is there at once

for (const place of document.querySelectorAll("[data-beside]")) {
  fetch(place.dataset.beside, { headers: { Accept: "text/html" } })
    .then((answer) => (answer.ok ? answer.text() : Promise.reject(new Error(String(answer.status)))))
    .then((html) => {
      place.hidden = !html.trim(); // no histogram of nothing
      place.innerHTML = html; // our own template, which has escaped what calls brought along
      place.dispatchEvent(new CustomEvent("console:added", { bubbles: true }));
      const figure = place.querySelector("#histogram");
      if (figure) draw(figure);
    })
    .catch(() => {
      const failed = document.createElement("p");
      failed.className = "failed";
      failed.textContent = "Counting failed. The list is complete; reload to count again.";
      place.replaceChildren(failed);
    });
}

// --- rows: j and k or arrows, Enter opens, x chooses

const rows = [...document.querySelectorAll("#results tbody tr")];
let at = -1;

function move(step) {
  if (!rows.length) return;
  rows[at]?.removeAttribute("aria-current");
  at = Math.min(rows.length - 1, Math.max(0, at + step));
  rows[at].setAttribute("aria-current", "true");
  rows[at].querySelector("th a")?.focus({ preventScroll: true });
  rows[at].scrollIntoView({ block: "nearest" });
}

function leave() {
  if (at < 0) return false;
  rows[at].removeAttribute("aria-current");
  at = -1;
  document.activeElement?.blur();
}

// Arrows scroll the page until a row is chosen.
const step = (by) => () => (at < 0 ? false : move(by));
if (rows.length) {
  keys("List of calls", [
    ["j", "Next row", () => move(1)],
    ["k", "Row before", () => move(-1)],
    ["ArrowDown", "Next row", step(1)],
    ["ArrowUp", "Row before", step(-1)],
    ["Enter", "Open the row"],
    ["x", "Choose the row for flags and exports", () => rows[at]?.querySelector("input[type=checkbox]")?.click()],
    ["Escape", "Leave the rows", leave],
  ]);
}

document.getElementById("results")?.addEventListener("focusin", (event) => {
  const row = rows.indexOf(event.target.closest("tr"));
  if (row < 0 || row === at) return;
  rows[at]?.removeAttribute("aria-current");
  at = row;
  rows[at].setAttribute("aria-current", "true");
});
