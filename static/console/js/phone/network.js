// A network between telephone and carrier: it delays frames, unevenly, and loses some. Time is the number of the 20 ms tick.
import { FRAME_MS } from "../audio/mulaw.js";

export class Network {
  /** `settings`: {delayMs, jitterMs, lossShare}, read at every frame. `random` gives numbers from 0 to 1. */
  constructor(settings, random = Math.random) {
    this.settings = settings;
    this.random = random;
    this.underway = [];
    this.lost = 0;
  }

  /** A frame leaves at this tick. */
  send(item, tick) {
    const { delayMs, jitterMs, lossShare } = this.settings;
    if (this.random() < lossShare) {
      this.lost += 1;
      return;
    }
    const due = tick + Math.round((delayMs + this.random() * jitterMs) / FRAME_MS);
    this.underway.push({ due, item });
  }

  /** What has arrived by this tick, in the order of arrival. */
  arrived(tick) {
    const here = this.underway.filter(({ due }) => due <= tick).sort((one, other) => one.due - other.due);
    this.underway = this.underway.filter(({ due }) => due > tick);
    return here.map(({ item }) => item);
  }
}
