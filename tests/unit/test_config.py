"""Configurations that are accepted, and those that are refused."""

import json
import re

import pytest
from configured import (
    AGORA_TOKEN,
    API_KEY,
    APP_ID,
    CERTIFICATE,
    CONFIGURATION,
    CREDENTIALS,
    GIVEN,
    NOW_S,
    OWN_SERVICE,
    PROPERTY_JSON,
    REQUIRED,
    leaks,
    loaded,
    only,
    paths,
    problems,
)
from spatius_avatar_python import config
from spatius_avatar_python.settings.params import Params
from spatius_avatar_python.settings.properties import PLACEHOLDER

# Defaults


def test_defaults():
    """Optional params have the documented values."""
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
    assert params.idle_disconnect_s == 120
    assert params.max_session_minutes is None
    assert params.one_request_at_a_time == "auto"
    assert params.prebuffer_ms == 0
    assert params.extra_params == {}
    assert params.telemetry is False
    assert params.telemetry_endpoint is None
    assert params.agora_token is None
    assert loaded().auto_connect is True
    assert loaded().dump is False
    assert loaded().dump_path == ""
    assert loaded().warnings == ()


def test_required_values_arrive():
    """Required params are there, secrets under lock."""
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


# Required params


@pytest.mark.parametrize(
    "name", [name for name in REQUIRED if name != "agora_appcert"]
)
def test_required_one_is_missing(name):
    """A value that is absent, empty or blank is named as missing."""
    for missing in (None, "", "  ", "\t\n"):
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
    """A value that is no uid of Agora's is refused with the bounds."""
    problem = only(problems(agora_uid=wrong))
    assert problem.startswith("params.agora_uid: expected a whole number")
    assert "from 0 to 4294967295" in problem


@pytest.mark.parametrize("zero", [0, "0", "0.0"])
def test_uid_zero_is_warned_of(zero):
    """With uid 0 the avatar's uid is unknown: allowed, but reported."""
    warning = only(list(loaded(agora_uid=zero).warnings))
    assert warning.startswith("params.agora_uid is 0")


NUMBERS = pytest.mark.parametrize(
    ("name", "least", "most", "step"),
    [
        ("session_expire_minutes", 1, 1440, 1),
        ("end_of_speech_timeout_ms", 0, 3_600_000, 1),
        ("max_buffered_speech_s", 0.1, 3600, 0.01),
        ("resume_rewind_ms", 0, 5000, 1),
        ("resume_within_s", 0, 3600, 0.1),
        ("fallback_after_ms", 0, 60_000, 1),
        ("idle_disconnect_s", 0, 86_400, 0.1),
        ("max_session_minutes", 1, 1440, 0.01),
        ("prebuffer_ms", 0, 5000, 1),
    ],
)


@NUMBERS
def test_numbers_are_taken_as_text_too(name, least, most, step):
    """A number may come from an environment variable, hence as text."""
    for value in (least, most, least + step):
        for given in (value, str(value), f" {value}\n"):
            assert getattr(loaded(**{name: given}).params, name) == value


@NUMBERS
def test_numbers_have_bounds(name, least, most, step):
    """A number out of bounds is refused with the bounds and the value."""
    wrongs = [least - step, most + step, "half", "1 min", True, float("nan")]
    for wrong in wrongs + ([least + 0.5] if step == 1 else []):
        problem = only(problems(**{name: wrong}))
        assert problem.startswith(f"params.{name}: expected a")
        assert f"from {least:g} to {most}" in problem
        assert f"got {wrong!r}" in problem


@pytest.mark.parametrize("wrong", ["24k", "automat", 0, 1.5, True])
def test_rate_is_a_number_or_auto(wrong):
    """Which numbers there are depends on the format."""
    problem = only(problems(sample_rate=wrong))
    assert problem.startswith("params.sample_rate: expected a")
    assert f"got {wrong!r}" in problem


# Texts and booleans


@pytest.mark.parametrize("name", [*CREDENTIALS, "agora_channel", "region"])
def test_text_is_of_another_type(name):
    """A text that is none is refused with the type that came."""
    for wrong in (5, True, [], {}, ["text"], 1.5):
        assert (
            f"params.{name}: expected text, got a value of type "
            f"{type(wrong).__name__}"
        ) in problems(**{name: wrong})


@pytest.mark.parametrize("name", ["spatius_api_key", "spatius_app_id"])
@pytest.mark.parametrize("wrong", ["a b", "a\nb", "a\0b", "schlüssel"])
def test_header_takes_no_such_text(name, wrong):
    """Both go out in an HTTP header; a value that breaks one is refused
    unseen."""
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
    """A value that is neither true nor false is refused, and shown; a list or
    an object is none, either."""
    assert only(problems(telemetry=wrong)) == (
        f"params.telemetry: expected true or false, got {wrong!r}"
    )
    for name in ("dump", "auto_connect"):
        assert only(problems(top={name: wrong})) == (
            f"{name}: expected true or false, got {wrong!r}"
        )
    for other in ([True], {}, {"a": True}):
        problem = only(problems(telemetry=other))
        assert problem.startswith("params.telemetry: expected true or false")


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("auto", "auto"),
        (" Auto ", "auto"),
        (True, True),
        ("false", False),
        ("1", True),
    ],
)
def test_requests_one_at_a_time(given, value):
    """`auto` leaves it to the observed behavior of the service."""
    taken = loaded(one_request_at_a_time=given).params.one_request_at_a_time
    assert (type(taken), taken) == (type(value), value)


@pytest.mark.parametrize("wrong", ["never", 2, 1.0])
def test_requests_one_at_a_time_is_neither(wrong):
    """The three values that it may have are named."""
    assert only(problems(one_request_at_a_time=wrong)) == (
        "params.one_request_at_a_time: expected true or false, or auto, got "
        f"{wrong!r}"
    )


def test_dump_path():
    """The folder of the dump is taken as it is."""
    settings = loaded(top={"dump": True, "dump_path": "/tmp/some where"})
    assert settings.dump is True
    assert settings.dump_path == "/tmp/some where"


@pytest.mark.parametrize("wrong", ["a\0b", "\ud800"])
def test_dump_path_that_no_file_system_takes(wrong):
    """A path that cannot name a folder is reported before the dump begins."""
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


def test_unknown_params_are_named_beside_missing_ones():
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


def test_misplaced_channel_is_named_beside_missing_params():
    """It is the reason."""
    missing, misplaced = problems(agora_channel=None, channel="attic")
    assert missing.startswith("params.agora_channel: required")
    assert misplaced.startswith("params.channel: not used under params")


def test_unknown_params_do_no_harm():
    """The warning is all that becomes of them."""
    assert loaded(anything={"a": [1, None]}).params == loaded().params


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


def test_params_win_over_top_level_properties():
    """The params' values are used, and a warning names unused ones."""
    settings = loaded(top={name: "other" for name in TOP_LEVEL})
    assert settings.params == loaded().params
    warning = only(list(settings.warnings))
    names, _, words = warning.partition(":")
    assert {*names.split(", ")} == {*TOP_LEVEL}
    assert words.startswith(" not used at the top level")


def test_what_stands_in_both_places_needs_no_warning():
    """A number may be text in one of them."""
    uid = str(REQUIRED["agora_uid"])
    assert loaded(top={"agora_uid": uid}) == loaded()


@pytest.mark.parametrize("blank", ["", " ", None])
def test_blank_beside_params_does_not_count(blank):
    """A placeholder that was not filled in is not there."""
    problem = only(problems(top={"agora_appid": blank}, agora_appid=None))
    assert problem.startswith("params.agora_appid: required")


def test_channel_wins_over_agora_channel_beside_params():
    """`channel` is filled in by the agent's server."""
    settings = loaded(
        top={"channel": "meeting", "agora_channel": "old"}, agora_channel=None
    )
    assert settings.params.agora_channel == "meeting"
    assert settings.warnings == ()


def test_problem_of_a_top_level_property_names_the_place():
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


# Documents


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
    """property.json shows all params, with their defaults."""
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


@pytest.mark.parametrize("wrong", ["4294967296", "-2000000000", "9" * 20])
def test_uid_out_of_bounds_is_shown(wrong):
    """Digits are no secret; the reader of the problem recognizes them."""
    assert only(problems(agora_uid=wrong)).endswith(f"got '{wrong}'")


def test_quotes_around_nothing_are_no_value():
    """An empty value in quotes is not an empty value."""
    problem = only(problems(agora_token='""'))
    assert problem.startswith("params.agora_token: expected a value without")


def test_quotes_within_a_value_are_part_of_it():
    """So are those that a parameter of the handshake begins with."""
    params = loaded(
        spatius_avatar_id='the"avatar"1', extra_params={"tags": '"a","b"'}
    ).params
    assert params.extra_params == {"tags": '"a","b"'}


def test_placeholders_are_tens():
    """The package's placeholders are those that TEN expands."""
    ten_properties = pytest.importorskip(
        "ten_runtime._properties", reason="the stand-in's internals"
    )
    assert PLACEHOLDER == ten_properties._PLACEHOLDER
