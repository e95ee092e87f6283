"""The params of a session: audio, channel, tokens and endpoints."""

import string

import pytest
from access_tokens import JOIN, built_007, rtc_service
from configured import (
    APP_ID,
    GIVEN,
    NOW_S,
    OTHER_APP_ID,
    OWN_SERVICE,
    loaded,
    only,
    paths,
    problems,
    signed,
)
from spatius_avatar_python.settings.params import RATES_HZ

# Audio


@pytest.mark.parametrize(
    ("audio_format", "rates"),
    [
        ("pcm_s16le", (8000, 16000, 22050, 24000, 32000, 44100, 48000)),
        ("ogg_opus", (8000, 12000, 16000, 24000, 48000)),
    ],
)
def test_rates_of_a_format(audio_format, rates):
    """Those of the service for PCM and of the Opus encoder; another one is
    refused with those that the format allows."""
    for rate in {11025, 12000, 22050, 44100, *rates}:
        given = {"audio_format": audio_format, "sample_rate": rate}
        if rate in rates:
            assert loaded(**given).params.sample_rate == rate
            continue
        problem = only(problems(**given))
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
    """A channel's name with Agora's characters is taken as it is."""
    assert loaded(agora_channel=channel).params.agora_channel == channel


@pytest.mark.parametrize(
    "channel",
    ["a" * 65, "a/b", "a\\b", "a'b", 'a"b', "a*b", "a`b", "é", "a\n", "房间"],
)
@pytest.mark.parametrize("path", ["channel", "params.agora_channel"])
def test_channel_is_not_agoras(channel, path):
    """A name that Agora would refuse is refused, wherever it was given."""
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


@pytest.mark.parametrize("param", ["room", None, "a/b"])
def test_top_level_channel_wins(param):
    """The agent's server fills in `channel`: the param need not be there, and
    is not checked."""
    params = loaded(top={"channel": "meeting"}, agora_channel=param).params
    assert params.agora_channel == "meeting"


@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_channel_does_not_win(blank):
    """A `channel` that was not filled in leaves the param as it is."""
    assert loaded(top={"channel": blank}).params.agora_channel == "room"


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


def publisher(join_s: int) -> bytes:
    """Return a publisher's part of a version-007 token."""
    return rtc_service({JOIN: join_s, 2: 0, 3: 0}, "room", "1001")


@pytest.mark.parametrize(
    ("ends_in_s", "app_id", "words"),
    [
        (-3600, APP_ID, "expired 60 min ago"),
        (3600, OTHER_APP_ID, "another App ID"),
    ],
)
def test_given_token_of_version_007_is_read_too(ends_in_s, app_id, words):
    """Its App ID and its end are compressed, and no secret."""
    issued_at_s, service = int(NOW_S) - 9000, publisher(join_s=0)
    given = built_007(issued_at_s, 9000 + ends_in_s, service, app_id=app_id)
    problem = only(problems(GIVEN, agora_token=given))
    assert problem.startswith("params.agora_token: ")
    assert words in problem


def test_right_to_join_of_version_007_ends_before_the_token():
    """The warning names the earlier of the two."""
    issued_at_s = int(NOW_S)
    service = publisher(join_s=600)
    given = built_007(issued_at_s, 86_400, service, app_id=APP_ID)
    (warning,) = loaded(GIVEN, agora_token=given).warnings
    assert warning.startswith("params.agora_token expires in 10 min")


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
    """A token is used as it is; an unreadable one is not judged."""
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
        ("console_endpoint_url", "https://console..test"),
        ("console_endpoint_url", f"https://{'a' * 64}.test"),
        ("console_endpoint_url", 5),
        ("ingress_endpoint_url", "file:///etc/passwd"),
        ("ingress_endpoint_url", "//ingress.test"),
        ("ingress_endpoint_url", ["wss://ingress.test"]),
    ],
)
def test_endpoint_is_no_url(name, wrong):
    """A URL that cannot be connected to is refused, and not shown."""
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
    "wrong",
    ["us west", "evil.test/", "a.b", "-x", "x-", "US-WEST", "é", "x" * 64],
)
def test_region_is_no_name(wrong):
    """A region becomes part of a host's name, so that it must be one."""
    problem = only(problems(region=wrong))
    assert problem.startswith("params.region: expected a region such as ")


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
    """Any other rate is refused, as by Spatius."""
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
