// The call's clock in ms, and the sound that runs on it. Without a recording the clock can be set and does not run.
const STEP_S = 2;

export class Player extends EventTarget {
  #audio = null;
  #offset = 0;
  #at = 0;
  #range = null;
  #context = null;
  #gains = null;
  #solo = "";

  constructor({ audio, offset = 0, duration }) {
    super();
    this.duration = duration;
    if (!audio) return;
    this.#offset = offset;
    this.#audio = new Audio();
    this.#audio.preload = "none"; // nothing is fetched, and nothing audited, before somebody plays
    this.#audio.src = audio;
    for (const name of ["play", "pause", "ended"]) this.#audio.addEventListener(name, () => this.#tell(name));
    this.#audio.addEventListener("error", () => this.#tell("failed"));
    this.#audio.addEventListener("seeked", () => this.#tell("seeked"));
  }

  get canPlay() { return this.#audio !== null; }
  get playing() { return this.#audio !== null && !this.#audio.paused; }
  get range() { return this.#range; }
  /** Where the sound is, in ms on the call's clock. */
  get at() {
    if (this.#audio && (this.playing || this.#audio.readyState > 0)) return this.#audio.currentTime * 1000 + this.#offset;
    return this.#at;
  }

  seek(at) {
    this.#at = Math.min(Math.max(0, at), this.duration);
    if (this.#audio) this.#audio.currentTime = Math.max(0, (this.#at - this.#offset) / 1000);
    this.#tell("moved");
  }

  step(seconds) { this.seek(this.at + seconds * STEP_S * 1000); }

  async toggle() {
    if (!this.#audio) return;
    if (this.playing) { this.#audio.pause(); return; }
    const at = this.at;
    this.#audio.currentTime = Math.max(0, (at - this.#offset) / 1000);
    await this.#audio.play().catch(() => this.#tell("failed"));
    if (this.#solo) this.#wire();
  }

  pause() { this.#audio?.pause(); }

  set rate(rate) { if (this.#audio) this.#audio.playbackRate = rate; }
  get rate() { return this.#audio?.playbackRate ?? 1; }

  /** Loop from…to in ms; `null` plays on. */
  loop(range) { this.#range = range; this.#tell("range"); }

  /** Called for every frame that is drawn while it plays. */
  tick() {
    const range = this.#range;
    if (range && this.playing && this.at >= range[1]) this.seek(range[0]);
  }

  /** "caller", "agent", or "" for both. Both sides of the speakers give the one that is chosen. */
  solo(side) {
    this.#solo = side;
    if (side || this.#gains) this.#wire();
  }
  get soloed() { return this.#solo; }

  #wire() {
    if (!this.#audio) return;
    if (!this.#context) {
      this.#context = new AudioContext();
      const source = this.#context.createMediaElementSource(this.#audio);
      const splitter = this.#context.createChannelSplitter(2);
      source.connect(splitter);
      this.#gains = [0, 1].map((channel) => {
        const gain = this.#context.createGain();
        splitter.connect(gain, channel);
        gain.connect(this.#context.destination);
        return gain;
      });
    }
    this.#context.resume();
    this.#gains[0].gain.value = this.#solo === "agent" ? 0 : 1;
    this.#gains[1].gain.value = this.#solo === "caller" ? 0 : 1;
  }

  #tell(name) { this.dispatchEvent(new CustomEvent(name)); }
}
