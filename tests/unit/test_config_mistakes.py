"""Mistakes that people make, and the sentence that each of them gets."""

import json
import struct
import zlib
from base64 import b64encode
from typing import Any

import pytest
from configured import (
    AGORA_TOKEN,
    API_KEY,
    APP_ID,
    CERTIFICATE,
    CREDENTIALS,
    GIVEN,
    MANIFEST_JSON,
    NOW_S,
    OTHER_APP_ID,
    OWN_SERVICE,
    REQUIRED,
    leaks,
    loaded,
    only,
    problems,
    signed,
)
from pydantic import ValidationError
from spatius_avatar_python import config, token
from spatius_avatar_python.settings.params import Params

# Values that were pasted with their surroundings


@pytest.mark.parametrize(
    "form",
    [
        '"{}"',
        "'{}'",
        '"{}',
        "{}'",
        "\u201c{}\u201d",
        '\t"{}"\n',
        " '{}' ",
        '"{}" # mine',
        '" {} "',
    ],
)
def test_quotes_of_an_environment_file_are_named(form):
    """`docker --env-file` keeps them; no other problem is derived from it."""
    expected = "expected a value without quotes"
    for name in (*REQUIRED, "agora_token", "region"):
        problem = only(problems(**{name: form.format("value-1")}))
        assert problem.startswith(f"params.{name}: {expected}")
        assert "docker --env-file" in problem
        assert "value-1" not in problem


@pytest.mark.parametrize("name", ["auto_connect", "dump", "dump_path"])
def test_quotes_at_the_top_level(name):
    """A property beside params may come from an environment file, too."""
    problem = only(problems(top={name: '"true"'}))
    assert problem.startswith(f"{name}: expected a value without quotes")


@pytest.mark.parametrize("name", [*CREDENTIALS, "region", "agora_uid"])
@pytest.mark.parametrize("comment", [" # the key", "\t#expected", "  # a (b)"])
def test_comment_behind_a_value(name, comment):
    """It is named, and no word of the sentence is lost to the redaction."""
    value = str(REQUIRED.get(name, "value-1"))
    problem = only(problems(**{name: value + comment}))
    assert problem == (
        f"params.{name}: expected a value alone, got one with a comment (#) "
        "behind it; docker --env-file takes the whole line: write the comment "
        "on a line of its own"
    )


def test_number_sign_within_a_value_is_part_of_it():
    """A comment begins behind white space."""
    assert loaded(spatius_avatar_id="a#b").params.spatius_avatar_id == "a#b"
    assert loaded(agora_channel="a #b").params.agora_channel == "a #b"


@pytest.mark.parametrize(
    "example",
    [
        "your_api_key_here",
        "your-spatius-app-id",
        "YOUR_API_KEY",
        "yourApiKey",
        "my_app_id",
        "<your key>",
        "<key>",
        "[app id]",
        "{{ api_key }}",
        "...",
        "sk-...",
        "sk-abc\u2026",
        "xxxxxxxx",
        "sk-xxxx",
        "****",
        "insert_key_here",
        "paste key",
        "changeme",
        "change_me",
        "REPLACE_ME",
        "replace-with-your-key",
        "placeholder",
        "TODO",
        "None",
        "null",
        "undefined",
        "spatius_api_key",
        "AGORA_APP_CERTIFICATE",
        "api_key",
    ],
)
def test_example_in_place_of_a_credential(example):
    """The examples of documents and templates are no values."""
    advice = "an example from a document; replace it with your own value"
    for name in CREDENTIALS:
        problem = only(problems(**{name: example}))
        assert problem == f"params.{name}: {advice}"


@pytest.mark.parametrize(
    "value",
    ["avatar-1", "my-avatar", "yours", "xx", "there", "todor", "app_1", "a.b"],
)
def test_value_that_resembles_no_example(value):
    """An id is free in its form."""
    assert loaded(spatius_avatar_id=value).params.spatius_avatar_id == value


@pytest.mark.parametrize("channel", ["<room>", "your_channel", "todo", "$ROOM"])
def test_channel_may_have_any_name(channel):
    """It is the app's to choose, within Agora's characters."""
    assert loaded(agora_channel=channel).params.agora_channel == channel


@pytest.mark.parametrize("name", [*CREDENTIALS, "region", "agora_uid"])
def test_variable_of_a_shell_is_not_filled_in(name):
    """TEN has a notation of its own, which the problem shows."""
    expected = "expected a value, got the name"
    for text in ("$KEY", "${KEY}", "%KEY%", "${api_key}"):
        problem = only(problems(**{name: text}))
        assert problem.startswith(f"params.{name}: {expected}")
        assert "${env:NAME}" in problem


# Names


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("api_key", "spatius_api_key"),
        ("apiKey", "spatius_api_key"),
        ("api-key", "spatius_api_key"),
        ("spatius_apikey", "spatius_api_key"),
        ("spatiusApiKey", "spatius_api_key"),
        ("app_id", "spatius_app_id or agora_appid"),
        ("spatialreal_app_id", "spatius_app_id or agora_appid"),
        ("avatarkit_ingress_url", "ingress_endpoint_url"),
        ("appId", "spatius_app_id or agora_appid"),
        ("avatar_id", "spatius_avatar_id"),
        ("agora_avatar_uid", "agora_uid"),
        ("uid", "agora_uid"),
        ("agora_app_id", "agora_appid"),
        ("agora_app_certificate", "agora_appcert"),
        ("appCertificate", "agora_appcert"),
        ("agora_chanel", "agora_channel"),
        ("channel_name", "agora_channel"),
        ("token", "agora_token"),
        ("input_audio_sample_rate", "sample_rate"),
        ("sampel_rate", "sample_rate"),
        ("sampleRate", "sample_rate"),
        ("environment", "region"),
        ("regoin", "region"),
        ("session_expire_minute", "session_expire_minutes"),
        ("prebuffer", "prebuffer_ms"),
        ("autoConnect", "auto_connect"),
    ],
)
def test_other_name_of_a_property(name, meant):
    """Under params and beside it, the property that is meant is named."""
    question = f"did you mean {meant}?"
    for warnings in (loaded(**{name: "x"}), loaded(top={name: "x"})):
        warning = only(list(warnings.warnings))
        assert warning.endswith(question)
        assert name in warning


def test_each_unknown_name_has_its_own_question():
    """Those that resemble no param have none."""
    warning = only(list(loaded(api_key=1, zoom=2, sampel_rate=3).warnings))
    assert warning == (
        "unknown params, not used: api_key, sampel_rate, zoom; check the "
        "spelling. api_key: did you mean spatius_api_key? sampel_rate: "
        "did you mean sample_rate?"
    )


@pytest.mark.parametrize("top", [True, False])
def test_other_name_is_asked_about_beside_missing_params(top):
    """It is the reason, and stands in the same error."""
    other = {"api_key": API_KEY}
    missing, unknown = problems(
        top=other if top else {},
        spatius_api_key=None,
        **({} if top else other),
    )
    assert missing.startswith("params.spatius_api_key: required")
    assert "did you mean spatius_api_key?" in unknown
    assert not leaks(unknown)


def test_top_level_properties_of_others_are_left_alone():
    """A name that resembles none of ours may be TEN's."""
    assert loaded(top={"greeting": "hi", "zoom": 3}).warnings == ()


def test_param_at_the_top_level():
    """It is not used there, which is said where it is missed."""
    missing, misplaced = problems(
        top={"spatius_api_key": API_KEY}, spatius_api_key=None
    )
    assert missing.startswith("params.spatius_api_key: required")
    assert misplaced == (
        "spatius_api_key: at the top level; it belongs under params"
    )


def test_params_inside_params():
    """None of their values is used, so it is an error."""
    found = problems({"params": REQUIRED})
    assert found[0].startswith("params.params: not read; its values belong")
    assert not leaks("; ".join(found))
    assert only(problems({**REQUIRED, "params": {"region": "us-west"}}))
    assert loaded({**REQUIRED, "params": ""}) == loaded()


@pytest.mark.parametrize("secret", [API_KEY, CERTIFICATE])
@pytest.mark.parametrize("top", [True, False])
def test_unknown_secret_as_a_name(secret, top):
    """Nor is one shown that stands nowhere else."""
    other = {"spatius_api_key": None, "agora_appcert": None}
    place: dict[str, Any] = {secret: "x"}
    found = problems(top=place, **other) if top else problems(**other, **place)
    assert not leaks("; ".join(found))


# Regions


@pytest.mark.parametrize(
    "region", [None, "auto", "us-west", "ap-northeast", "cn-beijing"]
)
def test_region_that_is_known(region):
    """There is no message about it."""
    assert loaded(region=region).warnings == ()


@pytest.mark.parametrize(
    ("region", "near"),
    [
        ("us-wset", "us-west"),
        ("us-west-1", "us-west"),
        ("uswest", "us-west"),
        ("ap-northeast-1", "ap-northeast"),
        ("ap-norteast", "ap-northeast"),
        ("cn-bejing", "cn-beijing"),
    ],
)
def test_region_that_is_mistyped(region, near):
    """It may be new, so it is used; a warning asks for the nearest."""
    settings = loaded(region=region)
    assert settings.params.region == region
    warning = only(list(settings.warnings))
    assert warning == (
        f"params.region: {region} is none of the known regions us-west, "
        f"ap-northeast, cn-beijing; did you mean {near}?"
    )


@pytest.mark.parametrize(
    ("region", "shown"),
    [
        ("eu-central", "eu-central"),
        ("eu-central-1", "eu-central-1"),
        ("q" * 20, "the given one"),
        ("sk-7d1c9b3a5f08", "the given one"),
    ],
)
def test_region_that_resembles_none(region, shown):
    """It is shown where it reads like a region, as it may be a secret."""
    warning = only(list(loaded(region=region).warnings))
    assert warning == (
        f"params.region: {shown} is none of the known regions us-west, "
        "ap-northeast, cn-beijing"
    )


def test_region_that_is_overridden_is_not_judged():
    """Both URLs stand in its place."""
    assert loaded(region="us-wset", **OWN_SERVICE).warnings == ()


# Given tokens


def signed_007(
    channel: str = "room", uid: str = "1001", privileges: tuple[int, ...] = (1,)
) -> str:
    """Return a version-007 token for an hour, with an empty signature."""

    def packed(text: bytes) -> bytes:
        return struct.pack("<H", len(text)) + text

    rights = struct.pack("<H", len(privileges)) + b"".join(
        struct.pack("<HI", number, 3600) for number in privileges
    )
    content = (
        packed(bytes(32))
        + packed(APP_ID.encode())
        + struct.pack("<IIIHH", int(NOW_S), 3600, 1, 1, 1)
        + rights
        + packed(channel.encode())
        + packed(uid.encode())
    )
    return "007" + b64encode(zlib.compress(content)).decode()


def signed_006(channel: str = "room", uid: str = "1001") -> str:
    return token.sign(
        APP_ID, CERTIFICATE, channel, int(uid or 0), int(NOW_S) + 3600
    )


BOTH = pytest.mark.parametrize("sign", [signed_006, signed_007])


@BOTH
def test_token_of_another_channel(sign):
    """Agora would refuse it; the place of the channel is named."""
    problem = only(problems(GIVEN, agora_token=sign(channel="attic")))
    assert problem == (
        "params.agora_token: expected a token for the channel in "
        "params.agora_channel, got one for another channel"
    )
    assert "in channel, got" in only(
        problems(GIVEN, top={"channel": "attic"}, agora_token=sign())
    )


@BOTH
def test_token_of_another_uid(sign):
    """So is that of the uid."""
    problem = only(problems(GIVEN, agora_token=sign(uid="1002")))
    assert problem == (
        "params.agora_token: expected a token for the uid in "
        "params.agora_uid, got one for another uid than 1001"
    )
    assert only(problems(GIVEN, agora_uid="7", agora_token=sign()))


@BOTH
@pytest.mark.parametrize("uid", ["1001", ""])
def test_token_of_this_uid_or_any(sign, uid):
    """A token may be for any uid."""
    privileges = {"privileges": (1, 2, 3)} if sign is signed_007 else {}
    text = sign(uid=uid, **privileges)
    assert loaded(GIVEN, agora_token=text).warnings == ()


def test_everything_that_is_wrong_with_a_token_is_reported():
    """App ID, channel, uid and expiry."""
    text = signed(-60, OTHER_APP_ID)
    found = problems(
        GIVEN, agora_token=text, agora_channel="attic", agora_uid=7
    )
    assert len(found) == 4
    assert {one.partition(":")[0] for one in found} == {"params.agora_token"}


def test_token_is_not_judged_by_invalid_params():
    """A channel or uid that is none makes no second problem."""
    for name, wrong in (
        ("agora_uid", -1),
        ("agora_uid", "$UID"),
        ("agora_channel", "${env:ROOM}-1"),
        ("agora_appid", "<App ID>"),
    ):
        problem = only(problems(GIVEN, **{name: wrong}))
        assert problem.startswith(f"params.{name}: ")


@pytest.mark.parametrize("cut", [1, 10, 40])
def test_damaged_token(cut):
    """A token that was cut is reported as such."""
    problem = only(problems(GIVEN, agora_token=AGORA_TOKEN[:-cut]))
    assert problem.startswith("params.agora_token: cannot be read: it is cut")


def test_token_without_the_privilege_to_publish():
    """Agora checks that only where the project asks for it: a warning."""
    settings = loaded(GIVEN, agora_token=signed_007(privileges=(1,)))
    assert (
        "params.agora_token: expected the token of a publisher, got one "
        "without the privilege to publish audio and to publish video; sign it "
        "for the role publisher"
    ) in settings.warnings


# Secrets that stand in another place, too


def test_short_secret_in_another_field():
    """Texts of eight characters are shown, but not if one is a secret."""
    found = problems(spatius_api_key="K3y-9xZq", telemetry="K3y-9xZq")
    assert only(found) == (
        "params.telemetry: expected true or false, got '***'"
    )


def test_name_of_an_extra_param_is_shown_unless_it_is_secret():
    """The sentence says which of them is no text."""
    assert only(problems(extra_params={"a": "1", "b": 2})) == (
        "params.extra_params: expected text for 'b', got a value of type int"
    )
    found = problems(spatius_api_key="K3y-9xZq", extra_params={"K3y-9xZq": 1})
    assert "for '***', got" in only(found)


# Nothing that validation itself says shows a secret


@pytest.mark.parametrize(
    "wrong",
    [
        {"agora_uid": API_KEY},
        {"agora_appid": CERTIFICATE + "0"},
        {"spatius_api_key": f"{API_KEY} \u00e9"},
        {"agora_appcert": CERTIFICATE + "0"},
        {"agora_appcert": [CERTIFICATE]},
        {"agora_token": {"token": AGORA_TOKEN}},
        {"region": API_KEY.upper()},
        {"console_endpoint_url": f"https://me:{API_KEY}@host:port"},
        {"telemetry": API_KEY},
        {"one_request_at_a_time": API_KEY},
        {"sample_rate": CERTIFICATE},
        {"extra_params": {"a": [API_KEY]}},
        {"extra_params": API_KEY},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
@pytest.mark.parametrize("model", [Params, config.Config])
def test_validation_error_shows_no_secret(model, wrong):
    """Neither its text nor its repr: a library may log an exception."""
    params = {**REQUIRED, **wrong}
    with pytest.raises(ValidationError) as caught:
        model.model_validate(params if model is Params else {"params": params})
    shown = f"{caught.value} {caught.value!r} {caught.value.args}"
    assert not leaks(shown)


# The manifest


def test_manifest_declares_text_fields():
    """TEN ends the process for a value of another type than is declared, and
    a placeholder always gives text: so nothing else may be declared."""

    def texts(schema: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, field in schema["properties"].items():
            options = field.get("anyOf", [field])
            kinds = {one.get("type") for one in options} - {"null"}
            if kinds == {"string"}:
                found[name] = {"type": "string"}
        return found

    schema = config.Config.model_json_schema()
    declared = json.loads(MANIFEST_JSON.read_text())["api"]["property"]
    assert declared["properties"] == {
        "channel": {"type": "string"},
        **texts(schema),
        "params": {
            "type": "object",
            "properties": texts(schema["$defs"]["Params"]),
        },
    }
