"""Secrets are never shown, in any configuration."""

import json
import traceback
from typing import Any

import pytest
from configured import (
    AGORA_TOKEN,
    API_KEY,
    CERTIFICATE,
    GIVEN,
    NOW_S,
    OWN_SERVICE,
    REQUIRED,
    leaks,
    loaded,
    only,
    paths,
    problems,
    tree,
)
from hypothesis import example, given
from hypothesis import strategies as st
from spatius_avatar_python import config
from spatius_avatar_python.messages.redact import Redactor
from spatius_avatar_python.settings.params import SECRETS, Params

# Placeholders


@pytest.mark.parametrize(
    "name", [name for name in Params.model_fields if "url" not in name]
)
def test_placeholder_that_was_not_expanded(name):
    """A placeholder within a text stays one: the problem says so."""
    for text in ("${env:SOME_NAME}", "x-${env:SOME_NAME}-y"):
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
    """The text behind the bar is a value, which may be a secret."""
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
    """No text that is made of a configuration holds a secret."""
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
def test_secret_in_another_field_is_not_shown(name, wrap):
    """One that was pasted into the wrong field, too, is masked there."""
    for secret in (API_KEY, CERTIFICATE, AGORA_TOKEN):
        pasted = json.loads(json.dumps(wrap).replace("{}", secret))
        found = problems(**{"agora_token": AGORA_TOKEN, name: pasted})
        assert not leaks("; ".join(found))


@pytest.mark.parametrize(
    ("text", "shown"),
    [("possibly", "'possibly'"), ("perchance", "text of 9 characters")],
)
def test_only_a_short_text_is_shown(text, shown):
    """A mistyped word is; a longer one may be a secret."""
    problem = only(problems(telemetry=text))
    assert problem.endswith(f"expected true or false, got {shown}")


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
    """An error of a failed load holds no secret, nor do its causes."""
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


@pytest.mark.parametrize(
    ("given", "hidden"),
    [
        ("007-abc", ["007-abc"]),
        ("007-abc the token of the room", ["007-abc"]),
        ("007-abc expires 2031-05-01.", ["007-abc", "2031-05-01."]),
        ("token: 007-abc", ["007-abc"]),
        ("Bearer 007-abc", ["007-abc"]),
        ("secret", ["secret"]),
        (f"a {'b' * 16}", ["a", "b" * 16]),
    ],
)
def test_words_beside_a_secret_are_not_hidden(given, hidden):
    """A sentence with "token" or "the room" in it could not be read."""
    settings = loaded(GIVEN, agora_token=given)
    assert settings.secrets() == [API_KEY, *hidden]
    sentence = "the session token of the room expires"
    if given != "secret":
        assert Redactor(settings.secrets())(sentence) == sentence


def test_names_of_params_are_never_masked():
    """Sentences name them, and parts of a URL are hidden: region=us-west."""
    for name in Params.model_fields:
        sentence = f"params.{name}: "
        assert Redactor([f"{name}=1", f"?{name}"])(sentence) == sentence


@pytest.mark.parametrize(
    "comment",
    ["whole number from 0", "region such as us-west", "true or false"],
)
def test_sentence_is_whole_for_any_secret(comment):
    """Only the part that comes from a value is redacted."""
    params = {**GIVEN, "agora_token": f"007-abc-{comment}-{comment}"}
    found = problems(params, agora_uid=-1, region="US", telemetry="perhaps")
    assert found == [
        "params.agora_uid: expected a whole number from 0 to 4294967295, got "
        "-1",
        "params.region: expected a region such as us-west or ap-northeast, got "
        "'US'",
        "params.telemetry: expected true or false, got 'perhaps'",
    ]


def test_summary_tells_which_secrets_are_set():
    """The line in the log names the secrets, not their values."""
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
    """Load a tree that may be nonsense; return all messages about it."""
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
    """For any property.json, no error but ConfigError is raised."""
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
