// The microphone, and what to tell somebody whose browser does not give it.
const WORDS = {
  NotAllowedError: "The browser was not allowed to use the microphone. Click the sign beside the address, allow the microphone, and try again.",
  NotFoundError: "There is no microphone. Plug one in, or choose another way to speak.",
  NotReadableError: "Another program holds the microphone. Close it there and try again.",
  OverconstrainedError: "This microphone is gone. Choose another one.",
};

/** A stream of this microphone (empty: the default one). Throws with words for the operator. */
export async function openMicrophone(deviceId = "") {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give the microphone to secure pages only: open the console by https, or on this very machine.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { deviceId: deviceId ? { exact: deviceId } : undefined, channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
    });
  } catch (error) {
    const told = new Error(WORDS[error.name] ?? `The microphone cannot be used: ${error.message}.`);
    told.name = error.name;
    throw told;
  }
}

/** Fill a <select> with the devices of a kind; the browser names them only to pages that have the microphone. */
export async function fillDevices(select, kind) {
  const chosen = select.value;
  const devices = (await navigator.mediaDevices?.enumerateDevices() ?? []).filter((device) => device.kind === kind && device.deviceId !== "default" && device.deviceId);
  const options = [new Option("System default", "")];
  devices.forEach((device, number) => options.push(new Option(device.label || `Device ${number + 1}`, device.deviceId)));
  select.replaceChildren(...options);
  select.value = devices.some((device) => device.deviceId === chosen) ? chosen : "";
}

export function stopStream(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
