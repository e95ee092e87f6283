// The parts of AvatarKit and of Agora's Web SDK in use, written from their
// public documents (docs.spatius.ai: "Agora Convo AI Client", "LiveKit Agents
// Integration Client", "RTC Adapter" and "Web SDK Reference"; Agora's Web SDK
// reference). The packages bring their own: delete this file when they are
// installed, since it takes precedence.

declare module "@spatius/avatarkit" {
  export enum DrivingServiceMode {
    /**
     * Audio and motion data arrive from outside, here from the RTC room. The
     * page on the Agora client names it so; that on the RTC adapter, `backend`.
     */
    host,
  }

  export class AvatarSDK {
    static initialize(
      appId: string,
      configuration: { drivingServiceMode: DrivingServiceMode },
    ): Promise<void>;
  }

  export interface Avatar {
    readonly id: string;
  }

  export interface LoadProgress {
    type: "downloading" | "completed" | "failed";
    /** From 0 to 1. */
    progress?: number;
  }

  export class AvatarManager {
    static readonly shared: AvatarManager;
    load(
      avatarId: string,
      onProgress?: (progress: LoadProgress) => void,
    ): Promise<Avatar>;
  }

  export class AvatarView {
    /** The container must have a width and a height. */
    constructor(avatar: Avatar, container: HTMLElement);
    dispose(): void;
  }
}

declare module "@spatius/avatarkit-rtc" {
  import type { AvatarView } from "@spatius/avatarkit";
  import type { IAgoraRTCClient } from "agora-rtc-sdk-ng";

  /** Owns the Agora client: do not create another one for the avatar. */
  export class AgoraProvider {
    constructor();
  }

  export interface AgoraConnectionConfig {
    appId: string;
    channel: string;
    token: string;
    uid: number;
  }

  export interface AvatarPlayerOptions {
    /** Default: "warning". */
    logLevel?: "info" | "warning" | "error" | "none";
  }

  export interface AvatarPlayerEvents {
    connected: () => void;
    disconnected: () => void;
    error: (error: Error) => void;
    /** No frames arrive, although the room is connected. */
    stalled: () => void;
  }

  export class AvatarPlayer {
    constructor(
      provider: AgoraProvider,
      view: AvatarView,
      options?: AvatarPlayerOptions,
    );
    on<Name extends keyof AvatarPlayerEvents>(
      event: Name,
      listener: AvatarPlayerEvents[Name],
    ): void;
    connect(config: AgoraConnectionConfig): Promise<void>;
    /** Joins again with the latest configuration. */
    reconnect(): Promise<void>;
    disconnect(): Promise<void>;
    /** Asks for the microphone and publishes it. */
    startPublishing(): Promise<void>;
    stopPublishing(): Promise<void>;
    /** The provider's own client, null before `connect`. */
    getNativeClient(): IAgoraRTCClient | null;
  }
}

declare module "agora-rtc-sdk-ng" {
  export interface IAgoraRTCClient {
    readonly remoteUsers: readonly {
      readonly uid: number | string;
      readonly hasVideo: boolean;
    }[];
    on(
      event: "token-privilege-will-expire" | "token-privilege-did-expire",
      listener: () => void,
    ): void;
    renewToken(token: string): Promise<void>;
  }

  const AgoraRTC: {
    /** Called where the browser plays no sound before a click. */
    onAutoplayFailed?: () => void;
  };
  export default AgoraRTC;
}
