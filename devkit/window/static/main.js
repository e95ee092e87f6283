/** Brings the parts of the page together. */

import { Buttons } from "./buttons.js";
import { Face } from "./face.js";
import { follow } from "./live.js";
import { SessionPanel } from "./session.js";
import { Timeline } from "./timeline.js";
import { Voice } from "./voice.js";

const find = (id) => document.getElementById(id);

const motion = matchMedia("(prefers-reduced-motion: reduce)");
const buttons = new Buttons(document);
const face = new Face(find("face"), { calm: () => motion.matches });
const timeline = new Timeline(find("timeline"), find("follow"), find("empty"));
const panel = new SessionPanel({
  list: find("session"),
  counts: find("counts"),
  state: find("state"),
});
const voice = new Voice((text) => {
  showSound();
  buttons.say(text);
});

function showSession(session) {
  panel.show(session);
  buttons.show(session);
}

follow({
  hello(message) {
    voice.silence();
    timeline.clear();
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
  },
});

find("sound").addEventListener("click", async () => {
  try {
    if (voice.isOn) voice.turnOff();
    else await voice.turnOn();
  } catch (error) {
    buttons.say(`The browser plays no sound: ${error.message}`);
  }
  showSound();
});

function showSound() {
  find("sound").setAttribute("aria-pressed", String(voice.isOn));
  find("sound").querySelector("span").textContent = voice.isOn
    ? "Sound is on"
    : "Turn sound on";
}

function draw(nowMs) {
  const heard = voice.heard();
  face.draw(heard, nowMs / 1000);
  find("level").value = Math.min(1, 2.5 * heard.level);
  panel.speaking(heard.utterance > 0);
  if (heard.utterance) timeline.played(heard.utterance, heard.atMs + 20);
  find("playing").textContent = heard.utterance
    ? `Utterance ${heard.utterance}, ${(heard.atMs / 1000).toFixed(1)} s`
    : "Silent";
  timeline.draw();
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
