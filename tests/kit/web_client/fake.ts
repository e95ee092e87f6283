// Shared by the fakes of AvatarKit and Agora; a test drives it from outside
// as window.fake.

type Listener = (value?: unknown) => void;

export const fake = {
  /** [method, ...arguments], in order. */
  calls: [] as unknown[][],
  /** The errors of the next calls that may fail, by method: name: message. */
  failures: {} as Record<string, string[]>,
  /** Methods whose promise does not settle yet. */
  pending: new Set<string>(),
  users: [] as { uid: number; hasVideo: boolean }[],
  listeners: {} as Record<string, Listener[]>,
  onProgress: undefined as Listener | undefined,
  /** Added to the page's clock. */
  skippedMs: 0,

  on(event: string, listener: Listener): void {
    (this.listeners[event] ??= []).push(listener);
  },

  emit(event: string, value?: unknown): void {
    for (const listener of this.listeners[event] ?? []) listener(value);
  },

  /** Lets a pending call return. */
  settle(method: string): void {
    this.pending.delete(method);
    this.emit(`settle ${method}`);
  },

  async call(method: string, ...given: unknown[]): Promise<void> {
    this.calls.push([method, ...given]);
    await null;
    if (this.pending.has(method)) {
      await new Promise<void>((settle) => this.on(`settle ${method}`, () => settle()));
    }
    const failure = this.failures[method]?.shift();
    if (failure === undefined) return;
    const [name = "", message = ""] = failure.split(": ", 2);
    throw Object.assign(new Error(message), { name });
  },
};

const now = performance.now.bind(performance);
performance.now = () => now() + fake.skippedMs;
Object.assign(globalThis, { fake });
