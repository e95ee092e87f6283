/** The buttons, the line that reports their outcome, and the URLs to copy. */

import { element, find, set } from "./words.js";

const buttons = [...document.querySelectorAll("[data-do]")];

/**
 * Shows each button as index.html declares it: `data-can` names the figures of
 * the session that it needs, "!" for those that must be false; `data-switch`
 * the one that it changes, with its label `data-on-label` while that is true.
 */
export function showButtons(session) {
  const holds = (figure) =>
    figure.startsWith("!") ? !session[figure.slice(1)] : session[figure];
  for (const button of buttons) {
    const { can, switch: figure } = button.dataset;
    const canPress = session && (!can || can.split(" ").every(holds));
    // Unlike `disabled`, this leaves the focus where it is.
    if (button.ariaDisabled !== `${!canPress}`) button.ariaDisabled = !canPress;
    if (!session || !figure) continue;
    const isOn = session[figure] === true;
    button.dataset.on = isOn;
    button.dataset.offLabel ??= button.textContent.trim();
    const label = isOn ? button.dataset.onLabel : button.dataset.offLabel;
    set(button, label.replace("{}", session[figure]));
  }
}

/** Calls `listener` with the name of each button that is pressed. */
export function onPress(listener) {
  for (const button of buttons) {
    button.addEventListener("click", () => {
      if (button.ariaDisabled === "true") return;
      listener(button.dataset.do);
      press(button.dataset.do);
    });
  }
}

async function press(name) {
  try {
    const answer = await fetch(`window/do/${name}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: "{}",
    });
    const { said, done } = await answer.json();
    say(said, done);
  } catch {
    say("The service did not answer.");
  }
}

/** Shows the outcome of an action. */
export function say(text, isDone = false) {
  find("said").dataset.done = isDone;
  find("said").textContent = text;
}

/** Shows the agent's buttons, or the URLs for a graph's agent. */
export function showEndpoints({ hasStage, urls }) {
  find("conversation").hidden = find("speech").hidden = !hasStage;
  find("endpoints").hidden = hasStage;
  const row = ([name, url]) =>
    element(
      "div",
      { className: "url" },
      element("code", { className: "name", textContent: name }),
      element("code", { textContent: url }),
      element("button", {
        ariaLabel: `Copy ${name}`,
        textContent: "Copy",
        onclick: () => copy(url, name),
      }),
    );
  find("urls").replaceChildren(...Object.entries(urls).map(row));
  find("copy-params").onclick = () =>
    copy(JSON.stringify(urls, null, 2), "both URLs");
}

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`Copied ${what}.`, true);
  } catch {
    say("The browser does not let this page copy; select the text.");
  }
}
