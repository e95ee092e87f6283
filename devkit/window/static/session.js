/** The session's state, figures and facts. */

import { clock, element, find, plural, seconds, set } from "./words.js";

const STATES = {
  waiting: "Waiting for a client",
  connecting: "Connecting",
  ready: "Ready",
  recovering: "Reconnecting",
  fallback: "The voice takes over",
  asleep: "Asleep",
  failed: "Failed permanently",
  closed: "Not connected",
};
const SPEECH = {
  Heard: "heardMs",
  Resumed: "resumedMs",
  "By voice": "voiceMs",
  Cut: "cutMs",
  Lost: "lostMs",
};
// Label -> value, from the session and the service's epoch seconds; a row
// without a value is hidden.
const FACTS = {
  Connection({ connection, isOpen, isStalled }) {
    if (!connection) return "none yet";
    const stalled = isStalled ? ", stalled" : "";
    return `${connection}, ${isOpen ? `open${stalled}` : "closed"}`;
  },
  "Connection id": ({ connectionId }) => connectionId || "–",
  Channel: ({ channel }) => channel || "–",
  "Avatar's uid": ({ uid }) => uid ?? "–",
  Audio: ({ sampleRate, audioFormat }) =>
    sampleRate ? `${sampleRate} Hz, ${audioFormat.replaceAll("_", " ")}` : "–",
  Avatar: ({ avatarId }) => avatarId || "–",
  "Agora token": ({ agoraTokenEnd }, nowS) => left(agoraTokenEnd, nowS),
  "Session token": ({ sessionTokenEnd, sessionToken }, nowS) =>
    left(sessionTokenEnd, nowS) +
    (sessionToken ? ` (number ${sessionToken})` : ""),
  Price: (session, nowS) => plural(credits(session, nowS), "credit"),
  SDK: ({ sdk }) => sdk,
  "Last close": ({ lastClose }) => lastClose || "none",
  Planned: ({ refusalsPlanned }) =>
    refusalsPlanned && `${plural(refusalsPlanned, "refusal")} ahead`,
  "Rules broken": ({ counts }) => counts.violations,
};

/** Shows the model; see main.js. */
export function showSession(model) {
  const { about, session, played } = model;
  const [state, text] = stateOf(model);
  find("state").dataset.state = state;
  set(find("state"), text);
  const notice = noticeOf(model);
  find("notice").hidden = !notice;
  set(find("notice"), notice);
  if (!session) return;
  const { counts, speech } = session;
  const figures = [
    plural(counts.utterances, "utterance"),
    `${seconds(counts.audioMs)} of speech`,
    plural(counts.interrupts, "interrupt"),
    plural(counts.gaps, "gap"),
  ];
  set(find("counts"), figures.join(" · "));
  for (const [label, name] of Object.entries(SPEECH)) {
    const ms = speech[name] + (played[name] ?? 0);
    showRow(find("speech"), label, seconds(ms));
  }
  const nowS = (Date.now() + model.aheadMs) / 1000;
  const sdk = about.hasStage ? about.sdk : `unknown (read with ${about.sdk})`;
  for (const [label, value] of Object.entries(FACTS)) {
    showRow(find("session"), label, value({ ...session, sdk }, nowS));
  }
}

function stateOf({ session, isGone, isVoice, heard }) {
  if (isGone) return ["offline", "Service unreachable, reconnecting"];
  if (!session) return ["offline", "Connecting to the page's service"];
  if (session.isStalled) return ["stalled", "Stalled"];
  if (isVoice) return ["fallback", "The voice speaks"];
  if (heard.utterance) return ["speaking", "Speaking"];
  return [session.state, STATES[session.state] ?? session.state];
}

function noticeOf({ about, session, isGone }) {
  if (session?.failure) return `Failed permanently: ${session.failure}`;
  if (!isGone || !about) return "";
  const { command } = about;
  const port = / --port[ =]/.test(command) ? "" : ` --port ${location.port}`;
  return `If it was stopped, start it again: ${command}${port}`;
}

/** Connected time costs a credit for each 6 s that were begun. */
function credits({ endedCredits, liveSince }, nowS) {
  if (!liveSince) return endedCredits;
  return endedCredits + Math.max(1, Math.ceil((nowS - liveSince) / 6));
}

function left(endS, nowS) {
  if (!endS) return "–";
  const leftS = Math.round(endS - nowS);
  return leftS > 0 ? `ends in ${clock(leftS)}` : "has ended";
}

function showRow(list, label, value) {
  const find = ({ firstChild }) => firstChild.textContent === label;
  let row = [...list.children].find(find);
  if (!row) {
    const term = element("dt", { textContent: label });
    row = element("div", {}, term, element("dd"));
    list.append(row);
  }
  row.hidden = !value;
  set(row.lastChild, value);
}
