"""bin/check on nodes and connections that do not have the form of TEN's."""

from collections.abc import Callable
from typing import Any

import pytest
from checking import X_TO_LLM, Editor

ERRORS: dict[str, tuple[Callable[[Editor], Any], str]] = {
    "params beside property": (
        lambda g: g.node("avatar").update(params={"sample_rate": 16000}),
        "nodes[5].params: TEN does not read it there; it belongs under "
        "nodes[5].property",
    ),
    "channel beside property": (
        lambda g: g.node("agora_rtc").update(channel="lobby"),
        "nodes[0].channel: TEN does not read it there; it belongs under "
        "nodes[0].property",
    ),
    "properties in place of property": (
        lambda g: g.node("tts").update(
            properties=g.node("tts").pop("property")
        ),
        "nodes[4]: properties is not read; did you mean property?",
    ),
    "name misspelled": (
        lambda g: g.flow(nmae="x"),
        "connections[4].data[0]: nmae is not read; did you mean name?",
    ),
    "name that is no text": (
        lambda g: g.flow(name=5),
        "connections[4].data[0].name: expected the name of a message",
    ),
    "name that is empty": (
        lambda g: g.flow(name=""),
        "connections[4].data[0].name: expected the name of a message",
    ),
    "names that are no list": (
        lambda g: g.flow(names="x"),
        "connections[4].data[0].names: expected a list of message names",
    ),
    "names without one": (
        lambda g: g.flow(names=[]),
        "connections[4].data[0].names: expected a list of message names",
    ),
    "names with a number": (
        lambda g: g.flow(names=["x", 5]),
        "connections[4].data[0].names: expected a list of message names",
    ),
    "command in place of cmd": (
        lambda g: g.section(extension="tts", command=[X_TO_LLM]),
        "connections[4]: command is not read; did you mean cmd?",
    ),
    "audio in place of audio_frame": (
        lambda g: g.section(extension="tts", audio=[X_TO_LLM]),
        "connections[4]: audio is not read; did you mean audio_frame?",
    ),
    "messages of no kind": (
        lambda g: g.section(extension="tts", x=[X_TO_LLM]),
        "connections[4]: x is not read",
    ),
    "destination in place of dest": (
        lambda g: g.section(
            extension="tts",
            data=[{"name": "x", "destination": [{"extension": "llm"}]}],
        ),
        "connections[4].data[0]: destination is not read; did you mean dest?",
    ),
    "pcm_frame of the avatar itself": (
        lambda g: g.connect("avatar", "audio_frame", "pcm_frame", "avatar"),
        "connections[3].audio_frame[1]: avatar takes pcm_frame from itself. "
        "Remove the connection",
    ),
    "addon of a connection misspelled": (
        lambda g: g.section(addon="cartesia_tss", data=[X_TO_LLM]),
        "connections[4].data[0]: x comes from cartesia_tss, which is not a "
        "node of this graph; did you mean cartesia_tts?",
    ),
}


@pytest.mark.parametrize(("edit", "said"), ERRORS.values(), ids=ERRORS)
def test_form_that_ten_does_not_read_is_one_error(edit, said, editor):
    """With its place, and with the name probably meant."""
    edit(editor)
    code, words = editor.check()
    assert code == 1, words
    assert said in words.replace("ten.predefined_graphs[0].", "")
    assert words.strip().endswith("1 error, 0 warnings"), words


def test_name_of_a_message_is_like_no_kind_of_message(editor):
    """A kind that merely ends like it would be wrong advice."""
    editor.section(extension="tts", pcm_frame=[X_TO_LLM])
    code, words = editor.check()
    assert code == 1
    assert "connections[4]: pcm_frame is not read" in words
    assert "did you mean" not in words


@pytest.mark.parametrize(
    "edit",
    [
        lambda g: g.node("tts").update(comment="the voice"),
        lambda g: g.node("tts").update(notes=["the voice"]),
        lambda g: g.to_avatar.update(comment="to the avatar"),
        lambda g: g.to_avatar.update(extension_group="default"),
        lambda g: g.to_avatar.update(notes=["to", "the avatar"]),
    ],
)
def test_key_that_says_something_to_people_only_is_fine(edit, editor):
    """TEN ignores it, and nothing of the agent depends on it."""
    edit(editor)
    assert editor.is_fine()


def test_avatar_that_takes_its_own_voice_only_is_told_from_whom(editor):
    """Its audio to agora_rtc is not audible twice."""
    editor.take_from("audio_frame", "pcm_frame", "avatar")
    editor.connect("avatar", "audio_frame", "pcm_frame", "agora_rtc")
    editor.connect("avatar", "cmd", "flush", "agora_rtc")
    code, words = editor.check()
    assert code == 1
    assert "avatar takes pcm_frame from itself" in words
    assert "Wire the audio_frame pcm_frame of the TTS to it" in words
    assert "audible twice" not in words
    assert "2 errors, 0 warnings" in words


@pytest.mark.parametrize("addon", ["spatius_avatar", "spatius_avatar_pyhton"])
def test_addon_like_the_avatars_is_named(addon, editor):
    """Its node is most probably the one to check."""
    editor.node("avatar")["addon"] = addon
    code, words = editor.check()
    assert code == 2
    assert f"is {addon} a misspelling of it?" in words


def test_other_avatars_are_no_misspelling(editor):
    """Nothing but their kind is alike."""
    for addon in ("heygen_avatar_python", "anam_avatar_python", 5):
        editor.node("avatar")["addon"] = addon
        code, words = editor.check()
        assert code == 2
        assert "misspelling" not in words
