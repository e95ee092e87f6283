// Records the microphone as the agent's TTS would speak: 16-bit mono, 24 kHz.

const SAMPLE_RATE = 24000;
const MAX_SAMPLES = 30 * SAMPLE_RATE;

const WORKLET = `
registerProcessor("recorder", class extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) this.port.postMessage(samples.slice());
    return true;
  }
});`;

export class Recorder {
  private readonly chunks: Float32Array[] = [];

  private constructor(
    private readonly stream: MediaStream,
    private readonly context: AudioContext,
  ) {}

  /** Begins to record; rejects as getUserMedia does. */
  static async start(): Promise<Recorder> {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const context = new AudioContext({ sampleRate: SAMPLE_RATE });
    const url = URL.createObjectURL(
      new Blob([WORKLET], { type: "text/javascript" }),
    );
    await context.audioWorklet.addModule(url);
    URL.revokeObjectURL(url);
    const recorder = new Recorder(stream, context);
    const node = new AudioWorkletNode(context, "recorder");
    node.port.onmessage = ({ data }) => recorder.chunks.push(data as Float32Array);
    context.createMediaStreamSource(stream).connect(node);
    return recorder;
  }

  /** Stops, and returns the latest 30 s at most. */
  async stop(): Promise<Int16Array<ArrayBuffer>> {
    for (const track of this.stream.getTracks()) track.stop();
    await this.context.close();
    const samples = this.chunks.flatMap((chunk) => [...chunk]).slice(-MAX_SAMPLES);
    return Int16Array.from(samples, (sample) =>
      Math.max(-32768, Math.min(32767, Math.round(sample * 32768))),
    );
  }
}
