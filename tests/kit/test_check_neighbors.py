"""bin/check on the nodes beside the avatar: RTC, TTS, other avatars."""

import pytest
from test_check_graphs import Editor, judge

SAME_UID = "agora_uid: 2000 is also "


@pytest.mark.parametrize("uid", ["02000", "2000 ", 2000.0, "2000"])
def test_uid_is_compared_as_a_number(uid, tmp_path):
    """However the file writes it."""
    editor = Editor()
    editor.add_avatar(params={"agora_uid": uid})
    code, words = judge(tmp_path, editor.tree)
    assert code == 1
    assert words.count(SAME_UID) == 2
    assert "2 errors, 0 warnings" in words


@pytest.mark.parametrize("key", ["stream_id", "remote_stream_id"])
@pytest.mark.parametrize("uid", ["02000", 2000.0, " 2000"])
def test_uid_of_rtc_is_compared_as_a_number(key, uid, tmp_path):
    """TEN converts text into the number that the node takes."""
    editor = Editor()
    editor.rtc[key] = uid
    code, words = judge(tmp_path, editor.tree)
    assert code == 1
    assert f"{SAME_UID}the {key} of agora_rtc" in words


def test_uid_that_agora_chooses_is_nobody_elses(tmp_path):
    """0 stands for any, at the avatar and at agora_rtc."""
    editor = Editor()
    editor.rtc.update(stream_id=0, remote_stream_id="0")
    editor.params["agora_uid"] = 0
    editor.add_avatar()
    code, words = judge(tmp_path, editor.tree)
    assert code == 0, words
    assert "is also " not in words
