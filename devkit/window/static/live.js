/** The page's websocket: what the service tells, as it happens. */

const SOUND = 1;
const HEADER_BYTES = 16;
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
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") {
        const sound = readSound(data);
        if (sound) on.sound(sound);
        return;
      }
      const message = JSON.parse(data);
      if (message.type === "hello") pauseMs = FIRST_PAUSE_MS;
      on[message.type]?.(message);
    });
    socket.addEventListener("close", () => {
      on.gone();
      setTimeout(open, pauseMs);
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
    });
  }

  open();
}

/** Reads one frame of sound; see viewers.py for its layout. */
function readSound(data) {
  const header = new DataView(data, 0, HEADER_BYTES);
  if (header.getUint8(0) !== SOUND) return null;
  const peakCount = header.getUint16(2, true);
  const pcmAt = HEADER_BYTES + peakCount + (peakCount % 2);
  return {
    utterance: header.getUint32(4, true),
    rate: header.getUint32(8, true),
    missingMs: header.getUint32(12, true),
    peaks: new Uint8Array(data, HEADER_BYTES, peakCount),
    pcm: new Int16Array(data, pcmAt),
  };
}
