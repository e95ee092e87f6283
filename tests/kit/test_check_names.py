"""bin/check on names and values that were meant for others."""

import pytest
from checking import ENVIRONMENT, ROOT, Tree, check


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("api_key", "spatius_api_key"),
        ("apiKey", "spatius_api_key"),
        ("API_KEY", "spatius_api_key"),
        ("spatialreal_api_key", "spatius_api_key"),
        ("app_id", "spatius_app_id or agora_appid"),
        ("spatialreal_app_id", "spatius_app_id or agora_appid"),
        ("avatar_id", "spatius_avatar_id"),
        ("avatarId", "spatius_avatar_id"),
        ("agora_avatar_uid", "agora_uid"),
        ("agoraUid", "agora_uid"),
        ("uid", "agora_uid"),
        ("agora_app_id", "agora_appid"),
        ("agora_app_certificate", "agora_appcert"),
        ("channel_name", "agora_channel"),
        ("input_audio_sample_rate", "sample_rate"),
        ("sampel_rate", "sample_rate"),
        ("sampleRate", "sample_rate"),
        ("spatialreal_console_endpoint_url", "console_endpoint_url"),
        ("ingress_url", "ingress_endpoint_url"),
        ("idle_disconnect", "idle_disconnect_s"),
    ],
)
def test_name_of_another_extension_suggests_the_right_one(name, meant, editor):
    """Under params and beside it, with none of its value shown."""
    editor.params[name] = editor.avatar[name] = "hush-hush"
    code, words = editor.check()
    assert code == 0
    question = f"not used; did you mean {meant}?"
    assert f" params.{name}: unknown, {question}" in words
    assert f" {name}: unknown property, {question}" in words
    assert "hush" not in words
    assert words.strip().endswith("0 errors, 2 warnings")


def test_name_without_resemblance_is_only_unknown(editor):
    """A guess would lead nowhere."""
    editor.params["mood"] = "cheerful"
    _, words = editor.check()
    assert "params.mood: unknown, not used" in words
    assert "did you mean" not in words


def test_missing_value_under_another_name_is_found(editor):
    """The error and its explanation stand together."""
    editor.params.update(spatius_api_key="", api_key="hush-hush")
    code, words = editor.check()
    assert code == 1
    assert "params.spatius_api_key: required" in words
    assert "params.api_key: unknown, not used; did you mean spatius_" in words
    assert "hush" not in words
    assert words.strip().endswith("1 error, 1 warning")


def test_params_within_params_is_one_error(editor):
    """None of its values would be used."""
    editor.params["params"] = {"sample_rate": 16000}
    code, words = editor.check()
    assert code == 1
    assert "params.params: not read; its values belong directly under" in words
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.parametrize(
    "value",
    [
        "your_spatius_api_key_here",
        "your-api-key",
        "YOUR_KEY",
        "<your-key>",
        "[api key]",
        "paste_key_here",
        "change-me",
        "changeme",
        "CHANGE_ME",
        "replace_with_your_key",
        "sk-xxxxxxxx",
        "********",
        "...",
        "TODO",
        "my-api-key",
        "example_token",
    ],
)
def test_example_in_place_of_a_value_is_an_error(value):
    """As environment files have them, with the variable that holds it."""
    variables = ("SPATIUS_API_KEY", "SPATIUS_APP_ID", "SPATIUS_AVATAR_ID")
    given = {name: f"{value}{' ' * at}" for at, name in enumerate(variables)}
    code, words = check(ROOT / "property.json", **given)
    assert code == 1
    for name in variables:
        assert (
            f"params.{name.lower()}: an example from a document; replace it "
            f"with your own value (from the environment variable {name})"
            in words
        )


@pytest.mark.parametrize(
    "value",
    ["sk-live-2f9c", "theirs", "myavatar", "yours", "a-there", "0123xxx456"],
)
def test_value_that_resembles_an_example_is_fine(value):
    """Only the documents' values are taken for examples."""
    code, words = check(ROOT / "property.json", SPATIUS_API_KEY=value)
    assert code == 0, words


@pytest.mark.parametrize("name", ["my_room", "your_room", "the-room_here"])
def test_channel_may_have_any_name(name):
    """Documents name channels so, and they work."""
    code, words = check(ROOT / "property.json", AGORA_CHANNEL=name)
    assert code == 0, words


def test_example_as_the_rtc_nodes_app_id_is_an_error(editor):
    """The agent would join no channel."""
    code, words = editor.check(AGORA_APP_ID="your_agora_app_id_here")
    assert code == 1
    assert "agora_rtc.app_id: an example from a document" in words
    assert "params.agora_appid: an example from a document" in words
    assert words.strip().endswith("2 errors, 0 warnings")


def test_example_as_another_nodes_key_is_a_warning(editor):
    """That node would not work; a text for people may read like one."""
    llm = editor.node("llm")["property"]
    llm.update(api_key="${env:OPENAI_API_KEY}", greeting="Your turn here")
    code, words = editor.check(OPENAI_API_KEY="your_openai_api_key_here")
    assert code == 0
    assert "llm.api_key: an example from a document" in words
    assert words.strip().endswith("0 errors, 1 warning")


CREDENTIALS = {
    "SPATIUS_API_KEY": "params.spatius_api_key",
    "SPATIUS_APP_ID": "params.spatius_app_id",
    "SPATIUS_AVATAR_ID": "params.spatius_avatar_id",
    "AGORA_APP_ID": "params.agora_appid",
    "AGORA_APP_CERTIFICATE": "params.agora_appcert",
    "AGORA_CHANNEL": "params.agora_channel",
    "AGORA_AVATAR_UID": "params.agora_uid",
}


@pytest.mark.parametrize(("variable", "path"), CREDENTIALS.items())
def test_value_in_quotes_is_one_error(variable, path):
    """`docker --env-file` keeps them; the variable is named."""
    value = f'"{ENVIRONMENT[variable]}"'
    code, words = check(ROOT / "property.json", **{variable: value})
    assert code == 1
    assert f"{path}: expected a value without quotes" in words
    assert "docker --env-file keeps" in words
    assert f"(from the environment variable {variable})" in words
    assert words.strip().endswith("1 error, 0 warnings")


@pytest.mark.parametrize(
    ("region", "said"),
    [
        ("us-wets", "; did you mean us-west?"),
        ("ap-northeast-1", "; did you mean ap-northeast?"),
        ("cn-bejing", "; did you mean cn-beijing?"),
        ("eu-central", "known regions us-west, ap-northeast, cn-beijing"),
    ],
)
def test_unknown_region_is_a_warning(region, said, editor):
    """With the nearest name; a new one may be right."""
    editor.params["region"] = region
    code, words = editor.check()
    assert code == 0
    assert f"params.region: {region} is none of the known regions" in words
    assert said in words
    assert words.strip().endswith("0 errors, 1 warning")


@pytest.mark.parametrize(
    "params",
    [
        {"region": "us-west"},
        {"region": "cn-beijing"},
        {"region": "auto"},
        {
            "region": "my-own",
            "console_endpoint_url": "https://console.test/v1/console",
            "ingress_endpoint_url": "wss://ingress.test/v2/driveningress",
        },
    ],
)
def test_region_that_is_known_or_not_used_is_fine(params: Tree, editor):
    """URLs override a region."""
    editor.params.update(params)
    assert editor.is_fine()


@pytest.mark.parametrize("uid", ["4294967296", "-5", "99999999999"])
def test_uid_that_is_wrong_is_shown(uid):
    """It is no secret."""
    code, words = check(ROOT / "property.json", AGORA_AVATAR_UID=uid)
    assert code == 1
    assert f"agora_uid {uid}, see below" in words
    assert f"got '{uid}'" in words


def test_text_in_a_uids_place_is_not_shown():
    """It may be a key."""
    code, words = check(ROOT / "property.json", AGORA_AVATAR_UID="sk-hush-hush")
    assert code == 1
    assert "hush" not in words
