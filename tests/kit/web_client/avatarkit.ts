// A fake of @spatius/avatarkit, held to the example's declarations.

import type * as real from "@spatius/avatarkit";
import { fake } from "./fake.js";

export const DrivingServiceMode = { host: 0 };

export const AvatarSDK = {
  initialize: (appId: string) => fake.call("initialize", appId),
} satisfies Pick<typeof real.AvatarSDK, "initialize">;

export const AvatarManager = {
  shared: {
    async load(
      id: string,
      onProgress?: (progress: real.LoadProgress) => void,
    ): Promise<real.Avatar> {
      onProgress?.({ type: "downloading", progress: 0.5 });
      await fake.call("load", id);
      return { id };
    },
  } satisfies real.AvatarManager,
};

export class AvatarView implements real.AvatarView {
  private readonly canvas = document.createElement("canvas");

  constructor(avatar: real.Avatar, container: HTMLElement) {
    fake.calls.push(["view", avatar.id]);
    this.canvas.style.cssText = "display: block; width: 100%; height: 100%";
    container.append(this.canvas);
  }

  dispose(): void {
    fake.calls.push(["dispose"]);
    this.canvas.remove();
  }
}
