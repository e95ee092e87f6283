/** What the buttons do, and the line that says what they did. */

import { element } from "./timeline.js";

export class Buttons {
  constructor(root) {
    this.root = root;
    this.said = root.querySelector("#said");
    for (const button of root.querySelectorAll("[data-do]")) {
      button.addEventListener("click", () => this.press(button.dataset.do));
    }
  }

  hello({ hasStage, urls }) {
    this.hasStage = hasStage;
    this.find("agent-buttons").hidden = !hasStage;
    this.find("endpoints").hidden = hasStage;
    this.find("urls").replaceChildren(
      ...Object.entries(urls).map(([name, url]) => this.urlRow(name, url)),
    );
    this.find("copy-params").onclick = () =>
      this.copy(JSON.stringify(urls, null, 2), "both URLs");
  }

  show({ state, isStalled }) {
    const hasFailed = this.hasStage && state === "failed";
    this.find("start-again").hidden = !hasFailed;
    for (const name of ["speak", "barge_in"]) {
      this.root.querySelector(`[data-do=${name}]`).hidden = hasFailed;
    }
    const stall = this.find("stall");
    stall.setAttribute("aria-pressed", String(isStalled));
    stall.textContent = isStalled ? "Resume" : "Stall";
  }

  async press(name) {
    let said;
    let done = false;
    try {
      const answer = await fetch(`window/do/${name}`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: "{}",
      });
      ({ said, done } = await answer.json());
    } catch {
      said = "The service did not answer.";
    }
    this.say(said, done);
  }

  /** Says what was done, or why nothing was. */
  say(text, done = true) {
    this.said.dataset.done = String(done);
    this.said.textContent = text;
  }

  urlRow(name, url) {
    const row = element("div", { className: "url" });
    const copy = element("button", { type: "button", textContent: "Copy" });
    copy.setAttribute("aria-label", `Copy ${name}`);
    copy.addEventListener("click", () => this.copy(url, name));
    row.append(
      element("code", { className: "name", textContent: name }),
      element("code", { textContent: url }),
      copy,
    );
    return row;
  }

  async copy(text, what) {
    try {
      await navigator.clipboard.writeText(text);
      this.say(`Copied ${what}.`);
    } catch {
      this.say("The browser does not let this page copy; select the text.");
    }
  }

  find(id) {
    return this.root.querySelector(`#${id}`);
  }
}
