"""A Chromium for the tests of pages, and their measurements in it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service
except ImportError:
    webdriver = None

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
CHROMEDRIVER = shutil.which("chromedriver")

needs_chromium = pytest.mark.skipif(
    webdriver is None or CHROMIUM is None or CHROMEDRIVER is None,
    reason="needs selenium, and Debian's chromium and chromium-driver",
)

CONTRASTS = """
const channels = (color) => {
  const found = color.match(/[\\d.]+/g).map(Number);
  return found.length < 4 ? [...found, 1] : found;
};
const over = (front, back) =>
  back.map((value, i) => front[i] * front[3] + value * (1 - front[3]));
const luminance = (rgb) => {
  const [r, g, b] = rgb.map((value) => {
    const part = value / 255;
    return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  const layers = [];
  for (let one = element; one; one = one.parentElement) {
    layers.unshift(channels(getComputedStyle(one).backgroundColor));
  }
  return layers.reduce((back, layer) => over(layer, back), [255, 255, 255]);
};
const hasText = (element) => [...element.childNodes].some(
  (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
return [...document.querySelectorAll("body *")]
  .filter((element) => hasText(element) && element.checkVisibility()
    && !element.closest("svg, [aria-disabled=true]"))
  .map((element) => {
    const back = behind(element);
    const front = over(channels(getComputedStyle(element).color), back);
    const [low, high] = [luminance(front), luminance(back)]
      .sort((one, other) => one - other);
    return [element.textContent.trim(), (high + 0.05) / (low + 0.05)];
  });
"""


def contrasts(driver: Any) -> list[tuple[str, float]]:
    """Return each visible text of the page with its contrast, as WCAG has it;
    without those of disabled elements."""
    return driver.execute_script(CONTRASTS)


def chromium(profile: Path) -> Iterator[Any]:
    """Yield a driver for a Chromium with a microphone that beeps."""
    assert webdriver is not None
    options = Options()
    options.binary_location = CHROMIUM or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        # The page's animations would keep a core busy.
        "--force-prefers-reduced-motion",
        "--autoplay-policy=no-user-gesture-required",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        "--window-size=1240,900",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    yield driver
    driver.quit()
