/**
 * Plays speech as it arrives, and knows the sound of this moment.
 *
 * All is scheduled on one clock: the sound card's while sound is on, the
 * browser's while it is off, so the mouth moves the same way without sound.
 */

import { Envelope } from "./envelope.js";

// As in utterance.py: how far behind its arrival audio is played.
const LEAD_S = 0.2;
// A sound card whose clock stands still this long plays nothing.
const STUCK_S = 1.5;
const FADE_S = 0.008;
export const REST = { open: 0, wide: 0.5, level: 0, utterance: 0, atMs: 0 };

export class Voice {
  /** `onProblem(text)` is called when the sound has to be turned off. */
  constructor(onProblem) {
    this.onProblem = onProblem;
    this.audio = null; // { context, gain, analyser, wave }
    this.chunks = []; // scheduled and not played: { at, samples, rate, ... }
    this.shapes = []; // mouth shapes on the clock, in order
    this.endsAt = 0; // when the last chunk is over
    this.streams = new Map(); // utterance -> { envelope, playedS }
    this.stuck = { time: -1, since: 0 };
  }

  get isOn() {
    return this.audio !== null;
  }

  /** Seconds of the clock that things are scheduled on. */
  get time() {
    return this.audio
      ? this.audio.context.currentTime
      : performance.now() / 1000;
  }

  /** Turns sound on; to be called from a click. May reject. */
  async turnOn() {
    if (this.audio) return;
    const rate = this.chunks[0]?.rate ?? this.rate ?? 24000;
    // The stream's own rate: chunks then join without being resampled.
    const context = new AudioContext({ sampleRate: rate });
    await context.resume();
    const gain = new GainNode(context);
    const analyser = new AnalyserNode(context, { fftSize: 1024 });
    gain.connect(analyser).connect(context.destination);
    const before = this.time;
    const wave = new Float32Array(analyser.fftSize);
    this.audio = { context, gain, analyser, wave };
    this.stuck = { time: -1, since: performance.now() / 1000 };
    this.shift(this.time - before);
    for (const chunk of this.chunks) this.start(chunk);
  }

  turnOff() {
    if (!this.audio) return;
    const { context } = this.audio;
    const before = this.time;
    this.audio = null;
    this.shift(this.time - before);
    for (const chunk of this.chunks) chunk.source = null;
    context.close();
  }

  /** Plays 16-bit samples behind those scheduled already. */
  play(utterance, rate, pcm) {
    if (!pcm.length) return;
    this.rate = rate;
    const samples = Float32Array.from(pcm, (value) => value / 32768);
    const now = this.time;
    this.forget(now);
    if (this.endsAt < now) this.endsAt = now + LEAD_S;
    let stream = this.streams.get(utterance);
    if (!stream) {
      stream = { envelope: new Envelope(rate), scheduledS: 0, shapedS: 0 };
      this.streams.clear(); // the former one gets no more audio
      this.streams.set(utterance, stream);
    }
    const chunk = { utterance, rate, samples, at: this.endsAt, source: null };
    this.endsAt += samples.length / rate;
    this.chunks.push(chunk);
    if (this.audio) this.start(chunk);
    const offset = chunk.at - stream.scheduledS;
    stream.scheduledS += samples.length / rate;
    for (const shape of stream.envelope.take(samples)) {
      this.shapes.push({
        ...shape,
        utterance,
        at: offset + stream.shapedS,
        atMs: stream.shapedS * 1000,
      });
      stream.shapedS += stream.envelope.hopS;
    }
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
    this.chunks = [];
    this.shapes = [];
    this.streams.clear();
    this.endsAt = 0;
  }

  /** The sound now: the mouth's shape, its utterance and position. */
  heard() {
    this.watch();
    const now = this.time - (this.audio?.context.outputLatency || 0);
    const shapes = this.shapes;
    let passed = 0;
    while (passed + 1 < shapes.length && shapes[passed + 1].at <= now) {
      passed += 1;
    }
    if (passed) shapes.splice(0, passed);
    const shape = shapes[0];
    if (!shape || shape.at > now) return REST;
    if (now > shape.at + 0.05) {
      // The last one is over, and nothing follows.
      shapes.shift();
      return REST;
    }
    return this.audio ? { ...shape, level: this.measure() } : shape;
  }

  /** The RMS of the sound card's samples at this moment. */
  measure() {
    const { analyser, wave } = this.audio;
    analyser.getFloatTimeDomainData(wave);
    let sum = 0;
    for (const sample of wave) sum += sample * sample;
    return Math.sqrt(sum / wave.length);
  }

  start(chunk) {
    const { context, gain } = this.audio;
    const late = Math.max(0, context.currentTime - chunk.at);
    if (late >= chunk.samples.length / chunk.rate) return;
    const buffer = new AudioBuffer({
      length: chunk.samples.length,
      sampleRate: chunk.rate,
    });
    buffer.copyToChannel(chunk.samples, 0);
    chunk.source = new AudioBufferSourceNode(context, { buffer });
    chunk.source.connect(gain);
    chunk.source.start(chunk.at + late, late);
  }

  shift(seconds) {
    for (const item of [...this.chunks, ...this.shapes]) item.at += seconds;
    if (this.endsAt) this.endsAt += seconds;
  }

  /** Drops played samples: the page may be hidden, and draw nothing. */
  forget(now) {
    const isOver = ({ at, samples, rate }) => at + samples.length / rate < now;
    while (this.chunks.length && isOver(this.chunks[0])) this.chunks.shift();
    const isPast = (shape) => shape?.at < now - 1;
    while (isPast(this.shapes[1])) this.shapes.shift();
  }

  watch() {
    if (!this.audio) return;
    const time = this.audio.context.currentTime;
    const now = performance.now() / 1000;
    if (time !== this.stuck.time) {
      this.stuck = { time, since: now };
    } else if (now - this.stuck.since > STUCK_S) {
      this.turnOff();
      this.onProblem("This machine plays no sound; the face moves without.");
    }
  }
}
