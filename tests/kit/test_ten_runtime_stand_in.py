"""The stand-in for ten_runtime keeps the rules of the real one."""

# ruff: noqa: E402 - the path and the runtime in use are settled first

import asyncio
import gc
import json
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

DEVKIT = Path(__file__).resolve().parents[2] / "devkit"

try:
    import ten_runtime
except ImportError:
    sys.path.insert(0, str(DEVKIT))
    import ten_runtime

if not getattr(ten_runtime, "IS_STAND_IN", False):
    pytest.skip(
        "the real ten_runtime is installed, so its stand-in is not in use",
        allow_module_level=True,
    )

from ten_runtime import (
    Addon,
    App,
    AsyncExtension,
    AsyncExtensionTester,
    AudioFrame,
    AudioFrameDataFmt,
    Cmd,
    CmdResult,
    Data,
    SendOptions,
    StatusCode,
    TenError,
    TenErrorCode,
    register_addon_as_extension,
)
from ten_runtime import _app as app_module
from ten_runtime import _log as log_module
from ten_runtime._failures import HandlerFailed, ProcessAborted
from ten_runtime._host import ExtensionHost
from ten_runtime._properties import merge, resolve_placeholders

WAIT_S = 30.0


def register(name, base_dir=None, **methods):
    """Register an addon whose extension has these methods."""
    scripted = type("Scripted", (AsyncExtension,), methods)

    @register_addon_as_extension(
        name, str(base_dir / "addon.py") if base_dir else None
    )
    class ScriptedAddon(Addon):
        def on_create_instance(self, ten_env, name, context):
            ten_env.on_create_instance_done(scripted(name), context)


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request, monkeypatch):
    """The kind of event loop that the extensions share."""
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
    monkeypatch.setenv("TEN_STAND_IN_LOOP", request.param)
    return request.param


@pytest.fixture
def host_of(tmp_path, loop_kind):
    """Makes started hosts in a package folder of their own; stops them."""
    hosts = []

    def make(
        *, property=None, property_file=None, api=None, start=True, **parts
    ):
        if property_file is not None:
            (tmp_path / "property.json").write_text(json.dumps(property_file))
        (tmp_path / "manifest.json").write_text(json.dumps({"api": api or {}}))
        callbacks = {
            key: parts.pop(key)
            for key in ("out_data", "out_cmd", "out_audio_frame")
            if key in parts
        }
        on_failure = parts.pop("on_failure", None)
        name = f"scripted_{len(hosts)}"
        register(name, tmp_path, **parts)
        host = ExtensionHost(
            name,
            property,
            on_data=callbacks.get("out_data"),
            on_cmd=callbacks.get("out_cmd"),
            on_audio_frame=callbacks.get("out_audio_frame"),
            on_failure=on_failure,
        )
        hosts.append(host)
        if start:
            host.start()
        return host

    yield make
    for host in hosts:
        if host._loop is not None:
            host.stop()


@pytest.fixture
def log_lines():
    """What is logged during the test."""
    lines = []
    log_module.observers.append(lines.append)
    yield lines
    log_module.observers.remove(lines.append)


@pytest.fixture(scope="module")
def app():
    """The App that testers need: the one that runs, or one of our own."""
    running = app_module.running_app()
    if running is not None:
        yield running
        return
    ours = App()
    ours.run(True)
    yield ours
    ours.close()
    ours.wait()


class ScriptedTester(AsyncExtensionTester):
    """Runs `script(ten_env)` as its on_start and ends when that returns."""

    def __init__(self, script=None):
        super().__init__()
        self.script = script
        self.received = []

    async def on_start(self, ten_env):
        if self.script is not None:
            await self.script(ten_env)
            ten_env.stop_test()

    async def on_data(self, ten_env, data):
        self.received.append(data.get_name())


def run_tester(name, script=None, *, property_json=None, tester=None):
    """Run a tester against the addon `name` and give (tester, error)."""
    tester = tester or ScriptedTester(script)
    tester.set_test_mode_single(name, property_json)
    tester.set_timeout(int(WAIT_S * 1_000_000))
    return tester, tester.run()


def run_script(code, **environ):
    """Run code in a process of its own, with the stand-in imported."""
    prologue = """
        import asyncio, sys
        sys.path.insert(0, {devkit!r})
        from ten_runtime import *
        from ten_runtime._host import ExtensionHost

        def register(name, base_dir=None, **methods):
            scripted = type("Scripted", (AsyncExtension,), methods)

            @register_addon_as_extension(name, base_dir)
            class ScriptedAddon(Addon):
                def on_create_instance(self, ten_env, name, context):
                    ten_env.on_create_instance_done(scripted(name), context)
    """
    text = textwrap.dedent(prologue).format(devkit=str(DEVKIT))
    return subprocess.run(
        [sys.executable, "-c", text + textwrap.dedent(code)],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=str(DEVKIT),
        env={"PATH": "/usr/bin:/bin", **environ},
    )


def aborted(done):
    return done.returncode == -signal.SIGABRT


# Messages


def test_a_fresh_frame_is_interleaved_and_else_zero():
    """An AudioFrame that was only created holds 0, but for data_fmt 1."""
    frame = AudioFrame.create("pcm_frame")
    assert frame.get_sample_rate() == 0
    assert frame.get_bytes_per_sample() == 0
    assert frame.get_number_of_channels() == 0
    assert frame.get_samples_per_channel() == 0
    assert frame.get_timestamp() == 0
    assert frame.get_data_fmt() == AudioFrameDataFmt.INTERLEAVE == 1


def test_frame_setters_take_int_only():
    """A float is refused by the setters of an AudioFrame."""
    frame = AudioFrame.create("pcm_frame")
    with pytest.raises(TypeError):
        frame.set_sample_rate(24000.0)  # pyright: ignore[reportArgumentType]


def test_frame_keeps_an_enum_as_its_number():
    """set_data_fmt takes the enum and get_data_fmt gives its value."""
    frame = AudioFrame.create("pcm_frame")
    frame.set_data_fmt(AudioFrameDataFmt.NON_INTERLEAVE)
    assert frame.get_data_fmt() == 2


def test_locked_buffer_is_the_frames_own():
    """What is written through lock_buf is what get_buf gives."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(4)
    view = frame.lock_buf()
    view[:] = b"abcd"
    frame.unlock_buf(view)
    assert frame.get_buf() == b"abcd"


def test_get_buf_copies():
    """Changing what get_buf gave leaves the frame as it was."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(2)
    before = frame.get_buf()
    frame.get_buf()[0] ^= 1
    assert frame.get_buf() == before


def test_fresh_memory_is_not_zeroed():
    """What alloc_buf gives is no silence."""
    frame = AudioFrame.create("pcm_frame")
    frame.alloc_buf(320)
    assert frame.get_buf() != bytes(320)


def test_get_buf_of_an_unallocated_frame_raises():
    """get_buf raises SystemError on a frame that was never allocated."""
    with pytest.raises(SystemError):
        AudioFrame.create("pcm_frame").get_buf()


def test_get_buf_of_unallocated_data_is_empty():
    """get_buf gives an empty bytearray on Data without a buffer."""
    assert Data.create("x").get_buf() == bytearray()


@pytest.mark.parametrize("size", [0, -1])
def test_alloc_buf_needs_a_positive_size(size):
    """alloc_buf refuses a size of 0 or less."""
    with pytest.raises(ValueError):
        AudioFrame.create("pcm_frame").alloc_buf(size)


def test_messages_are_made_by_create_only():
    """Calling a message class raises."""
    with pytest.raises(ValueError):
        Data()
    with pytest.raises(NotImplementedError):
        Data("x")


def test_json_is_indented_by_four():
    """get_property_to_json indents by 4 and leaves text unescaped."""
    data = Data.create("x")
    data.set_property_from_json(None, '{"a": "ü"}')
    assert data.get_property_to_json("") == ('{\n    "a": "ü"\n}', None)
    assert data.get_property_to_json(None) == data.get_property_to_json()


def test_json_of_a_dotted_path():
    """A dotted path reaches into objects and lists."""
    data = Data.create("x")
    data.set_property_from_json(None, '{"a": {"b": [1, {"c": 2}]}}')
    assert data.get_property_to_json("a.b[1].c") == ("2", None)


def test_json_of_a_missing_path_is_an_error():
    """A path that leads nowhere gives an empty text and a TenError."""
    text, error = Data.create("x").get_property_to_json("a.b")
    assert text == ""
    assert error is not None and error.error_message()


def data_of(text, name="x"):
    """Data with these properties."""
    data = Data.create(name)
    assert data.set_property_from_json(None, text) is None
    return data


def code_of(outcome):
    """The value that a getter gave, and its error's code."""
    value, error = outcome
    return value, error.error_code()


def test_typed_getters_read_dotted_paths():
    """A getter gives the value at the path and no error."""
    data = data_of('{"a": {"i": 7, "s": "x", "f": 1.5, "b": true}}')
    assert data.get_property_int("a.i") == (7, None)
    assert data.get_property_string("a.s") == ("x", None)
    assert data.get_property_float("a.f") == (1.5, None)
    assert data.get_property_bool("a.b") == (True, None)
    data.set_property_buf("a.raw", b"\1\2")
    assert data.get_property_buf("a.raw") == (bytearray(b"\1\2"), None)


def test_a_missing_value_is_code_100000():
    """Every getter gives its default where nothing stands at the path."""
    data = data_of('{"a": 1}')
    for path in ("b", "a.b", "a[0]"):
        assert code_of(data.get_property_int(path)) == (0, 100000)
        assert code_of(data.get_property_string(path)) == ("", 100000)
        assert code_of(data.get_property_float(path)) == (0.0, 100000)
        assert code_of(data.get_property_bool(path)) == (False, 100000)
        assert code_of(data.get_property_buf(path)) == (b"", 100000)


def test_getters_do_not_convert():
    """A getter of another type gives its default and a code of its own."""
    data = data_of('{"text": "1", "number": 1, "null": null, "list": []}')
    for path in ("text", "null", "list"):
        assert code_of(data.get_property_int(path)) == (0, 1)
    for path in ("number", "null", "list"):
        assert code_of(data.get_property_string(path)) == ("", 3)


def test_errors_of_a_message_are_no_ten_errors():
    """They are the binding's native class, with the same methods."""
    data = data_of('{"a": 1}')
    outcomes = (
        data.get_property_to_json("b")[1],
        data.get_property_int("b")[1],
        data.get_property_string("a")[1],
        data.set_property_from_json(None, "{"),
    )
    for error in outcomes:
        assert error is not None and error.error_message()
        assert type(error).__name__ == "_TenError"
        assert not isinstance(error, TenError)
    assert isinstance(TenError.create(1), type(outcomes[0]))


def test_setting_after_a_send_raises(host_of):
    """A consumed message refuses setters as it does getters."""
    data = Data.create("x")
    host_of().send_data(data)
    for call in (
        lambda: data.get_property_int("a"),
        lambda: data.set_property_int("a", 1),
        lambda: data.get_property_to_json(None),
        lambda: data.get_buf(),
        lambda: data.clone(),
    ):
        with pytest.raises(ValueError, match=r"Msg is invalidated\."):
            call()


# JSON that the C core keeps, and aborts on when it is to write it

HOSTILE = [
    f'{{"metadata": {{"turn_id": {2**63}}}}}',
    f'{{"turn_id": 1, "unrelated": {2**64 - 1}}}',
    f'{{"list": [0, {{"deep": {2**63}}}]}}',
    '{"turn_id": 1, "turn_id": 2}',
    '{"metadata": {"turn_id": 1, "turn_id": 1}}',
]


@pytest.mark.parametrize("text", HOSTILE)
def test_writing_hostile_json_aborts(text):
    """get_property_to_json ends the process; no `except` helps."""
    done = run_script(f"""
        data = Data.create("x")
        assert data.set_property_from_json(None, {text!r}) is None
        copy = data.clone()
        try:
            copy.get_property_to_json(None)
        except BaseException:
            print("survived")
    """)
    assert aborted(done), done.stderr
    assert "get_property_to_json" in done.stderr
    assert "survived" not in done.stdout


def test_what_is_next_to_a_hostile_value_can_be_written():
    """Only what is written counts."""
    data = data_of(f'{{"a": {{"b": 1}}, "c": {2**63}}}')
    assert json.loads(data.get_property_to_json("a")[0]) == {"b": 1}


@pytest.mark.parametrize("text", HOSTILE)
def test_typed_getters_survive_hostile_json(text):
    """They give a value or an error, and end nothing."""
    data = data_of(text)
    for path in ("turn_id", "unrelated", "metadata.turn_id", "list[1].deep"):
        data.get_property_int(path)
        data.get_property_string(path)
        data.get_property_float(path)
        data.get_property_bool(path)
        data.get_property_buf(path)


def test_an_int_above_63_bits_is_an_error():
    """get_property_int gives 0 and an error from 2**63 on."""
    data = data_of(f'{{"most": {2**63 - 1}, "more": {2**63}}}')
    assert data.get_property_int("most") == (2**63 - 1, None)
    number, error = data.get_property_int("more")
    assert number == 0 and error is not None


@pytest.mark.parametrize(
    "digits",
    [str(2**64), str(-(2**63) - 1), "1" + 5000 * "0"],
    ids=["2**64", "below -2**63", "10**5000"],
)
def test_an_integer_beyond_64_bits_is_a_float(digits):
    """JSON numbers that no 64 bits hold are floats, and can be written."""
    data = data_of(f'{{"a": {digits}}}')
    assert data.get_property_float("a") == (float(digits), None)
    assert data.get_property_to_json(None)[1] is None


def test_a_string_ends_at_its_first_nul():
    """`\\u0000` in JSON cuts the string there, nested or not."""
    data = data_of(r'{"a": "be\u0000fore", "b": ["\u0000x", {"c": "y\u0000"}]}')
    assert data.get_property_string("a") == ("be", None)
    tree = json.loads(data.get_property_to_json(None)[0])
    assert tree == {"a": "be", "b": ["", {"c": "y"}]}


def test_an_int_is_no_bool_and_no_float():
    """get_property_bool and get_property_float refuse an integer."""
    data = Data.create("x")
    data.set_property_int("a", 1)
    assert data.get_property_bool("a")[1] is not None
    assert data.get_property_float("a")[1] is not None


def test_setting_a_dotted_path_makes_the_objects_on_it():
    """set_property_int on a.b makes a."""
    data = Data.create("x")
    assert data.set_property_int("a.b", 1) is None
    assert json.loads(data.get_property_to_json("")[0]) == {"a": {"b": 1}}


def test_setting_the_root_replaces_the_tree():
    """set_property_from_json(None, ...) forgets what was there."""
    data = Data.create("x")
    data.set_property_int("a", 1)
    data.set_property_from_json(None, '{"b": 2}')
    assert json.loads(data.get_property_to_json("")[0]) == {"b": 2}


def test_invalid_json_is_an_error():
    """set_property_from_json returns a TenError for text that is no JSON."""
    error = Data.create("x").set_property_from_json(None, "{")
    assert error is not None
    assert error.error_code() == TenErrorCode.ErrorCodeInvalidJSON


def test_clone_shares_nothing():
    """A clone keeps its samples and properties when the frame changes."""
    frame = AudioFrame.create("pcm_frame")
    frame.set_sample_rate(24000)
    frame.alloc_buf(2)
    before = frame.get_buf()
    frame.set_property_int("a", 1)
    clone = frame.clone()
    frame.set_property_int("a", 2)
    frame.lock_buf()[0] ^= 1
    assert clone.get_buf() == before
    assert clone.get_property_int("a") == (1, None)
    assert clone.get_sample_rate() == 24000


def test_sending_consumes_the_message(host_of):
    """After a send the getters of the message raise ValueError."""
    host = host_of()
    data = Data.create("x")
    host.send_data(data)
    with pytest.raises(ValueError, match=r"Msg is invalidated\."):
        data.get_name()


def test_sending_twice_aborts():
    """Sending a consumed message ends the process."""
    done = run_script("""
        register("e")
        host = ExtensionHost("e")
        host.start()
        data = Data.create("x")
        host.send_data(data)
        host.send_data(data)
    """)
    assert aborted(done)
    assert "clone()" in done.stderr


def test_a_root_that_is_no_object_aborts():
    """Setting the root of a tree to a list ends the process."""
    done = run_script("Data.create('x').set_property_from_json(None, '[]')")
    assert aborted(done)


# Properties


def test_merge_is_deep():
    """Objects merge; lists, values and empty strings replace."""
    base = {"a": {"x": 1, "y": [1, 2]}, "b": "set"}
    over = {"a": {"y": [3]}, "b": ""}
    assert merge(base, over) == {"a": {"x": 1, "y": [3]}, "b": ""}


def test_placeholders_give_strings(monkeypatch):
    """A placeholder becomes a string, nested or not, default or not."""
    monkeypatch.setenv("STAND_IN_RATE", "16000")
    monkeypatch.delenv("STAND_IN_NONE", raising=False)
    tree = {"a": ["${env:STAND_IN_RATE}"], "b": "${env:STAND_IN_NONE|24000}"}
    assert resolve_placeholders(tree) == {"a": ["16000"], "b": "24000"}


def test_placeholders_are_whole_strings(monkeypatch):
    """A placeholder inside a longer string is left alone."""
    monkeypatch.setenv("STAND_IN_RATE", "16000")
    text = "rate=${env:STAND_IN_RATE}"
    assert resolve_placeholders(text) == text


def test_an_empty_default_is_a_default(monkeypatch):
    """`${env:NAME|}` becomes an empty string where NAME is unset."""
    monkeypatch.delenv("STAND_IN_NONE", raising=False)
    assert resolve_placeholders("${env:STAND_IN_NONE|}") == ""


def test_an_unset_variable_ends_the_process():
    """A placeholder without default whose variable is unset exits."""
    done = run_script("""
        register("e")
        ExtensionHost("e", {"key": "${env:STAND_IN_NONE}"}).start()
        print("survived")
    """)
    assert done.returncode == 1
    assert "STAND_IN_NONE" in done.stderr
    assert "survived" not in done.stdout


def read_properties(seen):
    async def on_init(self, ten_env):
        seen.put(await ten_env.get_property_to_json(""))

    return on_init


def test_node_property_lies_over_the_file(host_of):
    """The extension reads property.json with the node's property over it."""
    seen = queue.Queue()
    host_of(
        property_file={"params": {"a": 1, "b": 2}},
        property={"params": {"b": 3}},
        on_init=read_properties(seen),
    )
    text, error = seen.get(timeout=WAIT_S)
    assert (json.loads(text), error) == ({"params": {"a": 1, "b": 3}}, None)


def test_a_null_makes_the_file_ignored(host_of):
    """With a null anywhere in it property.json counts as absent."""
    seen = queue.Queue()
    host_of(
        property_file={"a": 1, "deep": [{"b": None}]},
        property={"c": 2},
        on_init=read_properties(seen),
    )
    assert json.loads(seen.get(timeout=WAIT_S)[0]) == {"c": 2}


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("place", ["file", "node"])
def test_hostile_json_aborts_when_it_is_loaded(tmp_path, text, place):
    """In property.json or in the node's property: on_init is not called."""
    (tmp_path / "property.json").write_text(text if place == "file" else "{}")
    done = run_script(f"""
        async def on_init(self, ten_env):
            print("survived")

        register("e", {str(tmp_path / "addon.py")!r}, on_init=on_init)
        host = ExtensionHost("e", {text if place == "node" else "{}"!r})
        host.start()
        host.stop()
    """)
    assert aborted(done), done.stderr
    assert "survived" not in done.stdout


def test_a_property_of_another_type_aborts(tmp_path):
    """A placeholder for a declared int32 is a string, and so aborts."""
    schema = {"properties": {"rate": {"type": "int32"}}}
    manifest = {"api": {"property": schema}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    done = run_script(f"""
        register("e", {str(tmp_path / "addon.py")!r})
        ExtensionHost("e", {{"rate": "${{env:RATE|24000}}"}}).start()
    """)
    assert aborted(done)
    assert "'rate' is a string, declared int32" in done.stderr


def test_an_undeclared_property_is_not_checked(host_of):
    """Properties that the manifest does not name are loaded as they are."""
    seen = queue.Queue()
    host_of(
        api={"property": {"properties": {"rate": {"type": "int32"}}}},
        property={"other": [1]},
        on_init=read_properties(seen),
    )
    assert json.loads(seen.get(timeout=WAIT_S)[0]) == {"other": [1]}


def test_setting_a_property_to_another_type_is_an_error(host_of):
    """A declared property keeps its value when a set does not fit."""
    seen = queue.Queue()

    async def on_init(self, ten_env):
        seen.put(await ten_env.set_property_string("rate", "fast"))
        seen.put(await ten_env.get_property_int("rate"))

    host_of(
        api={"property": {"properties": {"rate": {"type": "int32"}}}},
        property={"rate": 24000},
        on_init=on_init,
    )
    assert seen.get(timeout=WAIT_S) is not None
    assert seen.get(timeout=WAIT_S) == (24000, None)


# Life and delivery


def test_steps_follow_one_another(host_of):
    """configure, init, start, stop and deinit happen in this order."""
    steps = []

    def step(name):
        async def method(self, ten_env):
            steps.append(name)
            await asyncio.sleep(0)

        return method

    names = ["on_configure", "on_init", "on_start", "on_stop", "on_deinit"]
    host_of(**{name: step(name) for name in names}).stop()
    assert steps == names


def test_early_messages_come_before_on_start(host_of):
    """What arrives during on_init is handled before on_start begins."""
    events = []
    started, may_go = threading.Event(), threading.Event()

    async def on_init(self, ten_env):
        await asyncio.to_thread(may_go.wait)

    async def on_start(self, ten_env):
        events.append("on_start")
        started.set()

    async def on_data(self, ten_env, data):
        events.append(data.get_name())

    host = host_of(on_init=on_init, on_start=on_start, on_data=on_data)
    host.send_data(Data.create("first"))
    host.send_data(Data.create("second"))
    may_go.set()
    assert started.wait(WAIT_S)
    assert events == ["first", "second", "on_start"]


def test_handlers_start_in_arrival_order_over_all_kinds(host_of):
    """Commands, data and frames start in the order they were sent in."""
    events = []

    async def note(self, ten_env, msg):
        events.append(msg.get_name())

    async def answer(self, ten_env, cmd):
        events.append(cmd.get_name())
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    host = host_of(on_cmd=answer, on_data=note, on_audio_frame=note)
    host.send_audio_frame(AudioFrame.create("1"))
    host.send_data(Data.create("2"))
    host.submit_cmd(Cmd.create("3"))
    host.send_audio_frame(AudioFrame.create("4"))
    host.submit_cmd(Cmd.create("5")).result(WAIT_S)
    assert events == ["1", "2", "3", "4", "5"]


def test_a_waiting_handler_lets_later_ones_run(host_of):
    """A handler that awaits does not hold up the next message."""
    events = queue.Queue()

    async def on_data(self, ten_env, data):
        if data.get_name() == "slow":
            self.released = asyncio.Event()
            await self.released.wait()
        else:
            self.released.set()
        events.put(data.get_name())

    host = host_of(on_data=on_data)
    host.send_data(Data.create("slow"))
    host.send_data(Data.create("fast"))
    assert events.get(timeout=WAIT_S) == "fast"
    assert events.get(timeout=WAIT_S) == "slow"


def test_commands_are_answered_during_on_stop(host_of):
    """A command that arrives while on_stop runs still gets its result."""
    stopping, may_go = threading.Event(), threading.Event()

    async def on_stop(self, ten_env):
        stopping.set()
        await asyncio.to_thread(may_go.wait)

    async def on_cmd(self, ten_env, cmd):
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    host = host_of(on_stop=on_stop, on_cmd=on_cmd)
    host.request_stop()
    assert stopping.wait(WAIT_S)
    result, error = host.submit_cmd(Cmd.create("flush")).result(WAIT_S)
    may_go.set()
    assert error is None
    assert result is not None and result.get_status_code() == StatusCode.OK


def test_messages_from_on_deinit_on_are_dropped(host_of):
    """Data that arrives while on_deinit runs is not handled."""
    seen = []
    ending, may_go = threading.Event(), threading.Event()

    async def on_deinit(self, ten_env):
        ending.set()
        await asyncio.to_thread(may_go.wait)

    async def on_data(self, ten_env, data):
        seen.append(data)

    host = host_of(on_deinit=on_deinit, on_data=on_data)
    host.request_stop()
    assert ending.wait(WAIT_S)
    host.send_data(Data.create("late"))
    may_go.set()
    host.stop()
    assert seen == []


def test_calls_after_on_deinit_give_an_error(host_of):
    """Every call on ten_env after on_deinit returns a TenError."""
    kept = []

    async def on_init(self, ten_env):
        kept.append(ten_env)

    host_of(on_init=on_init).stop()
    env = kept[0]

    async def calls():
        assert (await env.send_data(Data.create("x"))) is not None
        assert (await env.send_cmd(Cmd.create("x")))[1] is not None
        assert (await env.get_property_to_json(""))[1] is not None

    asyncio.run(calls())
    assert env.log_info("late") is not None


def test_init_runs_outside_any_loop(host_of):
    """No event loop runs where the extension is constructed."""
    seen = []

    def init(self, name):
        AsyncExtension.__init__(self, name)
        try:
            seen.append(asyncio.get_running_loop())
        except RuntimeError:
            seen.append(None)

    async def start_within_a_loop():
        host_of(__init__=init)

    asyncio.run(start_within_a_loop())
    assert seen == [None]


def test_extensions_share_one_loop(host_of):
    """Two extensions run on the same event loop and thread."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        seen.put((asyncio.get_running_loop(), threading.get_ident()))

    host_of(on_start=on_start)
    host_of(on_start=on_start)
    first, second = seen.get(timeout=WAIT_S), seen.get(timeout=WAIT_S)
    assert first == second
    assert first[1] != threading.get_ident()


def test_the_loop_is_of_the_kind_asked_for(host_of, loop_kind):
    """TEN_STAND_IN_LOOP decides between asyncio and uvloop."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        seen.put(type(asyncio.get_running_loop()).__module__)

    host_of(on_start=on_start)
    assert seen.get(timeout=WAIT_S).startswith(loop_kind)


def test_left_over_tasks_are_cancelled_with_the_last_extension(host_of):
    """A task the extension made lives until no extension is left."""
    cancelled = threading.Event()

    async def linger():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def on_start(self, ten_env):
        self.task = asyncio.create_task(linger())

    first, last = host_of(on_start=on_start), host_of()
    first.stop()
    assert not cancelled.is_set()
    last.stop()
    assert cancelled.is_set()


def test_the_constructor_takes_the_name_only():
    """AsyncExtension.__new__ refuses a second argument and none."""

    class Wider(AsyncExtension):
        def __init__(self, name, more=None):
            super().__init__(name)

    class Passing(Wider):
        def __new__(cls, name, more):
            return AsyncExtension.__new__(cls, name)

    assert Wider("x").name == "x"
    assert Passing("x", 1).name == "x"
    with pytest.raises(TypeError):
        Wider("x", 1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        Wider()  # pyright: ignore[reportCallIssue]


# Sending

SENDS = [("send_data", Data), ("send_audio_frame", AudioFrame)]
WAITING = SendOptions(wait_for_result=True)


@pytest.mark.parametrize("wired", [True, False])
@pytest.mark.parametrize("method, kind", [*SENDS, ("return_result", None)])
def test_sends_do_not_yield(host_of, method, kind, wired):
    """A fire-and-forget send runs to its end without the event loop."""
    seen = queue.Queue()

    async def on_cmd(self, ten_env, cmd):
        msg = kind.create("x") if kind else CmdResult.create(StatusCode.OK, cmd)
        coroutine = getattr(ten_env, method)(msg)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            seen.put(("finished", stop.value))
        else:
            seen.put(("yielded", None))

    sinks = {"out_data": list, "out_audio_frame": list} if wired else {}
    sinks = {name: lambda msg: None for name in sinks}
    host_of(on_cmd=on_cmd, **sinks).submit_cmd(Cmd.create("go"))
    assert seen.get(timeout=WAIT_S) == ("finished", None)


@pytest.mark.parametrize("method, kind", SENDS)
def test_an_unconnected_send_fails_only_when_asked(
    host_of, log_lines, method, kind
):
    """It gives None, with wait_for_result code 7; each leaves a warning."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        send = getattr(ten_env, method)
        seen.put(await send(kind.create("x")))
        seen.put(await send(kind.create("x"), WAITING))

    host = host_of(on_start=on_start)
    assert seen.get(timeout=WAIT_S) is None
    error = seen.get(timeout=WAIT_S)
    assert isinstance(error, TenError)
    assert error.error_code() == TenErrorCode.ErrorCodeMsgNotConnected == 7
    host.stop()
    warnings = [line.message for line in log_lines if line.level.name == "WARN"]
    assert warnings == ["message 'x' is not connected"] * 2


@pytest.mark.parametrize("method, kind", SENDS)
def test_a_connected_send_succeeds_when_asked(host_of, method, kind):
    """With a listener on the host, wait_for_result gives None."""
    seen, received = queue.Queue(), []

    async def on_start(self, ten_env):
        seen.put(await getattr(ten_env, method)(kind.create("x"), WAITING))

    sink = method.replace("send", "out")
    host_of(on_start=on_start, **{sink: received.append})
    assert seen.get(timeout=WAIT_S) is None
    assert [msg.get_name() for msg in received] == ["x"]


def test_an_unconnected_command_gives_an_error(host_of):
    """send_cmd gives (None, error) where nothing is connected."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        seen.put(await ten_env.send_cmd(Cmd.create("x")))

    host_of(on_start=on_start)
    result, error = seen.get(timeout=WAIT_S)
    assert result is None
    assert error.error_code() == TenErrorCode.ErrorCodeMsgNotConnected


def test_a_command_of_the_extension_gets_its_result(host_of):
    """send_cmd gives the result that the host returns."""
    seen = queue.Queue()
    hosts = []

    async def on_start(self, ten_env):
        seen.put(await ten_env.send_cmd(Cmd.create("ask")))

    def answer(cmd):
        result = CmdResult.create(StatusCode.OK, cmd)
        result.set_property_string("detail", "yes")
        hosts[0].return_result(result)

    hosts.append(host_of(on_start=on_start, out_cmd=answer, start=False))
    hosts[0].start()
    result, error = seen.get(timeout=WAIT_S)
    assert error is None
    assert result.get_property_string("detail") == ("yes", None)


def test_a_second_result_is_ignored(host_of):
    """The sender gets the first of two results."""

    async def on_cmd(self, ten_env, cmd):
        await ten_env.return_result(CmdResult.create(StatusCode.ERROR, cmd))
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    host = host_of(on_cmd=on_cmd)
    result, _ = host.submit_cmd(Cmd.create("x")).result(WAIT_S)
    assert result is not None
    assert result.get_status_code() == StatusCode.ERROR


def test_a_locked_frame_is_not_sent(host_of):
    """A frame whose buffer is still locked does not leave."""
    seen, frames = queue.Queue(), []

    async def on_start(self, ten_env):
        frame = AudioFrame.create("pcm_frame")
        frame.alloc_buf(2)
        frame.lock_buf()
        options = SendOptions(wait_for_result=True)
        seen.put(await ten_env.send_audio_frame(frame, options))

    host_of(on_start=on_start, out_audio_frame=frames.append)
    assert seen.get(timeout=WAIT_S) is not None
    assert frames == []


def test_a_received_message_tells_its_source(host_of):
    """get_source names the extension that sent the message."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        await ten_env.send_data(Data.create("x"))

    host = host_of(on_start=on_start, out_data=seen.put)
    source = seen.get(timeout=WAIT_S).get_source()
    assert source.extension_name == host.name


# Message schemas

TEXT = {"properties": {"text": {"type": "string"}}, "required": ["text"]}


@pytest.mark.parametrize("kind", [Data, AudioFrame])
def test_an_unfitting_message_is_dropped_with_a_warning(
    host_of, log_lines, kind
):
    """The handler is not called for what does not fit its schema."""
    seen = queue.Queue()

    async def take(self, ten_env, msg):
        seen.put(msg.get_property_to_json("")[0])

    declared = [{"name": "x", "property": TEXT}]
    host = host_of(
        api={"data_in": declared, "audio_frame_in": declared},
        on_data=take,
        on_audio_frame=take,
    )
    send = host.send_data if kind is Data else host.send_audio_frame
    send(kind.create("x"))
    fitting = kind.create("x")
    fitting.set_property_from_json(None, '{"text": "a", "more": 1}')
    send(fitting)
    assert json.loads(seen.get(timeout=WAIT_S)) == {"text": "a", "more": 1}
    (warning,) = log_lines
    assert warning.level.name == "WARN"
    assert "'text' is required and missing" in warning.message


def test_an_unfitting_command_is_answered_with_an_error(host_of):
    """The handler is not called; the sender gets an error result."""
    called = []

    async def on_cmd(self, ten_env, cmd):
        called.append(cmd)

    host = host_of(
        api={"cmd_in": [{"name": "x", "property": TEXT}]}, on_cmd=on_cmd
    )
    result, _ = host.submit_cmd(Cmd.create("x")).result(WAIT_S)
    assert result is not None
    assert result.get_status_code() == StatusCode.ERROR
    assert called == []


def test_unfitting_output_is_not_sent(host_of):
    """What does not fit its outgoing schema never reaches the receiver."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        await ten_env.send_data(Data.create("x"))
        await ten_env.send_data(Data.create("undeclared"))

    host_of(
        api={"data_out": [{"name": "x", "property": TEXT}]},
        on_start=on_start,
        out_data=seen.put,
    )
    assert seen.get(timeout=WAIT_S).get_name() == "undeclared"


# Failures


@pytest.mark.parametrize(
    "exception", ["ValueError('boom')", "SystemExit(0)", "CancelledError()"]
)
def test_an_escaping_exception_ends_the_process(exception):
    """Without a tester the process exits with 1 and says why."""
    done = run_script(f"""
        import time
        from asyncio import CancelledError

        async def on_data(self, ten_env, data):
            raise {exception}

        register("e", on_data=on_data)
        host = ExtensionHost("e")
        host.start()
        host.send_data(Data.create("x"))
        host.wait()
    """)
    assert done.returncode == 1
    assert "on_data of 'e'" in done.stderr


def test_an_exception_in_an_own_task_does_no_harm(host_of):
    """A task of the extension's own may fail; the extension goes on."""
    seen = queue.Queue()

    async def fail():
        raise ValueError("in a task")

    async def on_start(self, ten_env):
        await asyncio.wait([asyncio.ensure_future(fail())])
        seen.put("still here")

    host_of(on_start=on_start)
    assert seen.get(timeout=WAIT_S) == "still here"


@pytest.mark.parametrize("step", ["on_init", "on_start", "on_stop", "on_data"])
@pytest.mark.parametrize(
    "exception", [ValueError("boom"), SystemExit(0), asyncio.CancelledError()]
)
def test_run_raises_what_escapes_a_handler(app, step, exception):
    """run() raises and says which handler let which exception out."""

    async def failing(self, *args):
        raise exception

    async def script(ten_env):
        await ten_env.send_data(Data.create("x"))
        if step == "on_data":
            await asyncio.Event().wait()

    register("failing", **{step: failing})
    with pytest.raises(HandlerFailed, match=f"{step} of 'failing'") as caught:
        run_tester("failing", script)
    assert caught.value.__cause__ is exception


def test_run_raises_when_construction_fails(app):
    """run() raises what the extension's __init__ raises."""

    def init(self, name):
        raise ValueError("no")

    register("unmade", __init__=init)
    with pytest.raises(HandlerFailed, match="creating"):
        run_tester("unmade")


def test_a_handler_cut_off_at_the_end_is_a_failure(app):
    """A handler still waiting when the loop ends lets CancelledError out."""

    async def on_data(self, ten_env, data):
        await asyncio.Event().wait()

    async def on_cmd(self, ten_env, cmd):
        # A task that nothing but its own wait refers to must not be lost.
        gc.collect()
        await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

    async def script(ten_env):
        await ten_env.send_data(Data.create("x"))
        await ten_env.send_cmd(Cmd.create("x"))

    register("waiting", on_data=on_data, on_cmd=on_cmd)
    with pytest.raises(HandlerFailed, match="on_data of 'waiting'"):
        run_tester("waiting", script)


def test_nothing_follows_a_failure(app):
    """After an exception escaped, no further step of the extension runs."""
    steps = []

    async def on_start(self, ten_env):
        await ten_env.send_data(Data.create("started"))

    async def on_data(self, ten_env, data):
        raise ValueError("boom")

    async def on_stop(self, ten_env):
        steps.append("on_stop")

    class Provoking(ScriptedTester):
        async def on_data(self, ten_env, data):
            await ten_env.send_data(Data.create("x"))

    register("failing", on_start=on_start, on_data=on_data, on_stop=on_stop)
    with pytest.raises(HandlerFailed):
        run_tester("failing", tester=Provoking())
    assert steps == []


def test_run_raises_where_the_process_aborts(app):
    """An `except` in the handler hides nothing; nothing follows it."""
    steps = []

    async def on_data(self, ten_env, data):
        try:
            data.get_property_to_json(None)
        except BaseException:
            steps.append("excepted")

    async def on_stop(self, ten_env):
        steps.append("on_stop")

    async def script(ten_env):
        await ten_env.send_data(data_of(f'{{"a": {2**63}}}'))
        await asyncio.Event().wait()

    register("reading", on_data=on_data, on_stop=on_stop)
    with pytest.raises(ProcessAborted, match=r"'reading'.*2\*\*63 - 1"):
        run_tester("reading", script)
    assert steps == ["excepted"]


def test_run_raises_where_a_task_of_the_extension_aborts(app):
    """Not only in a handler: in a task or thread it made as well."""

    async def on_start(self, ten_env):
        sent = data_of("{}")
        await ten_env.send_data(sent)
        asyncio.create_task(  # noqa: RUF006
            asyncio.to_thread(lambda: asyncio.run(ten_env.send_data(sent)))
        )

    register("sending", on_start=on_start)
    tester = ScriptedTester()
    with pytest.raises(ProcessAborted, match=r"'sending'.*second time"):
        run_tester("sending", tester=tester)


def test_run_raises_where_the_tester_aborts(app):
    """A message that the tester sends twice is the tester's failure."""

    async def script(ten_env):
        data = data_of("{}")
        await ten_env.send_data(data)
        await ten_env.send_data(data)

    register("plain")
    with pytest.raises(ProcessAborted, match="the tester"):
        run_tester("plain", script)


def test_run_raises_where_loading_ends_the_process(app, monkeypatch):
    """A property that cannot be loaded is a failure of the test."""
    monkeypatch.delenv("STAND_IN_NONE", raising=False)

    async def script(ten_env):
        pass

    register("plain")
    for text, reason in (
        (f'{{"a": {2**63}}}', "invalid property"),
        ('{"a": "${env:STAND_IN_NONE}"}', "STAND_IN_NONE"),
    ):
        with pytest.raises(ProcessAborted, match=reason):
            run_tester("plain", script, property_json=text)


# The tester


def test_the_tester_gets_audio_and_commands(app):
    """on_audio_frame and on_cmd get what the extension sends."""

    async def on_start(self, ten_env):
        frame = AudioFrame.create("pcm_frame")
        self.error = await ten_env.send_audio_frame(frame, WAITING)
        _, error = await ten_env.send_cmd(Cmd.create("flush"))
        assert self.error is None and error is None
        await ten_env.send_data(Data.create("done"))

    class Taking(ScriptedTester):
        async def on_audio_frame(self, ten_env, frame):
            self.received.append(frame.get_name())

        async def on_cmd(self, ten_env, cmd):
            self.received.append(cmd.get_name())
            await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))

        async def on_data(self, ten_env, data):
            ten_env.stop_test()

    register("sending", on_start=on_start)
    tester, error = run_tester("sending", tester=Taking())
    assert error is None
    assert tester.received == ["pcm_frame", "flush"]


def test_the_tester_gets_what_the_extension_sends(app):
    """Data goes to the extension and back within one run()."""

    async def on_data(self, ten_env, data):
        await ten_env.send_data(Data.create("echo"))

    class Echo(ScriptedTester):
        async def on_start(self, ten_env):
            await ten_env.send_data(Data.create("x"))

        async def on_data(self, ten_env, data):
            await super().on_data(ten_env, data)
            ten_env.stop_test()

    register("echo", on_data=on_data)
    tester, error = run_tester("echo", tester=Echo())
    assert error is None
    assert tester.received == ["echo"]


def test_the_tester_answers_commands(app):
    """A result returned in the tester's on_cmd reaches the extension."""
    seen = queue.Queue()

    async def on_start(self, ten_env):
        seen.put(await ten_env.send_cmd(Cmd.create("ask")))

    class Answering(ScriptedTester):
        async def on_cmd(self, ten_env, cmd):
            await ten_env.return_result(CmdResult.create(StatusCode.OK, cmd))
            ten_env.stop_test()

    register("asking", on_start=on_start)
    _, error = run_tester("asking", tester=Answering())
    assert error is None
    assert seen.get_nowait()[0].get_status_code() == StatusCode.OK


def test_the_property_json_is_the_nodes_property(app):
    """set_test_mode_single's JSON is what the extension reads."""
    seen = queue.Queue()
    register("reading", on_init=read_properties(seen))

    async def script(ten_env):
        pass

    run_tester("reading", script, property_json='{"a": 1}')
    assert json.loads(seen.get_nowait()[0]) == {"a": 1}


def test_run_gives_the_error_of_stop_test(app):
    """The TenError that stop_test is called with comes out of run()."""
    wanted = TenError.create(TenErrorCode.ErrorCodeGeneric, "wrong")

    async def script(ten_env):
        ten_env.stop_test(wanted)

    register("plain")
    assert run_tester("plain", script)[1] is wanted


def test_run_gives_an_error_when_time_is_up(app):
    """Without stop_test in time run() gives a timeout error."""
    register("plain")
    tester = ScriptedTester()
    tester.set_test_mode_single("plain")
    tester.set_timeout(10_000)
    error = tester.run()
    assert error is not None
    assert error.error_code() == TenErrorCode.ErrorCodeTimeout


def test_an_unknown_addon_is_named_with_those_there_are(app):
    """run() says which addons are registered when one is missing."""
    register("plain")
    with pytest.raises(LookupError, match=r"'absent'.*plain"):
        run_tester("absent")


def test_an_assertion_in_the_tester_fails_the_test(app):
    """An exception in the tester's own handler comes out of run()."""

    async def script(ten_env):
        raise AssertionError("not what was wanted")

    register("plain")
    with pytest.raises(HandlerFailed, match="on_start of the tester"):
        run_tester("plain", script)


def test_a_tester_needs_an_app():
    """run() without a running App says what to do."""
    done = run_script("""
        register("e")
        tester = AsyncExtensionTester()
        tester.set_test_mode_single("e")
        tester.run()
    """)
    assert "needs a running App" in done.stderr


def test_an_app_runs_until_closed():
    """configure and init come first, deinit when close() is called."""
    done = run_script("""
        import threading
        ready = threading.Event()

        class Noting(App):
            def on_configure(self, ten_env):
                print("configure")
                ten_env.init_property_from_json("{}")
                ten_env.on_configure_done()

            def on_init(self, ten_env):
                print("init")
                ten_env.on_init_done()
                ready.set()

            def on_deinit(self, ten_env):
                print("deinit")
                ten_env.on_deinit_done()

        def close():
            assert ready.wait(30)
            app.close()

        app = Noting()
        threading.Thread(target=close).start()
        app.run(False)
    """)
    assert done.stdout.split() == ["configure", "init", "deinit"]


def test_an_app_runs_on_the_thread_that_made_it():
    """On another thread run() ends the process."""
    done = run_script("""
        import threading
        app = App()
        thread = threading.Thread(target=app.run, args=(False,))
        thread.start()
        thread.join()
    """)
    assert aborted(done)


# Logging


def test_log_lines_can_be_observed(host_of, log_lines):
    """Observers get every line, with its level and category."""

    async def on_start(self, ten_env):
        ten_env.log_debug("config: {}", category="key_point")

    host_of(on_start=on_start).stop()
    line = log_lines[0]
    assert (line.level.name, line.message) == ("DEBUG", "config: {}")
    assert line.category == "key_point"


def test_a_log_line_carries_its_callers_place_and_fields(host_of, log_lines):
    """The place is the direct caller's: a wrapper's where there is one."""

    def wrapper(ten_env):
        ten_env.log_warn("wrapped", fields={"turn_id": 1})

    async def on_start(self, ten_env):
        ten_env.log_info("direct")
        wrapper(ten_env)

    host_of(on_start=on_start).stop()
    direct, wrapped = log_lines
    assert direct.place.startswith(f"{__file__}:")
    assert direct.place.endswith(" on_start")
    assert wrapped.place.endswith(" wrapper")
    assert (direct.fields, wrapped.fields) == (None, {"turn_id": 1})


@pytest.mark.parametrize("message", [b"bytes", "a\0b", None])
def test_a_log_message_is_text_without_nul(message):
    """Anything else raises ValueError."""
    with pytest.raises(ValueError):
        ten_runtime.TenEnv().log_info(message)


@pytest.mark.parametrize(
    "threshold, printed", [("debug", "dwe"), ("warn", "we"), ("off", "")]
)
def test_the_threshold_decides_what_is_printed(threshold, printed):
    """TEN_STAND_IN_LOG names the lowest level that reaches stderr."""
    done = run_script(
        """
        env = TenEnv()
        env.log_debug("<d>")
        env.log_warn("<w>")
        env.log_error("<e>", category="vendor")
        """,
        TEN_STAND_IN_LOG=threshold,
    )
    shown = "".join(c for c in "dwe" if f"<{c}>" in done.stderr)
    assert shown == printed
