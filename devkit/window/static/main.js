/** Follows the service over a websocket, and draws its state frame by frame. */

import { onPress, say, showButtons, showEndpoints } from "./controls.js";
import { Face } from "./face.js";
import { showSession } from "./session.js";
import { REST, Sound } from "./sound.js";
import { Timeline } from "./timeline.js";
import { bytes, find, seconds, set } from "./words.js";

const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const FRAME_MS = 30;

/** All that the page shows, but for the timeline's lines. */
const model = {
  about: null, // of the service: { hasStage, command, sdk, urls }
  session: null, // its figures; null while the service cannot be reached
  isGone: false,
  aheadMs: 0, // of the service's clock against this machine's
  heard: REST, // the sound of this moment
  lengthMs: 0, // of the utterance that is heard
  isVoice: false,
  // The position in the latest utterance, and the audio that was played since
  // the service's latest figures.
  played: { utterance: 0, atMs: 0, heardMs: 0, voiceMs: 0 },
};
const face = new Face(find("face"));
const timeline = new Timeline(find("timeline"));
const sound = new Sound((text) => say(text));
let isSoundWanted = true; // until the user turns it off
let pauseMs = FIRST_PAUSE_MS;
let drawnMs = 0;

const on = {
  hello({ entries, session, nowEpochS, ...about }) {
    pauseMs = FIRST_PAUSE_MS;
    sound.silence();
    Object.assign(model, { about, isGone: false });
    model.aheadMs = nowEpochS * 1000 - Date.now();
    showEndpoints(about);
    timeline.clear(about.hasStage);
    for (const entry of entries) timeline.put(entry);
    on.session({ session });
  },
  entry: ({ entry }) => timeline.put(entry),
  session({ session }) {
    for (const name of ["heardMs", "voiceMs"]) {
      const isNew = session.speech[name] !== model.session?.speech[name];
      if (isNew) model.played[name] = 0;
    }
    model.session = session;
  },
  silence: () => sound.silence(),
  sound({ utterance, rate, peaks, pcm }) {
    const samples = new Int16Array(bytes(pcm).buffer);
    timeline.hear(utterance, bytes(peaks));
    sound.play(utterance, rate, samples);
    model.session.counts.audioMs += (1000 * samples.length) / rate;
  },
};

function follow() {
  const url = new URL("window/live", document.baseURI);
  url.protocol = url.protocol.replace("http", "ws");
  const socket = new WebSocket(url);
  socket.addEventListener("message", ({ data }) => {
    const message = JSON.parse(data);
    on[message.type](message);
  });
  socket.addEventListener("close", () => {
    sound.silence();
    Object.assign(model, { session: null, isGone: true });
    setTimeout(follow, pauseMs);
    pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS);
  });
}

function draw(nowMs) {
  requestAnimationFrame(draw);
  if (nowMs - drawnMs < FRAME_MS) return;
  drawnMs = nowMs;
  listen();
  const { heard, isVoice } = model;
  // The avatar does not move while the voice stands in for it.
  face.draw(isVoice ? REST : heard, nowMs / 1000);
  timeline.draw(heard);
  showPlaying(model);
  showSession(model);
  showButtons(model.session);
  find("sound").dataset.on = sound.isOn;
  set(find("sound"), sound.isOn ? "Sound is on" : "Turn sound on");
}

/** Takes the sound of this moment into the model. */
function listen() {
  const { played, session } = model;
  const heard = sound.heard();
  const { utterance, atMs } = heard;
  const wave = timeline.waves.get(utterance);
  const isVoice = wave?.utterance.connection === 0;
  Object.assign(model, { heard, isVoice, lengthMs: wave?.audioMs ?? 0 });
  if (!utterance) return;
  const addedMs = atMs - (utterance === played.utterance ? played.atMs : 0);
  Object.assign(played, { utterance, atMs });
  if (!session?.isHeard || addedMs <= 0) return;
  played.heardMs += addedMs;
  if (isVoice) played.voiceMs += addedMs;
}

function showPlaying({ heard, isVoice, lengthMs }) {
  const isPlaying = heard.utterance > 0 && lengthMs > 0;
  const who = isVoice ? "By voice" : `Utterance ${heard.utterance}`;
  const atS = (heard.atMs / 1000).toFixed(1);
  find("heard").value = isPlaying ? heard.atMs / lengthMs : 0;
  set(
    find("playing"),
    isPlaying ? `${who}, ${atS} of ${seconds(lengthMs)}` : "Silent",
  );
}

async function turnSoundOn() {
  try {
    await sound.turnOn();
  } catch (error) {
    say(`The browser plays no sound: ${error.message}`);
  }
}

find("sound").addEventListener("click", () => {
  isSoundWanted = !sound.isOn;
  if (isSoundWanted) turnSoundOn();
  else sound.turnOff();
});
onPress((name) => {
  if (name === "speak" && isSoundWanted) turnSoundOn();
});
follow();
requestAnimationFrame(draw);
