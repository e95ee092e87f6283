"""What may be configured, what is refused, and what is never shown."""

import json
import re
import string
import traceback
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from spatius_avatar_python import config, token
from spatius_avatar_python.params import RATES_HZ, SECRETS, Params
from spatius_avatar_python.properties import PLACEHOLDER

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "docs/configuration.md"
PROPERTY_JSON = ROOT / "property.json"

NOW_S = 1_800_000_000.0

API_KEY = "sk-Zx9Qv7Wk3Tm5Rj1Np8"
CERTIFICATE = "E7d1c9B3a5f08264917D5ce3b0A8f642"
APP_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
OTHER_APP_ID = "f" * 32


def signed(ends_in_s: float = 7200, app_id: str = APP_ID) -> str:
    """Return a version-006 token that ends so many seconds from now."""
    expires_at_s = int(NOW_S + ends_in_s)
    return token.sign(app_id, CERTIFICATE, "room", 1001, expires_at_s)


AGORA_TOKEN = signed()
# A given token says its App ID in the clear; what is behind it is secret.
CANARIES = (API_KEY, CERTIFICATE, AGORA_TOKEN[3 + 32 :])

REQUIRED: dict[str, Any] = {
    "spatius_api_key": API_KEY,
    "spatius_app_id": "spatius-app-1",
    "spatius_avatar_id": "avatar-1",
    "agora_appid": APP_ID,
    "agora_appcert": CERTIFICATE,
    "agora_channel": "room",
    "agora_uid": 1001,
}
GIVEN = {**REQUIRED, "agora_token": AGORA_TOKEN, "agora_appcert": ""}
NOTHING: dict[str, Any] = {}
OWN_SERVICE = {
    "console_endpoint_url": "https://console.test/v1/console",
    "ingress_endpoint_url": "wss://ingress.test/v2/driveningress",
}


def tree(
    params: Any = REQUIRED,
    top: Any = NOTHING,
    **changed: Any,
) -> dict[str, Any]:
    """Return a node's properties with some params changed; None removes."""
    merged = {**params, **changed}
    return {
        **top,
        "params": {k: v for k, v in merged.items() if v is not None},
    }


def loaded(
    params: Any = REQUIRED,
    top: Any = NOTHING,
    **changed: Any,
) -> config.Config:
    return config.load(tree(params, top, **changed), NOW_S)


def problems(
    params: Any = REQUIRED,
    top: Any = NOTHING,
    **changed: Any,
) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        loaded(params, top, **changed)
    assert str(caught.value) == "; ".join(caught.value.problems)
    return caught.value.problems


def paths(found: list[str]) -> list[str]:
    return sorted(problem.partition(":")[0] for problem in found)


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


def leaks(text: str, secrets: tuple[str, ...] = CANARIES) -> list[str]:
    """Return the secrets of which six characters in a row are in `text`."""
    return [
        secret
        for secret in secrets
        if any(secret[i : i + 6] in text for i in range(len(secret) - 5))
    ]


# What is there when nothing else is said


def test_defaults():
    """What is optional has the documented value."""
    params = loaded().params
    assert params.region is None
    assert params.sample_rate == 24000
    assert params.session_expire_minutes == 30
    assert params.audio_format == "pcm_s16le"
    assert params.console_endpoint_url is None
    assert params.ingress_endpoint_url is None
    assert params.end_of_speech_timeout_ms == 1500
    assert params.max_buffered_speech_s == 60
    assert params.resume_rewind_ms == 500
    assert params.resume_within_s == 15
    assert params.fallback_after_ms == 1500
    assert params.idle_disconnect_s == 0
    assert params.extra_params == {}
    assert params.telemetry is False
    assert params.telemetry_endpoint is None
    assert params.agora_token is None
    assert loaded().auto_connect is True
    assert loaded().dump is False
    assert loaded().dump_path == ""
    assert loaded().warnings == ()


def test_required_values_arrive():
    """What is required is there, secrets under lock."""
    params = loaded().params
    assert params.spatius_api_key.get_secret_value() == API_KEY
    assert params.spatius_app_id == "spatius-app-1"
    assert params.spatius_avatar_id == "avatar-1"
    assert params.agora_appid == APP_ID
    assert params.agora_appcert is not None
    assert params.agora_appcert.get_secret_value() == CERTIFICATE
    assert params.agora_channel == "room"
    assert params.agora_uid == 1001


def test_values_are_stripped():
    """Space around a value, which an environment file may add, is no part."""
    params = loaded(
        spatius_api_key=f" {API_KEY}\n",
        spatius_avatar_id=" avatar-1 ",
        region=" us-west\t",
        agora_uid=" 7 ",
        audio_format=" ogg_opus ",
    ).params
    assert params.spatius_api_key.get_secret_value() == API_KEY
    assert params.spatius_avatar_id == "avatar-1"
    assert params.region == "us-west"
    assert params.agora_uid == 7
    assert params.audio_format == "ogg_opus"


def test_channel_keeps_its_spaces():
    """Agora allows spaces in a channel's name, so they are part of it."""
    assert loaded(agora_channel=" room ").params.agora_channel == " room "


# What is required


@pytest.mark.parametrize(
    "name",
    [
        "spatius_api_key",
        "spatius_app_id",
        "spatius_avatar_id",
        "agora_appid",
        "agora_channel",
        "agora_uid",
    ],
)
@pytest.mark.parametrize("missing", [None, "", "  ", "\t\n"])
def test_required_one_is_missing(name, missing):
    """A value that is absent, empty or blank is named as missing."""
    problem = only(problems(**{name: missing}))
    assert problem.startswith(f"params.{name}: required")


@pytest.mark.parametrize("missing", [None, "", " "])
def test_neither_token_nor_certificate(missing):
    """One of the two is required; the problem names both."""
    problem = only(problems(agora_token=missing, agora_appcert=missing))
    assert "params.agora_token" in problem
    assert "params.agora_appcert" in problem


@pytest.mark.parametrize(
    "params",
    [GIVEN, REQUIRED, {**REQUIRED, "agora_token": AGORA_TOKEN}],
    ids=["token", "certificate", "both"],
)
def test_token_or_certificate_will_do(params):
    """Either of them is enough, and both are allowed."""
    assert loaded(params).warnings == ()


@pytest.mark.parametrize("nothing", [{}, None, [], 5, {"params": None}])
def test_nothing_at_all(nothing):
    """Without any property, all that is required is listed at once."""
    with pytest.raises(config.ConfigError) as caught:
        config.load(nothing, NOW_S)
    listed = "; ".join(caught.value.problems)
    for name in (*REQUIRED, "agora_token"):
        assert f"params.{name}" in listed


@pytest.mark.parametrize("wrong", ["text", 5, ["a"], True])
def test_params_are_no_object(wrong):
    """`params` itself is named if it is no object."""
    with pytest.raises(config.ConfigError) as caught:
        config.load({"params": wrong}, NOW_S)
    assert caught.value.problems[0].startswith("params: expected an object")


@pytest.mark.parametrize("blank", ["", "   "])
def test_blank_overrides_nothing(blank):
    """A blank optional value is as good as none: the default stands."""
    optional = {
        name: blank for name in Params.model_fields if name not in REQUIRED
    }
    top = {"channel": blank, "dump": blank, "dump_path": blank}
    assert loaded(top=top, **optional) == loaded()


# Everything at once


def test_four_problems_make_one_error():
    """A wrong uid, rate, channel and a missing key are reported together."""
    found = problems(
        agora_uid=-5,
        sample_rate=11025,
        agora_channel="a/b",
        spatius_api_key=None,
    )
    assert paths(found) == [
        "params.agora_channel",
        "params.agora_uid",
        "params.sample_rate",
        "params.spatius_api_key",
    ]


def test_problems_of_every_kind_are_reported_together():
    """Rules between params and the top level's add to the list."""
    found = problems(
        top={"channel": "a/b", "dump": "maybe", "dump_path": 5},
        agora_appcert=None,
        console_endpoint_url=OWN_SERVICE["console_endpoint_url"],
        telemetry="perhaps",
        region="${env:REGION}",
    )
    assert paths(found) == [
        "channel",
        "dump",
        "dump_path",
        "params.agora_token or params.agora_appcert",
        "params.ingress_endpoint_url",
        "params.region",
        "params.telemetry",
    ]


# Numbers


@pytest.mark.parametrize(
    ("given", "uid"),
    [
        (0, 0),
        (1, 1),
        (2**32 - 1, 2**32 - 1),
        ("1001", 1001),
        ("4294967295", 2**32 - 1),
        ("+5", 5),
        (" 12 ", 12),
        (7.0, 7),
        ("7.0", 7),
    ],
)
def test_uid_is_a_number_or_its_text(given, uid):
    """A uid may come from an environment variable, hence as text."""
    assert loaded(agora_uid=given).params.agora_uid == uid


@pytest.mark.parametrize(
    "wrong",
    [
        -1,
        2**32,
        "-1",
        "4294967296",
        1.5,
        "1.5",
        "0x10",
        "1e3",
        "12a",
        "١٢",
        True,
        False,
        [1],
        {"a": 1},
        float("nan"),
        float("inf"),
        10**100,
        "9" * 30,
    ],
)
def test_uid_is_out_of_bounds(wrong):
    """What is no uid of Agora's is refused with the bounds."""
    problem = only(problems(agora_uid=wrong))
    assert problem.startswith("params.agora_uid: expected a whole number")
    assert "from 0 to 4294967295" in problem


@pytest.mark.parametrize("zero", [0, "0", "0.0"])
def test_uid_zero_is_warned_of(zero):
    """With uid 0 nobody knows the avatar's uid: allowed, but said."""
    warning = only(list(loaded(agora_uid=zero).warnings))
    assert warning.startswith("params.agora_uid is 0")


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("session_expire_minutes", 1, 1),
        ("session_expire_minutes", "1440", 1440),
        ("sample_rate", "16000", 16000),
        ("end_of_speech_timeout_ms", 0, 0),
        ("end_of_speech_timeout_ms", "250", 250),
        ("max_buffered_speech_s", 0.5, 0.5),
        ("max_buffered_speech_s", "0.5", 0.5),
        ("max_buffered_speech_s", "90", 90),
        ("max_buffered_speech_s", 3600, 3600),
        ("resume_rewind_ms", "0", 0),
        ("resume_rewind_ms", 5000, 5000),
        ("resume_within_s", 0, 0),
        ("resume_within_s", "0.5", 0.5),
        ("resume_within_s", 3600, 3600),
        ("fallback_after_ms", "0", 0),
        ("fallback_after_ms", 60000, 60000),
        ("idle_disconnect_s", "86400", 86400),
        ("idle_disconnect_s", 0.5, 0.5),
    ],
)
def test_numbers_are_taken_as_text_too(name, given, value):
    """A number may come from an environment variable, hence as text."""
    assert getattr(loaded(**{name: given}).params, name) == value


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("session_expire_minutes", 0),
        ("session_expire_minutes", 1441),
        ("session_expire_minutes", "half"),
        ("session_expire_minutes", 1.5),
        ("sample_rate", "24k"),
        ("sample_rate", 0),
        ("sample_rate", True),
        ("end_of_speech_timeout_ms", -1),
        ("end_of_speech_timeout_ms", 0.5),
        ("max_buffered_speech_s", 0),
        ("max_buffered_speech_s", -3),
        ("max_buffered_speech_s", 1e6),
        ("max_buffered_speech_s", float("nan")),
        ("max_buffered_speech_s", "a minute"),
        ("resume_rewind_ms", -1),
        ("resume_rewind_ms", 5001),
        ("resume_rewind_ms", 0.5),
        ("resume_within_s", -0.1),
        ("resume_within_s", 3601),
        ("fallback_after_ms", -1),
        ("fallback_after_ms", 60001),
        ("fallback_after_ms", "never"),
        ("idle_disconnect_s", -1),
        ("idle_disconnect_s", 86401),
        ("sample_rate", "automat"),
    ],
)
def test_numbers_have_bounds(name, wrong):
    """A number out of bounds is refused with what was expected and came."""
    problem = only(problems(**{name: wrong}))
    assert problem.startswith(f"params.{name}: expected a")
    assert f"got {wrong!r}" in problem


# Audio


@pytest.mark.parametrize(
    "rate", [8000, 16000, 22050, 24000, 32000, 44100, 48000]
)
def test_pcm_rates(rate):
    """These rates are what the service takes as PCM."""
    assert loaded(sample_rate=rate).params.sample_rate == rate


@pytest.mark.parametrize("rate", [8000, 12000, 16000, 24000, 48000])
def test_opus_rates(rate):
    """These rates are what the Opus encoder takes."""
    params = loaded(audio_format="ogg_opus", sample_rate=rate).params
    assert params.sample_rate == rate


@pytest.mark.parametrize(
    ("audio_format", "rate"),
    [
        ("pcm_s16le", 12000),
        ("pcm_s16le", 11025),
        ("ogg_opus", 22050),
        ("ogg_opus", 44100),
    ],
)
def test_rate_does_not_fit_the_format(audio_format, rate):
    """Another rate is refused with those that the format allows."""
    problem = only(problems(audio_format=audio_format, sample_rate=rate))
    assert problem.startswith("params.sample_rate: expected one of 8000, ")
    assert f"with {audio_format}, got {rate}" in problem


@pytest.mark.parametrize("given", ["auto", " Auto "])
@pytest.mark.parametrize("audio_format", ["pcm_s16le", "ogg_opus"])
def test_rate_may_be_that_of_the_frames(given, audio_format):
    """With `auto`, frames may have any rate that the format allows."""
    params = loaded(sample_rate=given, audio_format=audio_format).params
    assert params.sample_rate == "auto"
    assert params.rates_hz == RATES_HZ[audio_format]


def test_rate_that_is_given_is_the_only_one():
    """With a number, frames must have it."""
    assert loaded(sample_rate=16000).params.rates_hz == (16000,)


@pytest.mark.parametrize("wrong", ["pcm", "PCM_S16LE", 5, ["ogg_opus"], True])
def test_unknown_format(wrong):
    """Another format is refused with those that there are."""
    problem = only(problems(audio_format=wrong))
    assert problem.startswith(
        "params.audio_format: expected pcm_s16le or ogg_opus, got "
    )


# Channel


@pytest.mark.parametrize(
    "channel",
    [
        "a",
        "a" * 64,
        string.ascii_letters,
        string.digits,
        " !#$%&()+-:;<=.>?@[]^_{}|~,",
    ],
)
def test_channel_characters(channel):
    """What Agora allows in a channel's name is taken as it is."""
    assert loaded(agora_channel=channel).params.agora_channel == channel


@pytest.mark.parametrize(
    "channel",
    ["a" * 65, "a/b", "a\\b", "a'b", 'a"b', "a*b", "a`b", "é", "a\n", "房间"],
)
@pytest.mark.parametrize("path", ["channel", "params.agora_channel"])
def test_channel_is_not_agoras(channel, path):
    """What Agora would refuse is refused, wherever it was given."""
    if path == "channel":
        found = problems(top={"channel": channel})
    else:
        found = problems(agora_channel=channel)
    assert only(found).startswith(f"{path}: expected 1 to 64 ")


def test_channel_length_is_in_bytes():
    """A name is refused for its characters long before 64 of two bytes."""
    assert only(problems(agora_channel="é" * 33))


def test_channel_that_is_no_text_of_unicode():
    """Half a surrogate pair, which JSON can hold, is refused like others."""
    problem = only(problems(agora_channel="\ud800"))
    assert problem.startswith("params.agora_channel: expected 1 to 64 ")


def test_top_level_channel_wins():
    """The agent's server fills in `channel`, so it wins over the param."""
    params = loaded(top={"channel": "meeting"}).params
    assert params.agora_channel == "meeting"


def test_top_level_channel_is_enough():
    """With `channel` there, the param need not be."""
    params = loaded(top={"channel": "meeting"}, agora_channel=None).params
    assert params.agora_channel == "meeting"


@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_channel_does_not_win(blank):
    """A `channel` that was not filled in leaves the param as it is."""
    assert loaded(top={"channel": blank}).params.agora_channel == "room"


def test_channel_that_is_overridden_is_not_judged():
    """What is not used is not checked."""
    params = loaded(top={"channel": "meeting"}, agora_channel="a/b").params
    assert params.agora_channel == "meeting"


# App ID, certificate and token


@pytest.mark.parametrize("name", ["agora_appid", "agora_appcert"])
@pytest.mark.parametrize(
    "wrong", ["abc", "g" * 32, "a" * 31, "a" * 33, "-" * 32]
)
def test_signing_takes_32_hexadecimal_digits(name, wrong):
    """Where the extension signs, App ID and certificate have their form."""
    problem = only(problems(**{name: wrong}))
    assert problem.startswith(f"params.{name}: expected 32 hexadecimal digits")
    assert wrong not in problem


@pytest.mark.parametrize("name", ["agora_appid", "agora_appcert"])
def test_given_token_needs_no_such_form(name):
    """Where a token is given, nothing is signed with them."""
    params = {**GIVEN, "agora_token": "a token of another kind"}
    assert loaded(params, **{name: "abc"}).warnings == ()


def test_given_token_for_another_app():
    """A token of another App ID would be refused by Agora: said before."""
    problem = only(problems(GIVEN, agora_token=signed(app_id=OTHER_APP_ID)))
    assert problem.startswith("params.agora_token: ")
    assert "another App ID" in problem


@pytest.mark.parametrize(
    ("over_s", "words"), [(0, "0 s"), (90, "90 s"), (3600, "60 min")]
)
def test_given_token_has_expired(over_s, words):
    """A token that has ended is an error that says when it ended."""
    problem = only(problems(GIVEN, agora_token=signed(-over_s)))
    assert problem.startswith("params.agora_token: ")
    assert f"expired {words} ago" in problem


def test_given_token_has_expired_and_for_another_app():
    """Both are reported."""
    found = problems(GIVEN, agora_token=signed(-9, OTHER_APP_ID))
    assert paths(found) == ["params.agora_token"] * 2


@pytest.mark.parametrize(
    ("ends_in_s", "warned"),
    [(1, True), (1799, True), (1800, False), (7200, False)],
)
def test_given_token_expires_early(ends_in_s, warned):
    """A token that expires before session_expire_minutes is a warning."""
    warnings = loaded(GIVEN, agora_token=signed(ends_in_s)).warnings
    assert [
        w.startswith("params.agora_token expires in") for w in warnings
    ] == ([True] if warned else [])


def test_given_token_of_no_known_form_is_taken():
    """A token is used as it is; what cannot be read is not judged."""
    assert loaded(GIVEN, agora_token="007-not-one").warnings == ()


# Endpoints and region


@pytest.mark.parametrize("ingress", ["ws", "wss", "http", "https"])
@pytest.mark.parametrize("console", ["http", "https"])
def test_endpoint_schemes(console, ingress):
    """Both endpoints are taken as they are, with these schemes."""
    urls = {
        "console_endpoint_url": f"{console}://127.0.0.1:8080/v1",
        "ingress_endpoint_url": f"{ingress}://127.0.0.1:8081/v2",
    }
    params = loaded(**urls).params
    assert params.console_endpoint_url == urls["console_endpoint_url"]
    assert params.ingress_endpoint_url == urls["ingress_endpoint_url"]


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("console_endpoint_url", "ingress_endpoint_url"),
        ("ingress_endpoint_url", "console_endpoint_url"),
    ],
)
def test_one_endpoint_is_not_enough(name, other):
    """The endpoint that is missing is named, with the one that is there."""
    problem = only(problems(**{name: OWN_SERVICE[name]}))
    assert problem.startswith(f"params.{other}: required")
    assert name in problem


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("console_endpoint_url", "wss://console.test"),
        ("console_endpoint_url", "ftp://console.test"),
        ("console_endpoint_url", "console.test/v1"),
        ("console_endpoint_url", "https://:443"),
        ("console_endpoint_url", "https:///v1"),
        ("console_endpoint_url", "https://[::1"),
        ("console_endpoint_url", "https://host:port"),
        ("console_endpoint_url", "https://host:99999"),
        ("console_endpoint_url", 5),
        ("ingress_endpoint_url", "file:///etc/passwd"),
        ("ingress_endpoint_url", "//ingress.test"),
        ("ingress_endpoint_url", ["wss://ingress.test"]),
    ],
)
def test_endpoint_is_no_url(name, wrong):
    """What cannot be connected to is refused, and not shown."""
    problem = only(problems(**{**OWN_SERVICE, name: wrong}))
    assert problem.startswith(f"params.{name}: expected ")
    assert str(wrong) not in problem


@pytest.mark.parametrize(
    "url", ["https://exa mple.test", "https://a\nb.test", "https://a.test/\tb"]
)
def test_endpoint_holds_no_white_space(url):
    """Nor is a URL taken that no request can carry."""
    problem = only(problems(**{**OWN_SERVICE, "console_endpoint_url": url}))
    assert problem.startswith("params.console_endpoint_url: expected ")


@pytest.mark.parametrize(
    "region", ["us-west", "ap-northeast", "cn-beijing", "auto", "x"]
)
def test_region(region):
    """Regions are not known beforehand: any that can be a name is taken."""
    assert loaded(region=region).params.region == region


@pytest.mark.parametrize(
    "wrong", ["us west", "evil.test/", "a.b", "-x", "x-", "US-WEST", "é"]
)
def test_region_is_no_name(wrong):
    """A region becomes part of a host's name, so that it must be one."""
    problem = only(problems(region=wrong))
    assert problem.startswith("params.region: expected a region such as ")


# Texts and booleans


@pytest.mark.parametrize(
    "name",
    [
        "spatius_api_key",
        "spatius_app_id",
        "spatius_avatar_id",
        "agora_appid",
        "agora_appcert",
        "agora_channel",
        "agora_token",
        "region",
    ],
)
@pytest.mark.parametrize("wrong", [5, True, [], {}, ["text"], 1.5])
def test_text_is_of_another_type(name, wrong):
    """A text that is none is refused with the type that came."""
    assert (
        f"params.{name}: expected text, got a value of type "
        f"{type(wrong).__name__}"
    ) in problems(**{name: wrong})


@pytest.mark.parametrize("name", ["spatius_api_key", "spatius_app_id"])
@pytest.mark.parametrize("wrong", ["a b", "a\nb", "a\0b", "schlüssel"])
def test_header_takes_no_such_text(name, wrong):
    """Both go out in an HTTP header; what breaks one is refused unseen."""
    problem = only(problems(**{name: wrong}))
    assert problem.startswith(f"params.{name}: expected printable ASCII")
    assert wrong not in problem


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (True, True),
        (False, False),
        ("true", True),
        ("True", True),
        ("1", True),
        ("yes", True),
        ("on", True),
        ("false", False),
        (" FALSE ", False),
        ("0", False),
        ("no", False),
        ("off", False),
    ],
)
def test_booleans(given, value):
    """A boolean may come from an environment variable, hence as text."""
    assert loaded(telemetry=given).params.telemetry is value
    assert loaded(top={"dump": given}).dump is value
    assert loaded(top={"auto_connect": given}).auto_connect is value


@pytest.mark.parametrize("wrong", ["maybe", 2, 1, 0, 1.0])
def test_boolean_is_neither(wrong):
    """What is neither true nor false is refused with what came."""
    assert only(problems(telemetry=wrong)) == (
        f"params.telemetry: expected true or false, got {wrong!r}"
    )
    for name in ("dump", "auto_connect"):
        assert only(problems(top={name: wrong})) == (
            f"{name}: expected true or false, got {wrong!r}"
        )


@pytest.mark.parametrize("wrong", [[True], {}, {"a": True}])
def test_boolean_is_of_another_type(wrong):
    """Nor is a list or an object a boolean."""
    problem = only(problems(telemetry=wrong))
    assert problem.startswith("params.telemetry: expected true or false, got ")


def test_dump_path():
    """The folder of the dump is taken as it is."""
    settings = loaded(top={"dump": True, "dump_path": "/tmp/some where"})
    assert settings.dump is True
    assert settings.dump_path == "/tmp/some where"


@pytest.mark.parametrize("wrong", ["a\0b", "\ud800"])
def test_dump_path_that_no_file_system_takes(wrong):
    """What cannot name a folder is reported before the dump begins."""
    problem = only(problems(top={"dump": True, "dump_path": wrong}))
    assert problem.startswith("dump_path: expected ")


# Unknown params


def test_unknown_params_make_one_warning():
    """A typing error must be visible: names in one warning, no values."""
    warning = only(
        list(loaded(agora_chanel="attic", zoom=3, regoin=None).warnings)
    )
    assert "agora_chanel, zoom" in warning
    assert "attic" not in warning


def test_unknown_param_shows_no_value():
    """A secret may stand behind a name that was mistyped."""
    warnings = loaded(spatius_apikey=API_KEY, agora_cert=CERTIFICATE).warnings
    assert not leaks(only(list(warnings)))


def test_what_an_endpoint_url_hides_is_a_secret():
    """A service or a library may repeat the whole URL."""
    secrets = loaded(
        console_endpoint_url="https://someone:pass-word@a.example/c?key=a-key",
        ingress_endpoint_url="wss://a.example/i?token=a-token",
    ).secrets()
    assert {"someone", "pass-word", "key=a-key", "token=a-token"} <= {*secrets}


def test_huge_number_is_not_repeated():
    """No more digits than a number has that somebody may have meant."""
    problem = only(problems(session_expire_minutes=10**1000))
    assert len(problem) < 200


def test_unknown_params_are_named_beside_what_is_missing():
    """A required value under a mistyped name is found at once."""
    missing, unknown = problems(spatius_api_key=None, spatius_apikey=API_KEY)
    assert missing.startswith("params.spatius_api_key: required")
    assert "spatius_apikey" in unknown
    assert not leaks(unknown)


@pytest.mark.parametrize(
    "name", ["auto_connect", "channel", "dump", "dump_path"]
)
def test_top_level_property_under_params_is_no_unknown_param(name):
    """One warning each says where it belongs; its value is not used."""
    at_its_place = loaded()
    config = loaded(**{name: "elsewhere"})
    assert config.model_copy(update={"warnings": ()}) == at_its_place
    assert only(list(config.warnings)) == (
        f"params.{name}: not used under params; it belongs to the top level"
    )
    assert len(loaded(**{name: True, "zoom": 3}).warnings) == 2


def test_misplaced_channel_is_named_beside_what_is_missing():
    """It is the reason."""
    missing, misplaced = problems(agora_channel=None, channel="attic")
    assert missing.startswith("params.agora_channel: required")
    assert misplaced.startswith("params.channel: not used under params")


def test_unknown_params_do_no_harm():
    """The warning is all that becomes of them."""
    assert loaded(anything={"a": [1, None]}).params == loaded().params


# Placeholders


@pytest.mark.parametrize(
    "name", [name for name in Params.model_fields if "url" not in name]
)
@pytest.mark.parametrize("text", ["${env:SOME_NAME}", "x-${env:SOME_NAME}-y"])
def test_placeholder_that_was_not_expanded(name, text):
    """A placeholder within a text stays one: the problem says so."""
    problem = only(problems(**{name: text}))
    assert problem.startswith(f"params.{name}: ")
    assert "unexpanded placeholder ${env:SOME_NAME}" in problem


@pytest.mark.parametrize("name", ["channel", "dump", "dump_path"])
def test_placeholder_at_the_top_level(name):
    """The top level's are reported once, too."""
    problem = only(problems(top={name: "${env:SOME_NAME}/x"}))
    assert problem.startswith(f"{name}: ")
    assert "unexpanded placeholder ${env:SOME_NAME}" in problem


def test_placeholder_within_an_endpoint():
    """An endpoint is where people try it."""
    urls = {**OWN_SERVICE, "console_endpoint_url": "https://${env:HOST}/v1"}
    problem = only(problems(**urls))
    assert problem.startswith("params.console_endpoint_url: ")
    assert "unexpanded placeholder ${env:HOST}" in problem


@pytest.mark.parametrize("name", [*Params.model_fields])
def test_default_of_a_placeholder_is_not_shown(name):
    """What follows the bar is a value, which may be a secret."""
    found = problems(**{name: f"a${{env:NAME|{API_KEY}}}b"})
    assert "unexpanded placeholder ${env:NAME}" in "; ".join(found)
    assert not leaks("; ".join(found))


@pytest.mark.parametrize("name", ["channel", "dump", "dump_path"])
def test_default_of_a_top_level_placeholder_is_not_shown(name):
    """Nor at the top level, where no secret belongs."""
    found = problems(
        top={name: f"a${{env:NAME|{CERTIFICATE}}}b"},
        agora_token=AGORA_TOKEN,
        agora_appcert=None,
    )
    assert "unexpanded placeholder ${env:NAME}" in "; ".join(found)
    assert not leaks("; ".join(found))


@pytest.mark.parametrize("secret", [API_KEY, CERTIFICATE])
@pytest.mark.parametrize("form", ["${{env:{}}}", "${{env:{}", "${{env:{}|}}"])
def test_secret_in_place_of_the_variables_name(form, secret):
    """Some write the key itself where its variable's name belongs."""
    text = form.format(secret)
    for name in ("spatius_api_key", "agora_appcert", "region"):
        found = problems(**{name: text})
        assert f"params.{name}" in paths(found)
        assert not leaks("; ".join(found))


# Secrets


@pytest.mark.parametrize("params", [REQUIRED, GIVEN])
def test_configuration_never_prints_a_secret(params):
    """Whatever is made of a configuration as text, it holds no secret."""
    settings = loaded(params)
    shown = [
        repr(settings),
        str(settings),
        f"{settings.params}",
        repr(settings.params),
        str(settings.model_dump()),
        settings.model_dump_json(),
        json.dumps(settings.summary()),
    ]
    assert not leaks(" ".join(shown))


@pytest.mark.parametrize(
    "name",
    [
        "agora_uid",
        "sample_rate",
        "session_expire_minutes",
        "end_of_speech_timeout_ms",
        "max_buffered_speech_s",
        "audio_format",
        "region",
        "telemetry",
        "console_endpoint_url",
        "ingress_endpoint_url",
    ],
)
@pytest.mark.parametrize(
    "wrap",
    [
        "{}",
        "Bearer {}",
        " {} ",
        "0123456789" * 5 + "{}",
        "{}/{}",
        ["{}"],
        {"a": "{}"},
    ],
)
@pytest.mark.parametrize("secret", [API_KEY, CERTIFICATE, AGORA_TOKEN])
def test_secret_in_another_field_is_not_shown(name, wrap, secret):
    """A secret pasted into the wrong field too is masked where it is reported."""
    pasted = json.loads(json.dumps(wrap).replace("{}", secret))
    found = problems(**{"agora_token": AGORA_TOKEN, name: pasted})
    assert not leaks("; ".join(found))


@pytest.mark.parametrize("secret", [API_KEY, CERTIFICATE])
@pytest.mark.parametrize("top", [True, False])
def test_secret_as_a_channel_is_not_shown(secret, top):
    """Nor is one in a channel's name."""
    channel = f"/{secret}"
    found = (
        problems(top={"channel": channel})
        if top
        else problems(agora_channel=channel)
    )
    assert not leaks("; ".join(found))


@pytest.mark.parametrize(
    ("own", "name"),
    [
        ("agora_appcert", "agora_uid"),
        ("agora_appcert", "sample_rate"),
        ("spatius_api_key", "region"),
        ("spatius_api_key", "audio_format"),
        ("spatius_api_key", "telemetry"),
        ("agora_token", "agora_uid"),
    ],
)
def test_secret_that_stands_only_in_the_wrong_field(own, name):
    """One that slipped into the next line is not shown there either."""
    params = {**REQUIRED, "agora_token": AGORA_TOKEN}
    if own == "spatius_api_key":
        secret = API_KEY + "A"  # no region
    else:
        secret = params[own]
    found = problems({**params, own: None, name: secret})
    assert f"params.{name}" in paths(found)
    assert not leaks("; ".join(found))


def test_secret_as_a_params_name_is_not_shown():
    """A secret that became a name, by a misplaced quote, is masked."""
    settings = config.load(tree(**{API_KEY: 1}), NOW_S)
    assert not leaks("; ".join(settings.warnings))


@pytest.mark.parametrize(
    "name", ["agora_appid", "agora_appcert", "spatius_app_id"]
)
def test_secret_in_a_neighbours_place_is_not_shown(name):
    """The key in place of an ID is refused unseen."""
    found = problems(**{name: f"{API_KEY}é"})
    assert not leaks("; ".join(found))


def test_traceback_shows_no_secret():
    """What a failed load leaves behind holds no secret, nor its causes."""
    try:
        loaded(GIVEN, agora_uid=API_KEY, region=AGORA_TOKEN)
    except config.ConfigError as error:
        shown = "".join(traceback.format_exception(error))
        shown += repr(error) + str(error.args)
        assert error.__context__ is None
        assert error.__cause__ is None
    else:
        pytest.fail("the configuration was taken")
    assert not leaks(shown)


def test_error_of_a_url_shows_no_password():
    """A URL can hold a password: it is not shown when it is invalid."""
    found = problems(
        console_endpoint_url="https://user:hunter2-hunter2@host:port",
        ingress_endpoint_url="ftp://user:hunter2-hunter2@host",
    )
    assert "hunter" not in "; ".join(found)


def test_secrets_are_those_for_the_redactor():
    """The secret values are given out for one purpose, and all of them."""
    settings = loaded(agora_token=AGORA_TOKEN)
    assert sorted(settings.secrets()) == sorted(
        [API_KEY, AGORA_TOKEN, CERTIFICATE]
    )
    assert sorted(loaded().secrets()) == sorted([API_KEY, CERTIFICATE])


def test_summary_tells_which_secrets_are_set():
    """The line in the log says what there is, not what it is."""
    shown = loaded().summary()["params"]
    assert shown["spatius_api_key"] == "set"
    assert shown["agora_appcert"] == "set"
    assert shown["agora_token"] == "not set"


def test_summary_tells_everything_else():
    """All that may be configured is in it, as JSON."""
    settings = loaded(top={"channel": "meeting", "dump": True})
    shown = json.loads(json.dumps(settings.summary()))
    assert set(shown["params"]) == set(Params.model_fields)
    assert shown["dump"] is True
    assert shown["dump_path"] == ""
    assert shown["params"]["agora_channel"] == "meeting"
    assert shown["params"]["sample_rate"] == 24000
    assert shown["params"]["agora_uid"] == 1001


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/v1", "https://host/v1"),
        ("https://me:hunter2@host:8080/v1", "https://host:8080/v1"),
        ("https://host/v1?key=hunter2#hunter2", "https://host/v1"),
        ("http://[::1]:80/v1", "http://[::1]:80/v1"),
    ],
)
def test_summary_shows_urls_without_their_secrets(url, shown):
    """Userinfo, query and fragment can hold a password or a key."""
    urls = {**OWN_SERVICE, "console_endpoint_url": url}
    params = loaded(**urls).summary()["params"]
    assert params["console_endpoint_url"] == shown


def test_repr_shows_urls_without_their_secrets():
    """Nor does a password in a URL stand in a repr."""
    urls = {
        "console_endpoint_url": "https://me:hunter2@host/v1?key=hunter2",
        "ingress_endpoint_url": "wss://me:hunter2@host/v2",
    }
    assert "hunter2" not in repr(loaded(**urls))


def test_configuration_cannot_be_changed():
    """It is read once, and holds for the run."""
    with pytest.raises(Exception, match="frozen"):
        loaded().params.agora_uid = 2  # type: ignore[misc]


# Anything at all

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(categories=None), max_size=70)
    | st.sampled_from(["${env:A|b}", "\ud800", "\0", "", " ", "7", "auto"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
NAMES = [*Params.model_fields]
TOP_NAMES = ["channel", "dump", "dump_path"]


def load_anything(properties: Any) -> str:
    """Load what may be nonsense; return all that was said about it."""
    try:
        settings = config.load(properties, NOW_S)
    except config.ConfigError as error:
        assert error.problems
        return "".join(traceback.format_exception(error))
    json.dumps(settings.summary())
    repr(settings)
    return "; ".join(settings.warnings)


@given(json_values | st.fixed_dictionaries({"params": json_values}))
def test_any_tree_is_loaded_or_refused(properties):
    """Whatever stands in property.json, nothing but ConfigError is raised."""
    load_anything(properties)


@given(
    changed=st.dictionaries(st.sampled_from(NAMES), json_values, max_size=4),
    top=st.dictionaries(st.sampled_from(TOP_NAMES), json_values, max_size=3),
)
@example(changed={}, top={"dump": 10**4000})
@example(changed={"agora_uid": 10**4000, "telemetry": -(10**400)}, top={})
def test_any_values_are_loaded_or_refused(changed, top):
    """Nor do values that are invalid one by one raise anything else."""
    load_anything(tree({**REQUIRED, **changed}, top))


@st.composite
def pasted(draw):
    """A value of any form that repeats secrets, whole or in part."""
    secret = draw(st.sampled_from([API_KEY, CERTIFICATE, AGORA_TOKEN]))
    start = draw(st.integers(0, len(secret)))
    end = draw(st.integers(start, len(secret)))
    text = (
        draw(st.text(max_size=60))
        + secret[start:end]
        + draw(st.sampled_from(["", " ", "/", "\n", secret]))
    )
    return draw(st.sampled_from([text, [text], {"a": text}, {text: 1}]))


@given(
    st.dictionaries(
        st.sampled_from([n for n in NAMES if n not in SECRETS]),
        pasted(),
        max_size=4,
    ),
    st.dictionaries(st.sampled_from(TOP_NAMES), pasted(), max_size=3),
)
def test_no_error_shows_a_secret_that_is_known(changed, top):
    """Wherever a secret was pasted too, no error or warning shows it."""
    said = load_anything(
        tree({**REQUIRED, "agora_token": AGORA_TOKEN, **changed}, top)
    )
    assert not leaks(said)


# Extra params and telemetry


def test_extra_params():
    """They are texts by name; the log shows the names only."""
    settings = loaded(extra_params={"b": "value-Zx9", "a": ""})
    assert settings.params.extra_params == {"a": "", "b": "value-Zx9"}
    assert settings.summary()["params"]["extra_params"] == ["a", "b"]
    assert "value-Zx9" not in repr(settings)


@pytest.mark.parametrize(
    "wrong", ["a=b", 5, ["a"], True, {"a": 1}, {"a": None}, {"a": {}}]
)
def test_extra_params_are_no_texts(wrong):
    """Anything else is refused, since Spatius takes nothing else."""
    problem = only(problems(extra_params=wrong))
    assert problem.startswith("params.extra_params: expected ")


def test_extra_param_that_was_not_expanded():
    """A placeholder within is named with its place."""
    problem = only(problems(extra_params={"a": "x ${env:NAME|y}"}))
    assert problem.startswith("params.extra_params.a: expected a value")
    assert "${env:NAME}" in problem


@pytest.mark.parametrize(
    "wrong", ["otel.test", "ftp://otel.test", "http://h/?a=b", "http://h/#a"]
)
def test_telemetry_endpoint_is_a_base_url(wrong):
    """The SDK puts paths behind it."""
    problem = only(problems(telemetry=True, telemetry_endpoint=wrong))
    assert problem.startswith("params.telemetry_endpoint: expected a URL")


def test_password_of_the_telemetry_endpoint_is_secret():
    """Like that of the other URLs."""
    settings = loaded(
        telemetry=True, telemetry_endpoint="https://me:hunter2@otel.test/v1"
    )
    shown = settings.summary()["params"]["telemetry_endpoint"]
    assert shown == "https://otel.test/v1"
    assert "hunter2" in settings.secrets()
    assert "hunter2" not in repr(settings)
    assert settings.warnings == ()


def test_telemetry_endpoint_without_telemetry_is_warned_of():
    """It is not used, which is likely not meant."""
    settings = loaded(telemetry_endpoint="https://otel.test")
    warning = only(list(settings.warnings))
    assert warning.startswith("params.telemetry_endpoint is not used")


# Where TEN's bundled extension of the same name has its properties

TOP_LEVEL = {
    name: value for name, value in REQUIRED.items() if name[:6] == "agora_"
}


def test_agora_properties_beside_params_count():
    """A graph for the bundled extension works; one warning names the place."""
    beside = {name: None for name in TOP_LEVEL}
    settings = loaded(top=TOP_LEVEL, **beside)
    assert settings.params == loaded().params
    warning = only(list(settings.warnings))
    assert "belong under params" in warning
    for name in TOP_LEVEL:
        assert name in warning


def test_agora_token_beside_params_counts():
    """The token is one of them, and as secret as under params."""
    settings = loaded(top={"agora_token": AGORA_TOKEN}, agora_appcert=None)
    assert AGORA_TOKEN in settings.secrets()
    assert not leaks("; ".join(settings.warnings))


def test_params_win_over_what_stands_beside():
    """What params hold is used, and no warning speaks of the rest."""
    settings = loaded(top={name: "other" for name in TOP_LEVEL})
    assert settings == loaded()


@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_beside_params_does_not_count(blank):
    """What was not filled in is not there."""
    problem = only(problems(top={"agora_appid": blank}, agora_appid=None))
    assert problem.startswith("params.agora_appid: required")


def test_channel_wins_over_agora_channel_beside_params():
    """`channel` is what the agent's server fills in."""
    settings = loaded(
        top={"channel": "meeting", "agora_channel": "old"}, agora_channel=None
    )
    assert settings.params.agora_channel == "meeting"
    assert settings.warnings == ()


def test_problem_of_what_stands_beside_params_names_the_place():
    """The path is where the value stands, and no secret is shown."""
    found = problems(
        top={"agora_uid": -1, "agora_appcert": f"{CERTIFICATE}é"},
        agora_uid=None,
        agora_appcert=None,
    )
    assert paths(found) == ["agora_appcert", "agora_uid"]
    assert not leaks("; ".join(found))


def test_placeholder_beside_params_names_the_place():
    """So is that of a placeholder."""
    problem = only(problems(top={"agora_appid": "${env:ID"}, agora_appid=None))
    assert problem.startswith("agora_appid: expected a value")


# What is written about it


def written_defaults() -> dict[str, str]:
    """Return the default of each param in the table of configuration.md."""
    rows = re.findall(
        r"^\| `params\.(\w+)` \| *(.*?) *\|",
        CONFIGURATION.read_text(),
        re.MULTILINE,
    )
    assert len(rows) == len(dict(rows)), "a param stands there twice"
    return dict(rows)


def test_table_lists_every_param_with_its_default():
    """configuration.md and `Params` hold the same names and defaults."""
    written = written_defaults()
    assert set(written) == set(Params.model_fields)
    for name, field in Params.model_fields.items():
        text = written[name].strip("`")
        if field.is_required():
            assert text == "required", name
        elif field.default is None:
            assert not text[:1].isdigit(), name
            assert text != "required", name
        else:
            default = field.get_default(call_default_factory=True)
            shown = default if isinstance(default, str) else json.dumps(default)
            assert text == shown, name


def test_property_json_holds_every_param_with_its_default():
    """property.json shows all that there is to set, and changes nothing."""
    properties = json.loads(PROPERTY_JSON.read_text())
    written = properties.pop("params")
    assert set(written) == set(Params.model_fields)
    for name, value in written.items():
        field = Params.model_fields[name]
        if PLACEHOLDER.fullmatch(str(value)):
            assert field.is_required() or field.default is None, name
        elif value == "":
            assert field.default is None, name
        else:
            default = field.get_default(call_default_factory=True)
            assert (value, type(value)) == (default, type(default)), name
    fields = config.Config.model_fields
    assert set(properties) == {"channel", *fields} - {"params", "warnings"}
    for name, value in properties.items():
        assert value == (fields[name].default if name in fields else ""), name


def test_placeholders_are_tens():
    """What the package takes for a placeholder is what TEN expands."""
    ten_properties = pytest.importorskip(
        "ten_runtime._properties", reason="the stand-in's internals"
    )
    assert PLACEHOLDER == ten_properties._PLACEHOLDER
