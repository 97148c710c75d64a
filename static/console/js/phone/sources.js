// What a test caller says besides what the microphone hears: `next({heard, quiet})` gives the frame of this tick, or null.
// `quiet`: ticks since anybody was heard; `heard`: whether the agent has spoken since this caller last did.
import { RATE_HZ, SILENCE, encode, framesOf } from "../audio/mulaw.js";

const REPLY_IS_OVER = 35; // 700 ms: the agent makes pauses too
const GIVE_UP = 750; // 15 s without any answer

/** Frames in a row. */
export class Recording {
  constructor(frames) {
    this.frames = [...frames];
  }

  next() {
    return this.frames.shift() ?? null;
  }

  get finished() {
    return this.frames.length === 0;
  }

  static async ofFile(file) {
    const decoded = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(await file.arrayBuffer()).catch(() => {
      throw new Error("This file cannot be read as audio.");
    });
    const mixed = new Float32Array(decoded.length);
    for (let channel = 0; channel < decoded.numberOfChannels; channel += 1) {
      decoded.getChannelData(channel).forEach((sample, at) => { mixed[at] += sample / decoded.numberOfChannels; });
    }
    return new Recording(framesOf(encode(mixed)));
  }
}

/** Sentences, each said when the agent has finished. `fetchLine(text)` gives µ-law bytes. */
export class Script {
  constructor(lines, fetchLine) {
    this.waiting = lines.map((text) => ({ text, frames: null }));
    this.frames = [];
    this.failed = "";
    this.ready = this.load(fetchLine);
  }

  async load(fetchLine) {
    for (const line of this.waiting) line.frames = framesOf(await fetchLine(line.text));
  }

  next({ heard, quiet }) {
    if (this.frames.length) return this.frames.shift();
    const line = this.waiting[0];
    if (line?.frames && ((heard && quiet > REPLY_IS_OVER) || quiet > GIVE_UP)) {
      this.waiting.shift();
      this.frames = line.frames;
      return this.frames.shift();
    }
    return null;
  }

  get finished() {
    return this.waiting.length === 0 && this.frames.length === 0;
  }
}

/** Without the silence before its first sound. */
export function fromFirstSound(frames) {
  const first = frames.findIndex((frame) => frame.some((byte) => (byte & 0x7f) < 0x60 && byte !== SILENCE));
  return frames.slice(Math.max(0, first));
}
