// µ-law (G.711), 8 kHz: bytes to samples from -1 to 1 and back. The same tables as calls/codecs/mulaw.py.
export const RATE_HZ = 8000;
export const FRAME = 160;
export const FRAME_MS = 20;
/** The quietest byte: 0x00 is nearly full scale. */
export const SILENCE = 0xff;
const BIAS = 0x84;
const CLIP = 32635;
const FULL_SCALE = 32768;

const LINEAR = Float32Array.from({ length: 256 }, (_, byte) => linear(byte) / FULL_SCALE);

function linear(byte) {
  const code = ~byte & 0xff;
  const magnitude = ((((code & 0x0f) << 3) + BIAS) << ((code & 0x70) >> 4)) - BIAS;
  return code & 0x80 ? -magnitude : magnitude;
}

/** The µ-law byte of a 16-bit sample. */
export function byteOf(sample) {
  const magnitude = Math.min(Math.abs(sample), CLIP) + BIAS;
  const exponent = 31 - Math.clz32(magnitude) - 7;
  const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
  return ~((sample < 0 ? 0x80 : 0) | (exponent << 4) | mantissa) & 0xff;
}

/** µ-law bytes of samples from -1 to 1; what lies outside is clipped. */
export function encode(samples) {
  const bytes = new Uint8Array(samples.length);
  for (let at = 0; at < samples.length; at += 1) {
    bytes[at] = byteOf(Math.max(-FULL_SCALE, Math.min(FULL_SCALE - 1, Math.round(samples[at] * FULL_SCALE))));
  }
  return bytes;
}

/** Samples from -1 to 1 of µ-law bytes. */
export function decode(bytes) {
  const samples = new Float32Array(bytes.length);
  for (let at = 0; at < bytes.length; at += 1) samples[at] = LINEAR[bytes[at]];
  return samples;
}

/** The loudest sample, from 0 to 1. */
export function peak(samples) {
  let loudest = 0;
  for (const sample of samples) loudest = Math.max(loudest, Math.abs(sample));
  return loudest;
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Bytes cut into frames of 160, the last filled with silence. */
export function framesOf(bytes) {
  const frames = [];
  for (let at = 0; at < bytes.length; at += FRAME) {
    const frame = new Uint8Array(FRAME).fill(SILENCE);
    frame.set(bytes.subarray(at, at + FRAME));
    frames.push(frame);
  }
  return frames;
}
