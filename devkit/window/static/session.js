/** The session's facts, with the countdowns to the ends of its tokens. */

import { element, plural, seconds } from "./timeline.js";

const STATES = {
  waiting: "Waiting for a client",
  connecting: "Connecting",
  ready: "Ready",
  recovering: "Reconnecting",
  fallback: "The voice takes over",
  asleep: "Asleep",
  failed: "Failed permanently",
  closed: "Not connected",
};
const SPEECH = {
  heardMs: "Heard",
  resumedMs: "Resumed",
  voiceMs: "By voice",
  cutMs: "Cut",
  lostMs: "Lost",
};

export class SessionPanel {
  constructor({ list, counts, state, speech, notice }) {
    this.list = list;
    this.notice = notice;
    // The part of the answer played by this page, until its end is reported.
    this.playing = { utterance: 0, atMs: 0, heardMs: 0, voiceMs: 0 };
    this.speech = speech;
    this.countLine = counts;
    this.state = state;
    this.values = new Map(); // label -> the element that holds its value
    this.session = null;
    this.aheadMs = 0; // of the service's clock against this machine's
    this.isSpeaking = false;
    setInterval(() => this.tick(), 1000);
  }

  hello({ nowEpochS, sdk, hasStage, command }) {
    this.command = command;
    this.aheadMs = nowEpochS * 1000 - Date.now();
    this.sdk = hasStage ? sdk : `unknown (read with ${sdk})`;
    this.speech.hidden = !hasStage;
  }

  show(session) {
    const { speech } = this.session ?? session;
    for (const name of ["heardMs", "voiceMs"]) {
      if (session.speech[name] !== speech[name]) this.playing[name] = 0;
    }
    this.session = session;
    this.notify(session.failure && `Failed permanently: ${session.failure}`);
    const { counts } = session;
    this.showCounts();
    this.showSpeech();
    const stalled = session.isStalled ? ", stalled" : "";
    const { connection, isOpen, sampleRate } = session;
    this.set("Connection", connection
      ? `${connection}, ${isOpen ? `open${stalled}` : "closed"}` : "none yet");
    this.set("Connection id", session.connectionId || "–");
    this.set("Channel", session.channel || "–");
    this.set("Avatar's uid", session.uid ?? "–");
    this.set("Audio", sampleRate
      ? `${sampleRate} Hz, ${session.audioFormat.replaceAll("_", " ")}` : "–");
    this.set("Avatar", session.avatarId || "–");
    this.tick();
    this.set("SDK", this.sdk);
    this.set("Last close", session.lastClose || "none");
    if (session.refusalsPlanned || this.values.has("Planned")) {
      this.set("Planned", session.refusalsPlanned
        ? `${plural(session.refusalsPlanned, "refusal")} ahead` : "nothing");
    }
    if (counts.violations) this.set("Rules broken", counts.violations);
    this.showState();
  }

  /** Counts the sound of this moment. */
  played({ utterance, atMs }, isVoice) {
    if (!utterance) return;
    const { playing } = this;
    const addedMs = utterance === playing.utterance ? atMs - playing.atMs : atMs;
    Object.assign(playing, { utterance, atMs });
    if (!this.session?.isHeard || addedMs <= 0) return;
    playing.heardMs += addedMs;
    if (isVoice) playing.voiceMs += addedMs;
    this.showSpeech();
  }

  /** The outcome of the speech, as the extension reports it. */
  showSpeech() {
    const { speech } = this.session;
    for (const [name, label] of Object.entries(SPEECH)) {
      const ms = speech[name] + (this.playing[name] ?? 0);
      this.set(label, seconds(ms), this.speech);
    }
  }

  /** Counts speech between two messages about the whole session. */
  hear({ pcm, rate }) {
    if (!this.session) return;
    this.session.counts.audioMs += (1000 * pcm.length) / rate;
    this.showCounts();
  }

  showCounts() {
    const { counts } = this.session;
    this.countLine.textContent = [
      plural(counts.utterances, "utterance"),
      `${seconds(counts.audioMs)} of speech`,
      plural(counts.interrupts, "interrupt"),
      plural(counts.gaps, "gap"),
    ].join(" · ");
  }

  speaking(isSpeaking, isVoice) {
    if (isSpeaking === this.isSpeaking && isVoice === this.isVoice) return;
    this.isSpeaking = isSpeaking;
    this.isVoice = isVoice;
    this.showState();
  }

  gone() {
    this.session = null;
    this.setState("offline", "Service unreachable, reconnecting");
    if (!this.command) return;
    const { port } = location;
    const isGiven = / --port[ =]/.test(this.command);
    const command = this.command + (isGiven ? "" : ` --port ${port}`);
    this.notify(`If it was stopped, start it again: ${command}`);
  }

  /** Shows a line below the header, "" for none. */
  notify(text) {
    this.notice.hidden = !text;
    // The same text again would be read out again.
    if (this.notice.textContent !== text) this.notice.textContent = text;
  }

  showState() {
    if (!this.session) return;
    const { state, isStalled } = this.session;
    if (isStalled) this.setState("stalled", "Stalled");
    else if (this.isVoice) this.setState("fallback", "The voice speaks");
    else if (this.isSpeaking) this.setState("speaking", "Speaking");
    else this.setState(state, STATES[state] ?? state);
  }

  setState(state, text) {
    // The same text again would be read out again.
    if (this.state.textContent !== text) this.state.textContent = text;
    this.state.dataset.state = state;
  }

  tick() {
    if (!this.session) return;
    const { agoraTokenEnd, sessionTokenEnd, sessionToken } = this.session;
    this.set("Agora token", this.left(agoraTokenEnd));
    const number = sessionToken ? ` (number ${sessionToken})` : "";
    this.set("Session token", this.left(sessionTokenEnd) + number);
    this.set("Price", plural(this.credits(), "credit"));
  }

  /** Connected time costs a credit for each 6 s that were begun. */
  credits() {
    const { endedCredits, liveSince } = this.session;
    if (!liveSince) return endedCredits;
    const liveS = (Date.now() + this.aheadMs) / 1000 - liveSince;
    return endedCredits + Math.max(1, Math.ceil(liveS / 6));
  }

  left(endS) {
    if (!endS) return "–";
    const leftS = Math.round(endS - (Date.now() + this.aheadMs) / 1000);
    if (leftS <= 0) return "has ended";
    const minutes = Math.floor(leftS / 60);
    return `ends in ${minutes}:${String(leftS % 60).padStart(2, "0")}`;
  }

  set(label, value, list = this.list) {
    let shown = this.values.get(label);
    if (!shown) {
      shown = element("dd");
      this.values.set(label, shown);
      const row = element("div");
      row.append(element("dt", { textContent: label }), shown);
      list.append(row);
    }
    if (shown.textContent !== `${value}`) shown.textContent = value;
  }
}
