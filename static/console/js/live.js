// A page's socket: snapshot, numbered changes, a snapshot on a gap, reconnecting with back-off, and the age of what is shown.
//
//   const live = connect("/console/live", { onSnapshot, onChange, onState, onMessage });
//   live.send({ type: "whisper", … }); live.pause(); live.resume(); live.close();
//
// The server says something every few seconds. A connection on which nothing comes is dead, whatever the system says of it: it is
// given up and made anew. onState(state): "connecting", "live", "lost", "paused" or "refused". While paused, changes are kept back and counted
// (onKept(count)); resuming asks for a snapshot.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;
const SILENT_MS = 12_000; // live.py beats every five seconds
const CONNECT_MS = 30_000;
const FINAL = [4401, 4403, 4404];
const TEXTS = { connecting: "Connecting", live: "Live", lost: "Reconnecting", paused: "Paused", refused: "Not allowed" };
const CLOCK = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };

export function connect(path, { onSnapshot, onChange, onState, onMessage, onKept, badge = true } = {}) {
  const address = new URL(path, location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  let socket = null;
  let state = "";
  let number = null; // of the last message that was applied; null until a snapshot
  let shownAt = null;
  let paused = false;
  let kept = 0;
  let failures = 0;
  let retry = 0;
  let heardAt = 0;
  let closed = false;
  let why = "";

  function become(next) {
    if (state !== next) {
      state = next;
      onState?.(state, why);
    }
    if (badge) show();
  }

  function show() {
    const place = document.getElementById("connection");
    if (place) {
      place.dataset.state = state;
      place.querySelector("[data-connection-text]").textContent = TEXTS[state];
    }
    const banner = document.getElementById("connection-banner");
    if (!banner) return;
    const text = state === "lost" ? lostText() : state === "refused" ? why : "";
    banner.hidden = !text;
    if (banner.textContent !== text) banner.textContent = text;
  }

  function lostText() {
    if (shownAt === null) return "Connecting again; nothing could be shown yet.";
    return `Reconnecting; showing ${new Intl.DateTimeFormat(undefined, CLOCK).format(shownAt)}.`;
  }

  function open() {
    if (closed) return;
    if (state !== "lost") become("connecting");
    const mine = new WebSocket(address);
    socket = mine;
    heardAt = performance.now();
    mine.addEventListener("message", (event) => {
      if (socket !== mine) return;
      heardAt = performance.now();
      take(JSON.parse(event.data));
    });
    mine.addEventListener("close", (event) => { if (socket === mine) ended(event.code); });
  }

  const watch = setInterval(() => {
    if (!socket || performance.now() - heardAt < (socket.readyState === WebSocket.OPEN ? SILENT_MS : CONNECT_MS)) return;
    socket.close();
    ended(0);
  }, 1_000);

  function take(message) {
    if (message.type === "beat") return;
    if (message.type === "snapshot") {
      number = message.number;
      failures = 0;
      become(paused ? "paused" : "live");
      if (paused && shownAt) { // made up for something that was missed: kept back like a change
        keep();
        return;
      }
      shownAt = new Date(message.at);
      kept = 0;
      onSnapshot?.(message);
    } else if (message.type === "change") {
      if (number === null) return;
      if (message.number !== number + 1) {
        number = null;
        ask();
        return;
      }
      number = message.number;
      if (paused) {
        keep();
        return;
      }
      shownAt = new Date(message.at);
      onChange?.(message);
    } else {
      if (message.type === "refused") why = message.why;
      onMessage?.(message);
    }
  }

  function keep() {
    kept += 1;
    onKept?.(kept);
  }

  function ask() {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type: "snapshot" }));
  }

  function ended(code) {
    number = null;
    socket = null;
    if (closed) return;
    if (FINAL.includes(code)) {
      become("refused");
      return;
    }
    become("lost");
    failures += 1;
    const wait = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (failures - 1));
    retry = setTimeout(open, wait * (0.75 + Math.random() / 2));
  }

  addEventListener("online", () => {
    if (state !== "lost" || socket) return;
    clearTimeout(retry);
    open();
  });

  open();
  return {
    get state() { return state; },
    /** When what is shown was true. */
    get shownAt() { return shownAt; },
    /** The socket, for tests that cut it. */
    get socket() { return socket; },
    /** For how long nothing has come. */
    get quietMs() { return performance.now() - heardAt; },
    send(message) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    pause() { paused = true; if (state === "live") become("paused"); },
    resume() { paused = false; kept = 0; ask(); if (state === "paused") become("live"); },
    close() { closed = true; clearTimeout(retry); clearInterval(watch); socket?.close(); },
  };
}
