// Telling people: a polite live region for what happens, and toasts for results.
const announcer = document.getElementById("announcer");
const toasts = document.getElementById("toasts");
const TOAST_MS = 8000;

/** Have a screen reader say it when it is free. Results and alerts, never tokens. */
export function announce(text) {
  announcer.textContent = "";
  requestAnimationFrame(() => { announcer.textContent = text; });
}

/** Show a result for a while; `kind` is "ok" or "alarm". Alarms stay until they are closed. */
export function toast(text, kind = "ok") {
  const box = document.createElement("div");
  box.className = `toast toast-${kind}`;
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "quiet";
  close.textContent = "Close";
  close.addEventListener("click", () => box.remove());
  box.append(words, close);
  toasts.append(box);
  announce(text);
  if (kind !== "alarm") setTimeout(() => box.remove(), TOAST_MS);
}
