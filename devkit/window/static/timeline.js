/** The list of events, latest last, with the waveforms of speech. */

import { bytes, clamp, clock, element } from "./words.js";
import { find, plural, seconds, set } from "./words.js";

const MAX_ENTRIES = 300;
const NEAR_END_PX = 24;
const WAITING_MS = 800;
const PEAK_MS = 20;
const PEAKS_PER_BAR = 2;
const BAR_PX = 3;
const HEIGHT_PX = 40;
const OUTCOMES = {
  ended: "ended",
  interrupted: "interrupted",
  lost: "connection lost",
};
const EMPTY = "Nothing has been said yet. ";
const PRESS = "Press Speak; then break something while the avatar speaks.";
const POINT =
  "Point a graph at the two URLs under “Into your graph” and have its agent " +
  "speak.";

export class Timeline {
  constructor(list) {
    this.list = list;
    this.items = new Map(); // entry number -> list item
    this.waves = new Map(); // utterance -> Wave
    this.follows = true;
    this.scrollTop = 0;
    this.unseen = 0;
    find("follow").addEventListener("click", () => {
      this.follows = !this.follows;
      this.moveOn();
    });
    find("details").addEventListener("click", ({ currentTarget }) => {
      currentTarget.ariaPressed = list.classList.toggle("with-details");
      this.moveOn();
    });
    // A user who scrolls back wants to read, one who scrolls down to follow.
    list.addEventListener("scroll", () => {
      const aboveEnd = list.scrollHeight - list.scrollTop - list.clientHeight;
      if (aboveEnd < NEAR_END_PX) this.follows = true;
      else if (list.scrollTop < this.scrollTop) this.follows = false;
      this.scrollTop = list.scrollTop;
      this.showFollowing();
    });
    const drawAll = () => {
      for (const wave of this.waves.values()) wave.isDrawn = false;
    };
    new ResizeObserver(drawAll).observe(list);
    matchMedia("(prefers-color-scheme: dark)").onchange = drawAll;
  }

  /** Begins anew, and says how to get something to see. */
  clear(hasStage) {
    this.list.replaceChildren();
    this.items.clear();
    this.waves.clear();
    this.unseen = 0;
    find("empty").textContent = EMPTY + (hasStage ? PRESS : POINT);
    find("empty").hidden = false;
  }

  /** Adds an entry, or shows it as it is now. */
  put(entry) {
    if (!this.items.has(entry.number)) {
      this.add(entry);
      const isShown = !entry.isRaw || this.list.matches(".with-details");
      if (!this.follows && isShown) this.unseen += 1;
    }
    const { utterance } = entry;
    if (utterance) this.waves.get(utterance.number).show(utterance);
    this.moveOn();
  }

  /** Adds to the waveform of an utterance. */
  hear(utterance, peaks) {
    this.waves.get(utterance)?.add(peaks);
  }

  /** Draws the waveforms that have changed. */
  draw({ utterance, atMs }) {
    this.waves.get(utterance)?.play(atMs);
    let isChanged = false;
    for (const wave of this.waves.values()) {
      if (wave.draw()) isChanged = true;
    }
    if (isChanged) this.moveOn();
  }

  moveOn() {
    if (this.follows) this.list.scrollTop = this.list.scrollHeight;
    this.showFollowing();
  }

  showFollowing() {
    if (this.follows) this.unseen = 0;
    const more = this.unseen ? ` (${this.unseen} new)` : "";
    find("follow").ariaPressed = this.follows;
    set(find("follow"), `Follow${more}`);
  }

  add({ number, kind, who, title, detail, timeS, raw, isRaw, utterance }) {
    const name = element("strong", { textContent: title });
    const more = element("span", { textContent: detail });
    const line = element("p", { className: "line" }, name, " ", more);
    const body = element("div", { className: "body" }, line);
    const item = element(
      "li",
      { className: isRaw ? "entry raw" : "entry" },
      element("time", { textContent: clock(Math.max(0, timeS), 2) }),
      element("span", { className: "dot", ariaHidden: "true" }),
      body,
    );
    Object.assign(item.dataset, { kind, who });
    if (utterance) {
      const wave = new Wave(title, item, more);
      this.waves.set(utterance.number, wave);
      line.append(" ", wave.badge);
      body.append(wave.box, wave.facts);
      // It was heard before this page was opened, as far as it came.
      wave.add(bytes(utterance.peaks ?? ""));
      wave.playedMs = wave.audioMs;
      find("empty").hidden = true;
    }
    if (raw) {
      body.append(element("p", { className: "facts raw", textContent: raw }));
    }
    this.list.append(item);
    this.items.set(number, item);
    if (this.items.size > MAX_ENTRIES) this.dropOldest();
  }

  dropOldest() {
    const [number, item] = this.items.entries().next().value;
    item.remove();
    this.items.delete(number);
    for (const [utterance, wave] of this.waves) {
      if (wave.item === item) this.waves.delete(utterance);
    }
  }
}

/** One utterance: its waveform and its facts. */
class Wave {
  constructor(title, item, length) {
    this.item = item;
    this.length = length;
    this.badge = element("span", { className: "badge" });
    this.facts = element("p", { className: "facts" });
    const ariaLabel = `Waveform of ${title}`;
    const values = { className: "wave", role: "img", ariaLabel };
    this.canvas = element("canvas", values);
    this.box = element("div", {}, this.canvas);
    this.peaks = [];
    this.playedMs = 0;
  }

  get audioMs() {
    return this.peaks.length * PEAK_MS;
  }

  add(peaks) {
    this.peaks.push(...peaks);
    this.addedAtMs = performance.now();
    this.isDrawn = false;
  }

  /** Marks how far it has been heard. */
  play(atMs) {
    if (atMs <= this.playedMs) return;
    this.playedMs = atMs;
    this.isDrawn = false;
  }

  show(utterance) {
    const { connection, isPcm, messages, outcome, gaps } = utterance;
    this.utterance = utterance;
    this.item.dataset.outcome = outcome;
    this.box.hidden = !isPcm;
    const facts = [
      connection ? `connection ${connection}` : "by voice, without the avatar",
      !isPcm && "Ogg Opus: counted, not drawn or played",
      outcome !== "open" && `${messages} messages`,
      gaps.length > 0 && plural(gaps.length, "gap"),
    ];
    this.facts.textContent = facts.filter(Boolean).join(" · ");
    this.isDrawn = false;
  }

  /** Shows it as it is now; returns whether its waveform has changed. */
  draw() {
    set(this.badge, this.outcome());
    if (this.isDrawn) return false;
    this.isDrawn = true;
    const { isPcm, audioMs, audioBytes } = this.utterance;
    const length = isPcm
      ? seconds(Math.max(audioMs, this.audioMs))
      : `${Math.ceil(audioBytes / 1024)} KiB`;
    set(this.length, length);
    if (isPcm) this.drawBars();
    return true;
  }

  outcome() {
    const { outcome, connection } = this.utterance;
    if (outcome !== "open") return OUTCOMES[outcome];
    // The voice gets its audio at once, and no end.
    if (!connection) return "by voice";
    const waitedMs = performance.now() - this.addedAtMs;
    return waitedMs > WAITING_MS
      ? `no audio and no end for ${seconds(waitedMs)}`
      : "coming in";
  }

  /** Draws heard audio strong, unheard audio faint, and gaps. */
  drawBars() {
    const { canvas, peaks } = this;
    const wanted = Math.ceil(peaks.length / PEAKS_PER_BAR) * BAR_PX;
    const room = this.box.clientWidth;
    const width = Math.max(BAR_PX, Math.min(room, wanted));
    const bars = Math.floor(width / BAR_PX);
    const scale = window.devicePixelRatio;
    canvas.style.width = `${width}px`;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT_PX * scale);
    const { color, borderColor, outlineColor } = getComputedStyle(canvas);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const perBar = Math.max(1, peaks.length / bars);
    const barOf = (ms) => ms / PEAK_MS / perBar;
    for (let bar = 0; bar < bars; bar += 1) {
      const from = Math.floor(bar * perBar);
      const part = peaks.slice(from, Math.floor((bar + 1) * perBar));
      const peak = Math.max(0, ...part) / 255;
      const height = Math.max(2, Math.sqrt(peak) * HEIGHT_PX);
      const top = (HEIGHT_PX - height) / 2;
      context.fillStyle = bar < barOf(this.playedMs) ? color : borderColor;
      context.fillRect(bar * BAR_PX, top, BAR_PX - 1, height);
    }
    context.fillStyle = outlineColor;
    for (const { atMs } of this.utterance.gaps) {
      const x = clamp(barOf(atMs) * BAR_PX - 1, 0, width - 2);
      context.fillRect(x, 0, 2, HEIGHT_PX);
    }
  }
}
