// Connects index.html with client.ts, and with bin/demo --web where that serves
// the page.

import {
  Client,
  describe,
  describeMicrophone,
  parseToken,
  type Settings,
  type State,
} from "./client.js";
import { askAgent, loadSettings, tell, type Agent } from "./demo.js";
import { Recorder } from "./recorder.js";

const ASK_EVERY_MS = 1000;

function element<T extends HTMLElement>(id: string, type: new () => T): T {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id}`);
  return found;
}

const stage = element("stage", HTMLElement);
const avatar = element("avatar", HTMLDivElement);
const status = element("status", HTMLOutputElement);
const hint = element("hint", HTMLParagraphElement);
const causes = element("causes", HTMLUListElement);
const problem = element("problem", HTMLParagraphElement);
const soundButton = element("sound", HTMLButtonElement);
const form = element("settings", HTMLFormElement);
const appId = element("spatius-app-id", HTMLInputElement);
const avatarId = element("spatius-avatar-id", HTMLInputElement);
const avatarUid = element("avatar-uid", HTMLInputElement);
const token = element("token", HTMLTextAreaElement);
const joinButton = element("join", HTMLButtonElement);
const leaveButton = element("leave", HTMLButtonElement);
const microphone = element("microphone", HTMLButtonElement);
const speakButton = element("speak", HTMLButtonElement);
const bargeInButton = element("barge-in", HTMLButtonElement);
const echoButton = element("echo", HTMLButtonElement);

const STATUS: Record<State["name"], string> = {
  idle: "Not connected",
  loading: "Loading the avatar",
  joining: "Joining the channel",
  waiting: "Waiting for the avatar",
  absent: "The avatar does not join",
  live: "The avatar is here",
  reconnecting: "Reconnecting",
  expired: "The token has expired",
  failed: "Could not join",
};

let client: Client | undefined;
let recorder: Recorder | undefined;
let given: Settings | null = null; // by bin/demo --web
let agent: Agent | null = null;
let isPublishing = false;
let hasSpoken = false;

function showState(state: State): void {
  stage.dataset.state = state.name;
  let text = STATUS[state.name];
  if (state.name === "loading") text += `, ${Math.round(100 * state.part)} %`;
  if (state.name === "reconnecting") text += `, attempt ${state.attempt}`;
  if (state.name === "waiting" && agent?.state === "asleep") {
    text = "The avatar is asleep";
  }
  // The same text again would be read out again.
  if (status.value !== text) status.value = text;
  hint.textContent = hintFor(state);
  causes.hidden = state.name !== "absent";
  if (state.name === "absent") showCauses();
  const isIn = ["waiting", "absent", "live", "reconnecting"].includes(state.name);
  joinButton.hidden = isIn || ["loading", "joining"].includes(state.name);
  joinButton.textContent = state.name === "idle" ? "Show the avatar" : "Try again";
  leaveButton.hidden = !joinButton.hidden;
  form.hidden = given !== null || joinButton.hidden;
  microphone.hidden = !isIn || given !== null;
  for (const button of [speakButton, bargeInButton, echoButton]) {
    button.hidden = !isIn || given === null;
  }
  bargeInButton.disabled = !(agent?.isSpeaking ?? false);
  if (state.name === "live" && given && !hasSpoken) {
    hasSpoken = true;
    void tell("speak").then(showProblem);
  }
  if (state.name === "live") showProblem("");
}

function hintFor(state: State): string {
  switch (state.name) {
    case "idle":
      return given
        ? "bin/demo has signed your token. The click lets the browser play sound."
        : "Fill in the form below.";
    case "waiting":
      return agent?.state === "asleep"
        ? "Speak wakes it."
        : "You are in the channel. The avatar joins when its agent does.";
    case "absent":
      return "You have been in the channel for 10 s, alone. Check:";
    case "live":
      return given ? "Let it speak, or say something for it to repeat." : "";
    case "reconnecting":
      return `${capital(state.reason)}.`;
    case "expired":
      return given
        ? "No new one could be signed."
        : "Sign a new one with bin/client-token, and paste it below.";
    case "failed":
      return `${capital(state.reason)}.`;
    default:
      return "";
  }
}

/** Lists possible reasons for an absent avatar, the likeliest first. */
function showCauses(): void {
  const texts = [];
  if (agent) texts.push(`The extension is ${agent.state}. ${agent.error}`.trim());
  else if (given) texts.push("bin/demo --web does not answer: has it ended?");
  else texts.push("The agent runs, and its avatar_state is ready.");
  texts.push(
    "Client and extension have the same Agora App ID and channel.",
    "Nobody else has the avatar's uid: two participants with one uid kick each other out.",
    "The Spatius account has credits, and no more sessions than its plan allows.",
    "The Spatius deployment accepts your Agora App ID: some have one of their own.",
  );
  causes.replaceChildren(
    ...texts.map((text) =>
      Object.assign(document.createElement("li"), { textContent: text }),
    ),
  );
}

function showProblem(text: string): void {
  problem.hidden = !text;
  problem.textContent = text;
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/\.$/, "");
}

function settingsOfForm(): Settings {
  const uid = Number(avatarUid.value) || undefined;
  const settings = {
    spatiusAppId: appId.value.trim(),
    spatiusAvatarId: avatarId.value.trim(),
    token: parseToken(token.value, Date.now()),
    avatarUid: uid,
  };
  if (!settings.spatiusAppId || !settings.spatiusAvatarId) {
    throw new Error("The Spatius App ID and the avatar ID are needed");
  }
  return settings;
}

async function join(): Promise<void> {
  showProblem("");
  try {
    await client?.leave();
    client = new Client((await loadSettings()) ?? settingsOfForm(), avatar, {
      onState: showState,
      onSoundBlocked: () => (soundButton.hidden = false),
      onProblem: showProblem,
    });
  } catch (error) {
    showState({ name: "failed", reason: describe(error) });
    return;
  }
  await client.join();
}

async function leave(): Promise<void> {
  await client?.leave();
  client = undefined;
  setPublishing(false);
  soundButton.hidden = true;
  showProblem("");
  showState({ name: "idle" });
}

function setPublishing(on: boolean): void {
  isPublishing = on;
  microphone.textContent = on ? "Turn the microphone off" : "Turn the microphone on";
}

async function toggleMicrophone(): Promise<void> {
  try {
    await client?.setMicrophone(!isPublishing);
    setPublishing(!isPublishing);
    showProblem("");
  } catch (error) {
    showProblem(describe(error));
  }
}

/** Records; the second click has the avatar repeat it. */
async function toggleEcho(): Promise<void> {
  const recording = recorder;
  recorder = undefined;
  try {
    if (recording) {
      showProblem(await tell("echo", await recording.stop()));
    } else {
      recorder = await Recorder.start();
      showProblem("");
    }
  } catch (error) {
    showProblem(describeMicrophone(error));
  }
  echoButton.textContent = recorder ? "Stop, and repeat it" : "Record something";
}

async function ask(): Promise<void> {
  agent = await askAgent();
  if (client) showState(client.state);
}

joinButton.addEventListener("click", () => void join());
leaveButton.addEventListener("click", () => void leave());
microphone.addEventListener("click", () => void toggleMicrophone());
echoButton.addEventListener("click", () => void toggleEcho());
form.addEventListener("submit", (event) => event.preventDefault());
// Agora plays on once the user has clicked anywhere.
soundButton.addEventListener("click", () => (soundButton.hidden = true));
speakButton.addEventListener("click", () => void tell("speak").then(showProblem));
bargeInButton.addEventListener(
  "click",
  () => void tell("barge_in").then(showProblem),
);

given = await loadSettings();
showState({ name: "idle" });
if (given) {
  await ask();
  setInterval(() => void ask(), ASK_EVERY_MS);
}
