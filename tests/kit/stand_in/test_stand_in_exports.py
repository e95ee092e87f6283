"""The stand-in has all that extensions import from TEN's Python binding."""

import importlib
import queue
import re
import threading

import pytest
import ten_runtime
from scripted import WAIT_S, HandlerFailed, ProcessAborted, run_script
from ten_runtime import (
    Addon,
    Cmd,
    CmdResult,
    Data,
    Extension,
    ExtensionTester,
    PixelFmt,
    StartGraphCmd,
    StatusCode,
    StopGraphCmd,
    TenError,
    TenErrorCode,
    TriggerLifeCycleCmd,
    VideoFrame,
    register_addon_as_extension,
)

ELSEWHERE = {
    "AsyncExtensionTester": "async_test",
    "AsyncTenEnvTester": "async_test",
    "AudioFrameDataFmt": "audio_frame",
    "DefaultLogOption": "log_option",
    "ExtensionTester": "test",
    "PixelFmt": "video_frame",
    "StatusCode": "cmd_result",
    "TenEnvTester": "test",
    "TenError": "error",
    "TenErrorCode": "error",
    "ValueType": "value",
    "_AddonManager": "addon_manager",
    "register_addon_as_extension": "addon_manager",
}
"""Names that share a module; each other one has a module of its name."""


@pytest.mark.parametrize("name", ten_runtime.__all__)
def test_a_name_comes_from_its_module_and_from_the_package(name):
    """Both give the same object."""
    own = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    module = f"ten_runtime.{ELSEWHERE.get(name, own)}"
    there = importlib.import_module(module)
    assert getattr(there, name) is getattr(ten_runtime, name)


@pytest.mark.parametrize(
    ("module", "name"),
    [("msg", "Msg"), ("ten_env_base", "TenEnvBase"), ("test_base", None)],
)
def test_base_classes_come_from_their_modules(module, name):
    """The package itself does not name them."""
    there = importlib.import_module(f"ten_runtime.{module}")
    assert issubclass(Cmd, there.Msg) if name == "Msg" else True
    assert name is None or hasattr(there, name)


def test_imports_need_no_package_first():
    """A module's name is found by the import system alone."""
    done = run_script("""
        from ten_runtime.async_ten_env import AsyncTenEnv
        import ten_runtime.video_frame as module
        import libten_runtime_python
        print(AsyncTenEnv.__name__, module.VideoFrame.__name__)
        error = Data.create("x").get_property_int("absent")[1]
        print(type(error) is libten_runtime_python._TenError)
    """)
    assert done.stdout.split() == ["AsyncTenEnv", "VideoFrame", "True"]


def test_a_video_frame_keeps_its_fields():
    """In a clone, too."""
    frame = VideoFrame.create("video_frame")
    assert frame.get_pixel_fmt() == PixelFmt.RGBA
    frame.alloc_buf(8)
    frame.set_width(2)
    frame.set_height(1)
    frame.set_pixel_fmt(PixelFmt.BGRA)
    frame.set_timestamp(40)
    frame.set_eof(True)
    view = frame.lock_buf()
    view[:] = b"12345678"
    frame.unlock_buf(view)
    copy = frame.clone()
    frame.set_width(3)
    assert (copy.get_width(), copy.get_height()) == (2, 1)
    assert (copy.get_pixel_fmt(), copy.get_timestamp()) == (4, 40)
    assert copy.is_eof()
    assert copy.get_buf() == b"12345678"


@pytest.mark.parametrize(
    ("cls", "setter", "name"),
    [
        (StartGraphCmd, "set_predefined_graph_name", "ten:start_graph"),
        (StartGraphCmd, "set_graph_from_json", "ten:start_graph"),
        (StopGraphCmd, "set_graph_id", "ten:stop_graph"),
        (TriggerLifeCycleCmd, "set_stage", "ten:trigger_life_cycle"),
    ],
)
def test_commands_to_the_runtime_are_commands(cls, setter, name):
    """Made without a name; their setters tell whether they succeeded."""
    cmd = cls.create()
    assert isinstance(cmd, Cmd)
    assert cmd.get_name() == name
    assert getattr(cmd, setter)("start") is True


# Extensions without coroutines


class Echo(Extension):
    """Answers and sends back all that it gets; starts from another thread."""

    calls = queue.SimpleQueue()

    def on_start(self, ten_env):
        self.calls.put(threading.get_ident())
        threading.Thread(target=ten_env.on_start_done).start()

    def on_cmd(self, ten_env, cmd):
        self.calls.put(threading.get_ident())
        if cmd.get_name() == "ask":
            ten_env.send_cmd(
                Cmd.create("question"),
                lambda env, result, error: env.return_result(
                    CmdResult.create(result.get_status_code(), cmd)
                ),
            )
            return
        result = CmdResult.create(StatusCode.OK, cmd)
        text, error = ten_env.get_property_string("greeting")
        assert error is None
        result.set_property_string("detail", text)
        ten_env.return_result(result)

    def on_data(self, ten_env, data):
        name = data.get_name()
        if name == "fail":
            raise RuntimeError("on_data failed")
        if name == "abort":
            ten_env.send_data(data)
            ten_env.send_data(data)
        error = ten_env.send_data(
            Data.create("echo"),
            lambda env, error: env.send_data(Data.create("echoed")),
        )
        assert error is None

    def on_video_frame(self, ten_env, video_frame):
        ten_env.send_video_frame(video_frame)


@pytest.fixture
def echo(app):
    """An addon of that name."""

    @register_addon_as_extension("echo")
    class EchoAddon(Addon):
        def on_create_instance(self, ten_env, name, context):
            ten_env.on_create_instance_done(Echo(name), context)


class Script(ExtensionTester):
    """Sends `sent`, and ends with the last of `wanted`."""

    def __init__(self, sent, wanted):
        self.sent = sent
        self.wanted = wanted
        self.received = []

    def on_start(self, ten_env_tester):
        for msg in self.sent:
            if isinstance(msg, VideoFrame):
                ten_env_tester.send_video_frame(msg)
            elif isinstance(msg, Data):
                ten_env_tester.send_data(msg)
            else:
                ten_env_tester.send_cmd(msg, self.on_result)
        ten_env_tester.on_start_done()

    def on_result(self, ten_env_tester, result, error):
        assert error is None
        assert result.get_status_code() == StatusCode.OK
        detail, _ = result.get_property_string("detail")
        self.note(ten_env_tester, f"result {detail}")

    def on_cmd(self, ten_env_tester, cmd):
        result = CmdResult.create(StatusCode.OK, cmd)
        self.note(ten_env_tester, cmd.get_name())
        ten_env_tester.return_result(result)

    def on_data(self, ten_env_tester, data):
        self.note(ten_env_tester, data.get_name())

    def on_video_frame(self, ten_env_tester, video_frame):
        self.note(ten_env_tester, video_frame.get_name())

    def note(self, ten_env_tester, text):
        self.received.append(text)
        if self.received == self.wanted:
            ten_env_tester.stop_test()


def run(sent, wanted):
    tester = Script(sent, wanted)
    tester.set_test_mode_single("echo", '{"greeting": "hello"}')
    tester.set_timeout(int(WAIT_S * 1_000_000))
    error = tester.run()
    assert error is None, (error, tester.received)


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (lambda: [Cmd.create("greet")], ["result hello"]),
        (lambda: [Cmd.create("ask")], ["question", "result "]),
        (lambda: [Data.create("x")], ["echo", "echoed"]),
        (lambda: [VideoFrame.create("image")], ["image"]),
    ],
    ids=["command", "command of its own", "data", "video"],
)
def test_an_extension_without_coroutines_runs(echo, sent, wanted):
    """Its properties, sends and handlers of results work, as its tester's."""
    run(sent(), wanted)


def test_an_extension_without_coroutines_has_one_thread(echo):
    """Its steps and messages follow one another there."""
    while not Echo.calls.empty():
        Echo.calls.get()
    run([Cmd.create("greet")], ["result hello"])
    assert Echo.calls.get() == Echo.calls.get() != threading.get_ident()


@pytest.mark.parametrize(
    ("name", "failure", "text"),
    [
        ("fail", HandlerFailed, "on_data failed"),
        ("abort", ProcessAborted, "clone"),
    ],
)
def test_run_raises_where_its_process_ends(echo, name, failure, text):
    """As for one with coroutines."""
    with pytest.raises(failure, match=text):
        run([Data.create(name)], ["never"])


def test_a_tester_without_coroutines_gives_the_error_of_stop_test(echo):
    """The first call counts."""

    class Stopping(ExtensionTester):
        def on_start(self, ten_env_tester):
            generic = TenErrorCode.ErrorCodeGeneric
            ten_env_tester.stop_test(TenError.create(generic, "first"))
            ten_env_tester.stop_test(None)
            ten_env_tester.on_start_done()

    tester = Stopping()
    tester.set_test_mode_single("echo")
    error = tester.run()
    assert error is not None and error.error_message() == "first"
