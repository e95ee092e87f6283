"""The window: who may ask, and how it looks.

Most of it in a real Chromium, with the extension on the stage; skipped where
there is none.
"""

import contextlib
import http.client
import json
import re
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import contrasts

from devkit.harness.speech_file import read_speech
from devkit.motion_server import (
    MotionServer,
)
from devkit.motion_server.guard import refusal
from devkit.window import Window, page_url

ROOT = Path(__file__).resolve().parents[2]
try:
    from devkit.harness import stage as stages
    from devkit.window.performer import Performer, report_to, voice_to
except ImportError:  # the real runtime has no host outside an app
    stages = None

LIMIT_S = 60.0
CUT = 2  # reason of an avatar_audio_end

SAMPLE = """
const done = arguments[arguments.length - 1];
const [lengthMs, samples] = [arguments[0], []];
const mouth = document.querySelector("#mouth");
const level = document.querySelector("#face").style;
const began = performance.now();
let latest = 0;
requestAnimationFrame(function sample(now) {
  if (now - latest > 25) {
    latest = now;
    samples.push([
      now - began,
      Number(level.getPropertyValue("--level")),
      mouth.getBBox().height,
    ]);
  }
  if (now - began < lengthMs) requestAnimationFrame(sample);
  else done(samples);
});
"""

# In the browser


@dataclass
class Page:
    """The window in a browser, and the stage that it shows."""

    driver: Any
    stage: Any
    received: list[str]
    """All that the service has published to pages."""

    def press(self, button: str) -> str:
        """Press a button, as a user does; return its text."""
        said = self.driver.find_element("id", "said")
        self.driver.execute_script("arguments[0].textContent = ''", said)
        self.driver.find_element("css selector", f"[data-do={button}]").click()
        self.until(lambda: said.text, f"{button} says what it did")
        return said.text

    def button(self, name: str) -> Any:
        """The button of this name."""
        return self.driver.find_element("css selector", f"[data-do={name}]")

    def reads(self, button: str, label: str) -> None:
        """Wait until a button has this label."""
        self.until(lambda: self.button(button).text == label, label)

    def enabled(self) -> set[str]:
        """The names of the buttons that can be pressed."""
        return set(
            self.driver.execute_script(
                "return [...document.querySelectorAll("
                "'[data-do][aria-disabled=false]')]"
                ".map((button) => button.dataset.do)"
            )
        )

    def figure(self, label: str) -> float:
        """Seconds of speech that were heard, resumed ..."""
        text = self.driver.find_element("id", "speech").text
        found = re.search(rf"{label}\s+([\d.]+) s", text)
        assert found, text
        return float(found[1])

    def mouth_follows_sound(self) -> bool:
        """Sample sound and mouth for a while; return whether they move
        together, at the lag that suits best."""
        samples = self.sample(1.2)
        _, level, mouth = zip(*samples)
        lags = range(-6, 7)
        # A busy machine draws too few frames now and then.
        return len(samples) > 20 and 0.6 < max(
            statistics.correlation(
                level[6 + lag : len(level) - 6 + lag], mouth[6:-6]
            )
            for lag in lags
        )

    def sample(self, length_s: float) -> list[tuple[float, float, float]]:
        """Time in ms, level and mouth opening (as drawn), frame by frame."""
        return self.driver.execute_async_script(SAMPLE, length_s * 1000)

    def tells(self, text: str) -> None:
        """Wait until a line of the timeline holds `text`."""
        self.until(
            lambda: any(text in line for line in self.timeline()),
            f"the timeline tells: {text}",
        )

    def timeline(self) -> list[str]:
        """The lines of the timeline."""
        return self.driver.execute_script(
            "return [...document.querySelectorAll('#timeline .entry')]"
            ".map((entry) => entry.innerText.replace(/\\s+/g, ' '))"
        )

    def state(self) -> str:
        """The session's state, as it is read out."""
        return self.driver.find_element("id", "state").text

    def until(self, met: Callable[[], Any], what: str) -> None:
        """Wait until `met()` is true."""
        until_s = time.monotonic() + LIMIT_S
        while not met():
            if time.monotonic() > until_s:
                lines = "\n".join(self.timeline())
                raise AssertionError(f"not met: {what}\n{lines}")
            time.sleep(0.1)

    def check(self) -> None:
        """Nothing went wrong in the page, and no secret came to it."""
        errors = [
            line["message"]
            for line in self.driver.get_log("browser")
            if line["level"] in ("SEVERE", "WARNING")
        ]
        assert errors == []
        assert len(self.received) > 1
        for secret in _secrets(self.stage.server):
            assert not any(secret in text for text in self.received)
            assert secret not in self.driver.page_source


def _secrets(server: MotionServer) -> list[str]:
    assert stages is not None
    secrets = [
        stages.CREDENTIALS["SPATIUS_API_KEY"],
        stages.CREDENTIALS["AGORA_APP_CERTIFICATE"],
        *server._console._tokens._by_text,
    ]
    for connection in server.record.connections:
        if connection.config is not None:
            secrets.append(connection.config.agora_token)
    assert len(secrets) > 3 and all(secrets)
    return secrets


@contextlib.contextmanager
def _staged() -> Iterator[tuple[Any, Window]]:
    """The extension on a stage with a window, and an agent."""
    if stages is None:
        pytest.skip("needs the stand-in for ten_runtime")
    window = Window("bin/demo --window")
    with stages.open_stage(
        on_report=lambda report: report_to(window.feed, report),
        on_audio_frame=lambda frame: voice_to(window.feed, frame),
        voice_wired=True,
        flush_wired=True,
        routes=window.routes,
    ) as stage:
        # It speaks longer than a busy machine needs to notice it.
        pcm = 3 * read_speech(ROOT / "devkit" / "assets" / "sentence_24k.wav")
        performer = Performer(stage, pcm, window.feed)
        window.put_on_stage(performer.buttons())
        window.attach(stage.server)
        try:
            yield stage, window
        finally:
            performer.leave()


class Recorder:
    """A page that keeps all that it is sent."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def put(self, message: dict[str, Any]) -> None:
        self.texts.append(json.dumps(message))


@pytest.fixture
def page(driver: Any) -> Iterator[Page]:
    """The window of an extension that is ready to speak."""
    with _staged() as (stage, window):
        recorder: Any = Recorder()
        window.feed.subscribe(recorder, {})
        driver.get_log("browser")
        driver.get(page_url(stage.server))
        page = Page(driver, stage, recorder.texts)
        page.until(lambda: page.state() == "Ready", "the avatar is ready")
        yield page
        page.check()
        driver.get("about:blank")


def test_mouth_follows_the_sound_and_rests_when_cut(page: Page) -> None:
    """Sound and mouth move together, stop at once on a barge-in, and the face
    speaks all the same where the sound is turned off."""
    rest = page.sample(0.3)
    assert max(level for _, level, _ in rest) == 0
    closed = max(opening for _, _, opening in rest)
    sound = page.driver.find_element("id", "sound")
    assert sound.text == "Turn sound on"

    assert "19.2 s" in page.press("speak")
    page.until(lambda: sound.text == "Sound is on", "speaking turns it on")
    page.until(lambda: page.state() == "Speaking", "the avatar speaks")
    page.until(page.mouth_follows_sound, "the mouth follows the sound")

    assert "Cut the answer short" in page.press("barge_in")
    page.until(lambda: page.state() == "Ready", "the avatar is silent")
    (end,) = [
        report.payload
        for report in page.stage.reports
        if report.name == "avatar_audio_end"
    ]
    assert end["reason"] == CUT

    def is_at_rest() -> bool:
        rest = page.sample(0.3)
        return (
            max(level for _, level, _ in rest) == 0
            and max(opening for _, _, opening in rest) <= closed + 0.5
        )

    page.until(is_at_rest, "the face is at rest")
    page.tells("Interrupt utterance 1 stops")
    assert len(page.stage.server.record.interrupts) == 1
    (request,) = page.stage.server.record.requests
    assert f"{request.message_count} messages" in "".join(page.timeline())

    sound.click()
    page.until(lambda: sound.text == "Turn sound on", "it is off")
    page.press("speak")
    page.until(lambda: page.state() == "Speaking", "the avatar speaks")
    page.until(page.mouth_follows_sound, "the mouth moves without sound")
    page.until(
        lambda: max(mouth for _, _, mouth in page.sample(0.3)) > closed + 10,
        "it opens wide",
    )
    assert sound.text == "Turn sound on"


def test_dropped_and_refused_connections_are_shown(page: Page) -> None:
    """The page shows the loss, the refusal and the recovery."""
    record = page.stage.server.record
    assert "503" in page.press("refuse")
    assert "connection 1" in page.press("drop")
    page.tells("Connection 1 is lost")
    page.tells("Problem reported")
    page.tells("Connection refused status 503")
    page.tells("Connection 2: recovered")
    assert [c.close_code for c in record.connections] == [1006, None]
    assert [u.status for u in record.upgrades] == [101, 503, 101]
    page.until(lambda: page.state() == "Ready", "the avatar is ready")
    page.driver.find_element("css selector", ".session summary").click()
    facts = page.driver.find_element("id", "session").text
    assert "2, open" in facts
    assert "1: by the service, code 1006" in facts
    assert re.search(r"Agora token\s+ends in (29|30):", facts)
    price = re.search(r"Price\s+(\d+) credits", facts)
    assert price is not None
    assert abs(int(price[1]) - record.credits) <= 1  # it is a moment older


def test_text_is_readable_in_light_and_dark(page: Page) -> None:
    """Its contrast is that of WCAG AA, for each color the page has."""
    page.press("speak")
    page.until(lambda: page.state() == "Speaking", "the avatar speaks")
    page.press("drop")
    page.tells("Connection 2")
    page.press("exhaust")
    page.tells("The avatar has failed")
    page.driver.execute_script(
        "document.querySelector('details').open = true;"
        "document.querySelector('#details').click()"
    )
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        page.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [feature]}
        )
        found = contrasts(page.driver)
        assert len(found) > 40
        assert [one for one in found if one[1] < 4.5] == [], scheme
    page.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_stall_shows_as_a_gap(page: Page) -> None:
    """A stalled service is named, and late audio is a gap."""
    page.press("speak")
    page.until(lambda: page.state() == "Speaking", "the avatar speaks")
    assert "stopped reading" in page.press("stall")
    page.until(lambda: page.state() == "Stalled", "stalled")
    assert page.stage.server.record.connections[0].stalled
    page.tells("no audio and no end for 1.")
    assert "reads again" in page.press("stall")
    page.until(
        lambda: any(
            float(found) >= 1
            for found in re.findall(r"Gap of ([\d.]+)", str(page.timeline()))
        ),
        "the gap is as long as the stall",
    )
    page.until(lambda: page.state() == "Speaking", "it speaks again")
    # Audio heard before the gap counts once.
    heard, playing = page.driver.execute_script(
        "return ['speech', 'playing'].map("
        "(id) => document.getElementById(id).innerText)"
    )
    heard_s = re.search(r"Heard\s+([\d.]+) s", heard)
    playing_s = re.search(r"([\d.]+) of", playing)
    assert heard_s and playing_s, (heard, playing)
    assert float(heard_s[1]) <= float(playing_s[1]) + 0.2


def test_black_hole_lasts_until_resume(page: Page) -> None:
    """The connection seems healthy meanwhile, and is used again afterwards."""
    assert "loses all packets" in page.press("black_hole")
    page.tells("The network loses all packets")
    page.reads("stall", "Resume")
    assert "black_hole" not in page.enabled()
    (connection,) = page.stage.server.record.connections
    assert connection.stalled
    assert "reads again" in page.press("stall")
    page.until(lambda: not connection.stalled, "packets pass")
    page.press("speak")
    page.until(lambda: page.state() == "Speaking", "speaking")
    assert connection.closed_s is None


def test_credits_end_the_extension_and_it_starts_again(page: Page) -> None:
    """A final failure is shown as such, and the way out is offered."""
    assert "4001" in page.press("exhaust")
    page.tells("Fatal error")
    page.tells("The avatar has failed permanently")
    page.until(lambda: page.state() == "Failed permanently", "failed")
    notice = page.driver.find_element("id", "notice")
    assert "Failed permanently: " in notice.text
    assert page.enabled() == {
        "speak",
        "tts_speed",
        "start_again",
        "console_down",
        "playback_signals",
        "preempts",
    }
    page.press("speak")
    page.until(lambda: page.state() == "The voice speaks", "the voice speaks")
    page.tells("by voice, without the avatar")
    assert "Failed permanently: " in notice.text
    page.until(lambda: page.figure("By voice") > 0.2, "counted as it speaks")
    assert page.figure("By voice") <= page.figure("Heard")
    page.until(lambda: "barge_in" in page.enabled(), "it can be cut short")
    page.press("barge_in")
    page.until(lambda: page.figure("By voice") > 0, "by voice")
    page.until(lambda: page.state() == "Failed permanently", "silent")
    page.press("start_again")
    page.until(lambda: not notice.is_displayed(), "nothing has failed")
    page.tells("Connection 2 is live")
    page.until(lambda: page.state() == "Ready", "the avatar is ready")
    page.press("speak")
    page.tells("Utterance 2")
    assert len(page.stage.server.record.live_connections) == 1


def test_late_page_shows_the_past_and_raw_reports_on_demand(
    page: Page,
) -> None:
    """Timeline and waveforms are there after a reload; an empty timeline names
    the button to press."""
    driver = page.driver
    empty = driver.find_element("id", "empty")
    assert "Press Speak" in empty.text
    page.press("speak")
    page.until(lambda: page.state() == "Speaking", "speaking")
    assert not empty.is_displayed()
    page.press("barge_in")
    page.tells("Interrupt")
    page.until(lambda: page.state() == "Ready", "silent")
    before = page.timeline()
    driver.refresh()
    page.until(lambda: page.timeline() == before, "the past is shown")
    width = "return document.querySelector('.wave').width"
    page.until(lambda: driver.execute_script(width) > 10, "a waveform")

    timeline = driver.find_element("id", "timeline")
    assert "metrics" not in timeline.text
    assert "avatar_state" not in timeline.text
    driver.find_element("id", "details").click()
    for raw in ("avatar_state: ready (connected)", "metrics"):
        page.until(lambda raw=raw: raw in timeline.text, f"shows {raw}")
    stand_in = driver.find_element("css selector", ".stand-in")
    assert "stand-in" in stand_in.text


def test_timeline_follows_until_it_is_scrolled_back(page: Page) -> None:
    """A reader is left alone, and sees how much is new."""
    follow = page.driver.find_element("id", "follow")
    above_end = (
        "const list = document.querySelector('#timeline');"
        "return list.scrollHeight - list.clientHeight - list.scrollTop"
    )
    for _ in range(30):
        page.stage.server.record.violation("not really")
    page.until(lambda: len(page.timeline()) > 30, "the lines are there")
    page.until(lambda: page.driver.execute_script(above_end) < 2, "at the end")
    page.driver.execute_script(
        "document.querySelector('#timeline').scrollTop = 0"
    )
    page.until(
        lambda: follow.get_attribute("aria-pressed") == "false", "stopped"
    )
    page.stage.server.record.violation("one more")
    page.until(lambda: "(1 new)" in follow.text, "the count of what is new")
    assert page.driver.execute_script(above_end) > 100
    follow.click()
    page.until(
        lambda: page.driver.execute_script(above_end) < 2, "at the end again"
    )


def test_speech_resumes_on_the_next_connection(page: Page) -> None:
    """The rest is said again, and the page says how much."""
    for speed in (5, 20):
        assert f"{speed} times" in page.press("tts_speed")
        page.reads("tts_speed", f"TTS speed: {speed}\u00d7")
    page.press("speak")
    page.until(lambda: "speak" in page.enabled(), "all has been synthesized")
    value = "const bar = document.querySelector('#heard'); "
    value += "return bar.value / bar.max"
    page.until(
        lambda: 0 < page.driver.execute_script(value) < 1, "a part was heard"
    )
    page.press("drop")
    page.tells("Utterance 2, the rest of 1")
    page.until(lambda: page.state() == "Speaking", "it speaks again")
    page.press("barge_in")
    page.tells("Interrupt utterance 2 stops")
    # All of it has been received, and most of it was not heard.
    page.sample(0.1)
    assert page.state() != "Speaking"
    page.tells("cut by the barge-in")
    page.until(lambda: page.figure("Resumed") > 1, "resumed")
    assert page.figure("Heard") > 1
    assert page.figure("Cut") > 0
    assert page.figure("Lost") == 0


def test_idle_avatar_sleeps_until_it_is_to_speak(page: Page) -> None:
    """A session that the service ends as idle is no problem."""
    page.press("idle_timeout")
    page.tells("The avatar is asleep")
    page.until(lambda: page.state() == "Asleep", "asleep")
    assert not {"drop", "stall", "idle_timeout"} & page.enabled()
    page.press("speak")
    page.tells("Connection 2")
    page.until(lambda: page.state() == "Speaking", "awake")
    assert "idle_timeout" not in page.enabled()
    page.press("barge_in")
    assert "Problem reported" not in " ".join(page.timeline())


def test_buttons_work_from_the_keyboard(page: Page) -> None:
    """Focus can be seen, and stays on a button that was pressed: also on one
    that can do nothing meanwhile, whose key does nothing."""
    focused = "return document.activeElement.dataset.do"
    for name in ("refuse", "speak"):
        page.press(name)
        assert page.driver.execute_script(focused) == name
    page.until(lambda: "speak" not in page.enabled(), "it speaks already")
    page.driver.switch_to.active_element.send_keys("\n")
    page.press("barge_in")
    pressed = (
        "return performance.getEntriesByType('resource')"
        ".map(({name}) => name.split('/').at(-1))"
        ".filter((name) => ['refuse', 'speak', 'barge_in'].includes(name))"
    )
    assert page.driver.execute_script(pressed) == [
        "refuse",
        "speak",
        "barge_in",
    ]

    page.driver.execute_script(
        "document.querySelector('[data-do=start_again]').focus()"
    )
    page.driver.switch_to.active_element.send_keys("\t")
    active = page.driver.switch_to.active_element
    assert active.text == "Drop connection"
    assert active.value_of_css_property("outline-style") == "solid"
    active.send_keys("\n")
    page.tells("Connection 1 is lost")
    assert page.driver.execute_script(focused) == "drop"


def test_switches_show_their_settings(page: Page) -> None:
    """Each by its label or by its pressed state: a screen reader would read
    out the opposite of both."""
    server = page.stage.server
    texts = (
        "return [...document.querySelectorAll('button')].map((button) =>"
        " [button.innerText, button.getAttribute('aria-pressed')])"
    )
    before = page.driver.execute_script(texts)
    for name, label in (
        ("stall", "Resume"),
        ("console_down", "Console up"),
        ("playback_signals", "Signals: on"),
        ("preempts", "Preempts: on"),
        ("tts_speed", "TTS speed: 5\u00d7"),
    ):
        page.press(name)
        page.reads(name, label)
    page.tells("The console is down")
    assert server.playback_signals is not None
    assert server.preempts and server.capabilities == ("playback_state",)
    for name in ("sound", "details", "follow"):
        page.driver.find_element("id", name).click()

    def changes() -> list[tuple[bool, bool]]:
        after = page.driver.execute_script(texts)
        return [
            (text != new_text, pressed != new_pressed)
            for (text, pressed), (new_text, new_pressed) in zip(before, after)
        ]

    page.until(lambda: sum(map(any, changes())) == 8, "all have changed")
    assert (True, True) not in changes()

    for name, label in (
        ("stall", "Stall"),
        ("console_down", "Console down"),
        ("playback_signals", "Signals: off"),
        ("preempts", "Preempts: off"),
    ):
        page.press(name)
        page.reads(name, label)
    page.tells("The console answers again")
    assert server.playback_signals is None
    assert not server.preempts and server.capabilities == ()
    names = {
        button.get_attribute("data-do")
        for button in page.driver.find_elements("css selector", "[data-do]")
    }
    assert names - page.enabled() == {"barge_in"}


def test_page_says_how_to_start_its_service_again(driver: Any) -> None:
    """The command, with the port at which the page looks for it."""
    with _staged() as (stage, _):
        driver.get(page_url(stage.server))
        page = Page(driver, stage, [])
        page.until(lambda: page.state() == "Ready", "the avatar is ready")
        port = stage.server.port
    notice = driver.find_element("id", "notice")
    page.until(lambda: notice.is_displayed(), "the page misses its service")
    assert f"start it again: bin/demo --window --port {port}" in notice.text
    driver.get("about:blank")
    driver.get_log("browser")


def test_fits_every_width(page: Page) -> None:
    """Nothing sticks out, and no button's text does."""
    shown = "return document.documentElement.scrollWidth"
    sticking_out = (
        "return [...document.querySelectorAll('button, .buttons span')]"
        ".filter((one) => one.scrollWidth > one.clientWidth + 2"
        " && one.clientWidth).map((one) => one.textContent)"
    )
    metrics = {"height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.press("drop")
    page.tells("Connection 2: recovered")
    try:
        for width in (360, 390, 768, 1280):
            page.driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, **metrics},
            )
            assert page.driver.execute_script(shown) == width
            assert page.driver.execute_script(sticking_out) == [], width
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_without_a_stage_the_page_shows_where_to_point_a_graph(
    driver: Any, motion_server: MotionServer
) -> None:
    """No agent to press: the two endpoint URLs are shown instead."""
    window = Window()
    with MotionServer.in_thread(routes=window.routes) as server:
        window.attach(server)
        driver.get(page_url(server))
        urls = driver.find_element("id", "urls")
        until_s = time.monotonic() + LIMIT_S
        while not urls.text and time.monotonic() < until_s:
            time.sleep(0.05)
        # The console answers at the page's port, too.
        assert f"http://{server.host}:{server.port}/v1/console" in urls.text
        assert server.ingress_url in urls.text
        assert "Waiting" in driver.find_element("id", "state").text
        for name in ("speak", "barge_in"):
            button = driver.find_element("css selector", f"[data-do={name}]")
            assert not button.is_displayed()
        driver.get("about:blank")


# Who may ask


@pytest.mark.parametrize(
    ("listens_on", "headers", "allowed"),
    [
        ("127.0.0.1", {"Host": "127.0.0.1:80"}, True),
        ("127.0.0.1", {"Host": "localhost:80"}, True),
        ("127.0.0.1", {"Host": "[::1]:80"}, True),
        ("127.0.0.1", {}, False),
        ("127.0.0.1", {"Host": "evil.example"}, False),
        ("127.0.0.1", {"Host": "127.0.0.1.evil.example:80"}, False),
        ("127.0.0.1", {"Host": "192.168.0.7:80"}, False),
        ("0.0.0.0", {"Host": "192.168.0.7:80"}, True),
        ("0.0.0.0", {"Host": "evil.example:80"}, False),
        ("devbox", {"Host": "devbox:80"}, True),
        *(
            ("127.0.0.1", {"Host": "127.0.0.1:80", "Origin": origin}, ok)
            for origin, ok in (
                ("http://127.0.0.1:80", True),
                ("http://127.0.0.1:81", False),
                ("http://localhost:80", False),
                ("https://evil.example", False),
                ("null", False),
            )
        ),
        (
            "127.0.0.1",
            {"Host": "127.0.0.1:80", "Sec-Fetch-Site": "cross-site"},
            False,
        ),
    ],
)
def test_only_own_pages_may_steer(
    listens_on: str, headers: dict[str, str], allowed: bool
) -> None:
    """The guard goes by Host, Origin and the browsers' own headers."""
    assert (refusal(headers, listens_on) is None) == allowed


def _status(
    server: MotionServer, method: str, path: str, **headers: str
) -> int:
    connection = http.client.HTTPConnection(
        server.host, server.port, timeout=30
    )
    try:
        names = {name.replace("_", "-"): v for name, v in headers.items()}
        body = "{}" if method == "POST" else None
        connection.request(method, path, body=body, headers=names)
        return connection.getresponse().status
    finally:
        connection.close()


def test_foreign_pages_are_refused() -> None:
    """Neither buttons nor websocket nor faults work from elsewhere."""
    window = Window()
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    with MotionServer.in_thread(routes=window.routes) as server:
        window.attach(server)
        own = f"http://{server.host}:{server.port}"
        json_type = {"Content_Type": "application/json"}
        press = "/window/do/refuse"
        for foreign in ({"Origin": "http://evil.example"}, {"Host": "evil"}):
            for asked in (
                _status(server, "POST", press, **json_type, **foreign),
                _status(server, "GET", "/window/live", **upgrade, **foreign),
                _status(server, "GET", "/", **foreign),
                _status(server, "GET", "/control/record", **foreign),
                _status(server, "POST", "/control/reset", **foreign),
            ):
                assert asked == 403
        assert "upgrade=0" in repr(server.faults)
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        assert _status(server, "POST", press, Origin=own, **form) == 415
        assert _status(server, "POST", press, Origin=own, **json_type) == 200
        assert "upgrade=1" in repr(server.faults)
        assert (
            _status(server, "GET", "/window/live", Origin=own, **upgrade) == 101
        )
        assert _status(server, "GET", "/window/..%2fpage.py") == 404


# As commands


@pytest.mark.parametrize(
    "command",
    [
        ("devkit.commands.demo", "--window", "--no-browser"),
        ("devkit.commands.motion_server", "--quiet"),
    ],
)
@pytest.mark.skipif(stages is None, reason="needs the stand-in for ten_runtime")
def test_command_serves_the_page_until_ctrl_c(command: tuple[str, ...]) -> None:
    """The page is there, its parts too, and Ctrl-C ends with 0."""
    process = subprocess.Popen(
        [sys.executable, "-m", "devkit.lifeline", *command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    too_late = threading.Timer(120, process.kill)  # ends the text read below
    too_late.start()
    try:
        assert process.stdout is not None
        url = ""
        while not (match := re.search(r"(?:window|page):?\s+(http\S+)", url)):
            url = process.stdout.readline()
            assert url, "the command ended early"
        server: Any = type("Server", (), {})()
        _, server.host, server.port = match[1].strip("/").split(":")
        server.host = server.host.strip("/")
        for path in ("/", "/window/main.js", "/window/style.css"):
            assert _status(server, "GET", path) == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    finally:
        too_late.cancel()
        process.kill()
        process.wait()
