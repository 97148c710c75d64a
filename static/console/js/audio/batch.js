// A batch of a live call's sound, as calls/media/tap.py writes it.
const HEADER_BYTES = 28;

/** {number, takenAt (Unix ms), callerAt, caller, agentAt, agent}; the sides are µ-law bytes. */
export function readBatch(buffer) {
  const view = new DataView(buffer);
  const callerBytes = view.getUint32(16, true);
  const agentBytes = view.getUint32(24, true);
  return {
    number: view.getUint32(0, true),
    takenAt: view.getFloat64(4, true),
    callerAt: view.getUint32(12, true),
    caller: new Uint8Array(buffer, HEADER_BYTES, callerBytes),
    agentAt: view.getUint32(20, true),
    agent: new Uint8Array(buffer, HEADER_BYTES + callerBytes, agentBytes),
  };
}
