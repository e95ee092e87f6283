// A fake of agora-rtc-sdk-ng, held to the example's declarations.

import type real from "agora-rtc-sdk-ng";
import { fake } from "./fake.js";

const AgoraRTC: typeof real = {};
fake.on("autoplay-failed", () => AgoraRTC.onAutoplayFailed?.());

export default AgoraRTC;
