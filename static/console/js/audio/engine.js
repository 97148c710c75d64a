// One audio context at the telephone's rate, with our two worklets. Made on a click only: browsers start none without one.
import { RATE_HZ } from "./mulaw.js";

const MODULES = ["./framer.worklet.js", "./player.worklet.js"];

/** A running context at 8 kHz; the browser resamples. Throws with words for the operator where there is none. */
export async function openAudio(sinkId = "") {
  const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
  try {
    await Promise.all(MODULES.map((name) => context.audioWorklet.addModule(new URL(name, import.meta.url))));
    if (sinkId && context.setSinkId) await context.setSinkId(sinkId);
    await context.resume();
  } catch (error) {
    await context.close();
    throw new Error(`This browser cannot play the call: ${error.message}.`);
  }
  return context;
}

/** Frames of 160 samples, fifty a second: `onFrame(samples)`. Connect a source to it, or nothing for a clock alone. */
export function framer(context, onFrame) {
  const node = new AudioWorkletNode(context, "framer", { numberOfInputs: 1, numberOfOutputs: 1, channelCount: 1, channelCountMode: "explicit" });
  node.port.onmessage = ({ data }) => onFrame(data);
  node.connect(context.destination); // it gives out silence, and is not asked for any without
  return node;
}

/**
 * Plays `sides` of a call, `bufferMs` behind the newest and at most `mostMs`; each has a volume. `write(side, at, samples)`;
 * `onLevels({levels, behind, late, jumps})`.
 */
export function player(context, sides, { bufferMs, mostMs }, onLevels) {
  const node = new AudioWorkletNode(context, "player", {
    numberOfInputs: 0,
    numberOfOutputs: sides,
    outputChannelCount: new Array(sides).fill(1),
    processorOptions: { sides, buffer: (bufferMs * RATE_HZ) / 1000, most: (mostMs * RATE_HZ) / 1000 },
  });
  node.port.onmessage = ({ data }) => onLevels?.(data);
  const volumes = Array.from({ length: sides }, (_, side) => {
    const gain = context.createGain();
    node.connect(gain, side);
    gain.connect(context.destination);
    return gain;
  });
  return {
    write(side, at, samples) { node.port.postMessage({ side, at, samples }, [samples.buffer]); },
    volume(side, value) { volumes[side].gain.value = value; },
    close() { node.port.postMessage("close"); node.disconnect(); },
  };
}

/** Where a level from 0 to 1 stands on a meter from 0 to 1: the loudest 48 dB. */
export function onMeter(level) {
  return level > 0 ? Math.max(0, 1 + (20 * Math.log10(level)) / 48) : 0;
}
