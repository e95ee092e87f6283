/** The page's websocket: the service's events, as they happen. */

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;

/**
 * Keeps a connection to the service and calls `on.hello`, `on.entry`,
 * `on.session`, `on.silence`, `on.sound` and `on.gone`.
 */
export function follow(on) {
  let pauseMs = FIRST_PAUSE_MS;

  function open() {
    const url = new URL("window/live", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "hello") pauseMs = FIRST_PAUSE_MS;
      if (message.type === "sound") {
        message.peaks = bytes(message.peaks);
        message.pcm = new Int16Array(bytes(message.pcm).buffer);
      }
      on[message.type](message);
    });
    socket.addEventListener("close", () => {
      on.gone();
      setTimeout(open, pauseMs);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    });
  }

  open();
}

/** Returns the bytes of a text in base64. */
export function bytes(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}
