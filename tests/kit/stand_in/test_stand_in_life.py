"""The life of the stand-in's extensions, and the ends of their process."""

import asyncio
import gc
import queue
import threading

import pytest
from scripted import (
    WAIT_S,
    HandlerFailed,
    ProcessAborted,
    ScriptedTester,
    aborted,
    data_of,
    register,
    run_script,
    run_tester,
    stand_in_only,
)
from ten_runtime import (
    AsyncExtension,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    StatusCode,
)

# Life and delivery


def test_steps_follow_one_another(live_through):
    """configure, init, start, stop and deinit happen in this order."""
    steps = []

    def step(name):
        async def method(self, ten_env):
            steps.append(name)
            await asyncio.sleep(0)

        return method

    names = ["on_configure", "on_init", "on_start", "on_stop", "on_deinit"]
    live_through(**{name: step(name) for name in names})
    assert steps == names


def test_one_that_is_stopped_at_once_is_not_started(host_of):
    """on_configure is followed by on_stop and on_deinit."""
    steps = []
    stopped = threading.Event()

    def step(name):
        async def method(self, ten_env):
            steps.append(name)

        return method

    async def on_configure(self, ten_env):
        steps.append("on_configure")
        await asyncio.to_thread(stopped.wait)

    names = ["on_init", "on_start", "on_stop", "on_deinit"]
    host = host_of(
        on_configure=on_configure, **{name: step(name) for name in names}
    )
    host.request_stop()
    host.on_loop(stopped.set)
    host.wait()
    assert steps == ["on_configure", "on_stop", "on_deinit"]


def test_early_messages_come_before_on_start(host_of):
    """Messages during on_init are handled before on_start begins."""
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
    host.wait_until_started()
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
    host.wait_until_started()
    host.request_stop()
    assert ending.wait(WAIT_S)
    host.send_data(Data.create("late"))
    may_go.set()
    host.stop()
    assert seen == []


def test_calls_after_on_deinit_give_an_error(live_through):
    """Every call on ten_env after on_deinit returns a TenError."""
    kept = []

    async def on_init(self, ten_env):
        kept.append(ten_env)

    live_through(on_init=on_init)
    env = kept[0]

    async def calls():
        assert (await env.send_data(Data.create("x"))) is not None
        assert (await env.send_cmd(Cmd.create("x")))[1] is not None
        assert (await env.get_property_to_json(""))[1] is not None

    asyncio.run(calls())
    assert env.log_info("late") is not None


def test_init_runs_outside_any_loop(live_through, host_of):
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
    first.wait_until_started()
    first.stop()
    assert not cancelled.is_set()
    last.stop()
    assert cancelled.is_set()


@stand_in_only
def test_the_constructor_takes_the_name_only():
    """AsyncExtension.__new__ refuses a second argument and none."""

    class Wider(AsyncExtension):
        def __init__(self, name, more=None):
            super().__init__(name)

    class Passing(Wider):
        def __new__(cls, name, more):
            return AsyncExtension.__new__(cls, name)

    assert Wider("x").name == "x"
    assert Wider(name="x").name == "x"
    assert Passing("x", 1).name == "x"
    with pytest.raises(TypeError):
        Wider("x", 1)  # pyright: ignore[reportCallIssue]
    with pytest.raises(TypeError):
        Wider()  # pyright: ignore[reportCallIssue]


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
def test_run_raises_the_exception_of_a_handler(app, step, exception):
    """run() raises and says which handler let which exception out."""

    async def failing(self, *args):
        raise exception

    async def script(ten_env):
        await ten_env.send_data(Data.create("x"))
        if step != "on_stop":
            await asyncio.Event().wait()

    register("failing", **{step: failing})
    with pytest.raises(HandlerFailed, match=f"{step} of 'failing'") as caught:
        run_tester("failing", script)
    assert caught.value.__cause__ is exception


def test_run_raises_when_construction_fails(app):
    """run() raises with the exception of the extension's __init__."""

    def init(self, name):
        raise ValueError("no name will do")

    register("unmade", __init__=init)
    with pytest.raises(ProcessAborted, match="no name will do"):
        run_tester("unmade")


@pytest.mark.parametrize("addon", ["unmade", "absent"])
def test_an_extension_that_cannot_be_made_aborts(addon):
    """Its __init__ raises, or no addon of that name is registered."""
    done = run_script(f"""
        def init(self, name):
            raise ValueError("no")

        register("unmade", __init__=init)
        ExtensionHost({addon!r}).start()
        print("survived")
    """)
    assert aborted(done)
    assert "survived" not in done.stdout


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


def test_no_call_follows_a_failure(app):
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
