// The microphone of an operator who takes a call over: templates/console/operate/microphone.html.
//
//   const microphone = new Microphone(box, { onLost(why) });
//   await microphone.check();           // before: asks the browser, moves the meter; throws nothing, shows what is wrong
//   microphone.isReady                  // the browser gave it
//   microphone.speak(callSid); microphone.stop();
import { framer, onMeter, openAudio } from "./audio/engine.js";
import { fillDevices, openMicrophone, stopStream } from "./audio/microphone.js";
import { SILENCE, encode, peak, FRAME } from "./audio/mulaw.js";

const SILENT = new Uint8Array(FRAME).fill(SILENCE);
/** What may wait in the browser for a slow connection: a fifth of a second. The rest is dropped, not sent late. */
const MOST_WAITING_BYTES = 1600;
/** The server beats every two seconds: after this long without one nobody hears what is sent. */
const SILENT_MS = 6_000;

export class Microphone {
  constructor(box, { onLost } = {}) {
    this.box = box;
    this.onLost = onLost;
    this.context = null;
    this.stream = null;
    this.socket = null;
    this.muted = false;
    this.find("check").addEventListener("click", () => (this.isReady ? this.stop() : this.check()));
    this.find("device").addEventListener("change", () => { if (this.isReady && !this.socket) { this.stop(); this.check(); } });
    this.find("mute").addEventListener("click", () => this.mute(!this.muted));
  }

  get isReady() {
    return this.stream !== null;
  }

  /** Have the microphone. Whether the browser gave it; why not is shown. */
  async check() {
    this.fail("");
    try {
      this.stream = await openMicrophone(this.find("device").value);
      this.context = await openAudio();
    } catch (error) {
      this.stop();
      this.fail(error.message);
      return false;
    }
    const source = this.context.createMediaStreamSource(this.stream);
    this.framer = framer(this.context, (samples) => this.frame(samples));
    source.connect(this.framer);
    this.stream.getAudioTracks()[0].addEventListener("ended", () => this.lost("The microphone is gone."));
    await fillDevices(this.find("device"), "audioinput");
    this.find("check").textContent = "Stop checking";
    this.say("Speak: the bar should move.");
    return true;
  }

  /** Send it to this call, which hears it only while this operator holds it. */
  speak(callSid) {
    if (!this.isReady) throw new Error("The microphone was not given yet.");
    const address = new URL(`/console/speak/${encodeURIComponent(callSid)}`, location.href.replace(/^http/, "ws"));
    const socket = new WebSocket(address);
    this.socket = socket;
    this.find("check").hidden = true;
    this.find("device").disabled = true;
    let why = "The connection to the call was lost.";
    this.heardAt = performance.now();
    socket.addEventListener("message", ({ data }) => {
      this.heardAt = performance.now();
      const message = JSON.parse(data);
      if (message.type === "snapshot") {
        this.find("mute").hidden = false;
        this.say("The caller hears you.");
      } else if (message.why) why = message.why;
    });
    socket.addEventListener("close", () => { if (this.socket === socket) this.lost(why); });
  }

  frame(samples) {
    const meter = this.find("level");
    meter.value = Math.max(this.muted ? 0 : onMeter(peak(samples)), meter.value - 0.05);
    if (this.socket && performance.now() - this.heardAt > SILENT_MS) {
      this.lost("The connection to the call does not answer.");
      return;
    }
    if (this.socket?.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > MOST_WAITING_BYTES) return;
    this.socket.send(this.muted ? SILENT : encode(samples));
  }

  mute(isMuted) {
    this.muted = isMuted;
    const button = this.find("mute");
    button.setAttribute("aria-pressed", String(isMuted));
    button.textContent = isMuted ? "Unmute" : "Mute";
    this.say(isMuted ? "Muted: the caller hears nothing of you." : "The caller hears you.");
  }

  lost(why) {
    this.stop();
    this.fail(why);
    this.onLost?.(why);
  }

  /** Let go of microphone and connection. */
  stop() {
    const { socket } = this;
    this.socket = null;
    socket?.close();
    stopStream(this.stream);
    this.stream = null;
    this.framer?.port.postMessage("close");
    this.framer = null;
    if (this.context && this.context.state !== "closed") this.context.close();
    this.context = null;
    this.muted = false;
    this.find("check").hidden = false;
    this.find("check").textContent = "Check the microphone";
    this.find("device").disabled = false;
    this.find("mute").hidden = true;
    this.find("level").value = 0;
    this.say("");
  }

  find(part) {
    return this.box.querySelector(`[data-microphone-${part}]`);
  }

  say(text) {
    this.find("said").textContent = text;
  }

  fail(text) {
    const place = this.find("failed");
    place.textContent = text;
    place.hidden = !text;
  }
}
