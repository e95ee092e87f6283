"""bin/check on a given Agora token: its content."""

import time

import pytest
from access_tokens import built_007, rtc_service
from agent import APP_ID, CERTIFICATE
from agora_token_builder.AccessToken import AccessToken
from checking import ROOT, check, graph, write

DAMAGED = "params.agora_token: cannot be read: it is cut or damaged"
OTHER_CHANNEL = "token for the channel in params.agora_channel, got one for"
OTHER_UID = "token for the uid in params.agora_uid, got one for another uid"


VERSIONS = pytest.mark.parametrize("version", ["006", "007"])
PUBLISHER = (1, 2, 3, 4)


def signed(
    version: str = "006",
    *,
    channel: str = "room",
    uid: int = 2000,
    expires_in_s: int = 3600,
    privileges: tuple[int, ...] = PUBLISHER,
    app_id: str = APP_ID,
) -> str:
    """Return a publisher's token; uid 0 lets any uid in."""
    now_s = int(time.time())
    if version == "007":
        own_uid = str(uid or "")
        rtc = rtc_service(dict.fromkeys(privileges, 0), channel, own_uid)
        issued_at_s = now_s + min(0, expires_in_s - 1)
        return built_007(
            issued_at_s, now_s + expires_in_s - issued_at_s, rtc, app_id=app_id
        )
    builder = AccessToken(app_id, CERTIFICATE, channel, str(uid or ""))
    for privilege in privileges:
        builder.addPrivilege(privilege, now_s + expires_in_s)
    return builder.build()


def check_token(token: str, **environment: str) -> tuple[int, str]:
    """Run the command with a token, for the uid 2000 in the channel room."""
    return check(ROOT / "property.json", AGORA_TOKEN=token, **environment)


@pytest.mark.parametrize("cut", [1, 2, 4, 10, 40, 60, 100, 103])
def test_cut_token_is_an_error(cut):
    """However much is missing; nothing of the token is shown."""
    token = signed()
    code, words = check_token(token[:-cut])
    assert code == 1
    assert DAMAGED in words
    assert token[35:41] not in words
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t + "A",
        lambda t: t + "AAAA",
        lambda t: t[:80] + "A" + t[80:],
        lambda t: t[:80] + " " + t[80:],
        lambda t: t[:80] + "\n" + t[80:],
        lambda t: t[:35] + t[39:],
    ],
    ids=["longer", "four longer", "inserted", "space", "line break", "hole"],
)
def test_damaged_token_is_an_error(damage):
    """A token after a mistake with the clipboard."""
    token = signed()
    code, words = check_token(damage(token))
    assert code == 1
    assert DAMAGED in words
    assert token[41:47] not in words


@VERSIONS
@pytest.mark.parametrize("uid", [2000, 0])
def test_token_for_this_channel_and_uid_is_fine(uid, version):
    """Signed for the avatar's uid, or for any."""
    code, words = check_token(signed(version, uid=uid))
    assert code == 0, words
    assert "No problems." in words


def test_token_without_an_end_is_fine():
    """An expiry of 0 stands for none: that is no damage."""
    code, words = check_token(signed(expires_in_s=-int(time.time())))
    assert code == 0, words
    assert "given; it names no expiry" in words


@VERSIONS
def test_token_for_another_channel_is_an_error(version):
    """Agora would refuse it."""
    code, words = check_token(signed(version, channel="lobby"))
    assert code == 1
    assert OTHER_CHANNEL in words and OTHER_UID not in words


@VERSIONS
def test_token_for_another_uid_is_an_error(version):
    """That of the agent, for example."""
    code, words = check_token(signed(version, uid=1000))
    assert code == 1
    assert OTHER_UID in words and OTHER_CHANNEL not in words


@VERSIONS
def test_token_beside_a_channel_of_each_session_is_a_warning(version, tmp_path):
    """It fits one channel, and nobody knows yet which one that will be."""
    path = write(tmp_path, graph({}))
    unset = {"AGORA_TOKEN": signed(version), "AGORA_CHANNEL": None}
    code, words = check(path, **unset)
    assert code == 0, words
    assert "params.agora_token: made for one channel, and TEN's agent" in words
    assert words.strip().endswith("0 errors, 1 warning, 1 note")
    code, words = check(path, "--channel", "room", **unset)
    assert words.strip().endswith("No problems.")
    code, words = check(path, "--channel", "lobby", **unset)
    assert code == 1
    assert "got one for another channel" in words


@VERSIONS
def test_token_for_another_app_id_is_an_error(version):
    """It would let nobody into this project's channel."""
    code, words = check_token(signed(version, app_id="f" * 32))
    assert code == 1
    assert "got one for another App ID" in words


@VERSIONS
def test_token_that_has_expired_is_an_error(version):
    """With any other privileges."""
    code, words = check_token(signed(version, expires_in_s=-3600))
    assert code == 1
    assert "got one that expired 60 min ago" in words
    assert words.strip().endswith("1 error, 0 warnings")


@VERSIONS
@pytest.mark.parametrize(
    ("privileges", "missing"),
    [
        ((1,), "publish audio and to publish video"),
        ((1, 2), "publish video"),
        ((2, 3), "join the channel"),
    ],
)
def test_token_that_may_not_publish_is_an_error(privileges, missing, version):
    """A subscriber's token lets the avatar in, silent and unseen."""
    code, words = check_token(signed(version, privileges=privileges))
    assert code == 1
    assert (
        "params.agora_token: expected the token of a publisher, got one "
        f"without the privilege to {missing};" in words
    )
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.parametrize("cut", [1, 2, 4, 10, 40, 100, 120])
def test_cut_token_of_version_007_is_an_error(cut):
    """Nothing of it is shown."""
    token = signed("007")
    code, words = check_token(token[:-cut])
    assert code == 1
    assert DAMAGED in words
    assert token[10:16] not in words


def test_token_for_another_uid_is_said_beside_other_problems():
    """A mistake in the token is found without a valid configuration."""
    code, words = check_token(signed(uid=1000), AGORA_CHANNEL="")
    assert code == 1
    assert OTHER_UID in words and OTHER_CHANNEL not in words


@pytest.mark.parametrize("uid", ["two", "9" * 5000, ""])
def test_unreadable_uid_is_compared_with_no_token(uid):
    """It is an error of its own, and the only one."""
    code, words = check_token(signed(), AGORA_AVATAR_UID=uid)
    assert code == 1
    assert words.strip().endswith("1 error, 0 warnings")
