"""Properties, sending and schemas of the stand-in."""

import json
import queue

import pytest
from scripted import (
    HOSTILE,
    TWICE_AT_THE_ROOT,
    WAIT_S,
    WAITING,
    aborted,
    merge,
    read_properties,
    resolve_placeholders,
    run_script,
    stand_in_only,
)
from ten_runtime import (
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    SendOptions,
    StatusCode,
    TenError,
    TenErrorCode,
)

# Properties


@stand_in_only
def test_merge_is_deep():
    """Objects merge; lists, values and empty strings replace."""
    base = {"a": {"x": 1, "y": [1, 2]}, "b": "set"}
    over = {"a": {"y": [3]}, "b": ""}
    assert merge(base, over) == {"a": {"x": 1, "y": [3]}, "b": ""}


@stand_in_only
def test_placeholders_give_strings(monkeypatch):
    """A placeholder becomes a string, nested or not, default or not."""
    monkeypatch.setenv("STAND_IN_RATE", "16000")
    monkeypatch.delenv("STAND_IN_NONE", raising=False)
    tree = {"a": ["${env:STAND_IN_RATE}"], "b": "${env:STAND_IN_NONE|24000}"}
    assert resolve_placeholders(tree) == {"a": ["16000"], "b": "24000"}


@stand_in_only
def test_placeholders_are_whole_strings(monkeypatch):
    """A placeholder inside a longer string is left alone."""
    monkeypatch.setenv("STAND_IN_RATE", "16000")
    text = "rate=${env:STAND_IN_RATE}"
    assert resolve_placeholders(text) == text


@stand_in_only
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


def test_a_key_twice_at_the_root_of_the_nodes_property_survives(host_of):
    """The last one counts."""
    seen = queue.Queue()
    host_of(
        property='{"turn_id": 1, "a": 0, "turn_id": 2}',
        on_init=read_properties(seen),
    )
    text, error = seen.get(timeout=WAIT_S)
    assert (json.loads(text), error) == ({"turn_id": 2, "a": 0}, None)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (text, place)
        for text in HOSTILE
        for place in ("file", "node")
        if (text, place) != (TWICE_AT_THE_ROOT, "node")
    ],
)
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


# Sending

SENDS = [("send_data", Data), ("send_audio_frame", AudioFrame)]


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
    assert len(warnings) == 2


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
    """The handler is not called for a message that does not fit its schema."""
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
    """A message that does not fit its outgoing schema never reaches the
    receiver."""
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
