/** One utterance's waveform, on a canvas. */

const PEAK_MS = 20;
const PEAKS_PER_BAR = 2;
const BAR_PX = 3;
const HEIGHT_PX = 40;

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.playedMs = 0;
    this.utterance = { outcome: "open", gaps: [] };
  }

  get audioMs() {
    return this.peaks.length * PEAK_MS;
  }

  add(peaks) {
    for (const peak of peaks) this.peaks.push(peak);
  }

  /** Draws heard audio strong, and unheard audio faint. */
  draw() {
    const { canvas } = this;
    const room = canvas.parentElement.clientWidth;
    const wanted = Math.ceil(this.peaks.length / PEAKS_PER_BAR) * BAR_PX;
    const width = Math.max(BAR_PX, Math.min(room, wanted));
    const bars = Math.floor(width / BAR_PX);
    const scale = window.devicePixelRatio || 1;
    canvas.style.width = `${width}px`;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(HEIGHT_PX * scale);
    const { color, borderColor, outlineColor } = getComputedStyle(canvas);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const perBar = this.peaks.length / bars || 1;
    const played = this.playedMs / PEAK_MS / perBar;
    for (let bar = 0; bar < bars; bar += 1) {
      const part = this.peaks.slice(
        Math.floor(bar * perBar),
        Math.max(Math.floor((bar + 1) * perBar), Math.floor(bar * perBar) + 1),
      );
      const peak = Math.max(0, ...part) / 255;
      const height = Math.max(2, Math.sqrt(peak) * HEIGHT_PX);
      context.fillStyle = bar < played ? color : borderColor;
      const top = (HEIGHT_PX - height) / 2;
      context.beginPath();
      context.roundRect(bar * BAR_PX, top, BAR_PX - 1, height, 1);
      context.fill();
    }
    context.fillStyle = outlineColor;
    for (const { atMs } of this.utterance.gaps) {
      const x = (atMs / PEAK_MS / perBar) * BAR_PX;
      context.fillRect(Math.min(width - 2, Math.max(0, x - 1)), 0, 2, HEIGHT_PX);
    }
  }
}
