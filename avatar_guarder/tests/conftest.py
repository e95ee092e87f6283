"""Options, the running app, and the extension under test."""

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
SUITE = HERE.parent

# Behind all else: neither the suite nor what lies beside it may hide a module
# of the extension's environment.
sys.path.append(str(SUITE.parent))
if importlib.util.find_spec("ten_runtime") is None:
    sys.path.append(str(SUITE.parent / "devkit"))

from avatar_guarder import loader  # noqa: E402
from avatar_guarder.avatar import Avatar, Stream  # noqa: E402
from avatar_guarder.collector import Collector, rule_of  # noqa: E402
from avatar_guarder.rules import RULES  # noqa: E402
from avatar_guarder.vendor import Vendor, load_vendor  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.addoption
    add("--extension_name", help="The addon's name.")
    add("--config_dir", help="A folder with one property_<case>.json a case.")
    add("--folder", type=Path, help="Import the extension from this folder.")
    add("--vendor", default="none", help="spatius, toy, a .py file, or none.")
    add("--stream", type=Path, help="The file that this process prints to.")
    add("--results", type=Path, help="A file for the outcome of each rule.")
    add("--rules", default="", help="Only these, with commas between them.")


def pytest_configure(config: pytest.Config) -> None:
    results = config.getoption("--results")
    if results is not None:
        config.pluginmanager.register(Collector(results), "collector")


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    names: Any = config.getoption("--rules")
    wanted = [name for name in names.split(",") if name]
    if wanted:
        items[:] = [item for item in items if rule_of(item) in wanted]
        items.sort(key=lambda item: wanted.index(rule_of(item)))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Any:
    """A fault that the vendor's fake cannot produce breaks no rule."""
    try:
        return (yield)
    except NotImplementedError as error:
        pytest.skip(str(error) or "the vendor's fake cannot do that")


@pytest.fixture(scope="session")
def extension_name(request: pytest.FixtureRequest) -> str:
    name = request.config.getoption("--extension_name")
    if not name:
        raise pytest.UsageError("--extension_name is missing")
    return name


@pytest.fixture(scope="session")
def config_dir(request: pytest.FixtureRequest) -> Path | None:
    folder = request.config.getoption("--config_dir")
    return Path(folder).resolve() if folder else None


@pytest.fixture(scope="session")
def loaded(
    request: pytest.FixtureRequest,
    extension_name: str,
    config_dir: Path | None,
) -> Path:
    """Import the extension and return its folder."""
    given = request.config.getoption("--folder")
    folder = given or Path("ten_packages/extension", extension_name)
    manifest = loader.read_manifest(folder.resolve())
    if config_dir is not None:
        loader.check_configs(config_dir)
    if given is not None:
        loader.load_addon(folder.resolve(), manifest["name"])
    return folder.resolve()


@pytest.fixture(scope="session")
def ten_app(loaded: Path) -> Iterator[None]:
    """A running app, without which no extension can be tested."""
    from ten_runtime import App, TenEnv

    ready = threading.Event()
    apps: list[App] = []

    class GuardApp(App):
        def on_init(self, ten_env: TenEnv) -> None:
            ready.set()
            ten_env.on_init_done()

    def serve() -> None:
        apps.append(GuardApp())
        apps[0].run(False)

    thread = threading.Thread(target=serve, name="app")
    thread.start()
    assert ready.wait(15), "the app did not start"
    yield
    apps[0].close()
    thread.join()


@pytest.fixture
def avatar(
    request: pytest.FixtureRequest,
    extension_name: str,
    config_dir: Path | None,
    loaded: Path,
    ten_app: None,
) -> Iterator[Avatar]:
    """The extension; with a vendor where the rule is of tier 2."""
    option: Any = request.config.getoption
    rule = RULES[rule_of(request.node)]
    base = loaded / "property.json"
    found = Avatar(
        addon=extension_name,
        manifest=loader.read_manifest(loaded),
        base=loader.read_object(base) if base.is_file() else {},
        config_dir=config_dir,
        stream=Stream(option("--stream") or Path("/dev/null")),
    )
    if option("--vendor") != "none":
        found.make_vendor = load_vendor(option("--vendor"))
    reason = rule.inapplicable(found)
    if reason:
        pytest.skip(reason)
    found.stream.mark()
    if rule.tier == 1:
        yield found
        return
    with found.with_vendor():
        yield found


@pytest.fixture
def vendor(avatar: Avatar) -> Vendor:
    """The fake that serves the test of a rule of tier 2."""
    assert avatar.vendor is not None
    return avatar.vendor
