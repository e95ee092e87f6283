"""The package's structure: imports run one way, and the core is pure."""

import ast
import builtins
import functools
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "spatius_avatar_python"

ROOMS = ("avatar", "messages", "session", "settings", "speech")

# A module imports from its own layer or from those below it. Each set is one
# layer, the highest first; a folder stands for all of its modules.
LAYERS = (
    {"", "addon"},
    {"extension"},
    {"avatar"},
    {"session"},
    {"config"},
    {"settings"},
    {"messages"},
    {"speech"},
    {"token"},
    {"clock", "transitions"},
)

# The names that the rest of the package uses of each room, and no others.
# Those in small letters are modules.
PUBLIC = {
    "avatar": {"Avatar", "Plan", "STOP_BUDGET"},
    "messages": {
        *("Inbox", "Outbox", "Downstream", "Dump"),
        *("Frame", "Refused", "Unknown"),
        *("SpeechStart", "SpeechEnd", "Connect"),
        *("payloads", "redact"),
    },
    "session": {
        *("Session", "SessionState", "SessionError", "Failure"),
        *("PlaybackSignal", "PingAnswered", "ServiceError"),
        *("OpenSession", "opener", "sdk"),
    },
    "settings": {"Params", "Settings", "Given", "read", "unknown_region"},
    "speech": {
        *("Speech", "Limits", "Totals", "Turn", "BYTES_PER_SAMPLE"),
        *("Interrupt", "Step", "Mark", "events"),
    },
}

QUESTION = re.compile(
    "_*(is|has|had|was|may|can|must|needs|fits|takes|plays|goes|starts|waits"
    "|matches)(_|$)"
)
"""The name of a function that is asked, and changes nothing."""

CHANGES = {
    *("add", "append", "appendleft", "cancel", "clear", "discard", "extend"),
    *("extendleft", "insert", "pop", "popitem", "popleft", "put", "remove"),
    *("set", "set_result", "setdefault", "update"),
}
"""Methods of others that change the object that they are called on."""

SDKS = {"spatius", "avatarkit", "spatialreal", "websockets"}
IMPURE = {"asyncio", "time", "random", "threading", "socket", "os", "datetime"}


def files() -> dict[str, Path]:
    """Return the package's files by their module's name in it."""
    found = {}
    for folder in (ROOT, *(ROOT / name for name in ROOMS)):
        for path in folder.glob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts).replace("__init__", "").rstrip(".")] = path
    return found


FILES = files()


def is_package(module: str) -> bool:
    return FILES[module].name == "__init__.py"


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text())


@functools.cache
def imports_of(module: str) -> set[str]:
    """Return all that a module imports, in full; its own package's modules
    without the package's name."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module or "")
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".") if module else []
            up = node.level - is_package(module)
            base = parts[: len(parts) - up] if up else parts
            base = [*base, *(node.module or "").split(".")]
            stem = ".".join(filter(None, base))
            for alias in node.names:
                full = f"{stem}.{alias.name}" if stem else alias.name
                found.add(full if full in FILES else stem)
    return found


def uses_of_rooms(module: str) -> set[tuple[str, str]]:
    """Return room and name of each import from a room that is not the
    module's own; a name with a dot is imported past its room's front."""
    found = set()
    parts = module.split(".") if module else []
    for node in ast.walk(tree_of(module)):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        up = node.level - is_package(module)
        base = parts[: len(parts) - up] if up else parts
        path = [*base, *filter(None, (node.module or "").split("."))]
        for alias in node.names:
            room, *inside = [*path, alias.name]
            if room in ROOMS and room not in parts[:1]:
                found.add((room, ".".join(inside)))
    return found


def own_imports_of(module: str) -> set[str]:
    return imports_of(module) & set(FILES) - {module}


def layer_of(module: str) -> int:
    top = module.split(".")[0]
    [layer] = [number for number, names in enumerate(LAYERS) if top in names]
    return layer


def test_nothing_imports_upward():
    """A module knows those of its layer and below."""
    upward = {
        (module, other)
        for module in FILES
        for other in own_imports_of(module)
        if layer_of(other) < layer_of(module)
    }
    assert upward == set()


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_few_public_names(room):
    """All that the others import is public, and all that is public is
    imported by another."""
    used = {
        name
        for module in FILES
        for of, name in uses_of_rooms(module)
        if of == room
    }
    assert used == PUBLIC[room]
    front = importlib.import_module(f"{PACKAGE}.{room}")
    modules = {name for name in used if f"{room}.{name}" in FILES}
    assert set(front.__all__) | modules == used


def test_imports_have_no_circle():
    """Modules can be ordered so that each imports from earlier ones only."""
    left = {module: own_imports_of(module) for module in FILES}
    while left:
        free = {module for module in left if not left[module] & set(left)}
        assert free, f"a circle within {sorted(left)}"
        left = {name: left[name] for name in left if name not in free}


def importers_of(packages: set[str]) -> set[str]:
    """Return the modules that import from packages outside of ours."""
    return {
        module
        for module in FILES
        if {name.split(".")[0] for name in imports_of(module)} & packages
    }


def test_one_file_imports_the_sdks():
    """All others meet the service through it."""
    assert importers_of(SDKS) <= {"session.sdk"}


def test_speech_is_pure():
    """No I/O, no clock, no chance; nothing of the package but itself."""
    modules = {name for name in FILES if name.startswith("speech")}
    assert not importers_of(IMPURE) & modules
    for module in modules:
        assert own_imports_of(module) <= modules, module


def test_package_does_not_know_the_devkit():
    """It runs without it."""
    assert importers_of({"devkit", "tests", "pytest"}) == set()


def changes_in(function: ast.AST) -> list[str]:
    """Return the changes that a function makes itself, to more than its own
    variables."""
    found = []
    for node in ast.walk(function):
        context = getattr(node, "ctx", None)
        is_stored = isinstance(node, (ast.Attribute, ast.Subscript)) and (
            isinstance(context, (ast.Store, ast.Del))
        )
        is_method = (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in CHANGES
            and not isinstance(node.func.value, ast.Name)
        )
        if is_stored or is_method or isinstance(node, ast.Nonlocal):
            found.append(ast.unparse(node))
    return found


def calls_in(function: ast.AST) -> set[str]:
    """Return the names of the functions that a function calls, but for those
    that texts have as well."""
    called = [
        node.func for node in ast.walk(function) if isinstance(node, ast.Call)
    ]
    methods = {node.attr for node in called if isinstance(node, ast.Attribute)}
    names = {node.id for node in called if isinstance(node, ast.Name)}
    return methods - set(dir(str)) | names - set(dir(builtins))


def test_questions_change_nothing():
    """Neither a property nor a function whose name asks a question, nor one
    that it calls."""
    functions = [
        (module, node)
        for module in FILES
        for node in ast.walk(tree_of(module))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    acting: set[str] = set()  # by name alone, as calls are
    while (
        more := {
            node.name
            for _, node in functions
            if changes_in(node) or calls_in(node) & acting
        }
        - acting
    ):
        acting |= more
    questions = [
        (module, node)
        for module, node in functions
        if QUESTION.match(node.name)
        or "property" in map(ast.unparse, node.decorator_list)
    ]
    assert len(questions) > 100
    found = {
        f"{module}.{node.name}": reasons
        for module, node in questions
        if (reasons := [*changes_in(node), *(calls_in(node) & acting)])
    }
    assert found == {}


def test_contributing_names_each_file():
    """In its first table: by folder, and by name."""
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| folder |")[0]
    found, room = set(), ""
    for row in re.findall(r"^\| (.*?) \|", table, re.MULTILINE):
        names = re.findall(r"`([\w/]+)(?:\.py)?`", row)
        if row.startswith("**"):
            room = names[0].rstrip("/") if names else ""
            continue
        for name in names:
            inside = f"{room}.{name}"
            found.add(inside if inside in FILES else name)
    fronts = {module for module in FILES if is_package(module)}
    assert found == set(FILES) - fronts


def test_contributing_names_functions_that_exist():
    """Behind the name of their file, in the table of behaviors."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text.split("| behavior |")[1].split("\n\n")[0]
    missing, count = [], 0
    for row in table.splitlines():
        path = None
        for name in re.findall(r"`([^`]+)`", row.split("|", 2)[-1]):
            if "." in name:
                path = ROOT / name
                assert path.exists(), name
            elif path is not None and re.fullmatch(r"\w+", name):
                count += 1
                pattern = rf"(def|class) {name}\b|^ *[\w.\"]*{name}\b.*[=:]"
                if not re.search(pattern, path.read_text(), re.MULTILINE):
                    missing.append((path.name, name))
    assert (missing, count > 40) == ([], True)


@pytest.mark.parametrize("name", ["avatar", "config", "messages.payloads"])
def test_import_loads_no_sdk_and_no_ten_runtime(name):
    """Only the extension needs them."""
    program = f"""
import importlib.util, sys
from importlib.machinery import PathFinder, ModuleSpec
package = type(sys)({PACKAGE!r})
package.__path__ = [{str(ROOT)!r}]
sys.modules[{PACKAGE!r}] = package
importlib.import_module({f"{PACKAGE}.{name}"!r})
tops = {{name.split(".")[0] for name in sys.modules}}
print(sorted(tops & {SDKS | {"ten_runtime"}!r}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
