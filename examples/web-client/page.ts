// Connects the form of index.html with client.ts.

import { describe, join, parseToken, type Client } from "./client";

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id}`);
  return found;
}

const appId = element("spatius-app-id", HTMLInputElement);
const avatarId = element("spatius-avatar-id", HTMLInputElement);
const token = element("token", HTMLTextAreaElement);
const joinButton = element("join", HTMLButtonElement);
const leaveButton = element("leave", HTMLButtonElement);
const microphone = element("microphone", HTMLInputElement);
const avatar = element("avatar", HTMLDivElement);
const status = element("status", HTMLOutputElement);

let client: Client | undefined;

function show(text: string): void {
  status.value = text;
}

/** Runs what a click starts, with the controls disabled meanwhile. */
async function run(action: () => Promise<void>): Promise<void> {
  joinButton.disabled = leaveButton.disabled = microphone.disabled = true;
  try {
    await action();
  } catch (error) {
    show(describe(error));
  }
  joinButton.disabled = client !== undefined;
  leaveButton.disabled = microphone.disabled = client === undefined;
}

joinButton.addEventListener("click", () =>
  run(async () => {
    const settings = {
      spatiusAppId: appId.value.trim(),
      spatiusAvatarId: avatarId.value.trim(),
      token: parseToken(token.value, Date.now()),
    };
    client = await join(settings, avatar, show);
  }),
);

leaveButton.addEventListener("click", () =>
  run(async () => {
    const leaving = client;
    client = undefined;
    microphone.checked = false;
    await leaving?.leave();
  }),
);

microphone.addEventListener("change", () =>
  run(async () => {
    try {
      await client?.setMicrophone(microphone.checked);
    } catch (error) {
      microphone.checked = false;
      throw error;
    }
  }),
);
