"""examples/web-client: its types, and each of its states in a real browser.

AvatarKit and Agora are fakes of the vendor's public interface
(`tests/kit/web_client`, held to `avatarkit.d.ts` by the compiler): the
contract is the documents', and the real packages have not been run.
"""

import contextlib
import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from browser import contrasts

from devkit.commands.client_token import sign
from devkit.credentials import APP_ID, CERTIFICATE, CREDENTIALS
from devkit.graph import read
from devkit.motion_server import MotionServer

ROOT = Path(__file__).resolve().parents[2]
CLIENT = ROOT / "examples" / "web-client"
FAKES = Path(__file__).parent / "web_client"

LIMIT_S = 30.0
FAR_S = 4_000_000_000

SIZES = ((390, 844), (768, 1024), (1280, 800))
SCHEMES = ("light", "dark")
SCREENSHOTS = os.environ.get("WEB_CLIENT_SCREENSHOTS")
"""A folder for a picture of each state, to be looked at."""

TOKEN = {
    "appId": "a" * 32,
    "channel": "room",
    "token": "secret",
    "uid": 1001,
    "tokenEndsAt": "2096-10-02T07:06:40+00:00",
    "tokenEndsAtEpochS": FAR_S,
}
IMPORTS = {
    "@spatius/avatarkit": "./tests/kit/web_client/avatarkit.js",
    "@spatius/avatarkit-rtc": "./tests/kit/web_client/avatarkit-rtc.js",
    "agora-rtc-sdk-ng": "./tests/kit/web_client/agora.js",
}


def compiled(project: Path, *options: str) -> None:
    """Run the TypeScript compiler; skip the test if there is none."""
    local = CLIENT / "node_modules" / ".bin" / "tsc"
    tsc = str(local) if local.exists() else shutil.which("tsc")
    if tsc is None or shutil.which("node") is None:
        pytest.skip(
            "there is no TypeScript compiler: run npm install in "
            "examples/web-client"
        )
    done = subprocess.run(
        [tsc, "--project", str(project), *options],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a website, with fakes in place of the vendor's packages."""
    folder = tmp_path_factory.mktemp("web-client")
    compiled(FAKES, "--outDir", str(folder))
    page = (CLIENT / "index.html").read_text()
    page = page.replace("./page.ts", "./examples/web-client/page.js")
    imports = json.dumps({"imports": IMPORTS})
    script = f'<script type="importmap">{imports}</script>'
    # The fakes are there before the page asks for the first of them.
    script += f'<script type="module" src="{IMPORTS["agora-rtc-sdk-ng"]}">'
    script += "</script>"
    page = page.replace("</head>", f"{script}</head>")
    (folder / "index.html").write_text(page)
    shutil.copy(CLIENT / "style.css", folder)
    return folder


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """The page without an agent behind it."""
    handler = functools.partial(_Handler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


@dataclass
class Page:
    """The page in a browser."""

    driver: Any

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def element(self, name: str) -> Any:
        return self.driver.find_element("id", name)

    def state(self) -> str:
        return self.element("stage").get_attribute("data-state")

    def text(self, name: str) -> str:
        return self.element(name).text

    def calls(self) -> list[str]:
        """The names of the methods that the fakes were called by."""
        return [name for name, *_ in self.js("return fake.calls")]

    def emit(self, event: str) -> None:
        self.js("fake.emit(arguments[0])", event)

    def avatar_joins(self, uid: int = 2000) -> None:
        self.js("fake.users = [{uid: arguments[0], hasVideo: true}]", uid)

    def skip(self, seconds: float) -> None:
        """Let the page's clock jump."""
        self.js("fake.skippedMs += 1000 * arguments[0]", seconds)

    def until(self, met: Callable[[], Any], what: str) -> None:
        until_s = time.monotonic() + LIMIT_S
        while not met():
            if time.monotonic() > until_s:
                raise AssertionError(
                    f"not met: {what}\n{self.driver.page_source}"
                )
            time.sleep(0.1)

    def until_state(self, name: str) -> None:
        self.until(lambda: self.state() == name, f"is {name}")

    def fill_in(self, **changes: Any) -> None:
        for name, value in (
            ("spatius-app-id", "app"),
            ("spatius-avatar-id", "avatar"),
            ("avatar-uid", "2000"),
            ("token", json.dumps({**TOKEN, **changes})),
        ):
            self.js(
                "document.getElementById(arguments[0]).value = arguments[1]",
                name,
                value,
            )

    def join(self, **changes: Any) -> None:
        self.fill_in(**changes)
        self.element("join").click()

    def enter(self, **changes: Any) -> None:
        """Join, with the avatar in the channel already."""
        self.avatar_joins()
        self.join(**changes)
        self.until_state("live")

    def look_at(self, name: str) -> None:
        """Check how the page looks, in each size and scheme."""
        for width, height in SIZES:
            self.driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {
                    "width": width,
                    "height": height,
                    "deviceScaleFactor": 1,
                    "mobile": True,
                },
            )
            for scheme in SCHEMES:
                feature = {"name": "prefers-color-scheme", "value": scheme}
                self.driver.execute_cdp_cmd(
                    "Emulation.setEmulatedMedia", {"features": [feature]}
                )
                assert (
                    self.js("return document.documentElement.scrollWidth")
                    == width
                )
                assert self.js(STICKING_OUT) == []
                if width == SIZES[0][0]:  # colors are the same in each
                    found = contrasts(self.driver)
                    assert [one for one in found if one[1] < 4.5] == []
                if SCREENSHOTS:
                    folder = Path(SCREENSHOTS)
                    folder.mkdir(parents=True, exist_ok=True)
                    self.driver.save_screenshot(
                        str(folder / f"{name}-{width}-{scheme}.png")
                    )
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": []}
        )


STICKING_OUT = """
const stage = document.querySelector("#stage").getBoundingClientRect();
const isOut = (one) => {
  const box = one.getBoundingClientRect();
  return box.width && (one.scrollWidth > one.clientWidth + 2 ||
    (one.closest(".over") &&
      (box.top < stage.top || box.bottom > stage.bottom + 1 ||
        box.left < stage.left + 8 || box.right > stage.right - 8)));
};
return [...document.querySelectorAll("button, .over > *")]
  .filter(isOut).map((one) => one.textContent);
"""


@pytest.fixture
def page(driver: Any, url: str) -> Iterator[Page]:
    """The page, before a click."""
    driver.get_log("browser")
    driver.get(url)
    page = Page(driver)
    page.until(lambda: page.text("status") == "Not connected", "it is loaded")
    yield page
    errors = [
        line["message"]
        for line in driver.get_log("browser")
        if line["level"] == "SEVERE" and "/demo/" not in line["message"]
    ]
    assert errors == []
    driver.get("about:blank")


def test_client_fits_the_declarations(site: Path) -> None:
    """As `npm run check` has it; the fakes fit them, too."""
    assert (site / "examples" / "web-client" / "page.js").is_file()


# Each state


def test_empty_form_is_shown(page: Page) -> None:
    """And its missing values are named at the click."""
    assert page.element("settings").is_displayed()
    assert page.text("hint") == "Fill in the form below."
    page.look_at("idle-form")
    page.element("join").click()
    page.until_state("failed")
    assert "not JSON" in page.text("hint")
    page.join(appId="")
    page.until(lambda: "AppId is missing" in page.text("hint"), "it is named")
    assert page.calls() == []


def test_loading_and_joining_are_shown(page: Page) -> None:
    """How much of the avatar is here, and that the channel is joined."""
    page.js("fake.pending.add('load')")
    page.join()
    page.until(
        lambda: page.text("status") == "Loading the avatar, 50 %", "progress"
    )
    page.look_at("loading")
    page.element("leave").click()
    page.until_state("idle")
    page.js("fake.pending = new Set(['connect'])")
    page.element("join").click()
    page.until_state("joining")
    page.look_at("joining")
    page.element("leave").click()
    page.until_state("idle")
    page.js("fake.settle('connect')")
    page.until(lambda: page.calls()[-1] == "disconnect", "it leaves again")
    assert page.state() == "idle"


def test_avatar_that_is_there_is_shown(page: Page) -> None:
    """It joins with the form's values, and keeps no data."""
    page.enter()
    page.look_at("live-form")
    assert page.calls() == ["initialize", "load", "view", "connect"]
    config = page.js("return fake.calls[3][1]")
    assert config == {
        name: TOKEN[name] for name in ("appId", "channel", "token", "uid")
    }
    page.element("leave").click()
    page.until_state("idle")
    assert page.calls()[4:] == ["disconnect", "dispose"]
    page.emit("stalled")  # reported late
    page.avatar_joins()
    time.sleep(0.6)
    assert page.state() == "idle" and "reconnect" not in page.calls()


def test_avatar_that_never_joins_is_explained(page: Page) -> None:
    """After 10 s, with the causes to check; it may still come."""
    page.js("fake.users = [{uid: 1234, hasVideo: false}]")  # the agent
    page.join()
    page.until_state("waiting")
    page.look_at("waiting")
    page.skip(5)
    time.sleep(0.6)
    assert page.state() == "waiting"
    page.skip(5)
    page.until_state("absent")
    causes = page.text("causes")
    for cause in ("avatar_state", "Agora App ID", "uid", "credits"):
        assert cause in causes
    page.look_at("absent")
    page.avatar_joins()
    page.until_state("live")
    assert not page.element("causes").is_displayed()


def test_avatar_that_leaves_is_waited_for(page: Page) -> None:
    """Its ten seconds begin anew."""
    page.enter()
    page.skip(60)
    page.js("fake.users = []")
    page.until_state("waiting")
    page.avatar_joins(77)
    time.sleep(0.6)
    assert page.state() == "waiting"  # somebody else


def test_stalled_stream_is_joined_again(page: Page) -> None:
    """One attempt at a time, until one succeeds."""
    page.enter()
    page.js("fake.failures.reconnect = ['Error: no network']")
    page.emit("stalled")
    page.emit("stalled")
    page.until(
        lambda: page.text("status") == "Reconnecting, attempt 2", "a failure"
    )
    assert "No network" in page.text("hint")
    page.look_at("reconnecting")
    page.until_state("live")
    assert page.calls()[4:] == ["reconnect", "reconnect"]


def test_lost_channel_is_joined_again(page: Page) -> None:
    """As a stream that has stalled."""
    page.enter()
    page.js("fake.pending.add('reconnect')")
    page.emit("disconnected")
    page.until_state("reconnecting")
    assert page.text("hint") == "The channel was lost."
    assert page.calls()[4:] == ["reconnect"]


def test_token_that_expires_is_explained(page: Page) -> None:
    """Nobody signs another one here: it says how to get one."""
    page.enter()
    page.js("Date.now = () => arguments[0]", (FAR_S + 1) * 1000)
    page.emit("token-privilege-did-expire")
    page.until_state("expired")
    assert "bin/client-token" in page.text("hint")
    assert page.element("settings").is_displayed()
    page.look_at("expired")


def test_channel_that_cannot_be_joined_says_why(page: Page) -> None:
    """The view is gone, and the next click tries again."""
    page.js("fake.failures.connect = ['Error: invalid token']")
    page.avatar_joins()
    page.join()
    page.until_state("failed")
    assert page.text("hint") == "Invalid token."
    assert page.calls()[-2:] == ["disconnect", "dispose"]
    page.look_at("failed")
    assert page.text("join") == "Try again"
    page.element("join").click()
    page.until_state("live")


def test_sound_that_the_browser_blocks_needs_a_click(page: Page) -> None:
    """A button asks for it, and goes with the click."""
    page.enter()
    assert not page.element("sound").is_displayed()
    page.emit("autoplay-failed")
    page.look_at("sound-blocked")
    page.element("sound").click()
    assert not page.element("sound").is_displayed()


def test_microphone_that_cannot_be_used_is_explained(page: Page) -> None:
    """The button stays off, and works the next time."""
    page.enter()
    for failure, said in (
        ("NotFoundError: none", "no microphone"),
        ("NotReadableError: busy", "Another program"),
        ("Error: broken", "cannot be used: broken"),
        ("NotAllowedError: Permission denied", "allow it beside the address"),
    ):
        page.js("fake.failures.startPublishing = [arguments[0]]", failure)
        page.element("microphone").click()
        page.until(lambda said=said: said in page.text("problem"), said)
        assert page.text("microphone") == "Turn the microphone on"
    page.look_at("microphone-refused")
    page.element("microphone").click()
    page.until(lambda: page.text("microphone").endswith("off"), "it is on")
    assert not page.element("problem").is_displayed()
    page.element("microphone").click()
    page.until(lambda: page.text("microphone").endswith("on"), "it is off")
    assert page.calls()[-1] == "stopPublishing"


def test_problem_of_the_player_changes_no_state(page: Page) -> None:
    """It is shown beside the avatar."""
    page.enter()
    page.js("fake.emit('error', new Error('packet lost'))")
    page.until(lambda: page.text("problem") == "packet lost", "it is shown")
    assert page.state() == "live"


def test_client_takes_the_output_of_client_token(page: Page) -> None:
    """It reads that very JSON."""
    (node,) = read(CLIENT.parent / "wav-player/property.json").nodes(
        "spatius_avatar_python"
    )
    printed = sign(node, uid=1001, minutes=1, now_s=time.time())
    page.enter(**printed)
    assert page.js("return fake.calls[3][1].token") == printed["token"]
    page.element("leave").click()
    page.until_state("idle")
    page.join(tokenEndsAtEpochS=1)
    page.until(lambda: "token expired" in page.text("hint"), "it is refused")


# With the agent of bin/demo --web behind it

try:
    from devkit.web import BuildError, build, page_settings, serve_face
except ImportError:  # the real runtime has no host outside an app
    pytest.skip("needs the stand-in for ten_runtime", allow_module_level=True)


@contextlib.contextmanager
def faced(site: Path, **server_options: Any) -> Iterator[Any]:
    """The page, and an extension whose service is a local one."""
    with MotionServer.in_thread(
        certificates={APP_ID: CERTIFICATE}, **server_options
    ) as server:
        params = {
            "console_endpoint_url": server.console_url,
            "ingress_endpoint_url": server.ingress_url,
        }
        sentence = bytes(48000 * 3)
        with serve_face(
            site, page_settings(), sentence, node_property={"params": params}
        ) as url:
            yield url, server


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)


def test_face_speaks_after_one_click(
    driver: Any, site: Path, credentials: None
) -> None:
    """The page is filled in; speech reaches the service; no secret comes to
    the page."""
    avatar_uid = int(CREDENTIALS["AGORA_AVATAR_UID"])
    with faced(site) as (url, server):
        driver.get(url)
        page = Page(driver)
        page.until(lambda: page.element("join").is_displayed(), "loaded")
        assert not page.element("settings").is_displayed()
        page.look_at("idle-demo")
        page.avatar_joins(avatar_uid)
        page.element("join").click()
        page.until_state("live")
        page.until(lambda: page.element("barge-in").is_enabled(), "it speaks")
        page.look_at("live-demo")
        page.element("barge-in").click()
        page.until(lambda: len(server.record.interrupts) == 1, "it was cut")
        config = page.js(
            "return fake.calls.find(([name]) => name == 'connect')[1]"
        )
        (connection,) = server.record.connections
        assert connection.config is not None
        assert config["channel"] == connection.config.channel
        assert config["uid"] not in (avatar_uid, 0)

        # The recorded audio is repeated.
        page.until(lambda: not page.element("barge-in").is_enabled(), "silent")
        before = len(server.record.requests)
        page.element("echo").click()
        page.until(lambda: page.text("echo").startswith("Stop"), "it records")
        page.look_at("recording")
        time.sleep(1)
        page.element("echo").click()
        page.until(
            lambda: len(server.record.requests) > before, "it is repeated"
        )
        page.until(lambda: any(server.record.requests[-1].audio), "a sound")

        page.js("fake.emit('token-privilege-will-expire')")
        page.until(lambda: "renewToken" in page.calls(), "a new token")
        page.until_state("live")
        page.emit("stalled")  # reconnect() would take the former token
        page.until(
            lambda: page.calls()[-2:] == ["disconnect", "connect"],
            "it joins with the new one",
        )
        everything = driver.page_source + page.js(
            "return fetch('demo/settings').then((answer) => answer.text())"
        )
        for name in ("SPATIUS_API_KEY", "AGORA_APP_CERTIFICATE"):
            assert CREDENTIALS[name] not in everything
        driver.get("about:blank")


def test_page_shows_the_state_of_the_extension(
    driver: Any, site: Path, credentials: None
) -> None:
    """Where the avatar does not come, its state and error lead the causes."""
    with faced(site, api_keys={"another"}) as (url, _):
        driver.get(url)
        page = Page(driver)
        page.until(lambda: page.element("join").is_displayed(), "loaded")
        page.element("join").click()
        page.until_state("waiting")
        page.skip(10)
        page.until_state("absent")
        page.until(
            lambda: "The extension is failed." in page.text("causes"), "why"
        )
        assert "API key" in page.text("causes")
        page.look_at("absent-demo")
    page.until(
        lambda: "does not answer" in page.text("causes"), "the end is noticed"
    )
    driver.get("about:blank")


def test_new_token_is_taken_when_the_former_one_has_expired(
    driver: Any, site: Path, credentials: None
) -> None:
    """Also one that ends without a warning, for the same uid."""
    with faced(site) as (url, _):
        driver.get(url)
        page = Page(driver)
        page.until(lambda: page.element("join").is_displayed(), "loaded")
        page.avatar_joins(int(CREDENTIALS["AGORA_AVATAR_UID"]))
        page.element("join").click()
        page.until_state("live")
        time.sleep(1)  # another second, another token
        page.js("fake.failures.renewToken = ['Error: it has expired']")
        page.emit("token-privilege-did-expire")
        page.until(lambda: page.calls().count("connect") == 2, "joined again")
        page.until_state("live")
        uids = page.js(
            "return fake.calls.filter(([name]) => name == 'connect')"
            ".map(([, config]) => config.uid)"
        )
        assert uids[0] == uids[1]
        driver.get("about:blank")


def client_with_packages(folder: Path, site: Path, *names: str) -> Path:
    """Copy the client; its node_modules holds the fakes of these packages."""
    modules = CLIENT / "node_modules"
    if not (modules / "vite").is_dir():
        pytest.skip("there is no vite: run npm install in examples/web-client")
    client = folder / "client"
    shutil.copytree(
        CLIENT, client, ignore=shutil.ignore_patterns("node_modules")
    )
    for module in modules.iterdir():
        (client / "node_modules").mkdir(exist_ok=True)
        (client / "node_modules" / module.name).symlink_to(module)
    plugin = "export const avatarkitVitePlugin = () => ({ name: 'fake' });"
    for name in names:
        package = client / "node_modules" / name
        shutil.copytree(site / FAKES.relative_to(ROOT), package)
        (package / "vite.js").write_text(plugin)
        main = Path(IMPORTS[name]).name
        exports = {".": f"./{main}", "./vite": "./vite.js"}
        (package / "package.json").write_text(
            json.dumps({"name": name, "type": "module", "exports": exports})
        )
    return client


def test_built_page_runs(
    driver: Any, tmp_path: Path, site: Path, url: str
) -> None:
    """bin/demo --web serves npm's build."""
    client = client_with_packages(tmp_path, site, *IMPORTS)
    build(client, site / "built")
    driver.get(f"{url}built/")
    page = Page(driver)
    page.until(lambda: page.text("status") == "Not connected", "it is loaded")
    assert page.element("settings").is_displayed()
    driver.get("about:blank")


@pytest.mark.parametrize(
    ("names", "npm", "said"),
    [
        (
            ["agora-rtc-sdk-ng"],
            "echo 'npm error code E404' >&2; echo 'npm error 404 none' >&2",
            "needs @spatius/avatarkit, @spatius/avatarkit-rtc, which npm "
            "cannot install from its registry here: 404 none",
        ),
        (
            list(IMPORTS),
            "echo 'error TS1: no such thing'",
            "cannot be built: error TS1: no such thing",
        ),
        (list(IMPORTS), None, "npm was not found on PATH"),
    ],
    ids=["not in the registry", "does not build", "no npm"],
)
def test_client_that_cannot_be_built_is_one_sentence(
    tmp_path: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    npm: str | None,
    said: str,
) -> None:
    """It names the missing file."""
    client = client_with_packages(tmp_path, site, *names)
    tools = tmp_path / "tools"
    tools.mkdir()
    if npm is not None:
        (tools / "npm").write_text(f"#!/bin/sh\n{npm}\nexit 1\n")
        (tools / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    with pytest.raises(BuildError, match=re.escape(said)) as caught:
        build(client, tmp_path / "built")
    assert "\n" not in str(caught.value)


def test_page_has_the_elements_of_its_script() -> None:
    """Each id in page.ts is one of index.html."""
    asked = set(
        re.findall(r'element\("([\w-]+)"', (CLIENT / "page.ts").read_text())
    )
    there = set(
        re.findall(r'id="([\w-]+)"', (CLIENT / "index.html").read_text())
    )
    assert asked == there
