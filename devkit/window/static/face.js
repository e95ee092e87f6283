/** The drawn face: a mouth that follows, eyes that blink, a head that nods. */

import { clamp } from "./envelope.js";

const MOUTH = { x: 160, y: 205 };
// Time constants: a mouth opens faster than it closes.
const OPENING_S = 0.025;
const CLOSING_S = 0.06;
const BLINK_S = 0.16;

export class Face {
  constructor(root, { calm }) {
    const find = (id) => root.querySelector(`#${id}`);
    this.parts = Object.fromEntries(
      ["jaw", "lips", "mouth", "mouth-clip", "teeth", "tongue"].map((id) => [
        id,
        find(id),
      ]),
    );
    this.root = root;
    this.head = find("head");
    this.brows = find("brows");
    this.eyes = [...root.querySelectorAll(".eye")];
    this.calm = calm; // () => whether motion is to be kept to a minimum
    this.open = 0;
    this.wide = 0.5;
    this.effort = 0;
    this.blinkAt = 2;
    this.drawn = "";
  }

  /** Draws the face at `now` (seconds), `shape` being what is heard. */
  draw(shape, now) {
    const step = clamp(now - (this.last ?? now), 0, 0.1);
    this.last = now;
    const tau = shape.open > this.open ? OPENING_S : CLOSING_S;
    this.open += (shape.open - this.open) * (1 - Math.exp(-step / tau));
    this.wide += (shape.wide - this.wide) * (1 - Math.exp(-step / 0.07));
    this.effort += (shape.open - this.effort) * (1 - Math.exp(-step / 0.5));
    if (this.open < 0.004) this.open = 0;
    this.root.style.setProperty("--level", Math.min(1, 2.5 * shape.level));
    this.drawMouth();
    if (this.calm()) return;
    this.drawEyes(now);
    this.drawHead(now);
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
    const closed = this.open === 0;
    parts.mouth.setAttribute("d", inner);
    parts["mouth-clip"].setAttribute("d", inner);
    parts.lips.setAttribute(
      "d",
      mouthPath(x, half + 4, corner, y - up - 5, y + 7 + down * 1.06),
    );
    parts.teeth.setAttribute("y", y - up - 4.5);
    parts.tongue.setAttribute("cy", y + down + 1);
    parts.tongue.style.opacity = clamp(this.open * 2 - 0.3);
    parts.teeth.style.opacity = closed ? 0 : clamp(this.open * 4);
    const chin = 237 + 9 * this.open;
    parts.jaw.setAttribute(
      "d",
      "M94 142c0-56 29-82 66-82s66 26 66 82" +
        `C226 ${chin - 42} 192 ${chin} 160 ${chin}` +
        `S94 ${chin - 42} 94 142z`,
    );
  }

  drawEyes(now) {
    let lid = 1;
    if (now >= this.blinkAt + BLINK_S) {
      this.blinkAt = now + 2.2 + 3.5 * Math.random();
    } else if (now >= this.blinkAt) {
      const part = (now - this.blinkAt) / BLINK_S;
      lid = Math.abs(2 * part - 1) ** 0.7;
    }
    for (const eye of this.eyes) {
      eye.style.transform = lid < 1 ? `scaleY(${Math.max(0.08, lid)})` : "";
    }
  }

  drawHead(now) {
    const sway = 0.8 * Math.sin(now * 0.7) + 1.6 * this.effort * Math.sin(now * 2.3);
    const nod = 1.2 * Math.sin(now * 0.9) + 2.5 * this.effort * Math.sin(now * 3.1);
    this.head.style.transform =
      `translateY(${nod.toFixed(2)}px) rotate(${sway.toFixed(2)}deg)`;
    this.brows.style.transform =
      `translateY(${(-4 * clamp(this.effort * 1.6)).toFixed(2)}px)`;
  }
}

function mouthPath(x, half, corner, top, bottom) {
  const left = x - half;
  const right = x + half;
  const pull = half * 0.62;
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
