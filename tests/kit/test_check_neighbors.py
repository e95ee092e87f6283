"""bin/check on the nodes beside the avatar: RTC, TTS, other avatars."""

import copy

import pytest
from checking import OTHER_ID, Editor

SAME_UID = "agora_uid: 2000 is also "


def two_rooms(editor: Editor) -> None:
    """Make it a graph with two channels, an RTC node and an avatar in each."""
    editor.add_avatar(channel="room2")
    rtc = copy.deepcopy(editor.node("agora_rtc"))
    rtc["name"] = "rtc2"
    rtc["property"].update(channel="room2", stream_id=1235)
    editor.graph["nodes"].append(rtc)


@pytest.mark.parametrize("uid", ["02000", "2000 ", 2000.0, "2000"])
def test_uid_is_compared_as_a_number(uid, editor):
    """However the file writes it."""
    editor.add_avatar(params={"agora_uid": uid})
    code, words = editor.check()
    assert code == 1
    assert words.count(SAME_UID) == 2
    assert "2 errors, 0 warnings" in words


@pytest.mark.parametrize("key", ["stream_id", "remote_stream_id"])
@pytest.mark.parametrize("uid", ["02000", 2000.0, " 2000"])
def test_uid_of_rtc_is_compared_as_a_number(key, uid, editor):
    """TEN converts text into the number that the node takes."""
    editor.rtc[key] = uid
    code, words = editor.check()
    assert code == 1
    assert f"{SAME_UID}the {key} of agora_rtc" in words


def test_uid_that_agora_chooses_is_unique(editor):
    """0 stands for any, at the avatar and at agora_rtc."""
    editor.rtc.update(stream_id=0, remote_stream_id="0")
    editor.params["agora_uid"] = 0
    editor.add_avatar()
    code, words = editor.check()
    assert code == 0, words
    assert "is also " not in words


def test_avatar_is_compared_with_the_rtc_node_of_its_channel(editor):
    """Another channel may have the same uids, and another project."""
    two_rooms(editor)
    editor.rtc["remote_stream_id"] = 3000
    editor.node("second")["property"]["params"]["agora_uid"] = 3000
    editor.node("second")["property"]["params"]["agora_appid"] = OTHER_ID
    editor.node("rtc2")["property"]["app_id"] = OTHER_ID
    code, words = editor.check()
    assert code == 0, words
    assert "0 errors, 0 warnings" in words


def test_mistake_beside_the_rtc_node_of_its_channel_is_named(editor):
    """The other RTC node does not hide it."""
    two_rooms(editor)
    editor.node("rtc2")["property"].update(app_id=OTHER_ID, stream_id=2000)
    code, words = editor.check()
    assert code == 1
    assert f"{SAME_UID}the stream_id of rtc2" in words
    assert "agora_appid: not the app_id of rtc2" in words
    assert "_id of agora_rtc" not in words
    assert "2 errors, 0 warnings" in words


def test_rtc_node_without_a_channel_may_have_any(editor):
    """It gets one when the session starts."""
    two_rooms(editor)
    editor.avatar["channel"] = "room3"
    editor.node("rtc2")["property"].update(channel="", stream_id=2000)
    code, words = editor.check()
    assert code == 1
    assert f"{SAME_UID}the stream_id of rtc2" in words
    assert "joins" not in words


def test_channel_without_an_rtc_node_is_one_error(editor):
    """With the channels that there are."""
    two_rooms(editor)
    del editor.avatar["channel"]
    code, words = editor.check(AGORA_CHANNEL="room3")
    assert code == 1
    assert (
        "agora_channel: the avatar joins 'room3' and agora_rtc joins 'room' "
        "and rtc2 joins 'room2'; user and avatar meet only in the same channel"
        in words
    )
    assert "1 error, 1 warning" in words


def test_channels_that_the_agent_server_fills_in_are_one_note(editor):
    """It overwrites both, so that they are the same in a session."""
    editor.rtc["channel"] = "lobby"
    code, words = editor.check()
    assert code == 0
    assert (
        "channel: the avatar joins 'room' and agora_rtc joins 'lobby'; TEN's "
        "agent server puts each session's channel into all of them" in words
    )
    assert words.strip().endswith("0 errors, 0 warnings, 1 note")


@pytest.mark.parametrize("channel", ["", "room", "${env:NO_ROOM|}"])
def test_channel_option_does_as_the_agent_server(channel, editor):
    """It fills in every top-level channel, and agora_rtc's in any case."""
    editor.avatar["channel"] = channel
    editor.rtc["channel"] = "lobby"
    code, words = editor.check("--channel", "session-7", AGORA_CHANNEL=None)
    assert code == 0
    assert "channel session-7 graph node" in words
    assert words.strip().endswith("No problems.")


def test_channel_option_fills_in_existing_properties_only(editor):
    """A node without a channel of its own does not get the session's."""
    del editor.avatar["channel"]
    code, words = editor.check("--channel", "session-7")
    assert code == 1
    assert "avatar joins 'room' and agora_rtc joins 'session-7'" in words


@pytest.mark.parametrize("channel", ["", " ", "${env:NO_ROOM|}"])
def test_empty_channel_is_left_to_the_agent_server(channel, editor):
    """It is no error; all else is checked as with one."""
    editor.avatar["channel"] = channel
    code, words = editor.check(AGORA_CHANNEL=None)
    assert code == 0, words
    assert "agora_channel of each session TEN's agent server" in words
    assert "channel: empty; TEN's agent server fills in" in words
    assert words.strip().endswith("0 errors, 0 warnings, 1 note")
    editor.params["sample_rate"] = 11025
    code, words = editor.check(AGORA_CHANNEL=None)
    assert code == 1
    assert "params.sample_rate: expected one of" in words


def test_channel_of_an_unset_variable_is_an_error(editor):
    """TEN ends its process before the agent server could name one."""
    editor.avatar["channel"] = "${env:NO_ROOM}"
    code, words = editor.check(AGORA_CHANNEL=None)
    assert code == 1
    assert "channel: the environment variable NO_ROOM is not set" in words
    assert words.strip().endswith("2 errors, 0 warnings")


def test_no_session_is_opened_without_a_channel(editor):
    """The option that names one is said."""
    editor.avatar["channel"] = ""
    code, words = editor.check("--connect", AGORA_CHANNEL=None)
    assert code == 3
    assert "No session: the channel is left to TEN's agent server" in words
    assert "--channel NAME" in words


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        ("", "(from the environment variable AGORA_CHANNEL)"),
        (
            "${env:STUDIO|studio}",
            "(the default in the placeholder of STUDIO, which is not set)",
        ),
    ],
)
def test_source_of_a_channel_that_does_not_fit_is_named(channel, said, editor):
    """The file alone does not show it."""
    del editor.avatar["channel"]
    editor.params["agora_channel"] = channel or "${env:AGORA_CHANNEL|}"
    code, words = editor.check(AGORA_CHANNEL="studio", STUDIO=None)
    assert code == 1
    assert "agora_channel: the avatar joins 'studio' and agora_rtc" in words
    assert f"user and avatar meet only in the same channel {said}" in words
    assert words.strip().endswith("1 error, 1 warning")


@pytest.mark.parametrize(
    "key",
    [
        "sampleRate",
        "sampleRateHertz",
        "sample_rate_hertz",
        "outputSampleRateHz",
        "SamplingRate",
        "sampling_rate_hz",
    ],
)
def test_rate_of_a_tts_is_found_however_its_key_is_written(key, editor):
    """In camel case and in snake case, with its unit and without."""
    editor.node("tts")["property"] = {"audioConfig": {key: 16000}}
    code, words = editor.check()
    assert code == 1
    assert f"tts sends 16000 Hz (tts.audioConfig.{key})" in words


@pytest.mark.parametrize("key", ["inputSampleRateHertz", "asrSampleRate"])
def test_rate_that_a_model_listens_at_is_not_compared(key, editor):
    """Its output may have another one."""
    editor.node("tts")["property"] = {key: 16000}
    code, words = editor.check()
    assert code == 0, words
