// A test call in the browser: telephone, network and carrier, driven by the audio clock, 20 ms at a time.
import { framer, onMeter, player } from "../audio/engine.js";
import { FRAME, FRAME_MS, SILENCE, decode, encode, peak } from "../audio/mulaw.js";
import { CarrierStream } from "./carrier.js";
import { Network } from "./network.js";

const BUFFER = { bufferMs: 60, mostMs: 300 };
const AUDIBLE = 0.01;
const GAP = 5; // ticks without sound: the voice has stopped
const NEVER = 250; // ticks after which an interruption has failed
const AFTER_SCRIPT = 200; // ticks of quiet after the last answer
const SILENT_FRAME = new Uint8Array(FRAME).fill(SILENCE);

export class Line {
  /**
   * `source`: null for the microphone, else what sources.js makes. `network`: the conditioner's settings.
   * `on`: {connected, level(up, down), interrupted(ms or null), ended(why), failed}.
   */
  constructor({ context, microphone, source, network, begun, address, on }) {
    this.context = context;
    this.source = source;
    this.on = on;
    this.muted = false;
    this.tick = 0;
    this.quiet = 0;
    this.heard = false;
    this.overlay = [];
    this.measure = null;
    this.up = new Network(network);
    this.down = new Network(network);
    this.isOpen = false;
    this.levels = { up: 0, down: 0 };
    this.player = player(context, 1, BUFFER);
    this.carrier = new CarrierStream(address, begun, {
      onOpen: () => { this.isOpen = true; on.connected?.(); },
      onClear: () => { if (this.measure) this.measure.cleared = true; },
      onEnd: (why) => this.ended(why),
    });
    this.framer = framer(context, (samples) => this.step(samples));
    if (microphone) {
      this.input = context.createMediaStreamSource(microphone);
      this.input.connect(this.framer);
    }
  }

  /** 20 ms of the call. */
  step(samples) {
    if (!this.isOpen || this.carrier.ended) return;
    this.speak(samples);
    this.listen();
    if (this.tick % 5 === 0) {
      this.on.level?.(onMeter(this.levels.up), onMeter(this.levels.down));
      this.levels = { up: 0, down: 0 };
    }
    this.tick += 1;
    if (this.source?.finished && this.source.waiting && this.heard && this.quiet > AFTER_SCRIPT) this.hangUp();
  }

  speak(samples) {
    const said = this.source ? this.source.next(this) : encode(samples);
    let frame = this.muted || !said ? SILENT_FRAME : said;
    if (this.overlay.length) {
      frame = this.overlay.shift();
      if (this.measure && this.measure.from === null) this.measure.from = this.tick;
    }
    const level = peak(decode(frame));
    this.levels.up = Math.max(this.levels.up, level);
    if (this.source && said) { this.quiet = 0; this.heard = false; }
    this.up.send({ frame, tick: this.tick }, this.tick);
    for (const sent of this.up.arrived(this.tick)) this.carrier.media(sent.frame, sent.tick);
  }

  listen() {
    const played = this.carrier.play();
    if (played) this.down.send({ frame: played, tick: this.tick }, this.tick);
    let isVoiced = false;
    for (const { frame, tick } of this.down.arrived(this.tick)) {
      const heard = decode(frame);
      const level = peak(heard);
      this.levels.down = Math.max(this.levels.down, level);
      isVoiced ||= level > AUDIBLE;
      this.player.write(0, tick * FRAME, heard);
    }
    this.quiet = isVoiced || this.carrier.waiting ? 0 : this.quiet + 1;
    this.heard ||= isVoiced;
    this.measured(isVoiced);
  }

  /** Whether the agent can be heard, or will be. */
  get isSpeaking() {
    return this.carrier.waiting > 0;
  }

  /** Say these frames over the agent and measure until its voice stops: by the frames that arrive at the telephone. */
  interrupt(frames) {
    this.overlay = [...frames];
    this.measure = { from: null, last: null, cleared: false };
  }

  measured(isVoiced) {
    const measure = this.measure;
    if (!measure || measure.from === null) return;
    if (isVoiced) measure.last = this.tick;
    const last = measure.last ?? measure.from;
    if (measure.cleared && this.tick - last >= GAP) this.settle((last - measure.from + 1) * FRAME_MS);
    else if (this.tick - measure.from > NEVER) this.settle(null);
  }

  settle(ms) {
    this.measure = null;
    this.on.interrupted?.(ms);
  }

  press(key) {
    this.carrier.press(key);
  }

  get lost() {
    return this.up.lost + this.down.lost;
  }

  hangUp() {
    this.carrier.hangUp();
  }

  ended(why) {
    this.input?.disconnect();
    this.framer.port.postMessage("close");
    this.framer.disconnect();
    this.player.close();
    this.on.ended?.(why);
  }
}
