// Talks to bin/demo --web, which hosts the extension and signs the token.

import { parseToken, type ClientToken, type Settings } from "./client.js";

/** The extension's state. */
export interface Agent {
  /** As avatar_state has it: connecting, ready, asleep, failed ... */
  state: string;
  /** The latest error, "" if there was none since the avatar was ready. */
  error: string;
  isSpeaking: boolean;
}

interface Given extends Settings {
  token: ClientToken;
}

/** Returns the settings, null where this page is served by something else. */
export async function loadSettings(): Promise<Settings | null> {
  const answer = await fetch("demo/settings").catch(() => null);
  const isJson = answer?.headers.get("Content-Type")?.startsWith("application/json");
  if (!answer?.ok || !isJson) return null;
  const given = (await answer.json()) as Given;
  return { ...given, renewToken: () => renewToken(given.token.uid) };
}

async function renewToken(uid: number): Promise<ClientToken> {
  const answer = await fetch(`demo/settings?uid=${uid}`);
  const text = await answer.text();
  if (!answer.ok) throw new Error(text);
  const { token } = JSON.parse(text) as Given;
  return parseToken(JSON.stringify(token), Date.now());
}

/** Returns the extension's state, null if bin/demo has ended. */
export async function askAgent(): Promise<Agent | null> {
  try {
    return (await (await fetch("demo/agent")).json()) as Agent;
  } catch {
    return null;
  }
}

/** Has the agent do something; returns the outcome. */
export async function tell(
  what: "speak" | "barge_in" | "echo",
  pcm?: Int16Array<ArrayBuffer>,
): Promise<string> {
  try {
    const answer = await fetch(`demo/${what}`, {
      method: "POST",
      headers: {
        "Content-Type": pcm ? "application/octet-stream" : "application/json",
      },
      body: pcm ?? "{}",
    });
    return ((await answer.json()) as { said: string }).said;
  } catch {
    return "bin/demo --web has ended: start it again in its terminal.";
  }
}
