/** Elements and texts. */

export const find = (id) => document.getElementById(id);

export function element(name, values = {}, ...children) {
  const made = Object.assign(document.createElement(name), values);
  made.append(...children);
  return made;
}

/** Sets a text that has changed: the same one again would be read out again. */
export function set(element, text) {
  if (element.textContent !== `${text}`) element.textContent = text;
}

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

export function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** Returns minutes and seconds, the latter with so many decimals. */
export function clock(timeS, decimals = 0) {
  const minutes = Math.floor(timeS / 60);
  const rest = (timeS % 60).toFixed(decimals);
  return `${minutes}:${rest.padStart(decimals ? 3 + decimals : 2, "0")}`;
}

/** Returns the bytes of a text in base64. */
export function bytes(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

export function clamp(value, low = 0, high = 1) {
  return Math.min(high, Math.max(low, value));
}
