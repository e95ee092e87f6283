/**
 * Plays speech as it arrives, and knows the sound of this moment.
 *
 * All is scheduled on one clock: the sound card's while sound is on, the
 * browser's while it is off, so the mouth moves the same way without sound.
 */

import { clamp } from "./words.js";

// As in utterance.py: how far behind its arrival audio is played.
const LEAD_S = 0.2;
// A sound card whose clock stands still this long plays nothing.
const STUCK_S = 1.5;
const FADE_S = 0.008;
// The mouth has the shape of the latest 30 ms.
const SPAN_S = 0.03;
// How far below a voice's loudest moments its mouth is closed.
const RANGE_DB = 27;
// Nothing is made of noise: the loudest moment is at least this.
const LEAST_DB = -30;
// How fast a loud moment is forgotten.
const FORGET_DB_PER_S = 3;

export const REST = { open: 0, wide: 0.5, level: 0, utterance: 0, atMs: 0 };

export class Sound {
  /** `onProblem(text)` is called when the sound has to be turned off. */
  constructor(onProblem) {
    this.onProblem = onProblem;
    this.audio = null; // { context, gain, analyser }
    this.rate = 24000;
    this.loudest = { db: LEAST_DB, at: 0 };
    this.forgetAll();
  }

  get isOn() {
    return this.audio !== null;
  }

  /** Seconds of the clock that things are scheduled on. */
  get time() {
    return this.audio?.context.currentTime ?? performance.now() / 1000;
  }

  /** Turns sound on; to be called from a click. May reject. */
  async turnOn() {
    if (this.audio) return;
    // The stream's own rate: chunks then join without being resampled.
    const context = new AudioContext({ sampleRate: this.rate });
    await context.resume();
    const gain = new GainNode(context);
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    gain.connect(analyser).connect(context.destination);
    this.setAudio({ context, gain, analyser });
    for (const chunk of this.chunks) this.start(chunk);
  }

  turnOff() {
    const { audio } = this;
    this.setAudio(null);
    audio?.context.close();
  }

  /** Plays 16-bit samples behind those scheduled already. */
  play(utterance, rate, pcm) {
    if (!pcm.length) return;
    const now = this.time;
    const lengthS = pcm.length / rate;
    const at = this.endsAt < now ? now + LEAD_S : this.endsAt;
    // Where in the utterance it begins.
    const fromS = this.latest.utterance === utterance ? this.latest.toS : 0;
    const samples = Float32Array.from(pcm, (value) => value / 32768);
    const chunk = { utterance, rate, samples, at, fromS };
    // The page may be hidden, and draw nothing.
    const isPast = (one) => one && one.at < now - 1;
    while (isPast(this.chunks[1])) this.chunks.shift();
    this.chunks.push(chunk);
    this.rate = rate;
    this.endsAt = at + lengthS;
    this.latest = { utterance, toS: fromS + lengthS };
    if (this.audio) this.start(chunk);
  }

  /** Falls silent at once; scheduled sound is never heard. */
  silence() {
    if (this.audio) {
      const { context, gain } = this.audio;
      const now = context.currentTime;
      // A cut in the middle of a wave would click.
      gain.gain.setValueAtTime(1, now);
      gain.gain.linearRampToValueAtTime(0, now + FADE_S);
      gain.gain.setValueAtTime(1, now + 2 * FADE_S);
      for (const { source } of this.chunks) source?.stop(now + FADE_S);
    }
    this.forgetAll();
  }

  /** The sound now: the mouth's shape, its utterance and position. */
  heard() {
    this.watch();
    const now = this.time - (this.audio?.context.outputLatency || 0);
    const span = [];
    let current = null;
    for (const chunk of this.chunks) {
      const { at, rate, samples } = chunk;
      const to = Math.round((now - at) * rate);
      if (to < 0) break;
      current = to < samples.length ? chunk : null;
      const from = Math.round((now - SPAN_S - at) * rate);
      span.push(...samples.subarray(Math.max(0, from), to));
    }
    if (!current) return REST;
    const { utterance, at, fromS, rate } = current;
    const shape = this.shape(span, rate, now);
    if (this.audio) {
      const played = new Float32Array(this.audio.analyser.fftSize);
      this.audio.analyser.getFloatTimeDomainData(played);
      shape.level = Math.sqrt(meanSquare(played));
    }
    return { ...shape, utterance, atMs: 1000 * (fromS + now - at) };
  }

  /** The mouth of someone who makes this sound: `open`, `wide`, 0 to 1. */
  shape(samples, rate, now) {
    const energy = meanSquare(samples);
    const steps = samples.map((sample, i) => sample - (samples[i - 1] ?? 0));
    const db = 10 * Math.log10(energy + 1e-10);
    const passedS = Math.max(0, now - this.loudest.at);
    const forgottenDb = this.loudest.db - FORGET_DB_PER_S * passedS;
    this.loudest = { db: Math.max(LEAST_DB, forgottenDb, db), at: now };
    const loud = clamp(1 + (db - this.loudest.db) / RANGE_DB);
    // The mean frequency, roughly: "oo" is dark, "ee" bright, "s" brightest.
    const pitch = Math.sqrt(meanSquare(steps) / (energy + 1e-9));
    const hz = (Math.asin(Math.min(1, pitch / 2)) * rate) / Math.PI;
    const bright = clamp((hz - 350) / 1800);
    const hiss = clamp((hz - 2200) / 2000);
    return {
      open: loud ** 2 * (1 - 0.75 * hiss),
      wide: loud > 0 ? 0.25 + 0.75 * bright : 0.5,
      level: Math.sqrt(energy),
    };
  }

  start(chunk) {
    const { context, gain } = this.audio;
    const { samples, rate, at } = chunk;
    const late = Math.max(0, context.currentTime - at);
    if (late >= samples.length / rate) return;
    const { length } = samples;
    const buffer = new AudioBuffer({ length, sampleRate: rate });
    buffer.copyToChannel(samples, 0);
    chunk.source = new AudioBufferSourceNode(context, { buffer });
    chunk.source.connect(gain);
    chunk.source.start(at + late, late);
  }

  /** Changes to the clock of `audio`, null for that of the browser. */
  setAudio(audio) {
    const before = this.time;
    this.audio = audio;
    const passed = this.time - before;
    for (const chunk of this.chunks) {
      chunk.at += passed;
      chunk.source = null;
    }
    this.endsAt += passed;
    this.loudest.at += passed;
    this.stuck = { time: -1, since: performance.now() };
  }

  /** Turns the sound off where no sound card plays it. */
  watch() {
    if (!this.audio) return;
    const time = this.audio.context.currentTime;
    const now = performance.now();
    if (time !== this.stuck.time) {
      this.stuck = { time, since: now };
    } else if (now - this.stuck.since > 1000 * STUCK_S) {
      this.turnOff();
      this.onProblem("This machine plays no sound; the face moves without.");
    }
  }

  forgetAll() {
    this.chunks = []; // scheduled, or played a moment ago
    this.endsAt = -Infinity; // the last chunk's end
    this.latest = { utterance: 0, toS: 0 };
  }
}

function meanSquare(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return sum / Math.max(1, samples.length);
}
