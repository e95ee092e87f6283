/** The drawn face: its mouth follows the sound; CSS moves the rest. */

import { clamp } from "./words.js";

const MOUTH = { x: 160, y: 205 };
// Time constants: a mouth opens faster than it closes.
const OPENING_S = 0.025;
const CLOSING_S = 0.06;
const WIDENING_S = 0.07;
const EFFORT_S = 0.5;

export class Face {
  constructor(root) {
    this.root = root;
    this.parts = Object.fromEntries(
      ["jaw", "lips", "mouth", "mouth-clip", "teeth", "tongue"].map((id) => [
        id,
        root.querySelector(`#${id}`),
      ]),
    );
    this.open = 0;
    this.wide = 0.5;
    this.effort = 0;
    this.drawn = "";
  }

  /** Draws the face at `now` (seconds), `shape` being that of the sound. */
  draw(shape, now) {
    const step = clamp(now - (this.last ?? now), 0, 0.1);
    this.last = now;
    const near = (from, to, tau) => from + (to - from) * (1 - Math.exp(-step / tau));
    const tau = shape.open > this.open ? OPENING_S : CLOSING_S;
    this.open = near(this.open, shape.open, tau);
    this.wide = near(this.wide, shape.wide, WIDENING_S);
    this.effort = near(this.effort, shape.open, EFFORT_S);
    if (this.open < 0.004) this.open = 0;
    this.root.style.setProperty("--level", Math.min(1, 2.5 * shape.level));
    this.root.style.setProperty("--effort", clamp(1.6 * this.effort).toFixed(2));
    this.drawMouth();
  }

  drawMouth() {
    const { x, y } = MOUTH;
    const half = 15 + 11 * this.wide - 3 * this.open;
    const up = 6 * this.open;
    const down = 22 * this.open;
    // A closed mouth smiles a little.
    const corner = y - 2.5 * (1 - this.open) + 2 * this.open;
    const inner = mouthPath(x, half, corner, y - up, y + 0.6 + down);
    if (inner === this.drawn) return;
    this.drawn = inner;
    const { parts } = this;
    const set = (part, name, value) => parts[part].setAttribute(name, value);
    set("mouth", "d", inner);
    set("mouth-clip", "d", inner);
    set("lips", "d", mouthPath(x, half + 4, corner, y - up - 5, y + 7 + down * 1.06));
    set("teeth", "y", y - up - 4.5);
    set("teeth", "opacity", clamp(this.open * 4));
    set("tongue", "cy", y + down + 1);
    set("tongue", "opacity", clamp(this.open * 2 - 0.3));
    const chin = 237 + 9 * this.open;
    set(
      "jaw",
      "d",
      "M94 142c0-56 29-82 66-82s66 26 66 82" +
        `C226 ${chin - 42} 192 ${chin} 160 ${chin}S94 ${chin - 42} 94 142z`,
    );
  }
}

function mouthPath(x, half, corner, top, bottom) {
  const [left, right, pull] = [x - half, x + half, half * 0.62];
  const at = (...numbers) => numbers.map((n) => n.toFixed(2)).join(" ");
  // Control points a third further out than the curve is to reach.
  const high = corner + (top - corner) * (4 / 3);
  const low = corner + (bottom - corner) * (4 / 3);
  return (
    `M${at(left, corner)}` +
    `C${at(x - pull, high, x + pull, high, right, corner)}` +
    `C${at(x + pull, low, x - pull, low, left, corner)}z`
  );
}
