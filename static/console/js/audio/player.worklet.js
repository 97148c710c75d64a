// Plays sides of a call that lie on one sample clock, a fixed time behind the newest. Each side is an output of its own.
// What comes too late is not played; who falls behind, or runs ahead, goes back to the buffer's length at once.
// In: {side, at, samples}. Out, ten times a second: {levels, behind (samples), late, jumps}.
const SECONDS = 4;

class Player extends AudioWorkletProcessor {
  constructor({ processorOptions: { sides, buffer, most } }) {
    super();
    this.length = SECONDS * sampleRate;
    this.rings = Array.from({ length: sides }, () => new Float32Array(this.length));
    this.levels = new Array(sides).fill(0);
    this.buffer = buffer;
    this.most = most;
    this.head = null; // the sample that is played next
    this.newest = 0;
    this.late = 0;
    this.jumps = 0;
    this.told = 0;
    this.closed = false;
    this.port.onmessage = ({ data }) => { if (data === "close") this.closed = true; else this.write(data); };
  }

  write({ side, at, samples }) {
    const end = at + samples.length;
    this.newest = Math.max(this.newest, end);
    const behind = this.head === null ? -1 : this.newest - this.head;
    if (behind < 0 || behind > this.most) {
      if (this.head !== null) this.jumps += 1;
      this.jump(this.newest - this.buffer);
    }
    const ring = this.rings[side];
    for (let offset = Math.max(0, this.head - at); offset < samples.length; offset += 1) {
      ring[(at + offset) % this.length] = samples[offset];
    }
    if (at < this.head) this.late += 1;
  }

  jump(head) {
    for (const ring of this.rings) {
      if (this.head === null || head < this.head) continue;
      for (let at = this.head; at < Math.min(head, this.head + this.length); at += 1) ring[at % this.length] = 0;
    }
    this.head = Math.max(0, head);
  }

  process(_inputs, outputs) {
    const block = outputs[0][0].length;
    if (this.head !== null) {
      for (let offset = 0; offset < block; offset += 1) {
        const place = (this.head + offset) % this.length;
        this.rings.forEach((ring, side) => {
          const sample = ring[place];
          ring[place] = 0;
          outputs[side][0][offset] = sample;
          const size = Math.abs(sample);
          if (size > this.levels[side]) this.levels[side] = size;
        });
      }
      this.head += block;
    }
    this.told += block;
    if (this.told >= sampleRate / 10) {
      this.told = 0;
      const behind = this.head === null ? null : this.newest - this.head;
      this.port.postMessage({ levels: this.levels, behind, late: this.late, jumps: this.jumps });
      this.levels = this.levels.map(() => 0);
    }
    return !this.closed;
  }
}

registerProcessor("player", Player);
