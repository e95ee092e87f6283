/** From speech to the shape of a mouth. */

const HOP_S = 0.01;
const WINDOW_HOPS = 3;
// How far below a voice's loudest moments its mouth is closed.
const RANGE_DB = 27;
// Nothing is made of noise: the loudest moment is at least this.
const LEAST_DB = -30;
// How fast a loud moment is forgotten.
const FORGET_DB_PER_S = 3;

/**
 * Reads one utterance's samples in order and gives a mouth shape for each
 * 10 ms: `open` and `wide`, both 0 to 1.
 */
export class Envelope {
  constructor(rate) {
    this.hop = Math.round(rate * HOP_S);
    this.hopS = this.hop / rate;
    this.rate = rate;
    this.rest = new Float32Array(0);
    // [energy, energy of the difference, crossings] of the latest hops.
    this.hops = [];
    this.previous = 0;
    this.loudestDb = LEAST_DB;
  }

  /** Takes samples (-1 to 1) and returns the shapes that became complete. */
  take(samples) {
    const all = new Float32Array(this.rest.length + samples.length);
    all.set(this.rest);
    all.set(samples, this.rest.length);
    const shapes = [];
    let at = 0;
    for (; at + this.hop <= all.length; at += this.hop) {
      this.measure(all.subarray(at, at + this.hop));
      shapes.push(this.shape());
    }
    this.rest = all.slice(at);
    return shapes;
  }

  measure(hop) {
    let energy = 0;
    let steps = 0;
    for (const sample of hop) {
      energy += sample * sample;
      const step = sample - this.previous;
      steps += step * step;
      this.previous = sample;
    }
    this.hops.push([energy, steps]);
    if (this.hops.length > WINDOW_HOPS) this.hops.shift();
  }

  shape() {
    let energy = 0;
    let steps = 0;
    for (const [hopEnergy, hopSteps] of this.hops) {
      energy += hopEnergy;
      steps += hopSteps;
    }
    const meanSquare = energy / (this.hops.length * this.hop);
    const db = 10 * Math.log10(meanSquare + 1e-10);
    const forgotten = this.loudestDb - FORGET_DB_PER_S * this.hopS;
    this.loudestDb = Math.max(LEAST_DB, forgotten, db);
    const loud = clamp(1 + (db - this.loudestDb) / RANGE_DB);
    // The mean frequency, roughly: "oo" is dark, "ee" bright, "s" brightest.
    const pitch = Math.sqrt(steps / (energy + 1e-9));
    const hz = (Math.asin(Math.min(1, pitch / 2)) * this.rate) / Math.PI;
    const bright = clamp((hz - 350) / 1800);
    const hiss = clamp((hz - 2200) / 2000);
    return {
      open: loud ** 2 * (1 - 0.75 * hiss),
      wide: loud > 0 ? 0.25 + 0.75 * bright : 0.5,
      level: Math.sqrt(meanSquare),
    };
  }
}

export function clamp(value, low = 0, high = 1) {
  return Math.min(high, Math.max(low, value));
}
