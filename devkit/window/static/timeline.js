/** The list of events, latest last. */

import { bytes } from "./live.js";
import { Waveform } from "./waveform.js";

const MAX_ENTRIES = 300;
const NEAR_END_PX = 24;
const WAITING_MS = 800;
const BADGES = {
  open: "coming in",
  ended: "ended",
  interrupted: "interrupted",
  lost: "connection lost",
};

export class Timeline {
  constructor({ list, followButton, detailsButton, empty }) {
    this.list = list;
    this.followButton = followButton;
    this.empty = empty;
    this.items = new Map(); // entry number -> list item
    this.waves = new Map(); // utterance -> { waveform, item, ... }
    this.stale = new Set(); // waveforms to draw at the next chance
    this.follows = true;
    this.unseen = 0;
    followButton.addEventListener("click", () => this.follow(!this.follows));
    detailsButton.addEventListener("click", () => {
      const isShown = list.classList.toggle("with-details");
      detailsButton.setAttribute("aria-pressed", String(isShown));
      this.moveOn();
    });
    setInterval(() => this.showWaiting(), 500);
    // A user who scrolls back wants to read, one who scrolls down to follow.
    list.addEventListener("scroll", () => this.scrolled());
    new ResizeObserver(() => this.drawAll()).observe(list);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
      this.drawAll(),
    );
  }

  /** Begins anew, and says how to get something to see. */
  hello({ hasStage }) {
    this.empty.textContent = hasStage
      ? "Nothing has been said yet. Press Speak; then break something while " +
        "the avatar speaks."
      : "Nothing has been said yet. Point a graph at the two URLs under " +
        "“Into your graph” and have its agent speak.";
    this.list.replaceChildren();
    this.items.clear();
    this.waves.clear();
    this.stale.clear();
    this.unseen = 0;
    this.empty.hidden = false;
  }

  /** Adds an entry, or shows it as it is now. */
  put(entry) {
    let item = this.items.get(entry.number);
    if (!item) {
      item = this.add(entry);
      const isShown = !entry.isRaw || this.list.matches(".with-details");
      if (!this.follows && isShown) this.unseen += 1;
    }
    if (entry.utterance) this.showUtterance(item, entry.utterance);
    this.moveOn();
  }

  /** Adds to the waveform of an utterance. */
  hear({ utterance, peaks }) {
    const wave = this.waves.get(utterance);
    if (!wave) return;
    wave.waveform.add(peaks);
    wave.heardAtMs = performance.now();
    wave.badge.textContent = badge(wave.waveform.utterance);
    wave.length.textContent = seconds(wave.waveform.audioMs);
    this.stale.add(wave.waveform);
  }

  /** How much of an utterance has come in; 0 where there is none. */
  lengthMs(utterance) {
    return this.waves.get(utterance)?.waveform.audioMs ?? 0;
  }

  /** Whether it is said by the voice. */
  isVoice(utterance) {
    return this.waves.get(utterance)?.waveform.utterance.connection === 0;
  }

  /** Marks how far an utterance has been heard. */
  played(utterance, atMs) {
    const wave = this.waves.get(utterance)?.waveform;
    if (!wave || atMs <= wave.playedMs) return;
    wave.playedMs = atMs;
    this.stale.add(wave);
  }

  /** Says so where neither audio nor an end has come for a while. */
  showWaiting() {
    for (const { waveform, badge, heardAtMs } of this.waves.values()) {
      const waitedMs = performance.now() - heardAtMs;
      const { outcome, connection } = waveform.utterance;
      // The voice gets its audio at once, and no end.
      if (connection && outcome === "open" && waitedMs > WAITING_MS) {
        badge.textContent = `no audio and no end for ${seconds(waitedMs)}`;
      }
    }
  }

  /** Draws the waveforms that have changed. */
  draw() {
    if (!this.stale.size) return;
    for (const waveform of this.stale) waveform.draw();
    this.stale.clear();
    this.moveOn();
  }

  drawAll() {
    for (const { waveform } of this.waves.values()) this.stale.add(waveform);
  }

  follow(follows) {
    this.follows = follows;
    if (follows) this.unseen = 0;
    this.moveOn();
    this.showFollowing();
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    const atEnd = scrollHeight - scrollTop - clientHeight < NEAR_END_PX;
    const back = scrollTop < (this.scrollTop ?? 0);
    this.scrollTop = scrollTop;
    if (back && !atEnd) this.follows = false;
    else if (atEnd) this.follows = true;
    if (this.follows) this.unseen = 0;
    this.showFollowing();
  }

  showFollowing() {
    const more = this.unseen ? ` (${this.unseen} new)` : "";
    this.followButton.setAttribute("aria-pressed", String(this.follows));
    this.followButton.textContent = `Follow${more}`;
  }

  moveOn() {
    if (this.follows) this.list.scrollTop = this.list.scrollHeight;
    else this.showFollowing();
  }

  add(entry) {
    const item = element("li", { className: "entry" });
    item.dataset.kind = entry.kind;
    item.dataset.who = entry.who;
    item.classList.toggle("raw", entry.isRaw);
    item.append(
      element("time", { textContent: clock(entry.timeS) }),
      element("span", { className: "dot", ariaHidden: "true" }),
    );
    const body = element("div", { className: "body" });
    const line = element("p", { className: "line" });
    line.append(element("strong", { textContent: entry.title }));
    if (entry.kind === "speech") {
      body.append(line, ...this.addWave(item, line, entry));
    } else {
      line.append(" ", element("span", { textContent: entry.detail }));
      body.append(line);
    }
    if (entry.raw) {
      const raw = element("p", { className: "facts raw" });
      raw.textContent = entry.raw;
      body.append(raw);
    }
    item.append(body);
    this.list.append(item);
    this.items.set(entry.number, item);
    if (this.items.size > MAX_ENTRIES) this.dropOldest();
    return item;
  }

  addWave(item, line, entry) {
    this.empty.hidden = true;
    const canvas = element("canvas", { className: "wave" });
    const length = element("span", { className: "length" });
    const badge = element("span", { className: "badge" });
    const facts = element("p", { className: "facts" });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Waveform of ${entry.title}`);
    line.append(" ", length, " ", badge);
    const waveform = new Waveform(canvas);
    const { number, peaks } = entry.utterance;
    if (peaks) {
      waveform.add(bytes(peaks));
      // It was heard before this page was opened, as far as it came.
      waveform.playedMs = waveform.audioMs;
      this.stale.add(waveform);
    }
    const heardAtMs = performance.now();
    this.waves.set(number, { waveform, length, badge, facts, heardAtMs });
    const box = element("div", { className: "wave-box" });
    box.append(canvas);
    box.hidden = !entry.utterance.isPcm;
    return [box, facts];
  }

  showUtterance(item, utterance) {
    const wave = this.waves.get(utterance.number);
    wave.waveform.utterance = utterance;
    item.dataset.outcome = utterance.outcome;
    wave.badge.textContent = badge(utterance);
    wave.length.textContent = utterance.isPcm
      ? seconds(utterance.audioMs || wave.waveform.audioMs)
      : `${Math.ceil(utterance.audioBytes / 1024)} KiB`;
    const { connection } = utterance;
    const facts = [
      connection ? `connection ${connection}` : "by voice, without the avatar",
    ];
    if (!utterance.isPcm) facts.push("Ogg Opus: counted, not drawn or played");
    if (utterance.outcome !== "open") {
      facts.push(`${utterance.messages} messages`);
    }
    if (utterance.gaps.length) facts.push(plural(utterance.gaps.length, "gap"));
    wave.facts.textContent = facts.join(" · ");
    this.stale.add(wave.waveform);
  }

  dropOldest() {
    const [number, item] = this.items.entries().next().value;
    item.remove();
    this.items.delete(number);
    for (const [utterance, { waveform }] of this.waves) {
      if (item.contains(waveform.canvas)) this.waves.delete(utterance);
    }
  }
}

function badge({ outcome, connection }) {
  return outcome === "open" && !connection ? "by voice" : BADGES[outcome];
}

export function element(name, values = {}) {
  return Object.assign(document.createElement(name), values);
}

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

function clock(timeS) {
  const whole = Math.max(0, timeS);
  const minutes = Math.floor(whole / 60);
  return `${minutes}:${(whole % 60).toFixed(2).padStart(5, "0")}`;
}
