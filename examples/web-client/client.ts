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

/** What `bin/client-token --uid UID` prints. */
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
}

export interface Client {
  setMicrophone(on: boolean): Promise<void>;
  leave(): Promise<void>;
}

const RECONNECT_PAUSE_MS = 2000;

/** Returns the token in `text`; throws an Error that says what is missing. */
export function parseToken(text: string, nowMs: number): ClientToken {
  const value = JSON.parse(text) as Partial<ClientToken>;
  for (const name of ["appId", "channel", "token"] as const) {
    if (typeof value[name] !== "string" || value[name] === "") {
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

/**
 * Shows the avatar in `container` and joins the channel.
 *
 * To be called from a click: a browser plays no sound before one. Rejects if
 * the avatar cannot be loaded or the channel cannot be joined.
 */
export async function join(
  settings: Settings,
  container: HTMLElement,
  onStatus: (status: string) => void,
): Promise<Client> {
  onStatus("loading the avatar");
  await initialize(settings.spatiusAppId);
  const avatar = await AvatarManager.shared.load(
    settings.spatiusAvatarId,
    ({ type, progress }) => {
      if (type === "downloading" && progress !== undefined) {
        onStatus(`loading the avatar: ${Math.round(progress * 100)} %`);
      }
    },
  );
  const view = new AvatarView(avatar, container);
  const player = new AvatarPlayer(new AgoraProvider(), view, {
    logLevel: "warning",
  });
  let left = false;
  let isReconnecting = false;

  async function reconnect(): Promise<void> {
    // One attempt at a time: "stalled" may be reported again meanwhile.
    if (isReconnecting || left) return;
    isReconnecting = true;
    try {
      onStatus("no frames arrive: reconnecting");
      await player.reconnect();
    } catch (error) {
      onStatus(`reconnecting failed: ${describe(error)}`);
      setTimeout(() => void reconnect(), RECONNECT_PAUSE_MS);
    } finally {
      isReconnecting = false;
    }
  }

  player.on("connected", () => onStatus("connected"));
  player.on("disconnected", () => onStatus("disconnected"));
  player.on("error", (error) => onStatus(`error: ${error.message}`));
  player.on("stalled", () => void reconnect());

  async function leave(): Promise<void> {
    left = true;
    try {
      await player.disconnect();
    } finally {
      view.dispose();
    }
  }

  const { appId, channel, token, uid } = settings.token;
  try {
    onStatus(`joining ${channel} as ${uid}`);
    await player.connect({ appId, channel, token, uid });
  } catch (error) {
    await leave().catch(() => undefined); // the first error says more
    throw error;
  }
  return {
    setMicrophone: (on) =>
      on ? player.startPublishing() : player.stopPublishing(),
    leave,
  };
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

export function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
