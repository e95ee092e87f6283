"""bin/check on graphs: one test per mistake, and none on correct graphs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent import APP_ID, CERTIFICATE
from checking import GRAPHS, OTHER_ID, X_TO_LLM, Editor, Tree, check, write

CORRECT = sorted(GRAPHS.glob("*.json"))


@pytest.mark.parametrize("path", CORRECT, ids=lambda path: path.stem)
def test_correct_graph_has_no_errors_and_no_warnings(path):
    """Every form that TEN 0.11 takes, and shapes of its own examples."""
    code, words = check(path)
    assert code == 0, words
    assert words.strip().endswith("No problems."), words


ERRORS: dict[str, tuple[Callable[[Editor], Any], str]] = {
    "uid of another avatar": (
        lambda g: g.add_avatar(),
        "params.agora_uid: 2000 is also that of the avatar second in the "
        "same channel",
    ),
    "uid of the agent": (
        lambda g: g.rtc.update(stream_id=2000),
        "params.agora_uid: 2000 is also the stream_id of agora_rtc",
    ),
    "uid of the user": (
        lambda g: g.rtc.update(remote_stream_id="2000"),
        "params.agora_uid: 2000 is also the remote_stream_id of agora_rtc",
    ),
    "another App ID": (
        lambda g: g.rtc.update(app_id=OTHER_ID),
        "params.agora_appid: not the app_id of agora_rtc",
    ),
    "another channel": (
        lambda g: (g.rtc.update(channel="lobby"), g.avatar.pop("channel")),
        "params.agora_channel: the avatar joins 'room' and agora_rtc joins "
        "'lobby'; user and avatar meet only in the same channel",
    ),
    "connections empty": (
        lambda g: g.graph.update(connections=[]),
        "ten.predefined_graphs[0].connections: the graph has none",
    ),
    "connections missing": (
        lambda g: g.graph.pop("connections"),
        "ten.predefined_graphs[0].connections: the graph has none",
    ),
    "pcm_frame not wired": (
        lambda g: g.to_avatar.pop("audio_frame"),
        "pcm_frame is not wired to avatar",
    ),
    "pcm_frame of no node": (
        lambda g: g.take_from("audio_frame", "pcm_frame", "tss"),
        "connections[3].audio_frame[0]: pcm_frame comes from tss, "
        "which is not a node of this graph; did you mean tts?",
    ),
    "connection to no node": (
        lambda g: g.connect("llm", "data", "text_data", "message_colector"),
        "connections[4].data[0]: text_data goes to "
        "message_colector, which is not a node of this graph; did you mean "
        "message_collector?",
    ),
    "connection of no addon": (
        lambda g: g.section(addon="no_such_addon", data=[X_TO_LLM]),
        "x comes from no_such_addon, which is not a node of this graph: "
        "agora_rtc, streamid_adapter, deepgram_asr_python, ",
    ),
    "message misspelled": (
        lambda g: g.rename("data", "tts_audio_end", "tts_audio_ends"),
        "connections[3].data[1]: avatar does not receive the data "
        "tts_audio_ends; did you mean tts_audio_end?",
    ),
    "message of another kind": (
        lambda g: g.connect("tts", "cmd", "tts_audio_end", "avatar"),
        "avatar does not receive the cmd tts_audio_end; tts_audio_end is of "
        "kind data",
    ),
    "message that the avatar does not send": (
        lambda g: g.connect("avatar", "data", "metric", "message_collector"),
        "avatar does not send the data metric; did you mean metrics?",
    ),
    "pcm_frame from agora_rtc": (
        lambda g: g.take_from("audio_frame", "pcm_frame", "agora_rtc"),
        "avatar takes pcm_frame from agora_rtc: that is the user's voice",
    ),
    "pcm_frame from streamid_adapter": (
        lambda g: g.connect(
            "streamid_adapter", "audio_frame", "pcm_frame", "avatar"
        ),
        "avatar takes pcm_frame from streamid_adapter",
    ),
    "agora_rtc's audio wired to the avatar": (
        lambda g: g.connect("agora_rtc", "audio_frame", "pcm_frame", "avatar"),
        "connections[2].audio_frame[2]: avatar takes pcm_frame from agora_rtc",
    ),
    "TTS wired to agora_rtc as well": (
        lambda g: g.connect("tts", "audio_frame", "pcm_frame", "agora_rtc"),
        "connections[4].audio_frame[0]: pcm_frame of tts goes to agora_rtc as "
        "well as to avatar, so every word is audible twice",
    ),
    "avatar wired to speech recognition": (
        lambda g: g.connect("avatar", "audio_frame", "pcm_frame", "stt"),
        "connections[3].audio_frame[1]: pcm_frame of avatar goes to stt, which "
        "listens to the user: the agent would hear itself",
    ),
    "avatar wired to streamid_adapter": (
        lambda g: g.connect(
            "avatar", "audio_frame", "pcm_frame", "streamid_adapter"
        ),
        "goes to streamid_adapter, which listens to the user",
    ),
    "avatar wired to what hears the user": (
        lambda g: (
            g.connect("agora_rtc", "audio_frame", "pcm_frame", "llm"),
            g.connect("avatar", "audio_frame", "pcm_frame", "llm"),
        ),
        "pcm_frame of avatar goes to llm, which listens to the user",
    ),
    "section twice": (
        lambda g: g.section(extension="main_control", data=[X_TO_LLM]),
        "connections[4]: main_control has a section already, "
        "ten.predefined_graphs[0].connections[0]; TEN's check of graphs "
        "refuses two: merge them",
    ),
    "TTS wired under agora_rtc": (
        lambda g: g.graph["connections"][2]["audio_frame"].append(
            {"name": "pcm_frame", "source": [{"extension": "tts"}]}
        ),
        "connections[2].audio_frame[2]: pcm_frame of tts goes to agora_rtc as "
        "well as to avatar",
    ),
    "rate in output_format.sample_rate": (
        lambda g: g.node("tts")["property"]["params"]["output_format"].update(
            sample_rate=44100
        ),
        "params.sample_rate: 24000 Hz, and tts sends 44100 Hz "
        "(tts.params.output_format.sample_rate)",
    ),
    "rate in output_format": (
        lambda g: g.node("tts")["property"]["params"].update(
            output_format="pcm_16000"
        ),
        "tts sends 16000 Hz (tts.params.output_format)",
    ),
    "rate in kHz": (
        lambda g: g.node("tts").update(
            property={"speech_synthesis_output_format": "Raw16Khz16BitMonoPcm"}
        ),
        "tts sends 16000 Hz (tts.speech_synthesis_output_format)",
    ),
    "rate beside params": (
        lambda g: g.node("tts").update(property={"sample_rate": 16000}),
        "tts sends 16000 Hz (tts.sample_rate)",
    ),
    "rate in capitals": (
        lambda g: g.node("tts").update(
            property={"params": {"samplingRate": 16000}}
        ),
        "tts sends 16000 Hz (tts.params.samplingRate)",
    ),
    "rate in audio_setting": (
        lambda g: g.node("tts").update(
            property={"params": {"audio_setting": {"sample_rate": 16000}}}
        ),
        "tts sends 16000 Hz (tts.params.audio_setting.sample_rate)",
    ),
    "shell variable": (
        lambda g: g.params.update(spatius_app_id="$SPATIUS_APP_ID"),
        'params.spatius_app_id: "$SPATIUS_APP_ID" is taken literally: TEN '
        "fills in ${env:SPATIUS_APP_ID} only",
    ),
    "shell variable in braces": (
        lambda g: g.params.update(agora_appid="${AGORA_APP_ID}"),
        'params.agora_appid: "${AGORA_APP_ID}" is taken literally',
    ),
    "shell variable with a default": (
        lambda g: g.params.update(spatius_api_key="${SPATIUS_API_KEY:-hush}"),
        'params.spatius_api_key: "${SPATIUS_API_KEY...}" is taken literally',
    ),
    "half a placeholder": (
        lambda g: g.params.update(spatius_app_id="$env:SPATIUS_APP_ID"),
        'params.spatius_app_id: "$env:SPATIUS_APP_ID" is taken literally',
    ),
    "shell variable at the top level": (
        lambda g: (
            g.params.update(agora_channel=""),
            g.avatar.update(channel="$AGORA_CHANNEL"),
        ),
        'channel: "$AGORA_CHANNEL" is taken literally',
    ),
    "certificate of agora_rtc as a shell variable": (
        lambda g: g.rtc.update(app_certificate="${AGORA_APP_CERTIFICATE}"),
        'agora_rtc.app_certificate: "${AGORA_APP_CERTIFICATE}" is taken',
    ),
    "example in place of a value": (
        lambda g: g.params.update(spatius_avatar_id="<your-avatar-id>"),
        "params.spatius_avatar_id: an example from a document",
    ),
    "dots in place of a value": (
        lambda g: g.params.update(spatius_app_id="..."),
        "params.spatius_app_id: an example from a document",
    ),
    "params is no object": (
        lambda g: g.avatar.update(params=["x"]),
        "params: the value is an array, declared object",
    ),
    "property is no object": (
        lambda g: g.node("llm").update(property=[1]),
        "nodes[3].property: expected an object, got a list",
    ),
    "name of two nodes": (
        lambda g: g.graph["nodes"].append(dict(g.node("tts"))),
        "nodes[4]: another node has the name tts",
    ),
    "node without a name": (
        lambda g: g.graph["nodes"].append({"type": "extension", "addon": "x"}),
        "nodes[8]: the node has no name",
    ),
    "node without a type": (
        lambda g: g.node("tts").pop("type"),
        "nodes[4]: expected a type, one of extension, subgraph, selector",
    ),
    "node that is no object": (
        lambda g: g.graph["nodes"].append("avatar"),
        "nodes[8]: expected an object, got text",
    ),
    "kind of message misspelled": (
        lambda g: g.section(extension="tts", audio_frames=[]),
        "connections[4]: audio_frames is not read; did you mean audio_frame?",
    ),
    "dest misspelled": (
        lambda g: g.section(
            extension="tts",
            data=[{"name": "x", "dests": [{"extension": "llm"}]}],
        ),
        "connections[4].data[0]: dests is not read; did you mean dest?",
    ),
    "dest that is no list": (
        lambda g: g.section(
            extension="tts", data=[{"name": "x", "dest": {"extension": "llm"}}]
        ),
        "connections[4].data[0].dest: expected a list, got an object",
    ),
    "connection to nowhere": (
        lambda g: g.section(extension="tts", data=[{"name": "x"}]),
        "connections[4].data[0]: neither dest nor source",
    ),
    "message without a name": (
        lambda g: g.section(
            extension="tts", data=[{"dest": [{"extension": "llm"}]}]
        ),
        "connections[4].data[0]: expected either a name or names",
    ),
    "number that JSON does not have": (
        lambda g: g.node("llm")["property"].update(temperature=float("nan")),
        "nodes[3].property.temperature: not a number that JSON has",
    ),
    "half of a character": (
        lambda g: g.node("llm")["property"].update(prompt="\ud83d"),
        "nodes[3].property.prompt: text that is not valid Unicode",
    ),
    "port out of range in a URL": (
        lambda g: g.params.update(
            console_endpoint_url="https://console.test:70000",
            ingress_endpoint_url="wss://ingress.test",
        ),
        "params.console_endpoint_url: expected a port from 0 to 65535",
    ),
    "shell variable of agora_rtc": (
        lambda g: g.rtc.update(app_id="$AGORA_APP_ID"),
        'agora_rtc.app_id: "$AGORA_APP_ID" is taken literally',
    ),
    "token that is none": (
        lambda g: g.params.update(agora_token="t0ken-of-some-other-kind"),
        "params.agora_token: not an Agora RTC token",
    ),
    "certificate equal to App ID": (
        lambda g: g.params.update(agora_appcert=APP_ID),
        "params.agora_appcert: the App Certificate is the same text as the "
        "App ID",
    ),
    "certificate equal to App ID but for capitals": (
        lambda g: g.params.update(agora_appcert=APP_ID.lower()),
        "params.agora_appcert: the App Certificate is the same text as the "
        "App ID",
    ),
    "key equal to app id": (
        lambda g: g.params.update(spatius_app_id="${env:SPATIUS_API_KEY}"),
        "params.spatius_api_key: the API key is the same text as the app id",
    ),
    "variable of another node": (
        lambda g: g.node("llm")["property"].update(key="${env:LLM_KEY_UNSET}"),
        "llm.key: the environment variable LLM_KEY_UNSET is not set",
    ),
    "null": (
        lambda g: g.node("llm")["property"].update(prompt=None),
        "ten.predefined_graphs[0].nodes[3].property.prompt: null. TEN's "
        "official runtime ignores a whole property.json that holds a null",
    ),
    "integer of more than 63 bits": (
        lambda g: g.node("llm")["property"].update(seed=2**63),
        "nodes[3].property.seed: an integer above 9223372036854775807",
    ),
    "integer of more than 64 bits": (
        lambda g: g.node("llm")["property"].update(seed=2**64),
        "nodes[3].property.seed: an integer of more than 64 bits",
    ),
    "missing value": (
        lambda g: g.params.update(spatius_avatar_id=""),
        "params.spatius_avatar_id: required, but missing or empty (the graph "
        'node leaves it empty; "spatius_avatar_id": "${env:SPATIUS_AVATAR_ID}"'
        " takes it from the environment variable SPATIUS_AVATAR_ID)",
    ),
}


@pytest.mark.parametrize(("edit", "said"), ERRORS.values(), ids=ERRORS)
def test_mistake_is_an_error_with_its_place(edit, said, editor):
    """Exit code 1, one line that names mistake and place, and a count."""
    edit(editor)
    code, words = editor.check()
    assert code == 1, words
    assert said in words
    assert "node avatar" in words
    if said != ERRORS["uid of another avatar"][1]:  # each of them has it
        assert words.count(" 1 error") >= 1
        assert ". 2." not in words, words


WARNINGS: dict[str, tuple[Callable[[Editor], Any], str]] = {
    "tts_audio_end not wired": (
        lambda g: g.to_avatar["data"].pop(),
        "connections: tts_audio_end is not wired to avatar",
    ),
    "flush not wired": (
        lambda g: g.to_avatar.pop("cmd"),
        "connections: flush is not wired to avatar",
    ),
    "flush by the stock agent's connection only": (
        lambda g: g.node("main_control").update(addon="main_python"),
        'await _send_cmd(self.ten_env, "flush", "avatar")',
    ),
    "no channel of its own": (
        lambda g: g.avatar.pop("channel"),
        'add "channel": ""',
    ),
    "Agora's values at the top level": (
        lambda g: g.avatar.update(agora_appid=APP_ID),
        "agora_appid",
    ),
    "Spatius' values at the top level": (
        lambda g: g.avatar.update(region="us-west"),
        "region: at the top level; it belongs under params",
    ),
    "dump in params": (
        lambda g: g.params.update(dump=True),
        "params.dump: not used under params; it belongs to the top level",
    ),
    "message without effect": (
        lambda g: g.connect("main_control", "data", "tts_text_input", "avatar"),
        "avatar does not receive the data tts_text_input; the connection has "
        "no effect",
    ),
    "unknown property": (
        lambda g: g.avatar.update(parms={}),
        "parms: unknown property, not used; did you mean params?",
    ),
    "shell variable of another node": (
        lambda g: g.node("llm")["property"].update(key="$LLM_KEY"),
        'llm.key: "$LLM_KEY" is taken literally',
    ),
    "App ID as token": (
        lambda g: g.params.update(agora_token=APP_ID),
        "params.agora_token: the App ID in place of a token",
    ),
}


@pytest.mark.parametrize(("edit", "said"), WARNINGS.values(), ids=WARNINGS)
def test_doubtful_graph_is_a_warning(edit, said, editor):
    """A warning leaves the exit code 0."""
    edit(editor)
    code, words = editor.check(AGORA_CHANNEL="room", AGORA_TOKEN=None)
    assert code == 0, words
    assert said in words
    assert "0 errors, " in words


@pytest.mark.parametrize("audio_format", ["pcm_s16le", "ogg_opus"])
@pytest.mark.parametrize("own", ["auto", 24000, "24000"])
def test_rate_that_the_service_does_not_take_is_an_error(
    own, audio_format, editor
):
    """auto does not help: the TTS has to send another one."""
    editor.params.update(sample_rate=own, audio_format=audio_format)
    tts = editor.node("tts")["property"]
    tts["params"]["output_format"] = "pcm_11025"
    code, words = editor.check()
    assert code == 1
    assert "and tts sends 11025 Hz (tts.params.output_format)" in words
    few = "" if audio_format == "pcm_s16le" else "12000, "
    assert f"Have tts send one of 8000, {few}16000, " in words
    assert "auto" not in words.partition("11025 Hz")[2]


def test_rate_that_auto_adapts_to_is_advised(editor):
    """Where it can."""
    editor.node("tts")["property"]["params"]["output_format"] = "pcm_16000"
    _, words = editor.check()
    assert "Set both to the same rate, or params.sample_rate to auto" in words


def test_rate_of_its_first_frame_fits_every_tts(editor):
    """With sample_rate auto the rate of the TTS is the avatar's."""
    editor.params["sample_rate"] = "auto"
    editor.node("tts")["property"]["params"]["output_format"] = "pcm_16000"
    code, words = editor.check()
    assert code == 0, words
    assert "sample_rate auto graph node" in words


@pytest.mark.parametrize("name", ["auto_connect", "channel", "dump"])
def test_property_at_the_wrong_level_is_one_warning(name, editor):
    """It is not an unknown param as well."""
    editor.params[name] = True
    _, words = editor.check()
    assert "0 errors, 1 warning" in words
    editor.avatar["region"] = "us-west"
    _, words = editor.check()
    assert "0 errors, 2 warnings" in words


def test_agoras_values_at_the_top_level_count(editor):
    """As in TEN's own extension: compared with agora_rtc's, too."""
    editor.avatar["agora_uid"] = editor.params.pop("agora_uid")
    _, words = editor.check(AGORA_AVATAR_UID=None)
    assert "agora_uid 2000 graph node" in words
    assert "0 errors, 1 warning" in words
    editor.rtc["stream_id"] = 2000
    code, words = editor.check(AGORA_AVATAR_UID=None)
    assert code == 1
    assert "2000 is also the stream_id of agora_rtc" in words


def test_place_of_a_value_at_the_top_level_is_its_own(editor):
    """A mistake is named by the path that the file has."""
    for name, value in (("agora_uid", 2000), ("agora_appid", OTHER_ID)):
        editor.params.pop(name, None)
        editor.avatar[name] = value
    editor.rtc["stream_id"] = 2000
    _, words = editor.check(AGORA_AVATAR_UID=None, AGORA_APP_ID=None)
    assert "1. agora_uid: 2000 is also the stream_id" in words
    assert "params.agora_appid" not in words


def test_default_of_a_placeholder_is_not_shown(editor):
    """It may be a secret, in an id's place as well."""
    for value in (
        "x${env:APP|hush-hush}",
        "${env:APP|hush-hush-hush-hush",
        "${APP:-hush-hush}",
        "${APP|hush-hush}",
    ):
        editor.params["spatius_app_id"] = value
        code, words = editor.check()
        assert code == 1
        assert "hush" not in words


@pytest.mark.parametrize("uid", [2000, "none"])
def test_extra_params_are_shown_by_name(uid, editor):
    """Their values may be secrets, in a broken configuration, too."""
    editor.params.update(extra_params={"voice": "hush-hush"}, agora_uid=uid)
    _, words = editor.check()
    assert "extra_params voice" in words
    assert "hush" not in words


def test_connections_of_the_fallback_voice_are_a_note(editor):
    """The voice without an avatar is offered, and never a problem."""
    to_rtc = editor.graph["connections"][2]
    to_rtc["audio_frame"].pop()
    to_rtc.pop("cmd")
    # Audio to another node is no voice for the listener.
    editor.connect("avatar", "audio_frame", "pcm_frame", "message_collector")
    _, words = editor.check()
    assert "wire the audio_frame pcm_frame and the cmd flush of avatar" in words
    editor.connect("avatar", "audio_frame", "pcm_frame", "agora_rtc")
    _, words = editor.check()
    assert "wire the cmd flush of avatar to agora_rtc" in words
    editor.connect("avatar", "cmd", "flush", "agora_rtc")
    code, words = editor.check()
    assert code == 0
    assert "note" not in words
    editor.rtc["publish_audio"] = False
    assert "publish_audio is false" in editor.check()[1]


def test_start_of_speech_that_is_not_wired_is_a_note(editor):
    """Beside an end that is; where both are missing the warning is enough."""
    end = editor.to_avatar["data"].pop(0)
    code, words = editor.check()
    assert code == 0
    assert "tts_audio_start is not wired to avatar" in words
    assert words.strip().endswith("0 errors, 0 warnings, 1 note")
    editor.to_avatar["data"].clear()
    assert "0 errors, 1 warning" in editor.check()[1]
    editor.to_avatar["data"] = [{**end, "name": "finalize"}]
    assert "No problems." in editor.check()[1]


@pytest.mark.parametrize(
    ("wired", "said"),
    [
        ((), "is not watched (optional): wire the cmds on_user_joined"),
        (("on_user_joined",), "is not watched (optional)"),
        (("on_user_joined", "on_user_left"), "is watched: an avatar that"),
    ],
)
def test_watch_over_the_channel_is_explained(wired, said, editor):
    """An option: neither an error nor a note."""
    for name in wired:
        editor.connect("agora_rtc", "cmd", name, "avatar")
    code, words = editor.check()
    assert code == 0
    assert said in " ".join(words.split())
    assert words.strip().endswith("No problems."), words


def test_graph_with_a_note_is_not_without_problems(editor):
    """An agent that falls silent is worth a look."""
    to_rtc = editor.graph["connections"][2]
    del to_rtc["cmd"]
    _, words = editor.check()
    assert "No problems" not in words
    assert words.strip().endswith("0 errors, 0 warnings, 1 note")


def test_key_that_stands_twice_is_an_error(tmp_path):
    """TEN aborts on a duplicate key; JSON readers take the last one."""
    text = json.dumps(Editor(tmp_path).tree).replace(
        '"max_tokens": 512', '"max_tokens": 512, "max_tokens": 256'
    )
    code, words = check(write(tmp_path, text))
    assert code == 1
    assert "nodes[3].property.max_tokens: this key appears twice" in words


def test_number_of_thousands_of_digits_is_an_error(tmp_path):
    """Python itself refuses to read it."""
    text = json.dumps(Editor(tmp_path).tree).replace("512", "5" * 6000)
    code, words = check(write(tmp_path, text))
    assert code == 1
    assert "property.max_tokens: an integer of more than 64 bits" in words


def test_mistake_in_an_imported_graph_names_its_file(tmp_path, editor):
    """The path alone would point into the wrong file."""
    editor.node("llm")["property"]["prompt"] = None
    (tmp_path / "graph.json").write_text(json.dumps(editor.graph))
    entry = {"name": "g", "graph": {"import_uri": "graph.json"}}
    code, words = check(
        write(tmp_path, {"ten": {"predefined_graphs": [entry]}}), COLUMNS="300"
    )
    assert code == 1
    assert "graph.json: nodes[3].property.prompt: null" in words


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b'\xef\xbb\xbf{"params": {}}', "line 1, column 1: a byte order mark"),
        (
            b'{\n  // the key\n  "params": {}\n}',
            "line 2, column 3: a comment; JSON has no comments",
        ),
        (b'{"params": {} /* all */}', "line 1, column 15: a comment"),
        (b'{"params": {}} # end', "line 1, column 16: a comment"),
        (
            b'{"params": {\n  "region": "",\n}}',
            "line 2, column 15: an extra comma before }",
        ),
        (b'{"a": [1, 2 , ]}', "line 1, column 13: an extra comma before ]"),
        (b'{"a": 1,, "b": 2}', "line 1, column 9: an extra comma"),
        (b'{"a": [, 1]}', "line 1, column 8: an extra comma"),
        (b'{"params": {\n  "a": ]}}', "line 2, column 8: expected a value"),
        (b'{"a": True}', "line 1, column 7: JSON writes true, false and null"),
        (b'{"a": }', "line 1, column 7: expected a value"),
        (b"{a: 1}", "line 1, column 2: expected a name in double quotes"),
        (b'{"a" 1}', "line 1, column 6: expected a colon"),
        (b'{"a": "b}', "line 1, column 7: this text has no closing quote"),
        (b'{"a": "b\n"}', "line 1, column 9: a line break or a tab"),
        (b'{"a": "b,\n}"}', "line 1, column 10: a line break or a tab"),
        (b'{"a": "C:\\Users"}', "line 1, column 10: a single backslash"),
        (b"{'params': 1}", "line 1, column 2: a single quote"),
        (b'{"params": 1 "a": 2}', "line 1, column 14: expected a comma"),
        (b'{"params": {', "line 1, column 13: the file ends in the middle"),
        (b'{"params": 1} {}', "line 1, column 15: text after the end"),
        (b" \n", "is empty"),
        (
            b'{\n"channel": "Caf\xe9"}',
            "line 2, column 16: not UTF-8 (the byte 0xE9)",
        ),
        ('{"params": {}}'.encode("utf-16"), "the file is UTF-16"),
        ('{"params": {}}'.encode("utf-16-le"), "NUL bytes, as in UTF-16"),
        (b"[" * 100_000, "is nested too deeply"),
    ],
)
def test_file_that_is_no_json_is_said_in_words(data, said, tmp_path):
    """The problem of the text, its place, and no line of it."""
    path = tmp_path / "property.json"
    path.write_bytes(data)
    code, words = check(path)
    assert code == 2
    assert said in words


def test_ids_can_be_compared_and_secrets_cannot(tmp_path):
    """Beginning and end of a long id are shown, nothing of a secret."""
    avatar_id = "3f2b8c9a-1d4e-4f6a-9b7c-5e8d2a1c0f3e"
    _, words = check(
        write(tmp_path, Editor(tmp_path).tree), SPATIUS_AVATAR_ID=avatar_id
    )
    assert "spatius_avatar_id 3f2b8c9a...0f3e" in words
    assert f"agora_appid {APP_ID[:8]}...{APP_ID[-4:]}" in words
    assert CERTIFICATE[:6] not in words


# Subgraphs and selectors


class Parts:
    """A graph of subgraphs and selectors in files of a test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.trees: dict[str, Tree] = {
            path: json.loads((GRAPHS / path).read_text())
            for path in (name, "parts/speech.json", "parts/tts.json")
        }
        self.graph = self.trees[name]
        self._name = name

    def check(self, **environment: str | None) -> tuple[int, str]:
        for path, tree in self.trees.items():
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_text(json.dumps(tree))
        return check(self.folder / self._name, COLUMNS="300", **environment)


def test_rate_of_a_tts_in_a_subgraph_is_compared(tmp_path):
    """Under the name that TEN gives to the node."""
    parts = Parts(tmp_path, "subgraph.json")
    (tts,) = [n for n in parts.trees["parts/speech.json"]["nodes"][1:]]
    del tts["property"]  # which the subgraph exposes and its user sets
    code, words = parts.check()
    assert code == 1
    assert "speech_voice_engine sends 16000 Hz" in words


def test_avatar_in_a_subgraph_is_found(tmp_path):
    """With the messages that the subgraph exposes."""
    parts = Parts(tmp_path, "subgraph.json")
    whole = {
        "nodes": [
            {
                "type": "subgraph",
                "name": "face",
                "graph": {"import_uri": "inner.json"},
            }
        ],
        "connections": [],
    }
    parts.trees["inner.json"] = dict(parts.graph)
    parts.graph.clear()
    parts.graph.update(whole)
    code, words = parts.check()
    assert code == 0, words
    assert "node face_avatar" in words
    del parts.trees["inner.json"]["connections"][1]
    code, words = parts.check()
    assert "flush is not wired to face_avatar" in words


def test_subgraph_that_exposes_no_such_message_is_an_error(tmp_path):
    """TEN refuses the graph then."""
    parts = Parts(tmp_path, "subgraph.json")
    del parts.trees["parts/speech.json"]["exposed_messages"][0]
    code, words = parts.check()
    assert code == 1
    assert (
        "connections[0].audio_frame[0]: the subgraph speech exposes no "
        "audio_frame_out pcm_frame" in words
    )
    assert "pcm_frame is not wired to avatar" in words


def test_mistake_in_a_subgraph_names_its_file(tmp_path):
    """A path alone would point into the wrong one."""
    parts = Parts(tmp_path, "subgraph.json")
    inner = parts.trees["parts/speech.json"]
    inner["nodes"].append({"type": "extension", "name": "agent"})
    inner["connections"][0]["cmd"][0]["dest"] = [{"extension": "tss"}]
    code, words = parts.check()
    assert code == 1
    assert "speech.json: nodes[2]: the node has no addon" in words
    assert "speech.json: nodes[0]: another node has the name agent" in words
    assert (
        "speech.json: connections[0].cmd[0]: flush goes to speech_tss, which "
        "is not a node" in words
    )


def test_subgraph_that_is_no_node_is_an_error(tmp_path):
    """With the nearest name."""
    parts = Parts(tmp_path, "subgraph.json")
    parts.graph["connections"][0]["subgraph"] = "speach"
    code, words = parts.check()
    assert code == 1
    assert "speach is no subgraph of this graph; did you mean speech?" in words


def test_subgraph_on_another_machine_is_a_warning(tmp_path):
    """No problem was found, and not all was looked at."""
    parts = Parts(tmp_path, "subgraph.json")
    uri = "https://graphs.test/speech.json"
    parts.graph["nodes"][0]["graph"]["import_uri"] = uri
    code, words = parts.check()
    assert code == 0
    assert "not on this machine, and so not followed: speech" in words
    assert "0 errors, 1 warning" in words


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("nowhere.json", "nowhere.json does not exist (imported by "),
        ("parts/../subgraph.json", "imports itself as a subgraph"),
    ],
)
def test_subgraph_that_cannot_be_read_is_said(uri, said, tmp_path):
    """The file cannot be used, in TEN neither."""
    parts = Parts(tmp_path, "subgraph.json")
    parts.graph["nodes"][0]["graph"]["import_uri"] = uri
    code, words = parts.check()
    assert code == 2
    assert said in words


def test_selected_nodes_are_wired(tmp_path):
    """And a node that it does not select is not."""
    parts = Parts(tmp_path, "selector.json")
    filters = [node.get("filter") for node in parts.graph["nodes"]]
    filters[-1]["value"] = "_asr$"
    code, words = parts.check()
    assert code == 1
    assert "the selector engines matches no node" in words
    assert "pcm_frame is not wired to avatar" in words
    filters[-2]["or"].pop()
    assert "flush is not wired to avatar" in parts.check()[1]


def test_selector_that_is_no_node_is_an_error(tmp_path):
    """TEN does not start the graph."""
    parts = Parts(tmp_path, "selector.json")
    connection = parts.graph["connections"][0]
    connection["cmd"][0]["dest"] = [{"selector": "speaker"}]
    code, words = parts.check()
    assert code == 1
    assert (
        "speaker is no selector of this graph; did you mean speakers" in words
    )
