// The carrier's side of a media stream, as Twilio's: JSON messages, a play queue with marks, a clear that flushes both.
// `tick()` is 20 ms of the call. What a caller hears is what leaves the queue.
import { FRAME, SILENCE, fromBase64, toBase64 } from "../audio/mulaw.js";

const WHY = {
  4401: "The call was not let in: its ticket is used up or too old. Call again.",
  4407: "You may not make test calls any more.",
  4408: "The call did not begin in time. Call again.",
  4409: "This call has a stream already.",
  4429: "All lines are taken. Try again when a call has ended.",
  4430: "This server is being stopped and takes no calls. Try again in a minute.",
  1006: "The connection to the server was lost.",
};

export class CarrierStream {
  /** `begun`: what /console/phone/begin answered. `onOpen()`, `onClear()`, `onEnd(why)`: why is empty for a hang-up. */
  constructor(address, begun, { onOpen, onClear, onEnd }) {
    this.streamSid = `MZ${begun.call_sid.slice(2)}`;
    this.sequence = 0;
    this.chunk = 0;
    this.queue = []; // bytes of audio, or {mark}
    this.waiting = 0;
    this.ended = false;
    this.on = { onOpen, onClear, onEnd };
    this.socket = new WebSocket(address);
    this.socket.addEventListener("open", () => this.start(begun));
    this.socket.addEventListener("message", (event) => this.take(JSON.parse(event.data)));
    this.socket.addEventListener("close", (event) => this.end(event.code === 1000 ? "" : WHY[event.code] ?? `The stream was closed (${event.code}).`));
  }

  start(begun) {
    this.tell({ event: "connected", protocol: "Call", version: "1.0.0" });
    this.send({
      event: "start",
      start: {
        streamSid: this.streamSid, accountSid: begun.account_sid, callSid: begun.call_sid, tracks: ["inbound"],
        customParameters: { token: begun.token },
        mediaFormat: { encoding: "audio/x-mulaw", sampleRate: 8000, channels: 1 },
      },
    });
    this.on.onOpen?.();
  }

  take(message) {
    if (message.event === "media") {
      const bytes = fromBase64(message.media.payload);
      this.queue.push(bytes);
      this.waiting += bytes.length;
    } else if (message.event === "mark") {
      this.queue.push({ mark: message.mark.name });
      this.passMarks();
    } else if (message.event === "clear") {
      const marks = this.queue.filter((item) => item.mark !== undefined);
      this.queue = [];
      this.waiting = 0;
      marks.forEach((item) => this.echo(item.mark));
      this.on.onClear?.();
    }
  }

  /** The next 20 ms that the caller hears, or null where nothing is queued. */
  play() {
    if (!this.waiting) return null;
    const frame = new Uint8Array(FRAME).fill(SILENCE);
    let filled = 0;
    while (filled < FRAME && this.waiting) {
      const head = this.queue[0];
      if (head.mark !== undefined) {
        this.passMarks();
        continue;
      }
      const part = head.subarray(0, FRAME - filled);
      frame.set(part, filled);
      filled += part.length;
      this.waiting -= part.length;
      if (part.length === head.length) this.queue.shift();
      else this.queue[0] = head.subarray(part.length);
    }
    this.passMarks();
    return frame;
  }

  /** A frame of the caller; `tick` counts from the stream's start. */
  media(bytes, tick) {
    this.chunk += 1;
    this.send({ event: "media", media: { track: "inbound", chunk: String(this.chunk), timestamp: String(tick * 20), payload: toBase64(bytes) } });
  }

  press(digit) {
    this.send({ event: "dtmf", dtmf: { track: "inbound_track", digit } });
  }

  hangUp() {
    if (this.ended) return;
    this.send({ event: "stop", stop: {} });
    this.socket.close(1000);
    this.end("");
  }

  passMarks() {
    while (this.queue[0]?.mark !== undefined) this.echo(this.queue.shift().mark);
  }

  echo(name) {
    this.send({ event: "mark", mark: { name } });
  }

  send(message) {
    this.sequence += 1;
    this.tell({ ...message, sequenceNumber: String(this.sequence), streamSid: this.streamSid });
  }

  tell(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  end(why) {
    if (this.ended) return;
    this.ended = true;
    this.on.onEnd?.(why);
  }
}
