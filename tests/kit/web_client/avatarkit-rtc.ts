// A fake of @spatius/avatarkit-rtc, held to the example's declarations.

import type * as real from "@spatius/avatarkit-rtc";
import type { IAgoraRTCClient } from "agora-rtc-sdk-ng";
import { fake } from "./fake.js";

export class AgoraProvider implements real.AgoraProvider {}

export class AvatarPlayer implements real.AvatarPlayer {
  private readonly client: IAgoraRTCClient = {
    get remoteUsers() {
      return fake.users;
    },
    on: (event, listener) => fake.on(event, listener),
    renewToken: (token) => fake.call("renewToken", token),
  };

  on<Name extends keyof real.AvatarPlayerEvents>(
    event: Name,
    listener: real.AvatarPlayerEvents[Name],
  ): void {
    fake.on(event, listener as (value?: unknown) => void);
  }

  async connect(config: real.AgoraConnectionConfig): Promise<void> {
    await fake.call("connect", config);
    fake.emit("connected");
  }

  reconnect(): Promise<void> {
    return fake.call("reconnect");
  }

  async disconnect(): Promise<void> {
    await fake.call("disconnect");
    fake.emit("disconnected");
  }

  startPublishing(): Promise<void> {
    return fake.call("startPublishing");
  }

  stopPublishing(): Promise<void> {
    return fake.call("stopPublishing");
  }

  getNativeClient(): IAgoraRTCClient {
    return this.client;
  }
}
