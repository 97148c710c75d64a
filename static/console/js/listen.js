// Listening to a live call, both sides, as its caller says and hears them: the markup is templates/console/operate/listen.html.
// It starts on a click only and ends with the page, the call, or `stopListening()`. One call at a time.
import { onMeter, openAudio, player } from "./audio/engine.js";
import { readBatch } from "./audio/batch.js";
import { decode, RATE_HZ } from "./audio/mulaw.js";
import { announce } from "./say.js";

const BUFFER = { bufferMs: 200, mostMs: 330 };
const SIDES = 2;
// Sound comes ten times a second: without any the connection is stale, then dead.
const STALE_MS = 1_500;
const DEAD_MS = 10_000;
const LOST = "The connection was lost. Click to listen again.";
let here = null; // {box, context, player, socket}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-listen-switch]");
  if (!button) return;
  const box = button.closest("[data-listen]");
  const isThis = here?.box === box;
  stopListening();
  if (!isThis) listen(box);
});

document.addEventListener("input", (event) => {
  const side = event.target.dataset?.volume;
  if (side !== undefined && here?.box.contains(event.target)) here.player?.volume(Number(side), Number(event.target.value));
});

// A drawer that is closed takes its markup along: whoever cannot see that they listen does not.
new MutationObserver(() => { if (here && !here.box.isConnected) stopListening(); }).observe(document.body, { childList: true, subtree: true });

/** Begin, unless it has; for a click on something else that needs ears. */
export function listenTo(box) {
  if (here?.box === box) return;
  stopListening();
  listen(box);
}

export function stopListening(said = "Silent: neither side is told.") {
  if (!here) return;
  const { box, context, player: playing, socket } = here;
  here = null;
  socket?.close();
  playing?.close();
  context?.close();
  show(box, false, said);
}

async function listen(box) {
  const mine = { box, context: null, player: null, socket: null, heardAt: performance.now(), numbers: { batches: 0, lost: 0, last: 0 } };
  here = mine;
  show(box, true, "Connecting…");
  try {
    mine.context = await openAudio();
  } catch (error) {
    if (here === mine) stopListening(error.message);
    return;
  }
  if (here !== mine) {
    mine.context.close();
    return;
  }
  mine.player = player(mine.context, SIDES, BUFFER, (told) => levels(mine, told));
  for (const slider of box.querySelectorAll("[data-volume]")) mine.player.volume(Number(slider.dataset.volume), Number(slider.value));
  const address = new URL(`/console/listen/${encodeURIComponent(box.dataset.listen)}`, location.href.replace(/^http/, "ws"));
  mine.socket = new WebSocket(address);
  mine.socket.binaryType = "arraybuffer";
  let why = LOST;
  mine.socket.addEventListener("message", ({ data }) => {
    if (here !== mine) return;
    if (typeof data !== "string") mine.heardAt = performance.now();
    if (typeof data !== "string") {
      take(mine, readBatch(data));
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "refused" || message.type === "over") why = message.why;
  });
  mine.socket.addEventListener("close", () => {
    if (here !== mine) return;
    stopListening(why);
    announce(why);
  });
}

function take(mine, batch) {
  const { numbers } = mine;
  if (numbers.last && batch.number > numbers.last + 1) numbers.lost += batch.number - numbers.last - 1;
  numbers.last = batch.number;
  numbers.batches += 1;
  mine.takenAt = batch.takenAt;
  if (batch.caller.length) mine.player.write(0, batch.callerAt, decode(batch.caller));
  if (batch.agent.length) mine.player.write(1, batch.agentAt, decode(batch.agent));
}

function levels(mine, { levels: loudest, behind }) {
  if (here !== mine) return;
  for (const meter of mine.box.querySelectorAll("[data-meter]")) meter.value = onMeter(loudest[Number(meter.dataset.meter)]);
  const holds = mine.box.closest("[data-operate]")?.querySelector('[data-held="me"]') != null;
  mine.player.volume(1, holds ? 0 : Number(mine.box.querySelector('[data-volume="1"]').value)); // nobody hears themselves, late
  const quietMs = performance.now() - mine.heardAt;
  if (quietMs > DEAD_MS) {
    stopListening(LOST);
    announce(LOST);
    return;
  }
  if (quietMs > STALE_MS) {
    mine.box.querySelector("[data-listen-said]").textContent = `No sound has come for ${Math.round(quietMs / 1000)} s.`;
    return;
  }
  if (behind === null) return;
  // From the moment it was heard: the way here, and what waits in the buffer. The age is by two clocks, near each other or not.
  const behindMs = Math.round((behind / RATE_HZ) * 1000 + Math.max(0, Date.now() - mine.takenAt));
  mine.box.dataset.behindMs = behindMs;
  mine.box.dataset.batches = mine.numbers.batches;
  mine.box.dataset.lost = mine.numbers.lost;
  mine.box.querySelector("[data-listen-said]").textContent = `Listening, ${behindMs.toLocaleString()} ms behind.`;
}

function show(box, isOn, said) {
  const button = box.querySelector("[data-listen-switch]");
  button.setAttribute("aria-pressed", String(isOn));
  button.textContent = isOn ? "Stop listening" : "Listen";
  box.querySelector("[data-listen-said]").textContent = said;
  box.querySelector(".listen-sides").hidden = !isOn;
  for (const meter of box.querySelectorAll("[data-meter]")) meter.value = 0;
}
