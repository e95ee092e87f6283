/** The buttons' actions, and the line that reports them. */

import { element } from "./timeline.js";

// When a button can do something; the others always can.
const CAN = {
  speak: ({ isSpeaking }) => !isSpeaking,
  barge_in: ({ isSpeaking, isHeard }) => isSpeaking || isHeard,
  drop: ({ isOpen }) => isOpen,
  stall: ({ isOpen }) => isOpen,
  black_hole: ({ isOpen, isStalled }) => isOpen && !isStalled,
  refuse: ({ state }) => state !== "failed",
  idle_timeout: ({ isLive, isStalled, isSpeaking, isHeard }) =>
    isLive && !isStalled && !isSpeaking && !isHeard,
  exhaust: ({ state }) => state !== "failed",
};
const LABELS = {
  stall: ({ isStalled }) => (isStalled ? "Resume" : "Stall"),
  console_down: ({ isConsoleDown }) =>
    isConsoleDown ? "Console up" : "Console down",
  playback_signals: ({ hasSignals }) => `Signals: ${hasSignals ? "on" : "off"}`,
  preempts: ({ preempts }) => `Preempts: ${preempts ? "on" : "off"}`,
  tts_speed: ({ ttsSpeed }) => `TTS speed: ${ttsSpeed}×`,
};
// A switch that is on shows it by its label, and by its color.
const ON = {
  stall: ({ isStalled }) => isStalled,
  console_down: ({ isConsoleDown }) => isConsoleDown,
  playback_signals: ({ hasSignals }) => hasSignals,
  preempts: ({ preempts }) => preempts,
};

export class Buttons {
  /** `onSpeak()` is called from the click on Speak. */
  constructor(root, onSpeak) {
    this.root = root;
    this.onSpeak = onSpeak;
    this.said = root.querySelector("#said");
    this.buttons = [...root.querySelectorAll("[data-do]")];
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.press(button.dataset.do));
    }
    this.gone();
  }

  hello({ hasStage, urls }) {
    this.find("conversation").hidden = !hasStage;
    this.find("endpoints").hidden = hasStage;
    this.find("urls").replaceChildren(
      ...Object.entries(urls).map(([name, url]) => this.urlRow(name, url)),
    );
    this.find("copy-params").onclick = () =>
      this.copy(JSON.stringify(urls, null, 2), "both URLs");
  }

  /** Shows the action of each button now, and whether it can be done. */
  show(session) {
    for (const button of this.buttons) {
      const name = button.dataset.do;
      this.enable(button, CAN[name]?.(session) ?? true);
      const label = LABELS[name]?.(session);
      if (label && button.textContent !== label) button.textContent = label;
      button.dataset.on = String(ON[name]?.(session) ?? false);
    }
  }

  gone() {
    for (const button of this.buttons) this.enable(button, false);
  }

  /** Unlike `disabled`, this leaves the focus where it is. */
  enable(button, can) {
    button.setAttribute("aria-disabled", String(!can));
  }

  async press(name) {
    const button = this.buttons.find(({ dataset }) => dataset.do === name);
    if (button.ariaDisabled === "true") return;
    if (name === "speak") this.onSpeak();
    let said;
    let done = false;
    try {
      const answer = await fetch(`window/do/${name}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
      });
      ({ said, done } = await answer.json());
    } catch {
      said = "The service did not answer.";
    }
    this.say(said, done);
  }

  /** Shows the outcome of an action. */
  say(text, done = true) {
    this.said.dataset.done = String(done);
    this.said.textContent = text;
  }

  urlRow(name, url) {
    const row = element("div", { className: "url" });
    const copy = element("button", { type: "button", textContent: "Copy" });
    copy.setAttribute("aria-label", `Copy ${name}`);
    copy.addEventListener("click", () => this.copy(url, name));
    row.append(
      element("code", { className: "name", textContent: name }),
      element("code", { textContent: url }),
      copy,
    );
    return row;
  }

  async copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      this.say(`Copied ${what}.`);
    } catch {
      this.say("The browser does not let this page copy; select the text.");
    }
  }

  find(id) {
    return this.root.querySelector(`#${id}`);
  }
}
