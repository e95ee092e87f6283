"""Puts the package and, where TEN is absent, its stand-in within reach."""

import asyncio
import gc
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from devkit.harness.rig import Rig

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# Variables of the caller's that affect the package, the commands and their
# output: credentials, proxies, the terminal.
_OURS = ("SPATIUS_SDK", "SPATIUS_AVATAR_VENV")
_OF_THE_CALLER = re.compile(
    r"(SPATIUS|AGORA)_.*|.*_PROXY|TEN_STAND_IN_LOG|COLUMNS|LINES|NO_COLOR"
    r"|FORCE_COLOR|PY_COLORS|GITHUB_ACTIONS|PYTHONASYNCIODEBUG",
    re.IGNORECASE,
)
for _name in set(os.environ) - set(_OURS):
    if _OF_THE_CALLER.fullmatch(_name):
        del os.environ[_name]

from devkit import package  # noqa: E402

# pytest imports the root's __init__.py under the folder's name, or as
# __init__ where that is no identifier: it must find the same package there.
for _alias in (ROOT.name, "__init__"):
    sys.modules[_alias] = package.load()

from devkit.motion_server import MotionServer  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    for marker in (
        "takes_s(seconds): one of the longest tests, which begin first",
        "virtual: has an event loop of its own, whatever the pair",
    ):
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(trylast=True)  # deselected tests are gone by then
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Begin with the longest: begun last, they would run alone at the end.

    Each worker of pytest-xdist begins at the head of its part of the list.
    """
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    longest = sorted(filter(_takes_s, items), key=_takes_s, reverse=True)
    others = [item for item in items if not _takes_s(item)]
    left = len(items)
    items.clear()
    for at in range(workers):
        head = longest[at::workers]
        size = left // (workers - at) - len(head)
        items += head + others[:size]
        left -= len(head) + len(others[:size])
        del others[:size]


def pytest_collection_finish() -> None:
    """Spare the garbage collector the objects that last until the end."""
    gc.collect()
    gc.freeze()


def _takes_s(item: pytest.Item) -> float:
    marker = item.get_closest_marker("takes_s")
    return marker.args[0] if marker else 0.0


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    """Run async tests on the kind of loop that the extensions get."""
    kind = os.environ.get("TEN_STAND_IN_LOOP") or "asyncio"
    if kind == "uvloop":
        import uvloop

        return {kind: uvloop.new_event_loop}
    return {kind: asyncio.new_event_loop}


@pytest.fixture(scope="session", autouse=True)
def ten_app() -> Iterator[None]:
    """A running app, without which no extension can be tested."""
    from ten_runtime import App, TenEnv

    ready = threading.Event()
    apps: list[App] = []

    class TestApp(App):
        def on_init(self, ten_env: TenEnv) -> None:
            ready.set()
            ten_env.on_init_done()

    def serve() -> None:
        apps.append(TestApp())
        apps[0].run(False)

    thread = threading.Thread(target=serve, name="app")
    thread.start()
    assert ready.wait(60), "the app did not start"
    yield
    apps[0].close()
    thread.join()


@pytest.fixture(autouse=True)
def new_process() -> Iterator[None]:
    """Forget the facts learned for the life of the process."""
    yield
    from spatius_avatar_python.avatar.plan import forget_learned_limits

    forget_learned_limits()


@pytest.fixture
async def make_rig() -> AsyncIterator[Callable[..., "Rig"]]:
    """Make rigs, and stop them when the test has ended."""
    from devkit.harness.rig import Rig

    made: list[Rig] = []

    def make(properties: dict[str, Any], clock: Any = None) -> Rig:
        made.append(Rig(properties, clock))
        return made[-1]

    yield make
    for rig in made:
        await rig.stop()


@pytest.fixture
def motion_server() -> Iterator[MotionServer]:
    """A local Motion Server that knows the credentials of `agent`."""
    yield from _server()


@pytest.fixture
def cramped_server() -> Iterator[MotionServer]:
    """One with small buffers: a client soon feels it when it stops reading."""
    yield from _server(receive_buffer_bytes=8192)


def _server(**options: Any) -> Iterator[MotionServer]:
    import agent

    agent.outgoing.clear()
    with MotionServer.in_thread(**agent.SERVER_OPTIONS, **options) as server:
        yield server
        agent.assert_no_secret_leaked(server)
