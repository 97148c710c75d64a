// The test call: before, during, after.
import { framer, onMeter, openAudio } from "./audio/engine.js";
import { fillDevices, openMicrophone, stopStream } from "./audio/microphone.js";
import { framesOf, peak } from "./audio/mulaw.js";
import { connect } from "./live.js";
import { announce } from "./say.js";
import { Line } from "./phone/line.js";
import { Recording, Script, fromFirstSound } from "./phone/sources.js";
import { CourseView, clock, milliseconds } from "./phone/view.js";

const page = document.getElementById("phone");
const $ = (id) => document.getElementById(id);
const before = $("before");
if (before) begin();

function begin() {
  const addresses = page.dataset;
  const reasons = JSON.parse($("end-reasons").textContent);
  const view = new CourseView({ ribbon: $("ribbon"), transcript: $("transcript"), state: $("state"), response: $("last-response") });
  const network = { delayMs: 0, jitterMs: 0, lossShare: 0 };
  let checking = null; // the microphone's check: {context, stream}
  let line = null;
  let call = null; // {begun, startedAt, live, context, stream, timer}

  // --- before -------------------------------------------------------------------------------------------------------

  const chosen = (name) => before.elements[name].value;
  function post(address, body) {
    return fetch(address, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRFToken": page.querySelector("[name=csrfmiddlewaretoken]").value },
      body: JSON.stringify(body),
    });
  }

  async function told(answer) {
    const found = await answer.json().catch(() => ({}));
    throw new Error(found.why ?? (answer.status === 403 ? "You are signed out, or may not make test calls." : `The server answered ${answer.status}.`));
  }

  function fail(error) {
    const place = $("before-failed");
    place.textContent = error?.message ?? "";
    place.hidden = !error;
  }

  function choices() {
    for (const part of before.querySelectorAll("[data-how]")) part.hidden = part.dataset.how !== chosen("how");
    $("caller-field").hidden = chosen("who") !== "caller";
    if (chosen("how") !== "microphone") endCheck();
    if (chosen("who") === "caller" && !$("caller").options.length) findCallers();
  }

  let searched = 0;
  async function findCallers() {
    searched += 1;
    const mine = searched;
    const answer = await fetch(`${addresses.callers}?q=${encodeURIComponent($("caller-search").value)}`);
    if (!answer.ok || mine !== searched) return;
    const { callers } = await answer.json();
    $("caller").replaceChildren(...callers.map((one) => new Option([one.name, one.number].filter(Boolean).join(" · "), one.id)));
    $("caller-empty").hidden = callers.length > 0;
  }

  async function checkMicrophone() {
    if (checking) return endCheck();
    $("microphone-said").textContent = "";
    fail(null);
    try {
      const stream = await openMicrophone($("microphone").value);
      const context = await openAudio();
      checking = { stream, context };
      $("microphone-check").textContent = "Stop checking";
      const node = framer(context, (samples) => { $("microphone-level").value = Math.max(onMeter(peak(samples)), $("microphone-level").value - 0.05); });
      context.createMediaStreamSource(stream).connect(node);
      await devices();
      $("microphone-said").textContent = "Speak: the bar should move.";
    } catch (error) {
      endCheck();
      fail(error);
    }
  }

  function endCheck() {
    if (!checking) return;
    stopStream(checking.stream);
    checking.context.close();
    checking = null;
    $("microphone-check").textContent = "Check the microphone";
    $("microphone-said").textContent = "";
    $("microphone-level").value = 0;
  }

  async function playTone() {
    const context = await openAudio($("speaker").value).catch(fail);
    if (!context) return;
    const tone = context.createOscillator();
    const gain = context.createGain();
    gain.gain.value = 0.2;
    tone.frequency.value = 440;
    const meter = framer(context, (samples) => { $("speaker-level").value = onMeter(peak(samples)); });
    tone.connect(gain);
    gain.connect(context.destination);
    gain.connect(meter);
    tone.start();
    tone.stop(context.currentTime + 0.8);
    tone.addEventListener("ended", () => { context.close(); $("speaker-level").value = 0; });
  }

  async function devices() {
    await fillDevices($("microphone"), "audioinput");
    await fillDevices($("speaker"), "audiooutput");
  }

  function conditioner() {
    network.delayMs = Number($("delay").value);
    network.jitterMs = Number($("jitter").value);
    network.lossShare = Number($("loss").value) / 100;
    for (const output of $("network").querySelectorAll("output")) output.textContent = $(output.htmlFor.value).value;
  }

  // --- during -------------------------------------------------------------------------------------------------------

  async function source(wishes) {
    if (chosen("how") === "microphone") return null;
    if (chosen("how") === "file") {
      if (!$("file").files[0]) throw new Error("Choose an audio file.");
      return Recording.ofFile($("file").files[0]);
    }
    const lines = $("script").value.split("\n").map((text) => text.trim()).filter(Boolean);
    if (!lines.length) throw new Error("Write at least one sentence.");
    const script = new Script(lines, async (text) => {
      const answer = await post(addresses.speak, { text, line: wishes.line });
      return answer.ok ? new Uint8Array(await answer.arrayBuffer()) : told(answer);
    });
    $("start-said").textContent = "Making the voice…";
    await script.ready;
    return script;
  }

  async function start() {
    if (call) return;
    const wishes = { line: chosen("line"), who: chosen("who"), caller: $("caller").value };
    endCheck();
    fail(null);
    $("start").disabled = true;
    call = {};
    try {
      call.stream = chosen("how") === "microphone" ? await openMicrophone($("microphone").value) : null;
      call.context = await openAudio($("speaker").value);
      const said = await source(wishes);
      $("start-said").textContent = "Calling…";
      const answer = await post(addresses.begin, wishes);
      call.begun = answer.ok ? await answer.json() : await told(answer);
      const phrase = await fetch(`${addresses.interruption}?language=${call.begun.language}`);
      call.interruption = fromFirstSound(framesOf(new Uint8Array(await phrase.arrayBuffer())));
      open(said);
    } catch (error) {
      release();
      call = null;
      fail(error);
    }
    $("start").disabled = false;
    $("start-said").textContent = "";
  }

  function open(said) {
    view.clear();
    $("interrupt-said").textContent = "";
    $("during-failed").hidden = true;
    call.startedAt = Date.now();
    line = new Line({
      context: call.context, microphone: call.stream, source: said, network, begun: call.begun,
      address: new URL("/console/phone/stream", location.href.replace(/^http/, "ws")),
      on: {
        level(up, down) { $("level-up").value = up; $("level-down").value = down; },
        interrupted,
        ended,
        connected: watch,
      },
    });
    mute(false);
    before.hidden = true;
    $("network-slot").append($("network"));
    $("after").hidden = true;
    $("during").hidden = false;
    call.timer = setInterval(tick, 250);
    announce("The call begins.");
    $("hang-up").focus();
    page.dispatchEvent(new CustomEvent("phone:begun", { detail: call.begun }));
  }

  function watch() {
    call.live = connect(`/console/phone/watch/${call.begun.call_sid}`, {
      badge: false,
      onSnapshot: (message) => view.snapshot(message),
      onChange: (message) => { view.change(message); if (call?.over && view.end) finish(); },
      onMessage: (message) => { if (message.type === "refused") during(message.why); },
    });
  }

  function during(text) {
    $("during-failed").textContent = text;
    $("during-failed").hidden = !text;
  }

  function tick() {
    $("timer").textContent = clock(Date.now() - call.startedAt);
    view.draw(Date.now());
    $("network-said").textContent = line.lost ? `${line.lost} frames lost` : "";
  }

  function mute(isMuted) {
    line.muted = isMuted;
    $("mute").setAttribute("aria-pressed", String(isMuted));
    $("mute").textContent = isMuted ? "Unmute" : "Mute";
  }

  function interruptNow() {
    if (!line.isSpeaking) {
      $("interrupt-said").textContent = "The agent is silent: there is nothing to interrupt.";
      return;
    }
    $("interrupt").disabled = true;
    $("interrupt-said").textContent = "Interrupting…";
    line.interrupt(call.interruption);
  }

  function interrupted(ms) {
    const objective = Number(addresses.objectiveMs) + 2 * network.delayMs + 2 * network.jitterMs;
    const place = $("interrupt-said");
    $("interrupt").disabled = false;
    place.dataset.ms = ms ?? "";
    place.classList.toggle("over", ms === null || ms > objective);
    place.textContent = ms === null ? "The agent did not stop within 5 s." : `The agent was silent after ${milliseconds(ms)} (objective ${milliseconds(objective)}${objective > Number(addresses.objectiveMs) ? ", your network included" : ""}).`;
  }

  async function whisper(event) {
    event.preventDefault();
    const note = $("whisper-note");
    $("whisper-said").textContent = "";
    const answer = await post(`/console/operate/${call.begun.call_sid}/whisper`, { text: note.value });
    const found = await answer.json().catch(() => ({}));
    $("whisper-said").textContent = answer.ok ? "The assistant will have it for its next reply." : found.why ?? `Refused (${answer.status}).`;
    if (answer.ok) note.value = "";
  }

  // --- after --------------------------------------------------------------------------------------------------------

  function ended(why) {
    call.over = true;
    call.endedAt = Date.now();
    call.why = why;
    clearInterval(call.timer);
    release();
    if (view.end) finish();
    else setTimeout(finish, 2500); // the record says why, a moment later
  }

  function release() {
    stopStream(call?.stream);
    if (call?.context && call.context.state !== "closed") call.context.close();
  }

  function finish() {
    if (!call?.over) return;
    const over = call;
    call = null;
    over.live?.close();
    view.setState("ENDED");
    view.draw(over.endedAt);
    $("level-up").value = 0;
    $("level-down").value = 0;
    const found = view.summary();
    const reason = reasons[view.end] ?? "";
    $("outcome").textContent = over.why || (reason ? `${reason[0].toUpperCase()}${reason.slice(1)}.` : "The call has ended; its record is being written.");
    $("after-length").textContent = clock(over.endedAt - over.startedAt);
    $("after-median").textContent = found.answers ? milliseconds(found.median) : "no data";
    $("after-worst").textContent = milliseconds(found.worst);
    $("after-cuts").textContent = String(found.cuts);
    $("after-lost").textContent = String(line.lost);
    $("call-page").href = addresses.call.replace("CALLSID", over.begun.call_sid);
    $("after").hidden = false;
    $("during-heading").textContent = "What happened";
    for (const button of $("during").querySelectorAll("button, textarea")) button.disabled = true;
    $("after").focus();
    announce("The call is over.");
    page.dispatchEvent(new CustomEvent("phone:ended"));
  }

  function again(thenCall) {
    for (const button of $("during").querySelectorAll("button, textarea")) button.disabled = false;
    $("during-heading").textContent = "On the line";
    $("after").hidden = true;
    $("during").hidden = true;
    before.hidden = false;
    before.querySelector(".phone-start").before($("network"));
    if (thenCall) start();
    else $("line").focus();
  }

  before.addEventListener("change", choices);
  $("network").addEventListener("input", conditioner);
  before.addEventListener("submit", (event) => { event.preventDefault(); start(); });
  $("caller-search").addEventListener("input", findCallers);
  $("microphone-check").addEventListener("click", checkMicrophone);
  $("speaker-check").addEventListener("click", playTone);
  $("hang-up").addEventListener("click", () => line.hangUp());
  $("mute").addEventListener("click", () => mute(!line.muted));
  $("interrupt").addEventListener("click", interruptNow);
  $("keypad").addEventListener("click", (event) => { if (event.target.dataset.key) line.press(event.target.dataset.key); });
  $("whisper")?.addEventListener("submit", whisper);
  $("again").addEventListener("click", () => again(true));
  $("change").addEventListener("click", () => again(false));
  addEventListener("pagehide", () => line?.hangUp());
  choices();
  conditioner();
  devices();
}
