// Cuts what comes in into frames of 160 samples (20 ms at 8 kHz), fifty a second, whether or not anything is connected:
// whoever takes them has a clock that no hidden tab slows down.
const FRAME = 160;

class Framer extends AudioWorkletProcessor {
  constructor() {
    super();
    this.frame = new Float32Array(FRAME);
    this.filled = 0;
    this.closed = false;
    this.port.onmessage = () => { this.closed = true; };
  }

  process(inputs) {
    const input = inputs[0]?.[0];
    const block = input?.length ?? 128;
    for (let at = 0; at < block; at += 1) {
      this.frame[this.filled] = input ? input[at] : 0;
      this.filled += 1;
      if (this.filled === FRAME) {
        this.port.postMessage(this.frame, [this.frame.buffer]);
        this.frame = new Float32Array(FRAME);
        this.filled = 0;
      }
    }
    return !this.closed;
  }
}

registerProcessor("framer", Framer);
