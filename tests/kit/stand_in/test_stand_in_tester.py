"""The tester, the app and the log of the stand-in."""

import asyncio
import json
import queue

import pytest
import ten_runtime
from scripted import (
    WAIT_S,
    WAITING,
    HandlerFailed,
    ProcessAborted,
    ScriptedTester,
    aborted,
    read_properties,
    register,
    run_script,
    run_tester,
    stand_in_only,
)
from ten_runtime import (
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
    TenError,
    TenErrorCode,
    Value,
    ValueType,
)

# The tester


def test_the_tester_gets_audio_and_commands(app):
    """on_audio_frame and on_cmd get the extension's messages."""

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


def test_the_tester_gets_the_messages_of_the_extension(app):
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
    """set_test_mode_single's JSON reaches the extension."""
    seen = queue.Queue()
    register("reading", on_init=read_properties(seen))

    read = []

    async def script(ten_env):
        read.append(await asyncio.to_thread(seen.get, timeout=WAIT_S))

    run_tester("reading", script, property_json='{"a": 1}')
    assert json.loads(read[0][0]) == {"a": 1}


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
    with pytest.raises(ProcessAborted, match=r"'absent'.*plain"):
        run_tester("absent")


def test_an_assertion_in_the_tester_fails_the_test(app):
    """An exception in the tester's own handler comes out of run()."""

    async def script(ten_env):
        raise AssertionError("not what was wanted")

    register("plain")
    with pytest.raises(HandlerFailed, match="on_start of the tester"):
        run_tester("plain", script)


def test_a_tester_needs_an_app():
    """run() without a running App gives advice."""
    done = run_script("""
        register("e")
        tester = AsyncExtensionTester()
        tester.set_test_mode_single("e")
        tester.run()
    """)
    assert "needs a running App" in done.stderr


@stand_in_only
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


@stand_in_only
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


def test_log_lines_can_be_observed(live_through, log_lines):
    """Observers get every line, with its level and category."""

    async def on_start(self, ten_env):
        ten_env.log_debug("config: {}", category="key_point")

    live_through(on_start=on_start)
    line = log_lines[0]
    assert (line.level.name, line.message) == ("DEBUG", "config: {}")
    assert line.category == "key_point"


def test_a_log_line_carries_its_callers_place_and_fields(
    live_through, log_lines
):
    """The place is the direct caller's: a wrapper's where there is one."""

    def wrapper(ten_env):
        ten_env.log_warn("wrapped", fields={"turn_id": 1})

    async def on_start(self, ten_env):
        ten_env.log_info("direct")
        wrapper(ten_env)

    live_through(on_start=on_start)
    direct, wrapped = log_lines
    assert direct.place.startswith(f"{__file__}:")
    assert direct.place.endswith(" on_start")
    assert wrapped.place.endswith(" wrapper")
    assert (direct.fields, wrapped.fields) == (None, {"turn_id": 1})


NESTED = {"b": True, "i": 2**63 - 1, "f": 0.5, "s": "x", "l": [1], "o": {}}


@pytest.mark.parametrize(
    "fields",
    [
        {**NESTED, "any": None},
        Value.from_python({**NESTED, "any": "None"}),
        Value.from_object(
            {
                **{k: Value.from_python(v) for k, v in NESTED.items()},
                "any": Value.from_string("None"),
            }
        ),
    ],
)
def test_log_fields_are_a_dict_or_a_value(log_lines, fields):
    """An object of an unknown type is logged as its text."""
    assert ten_runtime.TenEnv().log_info("text", fields=fields) is None
    assert log_lines[0].fields == {**NESTED, "any": "None"}


@pytest.mark.parametrize(
    "fields",
    [
        {"a": 2**63},
        {"a": [{"b": -(2**63) - 1}]},
        {"a": "\ud800"},
        Value.from_int(2**63),
        "no dict",
    ],
)
def test_a_line_with_a_field_that_cannot_be_serialized_is_lost(
    log_lines, fields
):
    """The call returns an error."""
    error = ten_runtime.TenEnv().log_info("text", fields=fields)
    assert isinstance(error, TenError)
    assert error.error_code() == TenErrorCode.ErrorCodeGeneric
    assert log_lines == []


VALUES = {
    "bool": (True, 2),
    "int": (7, 3),
    "float": (0.5, 4),
    "string": ("x", 5),
    "buf": (b"x", 6),
    "array": ([], 7),
    "object": ({}, 8),
    "json_string": ("{}", 9),
}


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_has_a_type_and_its_getter(kind):
    """Another type's getter gives an error with its default."""
    plain, number = VALUES[kind]
    value = getattr(Value, f"from_{kind}")(plain)
    assert value.get_type() == number
    assert getattr(value, f"get_{kind}")() == (plain, None)
    other = "bool" if kind != "bool" else "int"
    default, error = getattr(value, f"get_{other}")()
    assert not default
    assert error.error_code() == TenErrorCode.ErrorCodeInvalidType


def test_the_types_of_values_have_the_real_numbers():
    """Two of them have no `from_*`."""
    assert (ValueType.INVALID, ValueType.NULL) == (0, 1)
    assert not hasattr(Value, "create_int")
    assert not hasattr(Value, "get_data")


@stand_in_only
@pytest.mark.parametrize("message", [b"bytes", "a\0b", None])
def test_a_log_message_is_text_without_nul(message):
    """Anything else raises ValueError."""
    with pytest.raises(ValueError):
        ten_runtime.TenEnv().log_info(message)


@stand_in_only
@pytest.mark.parametrize(
    "threshold, printed", [("debug", "dwe"), ("warn", "we"), ("off", "")]
)
def test_the_threshold_filters_the_log(threshold, printed):
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
