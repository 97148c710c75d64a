// Health: draws the charts of one time range with one crosshair, keeps the system tab fresh, asks before anything is done.
import uPlot from "../../vendor/uplot-1.6.32/uPlot.esm.js";
import { announce } from "./say.js";

const POLL_MS = 2000;
const token = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

// --- charts ------------------------------------------------------------------------------------------------------------

const CHARTS = {
  response: { unit: "ms", lines: (data) => [["objective_ms", "objective"], ["slow_ms", "slow from"]].map(([key, name]) => [name, data[key]]) },
  silent: { unit: "ms", lines: (data) => [["objective", data.silent_ms]] },
  load: { unit: "calls", lines: (data) => (data.capacity ? [["capacity", data.capacity]] : []) },
  audio: { unit: "" },
  failures: { unit: "times" },
};
/** Steps of an axis: there is no half a call. */
const WHOLE = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000].flatMap((of) => [of, 2 * of, 5 * of]);
let drawn = [];

function draw() {
  for (const plot of drawn) plot.destroy();
  drawn = [];
  const source = document.getElementById("chart-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  for (const panel of document.querySelectorAll("[data-chart]")) {
    const place = panel.querySelector(".plot");
    if (place) drawn.push(plotted(place, data, panel.dataset.chart));
  }
}

function plotted(place, data, name) {
  const { unit, lines = () => [] } = CHARTS[name];
  const series = Object.entries(data[name]);
  const fixed = lines(data);
  const ink = token("--ink-soft");
  const axis = { stroke: ink, grid: { stroke: token("--line"), width: 1 }, ticks: { stroke: token("--line") } };
  const options = {
    width: place.clientWidth || 480,
    height: 210,
    cursor: { sync: { key: "health" }, drag: { x: false, y: false } },
    scales: { y: { range: (_plot, _low, high) => [0, Math.max(high || 0, ...fixed.map(([, value]) => value), 1) * 1.08] } },
    axes: [axis, { ...axis, size: 64, incrs: WHOLE, values: (_plot, ticks) => ticks.map((tick) => tick.toLocaleString()) }],
    series: [
      {},
      ...series.map(([label], index) => ({
        label,
        stroke: token(`--series-${index % 6}`),
        width: 2,
        paths: label === "slowest of few" ? () => null : undefined,
        points: { show: label === "slowest of few" ? true : undefined, size: 5 },
        value: (_plot, value, _series, at) => (at == null ? "–" : value == null ? "no data" : `${value.toLocaleString()} ${unit}`),
      })),
      ...fixed.map(([label, of]) => ({ label, stroke: ink, width: 1, dash: [6, 4], points: { show: false }, value: () => `${of.toLocaleString()} ${unit}` })),
    ],
    hooks: { draw: [(plot) => versions(plot, data.versions)] },
  };
  const rows = [data.at, ...series.map(([, values]) => values), ...fixed.map(([, value]) => data.at.map(() => value))];
  return new uPlot(options, rows, place);
}

/** A thin line where a new version of an agent was saved. */
function versions(plot, told) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.strokeStyle = token("--operator");
  ctx.setLineDash([2, 3]);
  for (const [at] of told) {
    const x = Math.round(plot.valToPos(at, "x", true));
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.restore();
}

draw();
let waiting = 0;
const redraw = () => {
  cancelAnimationFrame(waiting);
  waiting = requestAnimationFrame(draw);
};
document.addEventListener("console:theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== width) redraw();
  width = innerWidth;
});

// --- the system tab ----------------------------------------------------------------------------------------------------

const state = document.getElementById("state");
let freshAt = Date.now();

/** What it was before goes as a whole, unless somebody is at it: nothing moves under a pointer's or a keyboard's focus. */
async function poll() {
  const age = () => state.querySelector("[data-poll-age]");
  try {
    const answer = await fetch(state.dataset.poll, { headers: { accept: "text/html" }, signal: AbortSignal.timeout(8000) });
    if (!answer.ok || answer.redirected) throw new Error(answer.status);
    const text = await answer.text();
    freshAt = Date.now();
    if (state.contains(document.activeElement) || document.querySelector("dialog[open]")) {
      age().textContent = "Something here has the focus: what you see stands still.";
      return;
    }
    told(text);
  } catch {
    age().textContent = `No answer for ${Math.round((Date.now() - freshAt) / 1000)} s; what you see is as old.`;
  }
}

function told(text) {
  const before = new Map([...state.querySelectorAll("[data-card]")].map((card) => [card.dataset.card, card.dataset.state]));
  state.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
  state.dispatchEvent(new CustomEvent("console:added", { bubbles: true }));
  for (const card of state.querySelectorAll("[data-card]")) {
    const was = before.get(card.dataset.card);
    if (was && was !== card.dataset.state) announce(`${card.dataset.card}: ${card.querySelector(".chip").textContent.trim()}`);
  }
}

if (state) {
  (async () => {
    for (;;) {
      await new Promise((done) => setTimeout(done, POLL_MS));
      if (!document.hidden) await poll();
    }
  })();
}

document.addEventListener("click", ({ target }) => {
  const asks = target.closest("[data-ask]");
  if (asks) {
    const dialog = document.getElementById(`ask-${asks.dataset.ask}`);
    const form = dialog.querySelector("form");
    form.action = asks.dataset.to;
    for (const name of dialog.querySelectorAll("[data-ask-name]")) name.textContent = asks.dataset.name;
    for (const value of dialog.querySelectorAll("[data-ask-value]")) value.value = asks.dataset.name;
    dialog.showModal();
  } else if (target.closest("[data-close]")) {
    target.closest("dialog").close();
  }
});
