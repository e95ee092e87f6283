/** Brings the parts of the page together. */

import { Buttons } from "./buttons.js";
import { Face } from "./face.js";
import { follow } from "./live.js";
import { SessionPanel } from "./session.js";
import { seconds, Timeline } from "./timeline.js";
import { REST, Voice } from "./voice.js";

const find = (id) => document.getElementById(id);

const motion = matchMedia("(prefers-reduced-motion: reduce)");
const face = new Face(find("face"), { calm: () => motion.matches });
const timeline = new Timeline({
  list: find("timeline"),
  followButton: find("follow"),
  detailsButton: find("details"),
  empty: find("empty"),
});
const panel = new SessionPanel({
  list: find("session"),
  counts: find("counts"),
  state: find("state"),
  speech: find("speech"),
  notice: find("notice"),
});
const voice = new Voice((text) => {
  showSound();
  buttons.say(text);
});
let isSoundWanted = true; // until the user turns it off
const buttons = new Buttons(document, () => {
  if (isSoundWanted && !voice.isOn) turnSoundOn();
});

function showSession(session) {
  panel.show(session);
  buttons.show(session);
}

follow({
  hello(message) {
    voice.silence();
    timeline.hello(message);
    panel.hello(message);
    buttons.hello(message);
    for (const entry of message.entries) timeline.put(entry);
    showSession(message.session);
  },
  entry: ({ entry }) => timeline.put(entry),
  session: ({ session }) => showSession(session),
  silence: () => voice.silence(),
  sound(sound) {
    timeline.hear(sound);
    panel.hear(sound);
    voice.play(sound.utterance, sound.rate, sound.pcm);
  },
  gone() {
    voice.silence();
    panel.gone();
    buttons.gone();
  },
});

find("sound").addEventListener("click", () => {
  isSoundWanted = !voice.isOn;
  if (isSoundWanted) return turnSoundOn();
  voice.turnOff();
  showSound();
});

async function turnSoundOn() {
  try {
    await voice.turnOn();
  } catch (error) {
    buttons.say(`The browser plays no sound: ${error.message}`, false);
  }
  showSound();
}

function showSound() {
  find("sound").dataset.on = String(voice.isOn);
  find("sound").querySelector("span").textContent = voice.isOn
    ? "Sound is on"
    : "Turn sound on";
}

function draw(nowMs) {
  const heard = voice.heard();
  const lengthMs = timeline.lengthMs(heard.utterance);
  const isVoice = timeline.isVoice(heard.utterance);
  // The avatar does not move while the voice stands in for it.
  face.draw(isVoice ? REST : heard, nowMs / 1000);
  panel.speaking(heard.utterance > 0, isVoice);
  panel.played(heard, isVoice);
  if (heard.utterance) timeline.played(heard.utterance, heard.atMs + 20);
  showProgress(heard, lengthMs, isVoice);
  timeline.draw();
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);

function showProgress({ utterance, atMs }, lengthMs, isVoice) {
  if (utterance && lengthMs) {
    find("heard").max = lengthMs;
    find("heard").value = atMs;
    const who = isVoice ? "By voice" : `Utterance ${utterance}`;
    find("playing").textContent =
      `${who}, ${(atMs / 1000).toFixed(1)} of ${seconds(lengthMs)}`;
  } else {
    find("heard").value = 0;
    find("playing").textContent = "Silent";
  }
}
