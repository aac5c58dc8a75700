// What the chat and the ticker share: short words for the document, and a connection that comes back.

export const $ = (id) => document.getElementById(id);

// Leaves unchanged text alone: a screen reader would read it again.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// ---- a connection that comes back ----

const FIRST_WAIT = 1000; // milliseconds
const LAST_WAIT = 30_000;
// A server that accepts and closes at once must not be called every second: only a connection that stood
// this long, in milliseconds, starts the back-off anew.
const STEADY = 5000;

// Holds a WebSocket to `path` open. `on` has `state(name, retryAt)`, `message(object)` and `lost()`.
export function stayConnected(path, on) {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  let socket = null;
  let failures = 0;
  let retryTimer = 0;
  let steadyTimer = 0;

  function open() {
    clearTimeout(retryTimer);
    retryTimer = 0;
    on.state('connecting');
    const mine = new WebSocket(`${scheme}//${location.host}${path}`);
    socket = mine;
    mine.onopen = () => {
      if (mine !== socket) return;
      steadyTimer = setTimeout(() => { failures = 0; }, STEADY);
      on.state('open');
    };
    mine.onmessage = ({ data }) => {
      if (mine !== socket) return;
      const value = parse(data);
      if (value) on.message(value);
    };
    mine.onclose = () => { if (mine === socket) lost(); };
  }

  function lost() {
    socket = null;
    clearTimeout(steadyTimer);
    // The wait doubles up to half the maximum and the jitter doubles it again at most: 1–2 s, 2–4 s … 15–30 s.
    // Pages that one restart has cut off together do not come back together.
    const wait = Math.min(FIRST_WAIT * 2 ** failures, LAST_WAIT / 2) * (1 + Math.random());
    failures += 1;
    retryTimer = setTimeout(open, wait);
    on.lost?.();
    on.state('closed', Date.now() + wait);
  }

  function retry() { if (retryTimer) open(); }

  // The browser knows when a retry is worth more than the rest of the wait.
  addEventListener('online', retry);
  document.addEventListener('visibilitychange', () => { if (!document.hidden) retry(); });
  open();

  return {
    retry,
    send(value) {
      if (socket?.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(value));
      return true;
    },
    // Gives up on a connection that is open in name only, without waiting for its closing handshake.
    abandon() {
      if (!socket) return;
      const dead = socket;
      lost();
      dead.close();
    },
  };
}

function parse(data) {
  try {
    const value = JSON.parse(data);
    return value && typeof value === 'object' ? value : null;
  } catch {
    return null;
  }
}
