// Joins the avatar's Agora channel, shows the avatar and publishes the
// microphone. Written from the vendor's documents; see README.md for what was run.

import {
  AvatarManager,
  AvatarSDK,
  AvatarView,
  DrivingServiceMode,
} from "@spatius/avatarkit";
import {
  AgoraProvider,
  AvatarPlayer,
  type AgoraConnectionConfig,
} from "@spatius/avatarkit-rtc";
import AgoraRTC, { type IAgoraRTCClient } from "agora-rtc-sdk-ng";

/** The output of `bin/client-token --uid UID`. */
export interface ClientToken extends AgoraConnectionConfig {
  /** When the token expires, in ISO 8601. */
  tokenEndsAt: string;
  /** The same in seconds since the epoch. */
  tokenEndsAtEpochS: number;
}

export interface Settings {
  spatiusAppId: string;
  spatiusAvatarId: string;
  token: ClientToken;
  /** If it is not known, the publisher of video is the avatar. */
  avatarUid?: number;
  /** Returns another token, where a backend signs them. */
  renewToken?: () => Promise<ClientToken>;
}

export type State =
  | { name: "idle" }
  /** `part` of the avatar's assets is here, from 0 to 1. */
  | { name: "loading"; part: number }
  | { name: "joining" }
  /** In the channel; the avatar is not, for ABSENT_AFTER_MS at most. */
  | { name: "waiting" }
  /** The avatar has not joined. */
  | { name: "absent" }
  | { name: "live" }
  /** No frames arrive, or the channel is lost. */
  | { name: "reconnecting"; attempt: number; reason: string }
  | { name: "expired" }
  | { name: "failed"; reason: string };

export interface Listener {
  onState(state: State): void;
  /** The browser plays no sound until the user clicks. */
  onSoundBlocked(): void;
  /** A problem that changes no state. */
  onProblem(text: string): void;
}

export const ABSENT_AFTER_MS = 10_000;
const LOOK_EVERY_MS = 500;
const RECONNECT_PAUSE_MS = 2000;

/** Returns the token in `text`; throws an Error that names a missing value. */
export function parseToken(text: string, nowMs: number): ClientToken {
  let value: Partial<ClientToken>;
  try {
    value = JSON.parse(text) as Partial<ClientToken>;
  } catch {
    throw new Error("the token is not JSON: paste all that bin/client-token prints");
  }
  for (const name of ["appId", "channel", "token"] as const) {
    if (typeof value?.[name] !== "string" || value[name] === "") {
      throw new Error(`${name} is missing: paste all that bin/client-token prints`);
    }
  }
  if (typeof value.uid !== "number" || value.uid < 1) {
    throw new Error("uid must be a positive number, and not the avatar's");
  }
  if ((value.tokenEndsAtEpochS ?? Infinity) * 1000 <= nowMs) {
    throw new Error(`the token expired at ${value.tokenEndsAt}`);
  }
  return value as ClientToken;
}

/** One stay in a channel. */
export class Client {
  state: State = { name: "idle" };
  private token: ClientToken;
  private view?: AvatarView;
  private player?: AvatarPlayer;
  private agora?: IAgoraRTCClient;
  /** The one that the player has, and joins again with. */
  private joinedToken = "";
  private waitingSinceMs = 0;
  private isReconnecting = false;
  private hasLeft = false;
  private timer?: ReturnType<typeof setInterval>;

  constructor(
    private readonly settings: Settings,
    private readonly container: HTMLElement,
    private readonly listener: Listener,
  ) {
    this.token = settings.token;
  }

  /**
   * Shows the avatar and joins the channel.
   *
   * To be called from a click: a browser plays no sound before one. Does not
   * reject; `failed` has the reason.
   */
  async join(): Promise<void> {
    try {
      this.enter({ name: "loading", part: 0 });
      await initialize(this.settings.spatiusAppId);
      const avatar = await AvatarManager.shared.load(
        this.settings.spatiusAvatarId,
        ({ type, progress }) => {
          if (type === "downloading" && progress !== undefined) {
            this.enter({ name: "loading", part: progress });
          }
        },
      );
      if (this.hasLeft) return;
      this.view = new AvatarView(avatar, this.container);
      this.player = this.makePlayer(this.view);
      this.enter({ name: "joining" });
      await this.connect();
    } catch (error) {
      if (this.hasLeft) return;
      await this.close().catch(() => undefined); // the first error says more
      if (isExpired(this.token)) this.enter({ name: "expired" });
      else this.enter({ name: "failed", reason: describe(error) });
    }
  }

  /** Publishes the microphone, or stops that. Rejects with an Error that says
   * what to do. */
  async setMicrophone(on: boolean): Promise<void> {
    try {
      await (on ? this.player?.startPublishing() : this.player?.stopPublishing());
    } catch (error) {
      throw new Error(describeMicrophone(error));
    }
  }

  async leave(): Promise<void> {
    this.enter({ name: "idle" });
    await this.close();
  }

  private makePlayer(view: AvatarView): AvatarPlayer {
    const player = new AvatarPlayer(new AgoraProvider(), view, {
      logLevel: "warning",
    });
    AgoraRTC.onAutoplayFailed = () => this.listener.onSoundBlocked();
    player.on("connected", () => this.wait());
    player.on("disconnected", () => void this.reconnect("the channel was lost"));
    player.on("stalled", () => void this.reconnect("no frames arrive"));
    player.on("error", (error) => this.listener.onProblem(describe(error)));
    return player;
  }

  private async connect(): Promise<void> {
    const { appId, channel, token, uid } = this.token;
    const { player } = this;
    await player?.connect({ appId, channel, token, uid });
    this.joinedToken = token;
    if (this.hasLeft) {
      await player?.disconnect(); // it was too early before
      return;
    }
    const agora = this.player?.getNativeClient();
    if (agora && agora !== this.agora) {
      this.agora = agora;
      agora.on("token-privilege-will-expire", () => void this.renew());
      agora.on("token-privilege-did-expire", () => void this.expire());
    }
    if (this.state.name === "joining") this.wait();
    this.timer ??= setInterval(() => this.look(), LOOK_EVERY_MS);
  }

  /** Waits for the avatar, which may be in the channel already. */
  private wait(): void {
    if (this.hasLeft) return;
    this.waitingSinceMs = performance.now();
    this.enter({ name: "waiting" });
    this.look();
  }

  private look(): void {
    const { name } = this.state;
    const isThere = this.isAvatarThere();
    if (isThere && (name === "waiting" || name === "absent")) {
      this.enter({ name: "live" });
    } else if (!isThere && name === "live") {
      this.wait();
    } else if (
      name === "waiting" &&
      performance.now() - this.waitingSinceMs >= ABSENT_AFTER_MS
    ) {
      this.enter({ name: "absent" });
    }
  }

  private isAvatarThere(): boolean {
    const { avatarUid } = this.settings;
    const users = this.player?.getNativeClient()?.remoteUsers ?? [];
    return users.some(({ uid, hasVideo }) =>
      avatarUid === undefined ? hasVideo : Number(uid) === avatarUid,
    );
  }

  /** Joins again until that succeeds. */
  private async reconnect(reason: string): Promise<void> {
    // One attempt at a time: "stalled" may be reported again meanwhile.
    if (this.isReconnecting || !this.player || this.isOver()) return;
    this.isReconnecting = true;
    this.enter({ name: "reconnecting", attempt: 1, reason });
    for (let attempt = 2; !this.hasLeft; attempt += 1) {
      try {
        if (isExpired(this.token) && !(await this.fetchToken())) break;
        if (this.token.token === this.joinedToken) {
          await this.player?.reconnect();
        } else {
          // reconnect() would take the former token.
          await this.player?.disconnect();
          await this.connect();
        }
        if (!this.hasLeft) this.wait();
        break;
      } catch (error) {
        this.enter({ name: "reconnecting", attempt, reason: describe(error) });
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_PAUSE_MS));
      }
    }
    this.isReconnecting = false;
  }

  /** Hands Agora a new token before the one in use expires. */
  private async renew(): Promise<void> {
    if (!(await this.fetchToken())) return;
    try {
      await this.player?.getNativeClient()?.renewToken(this.token.token);
    } catch (error) {
      this.listener.onProblem(`The token was not renewed: ${describe(error)}`);
    }
  }

  /** Gets a new token; returns whether there is one. */
  private async fetchToken(): Promise<boolean> {
    try {
      if (!this.settings.renewToken) throw new Error("no backend signs tokens");
      this.token = await this.settings.renewToken();
      return true;
    } catch (error) {
      if (isExpired(this.token)) this.enter({ name: "expired" });
      else this.listener.onProblem(`The token expires soon: ${describe(error)}`);
      return false;
    }
  }

  private async expire(): Promise<void> {
    if (await this.fetchToken()) void this.reconnect("the token has expired");
    else this.enter({ name: "expired" });
  }

  private isOver(): boolean {
    return ["idle", "failed", "expired"].includes(this.state.name);
  }

  private enter(state: State): void {
    if (this.hasLeft) return;
    this.state = state;
    this.listener.onState(state);
  }

  private async close(): Promise<void> {
    this.hasLeft = this.state.name === "idle";
    clearInterval(this.timer);
    this.timer = undefined;
    const { player, view } = this;
    this.player = this.view = undefined; // its later reports are no losses
    try {
      await player?.disconnect();
    } finally {
      view?.dispose();
    }
  }
}

let initialized: Promise<void> | undefined;

/** Initializes the SDK, once per page. */
function initialize(appId: string): Promise<void> {
  initialized ??= AvatarSDK.initialize(appId, {
    drivingServiceMode: DrivingServiceMode.host,
  }).catch((error: unknown) => {
    initialized = undefined;
    throw error;
  });
  return initialized;
}

function isExpired({ tokenEndsAtEpochS }: ClientToken): boolean {
  return (tokenEndsAtEpochS ?? Infinity) * 1000 <= Date.now();
}

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the advice for a microphone that cannot be used. */
export function describeMicrophone(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "NotAllowedError") {
    return "The browser refused the microphone: allow it beside the address.";
  }
  if (name === "NotFoundError") return "This machine has no microphone.";
  if (name === "NotReadableError") return "Another program uses the microphone.";
  return `The microphone cannot be used: ${describe(error)}`;
}
