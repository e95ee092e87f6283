#
# This file is part of TEN Framework, an open source project.
# Licensed under the Apache License, Version 2.0.
# See the LICENSE file for more information.
#
"""Options, the running app, and the extension under test."""

import importlib.util
import inspect
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
SUITE = HERE.parent

# Behind all else: neither the suite nor what lies beside it may hide a module
# of the extension's environment.
sys.path.append(str(SUITE.parent))
if importlib.util.find_spec("ten_runtime") is None:
    sys.path.append(str(SUITE.parent / "devkit"))

from avatar_guarder import (  # noqa: E402
    cases,
    isolation,
    loader,
    preload,
    worker,
)
from avatar_guarder.avatar import Avatar, Stream  # noqa: E402
from avatar_guarder.graph import Graph  # noqa: E402
from avatar_guarder.hearing import Hearing  # noqa: E402
from avatar_guarder.isolation import Isolation, rule_of  # noqa: E402
from avatar_guarder.rules import RULES  # noqa: E402
from avatar_guarder.vendor import Vendor  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.addoption
    add("--extension_name", help="The addon's name.")
    add(
        "--config_dir",
        type=Path,
        help="A folder with one property_<case>.json a case.",
    )
    add("--folder", type=Path, help="Import the extension from this folder.")
    add("--ten-packages", type=Path, help="The ten_packages of a TEN app.")
    add(
        "--vendor", default="none", help="A built-in fake, a .py file, or none."
    )
    add("--jobs", type=int, default=6, help="How many tests run at a time.")
    add("--limit", type=int, default=40, help="Seconds that a test may take.")
    add("--results", type=Path, help="A file for the verdict on each rule.")
    add("--rules", default="", help="Only these, with commas between them.")


def pytest_configure(config: pytest.Config) -> None:
    if importlib.util.find_spec("ten_runtime") is None:
        raise pytest.UsageError(
            "there is no ten_runtime: run in an app's folder with "
            "tests/bin/start, or put the runtime's lib and interface on "
            "PYTHONPATH"
        )
    config.pluginmanager.register(Isolation(config), "isolation")
    if not config.getoption("--extension_name"):
        raise pytest.UsageError("--extension_name is missing")
    # Each test runs in a folder of its own.
    options: Any = config.option
    for name in ("config_dir", "folder", "ten_packages"):
        given = getattr(options, name)
        if given is not None:
            setattr(options, name, Path(given).resolve())
    if options.vendor.endswith(".py"):
        options.vendor = str(Path(options.vendor).resolve())
    try:
        isolation.describe(config)
    except loader.Unusable as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Any:
    """Skip a test that needs a missing feature of the vendor's fake."""
    return (yield from _skip_what_is_missing())


@pytest.hookimpl(tryfirst=True, specname="pytest_pyfunc_call")
def pytest_play_test(pyfuncitem: pytest.Function) -> bool | None:
    """Play an async test as the script of its graph.

    The rule's marker has the options of `Avatar.play`. In tier 2 the test
    begins when the vendor has confirmed a session, unless it begins early.
    """
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    values = {
        name: pyfuncitem.funcargs[name]
        for name in inspect.signature(test).parameters
    }
    avatar: Any = values["graph"]
    options = next(pyfuncitem.iter_markers("rule")).kwargs

    async def script(graph: Graph) -> None:
        if avatar.vendor is not None and not options.get("early"):
            await graph.until(avatar.vendor.confirmed, "no session", 10)
        await test(**{**values, "graph": graph})

    avatar.play(script, **options)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Any:
    return (yield from _skip_what_is_missing())


def _skip_what_is_missing() -> Generator[None, Any, Any]:
    try:
        return (yield)
    except NotImplementedError as error:
        pytest.skip(str(error) or "the vendor's fake cannot do that")


@pytest.fixture(scope="session")
def folder(request: pytest.FixtureRequest) -> Path:
    """The extension's folder."""
    return isolation.folder_of(request.config)


@pytest.fixture(scope="session")
def package(request: pytest.FixtureRequest, folder: Path) -> ModuleType | None:
    """Import the extension; None where the app of the runtime does it."""
    option: Any = request.config.getoption
    plugin: Any = request.config.pluginmanager.get_plugin("isolation")
    described = isolation.describe(request.config)
    known = frozenset(sys.modules)
    worker.follow(folder, plugin.escapes)
    cases.set_placeholders(described.base)
    import ten_runtime

    threads = preload.thread_count()
    is_stand_in = getattr(ten_runtime, "IS_STAND_IN", False)
    if option("--folder") is None and not is_stand_in:
        sys.path.append(str(folder))
        return None
    packages = option("--ten-packages") or loader.find_ten_packages(folder)
    # Behind all else: a module of the extension's own must not hide one of
    # Python's.
    for path in (*loader.interfaces(packages), folder):
        sys.path.append(str(path))
    name = loader.read_manifest(folder)["name"]
    loaded = loader.load_addon(folder, name)
    if plugin.libraries is not None:
        preload.write(plugin.libraries, known, threads)
    return loaded


@pytest.fixture(scope="session")
def ten_app(package: ModuleType | None) -> Iterator[None]:
    """A running app, without which no extension can be tested."""
    from ten_runtime import App, TenEnv

    loader.load_addon(SUITE / "empty", "guard_empty")
    ready = threading.Event()
    apps: list[App] = []

    class GuardApp(App):
        def on_init(self, ten_env: TenEnv) -> None:
            ready.set()
            ten_env.on_init_done()

    def serve() -> None:
        apps.append(GuardApp())
        apps[0].run(False)

    # A daemon: this process ends with the test.
    thread = threading.Thread(target=serve, name="app", daemon=True)
    thread.start()
    assert ready.wait(15), "the app did not start"
    yield
    apps[0].close()
    thread.join(2)


@pytest.fixture
def avatar_alone(
    request: pytest.FixtureRequest, package: ModuleType | None, ten_app: None
) -> Avatar:
    """The extension, without a vendor."""
    plugin: Any = request.config.pluginmanager.get_plugin("isolation")
    made = isolation.describe(request.config)
    name = f"{loader.PACKAGES}.{made.addon}"
    made.package = package or sys.modules.get(name)
    made.stream = Stream(plugin.stream)
    made.stream.mark()
    made.vendor_hz, made.broken = plugin.vendor_hz, plugin.broken
    return made


@pytest.fixture
def avatar(
    request: pytest.FixtureRequest, avatar_alone: Avatar
) -> Iterator[Avatar]:
    """The extension; with a vendor where the rule is of tier 2."""
    if RULES[rule_of(request.node)].tier == 1:
        yield avatar_alone
        return
    with avatar_alone.with_vendor():
        yield avatar_alone


@pytest.fixture
def graph(avatar: Avatar) -> Avatar:
    """The graph around the avatar, which `pytest_play_test` puts in place."""
    return avatar


@pytest.fixture
def vendor(avatar: Avatar) -> Vendor:
    """The fake that serves the test of a rule of tier 2."""
    assert avatar.vendor is not None
    return avatar.vendor


@pytest.fixture
def hearing(avatar: Avatar) -> Hearing:
    """The comparison of received speech with sent speech."""
    return avatar.hearing(avatar.rate_hz(avatar.case("basic")))
