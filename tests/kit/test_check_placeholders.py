"""bin/check on placeholders: those that TEN does not fill in, and defaults."""

import pytest


@pytest.mark.parametrize(
    "text",
    [
        " $SPATIUS_APP_ID ",
        "$SPATIUS_APP_ID\n",
        " ${SPATIUS_APP_ID}",
        "${env.SPATIUS_APP_ID}",
        "${ENV:SPATIUS_APP_ID}",
        "${Env:SPATIUS_APP_ID}",
        "${ENV.SPATIUS_APP_ID}",
    ],
)
def test_placeholder_of_another_form_is_taken_literally(text, editor):
    """With the form that TEN has for the same variable."""
    editor.params["spatius_app_id"] = text
    code, words = editor.check()
    assert code == 1
    assert "is taken literally: TEN fills in ${env:SPATIUS_APP_ID} only" in (
        words
    )
    assert "1 error, 0 warnings" in words


@pytest.mark.parametrize(
    "text",
    [
        "${ENV:APP|hush}",
        "${env.APP|hush}",
        " ${APP:-hush} ",
        "${ENV:-hush}",
        "${APP|hush-APP}",
    ],
)
def test_default_of_another_form_is_not_shown(text, editor):
    """It may be a secret."""
    editor.params["spatius_app_id"] = text
    code, words = editor.check()
    assert code == 1
    assert "...}" in words
    assert "hush" not in words


@pytest.mark.parametrize(
    "text", ["costs $5", "$5", "US$", "a $NAME in a text", "${}", "$name"]
)
def test_text_with_a_dollar_sign_is_text(text, editor):
    """Only a bare variable's name was meant as one."""
    editor.node("llm")["property"]["prompt"] = text
    assert editor.is_fine()


@pytest.mark.parametrize("variable", [None, "none"])
def test_value_of_a_default_is_said_to_be_one(variable, editor):
    """Nothing is wrong with a variable that is not set."""
    editor.params["agora_uid"] = "${env:FACE_UID|none}"
    code, words = editor.check(FACE_UID=variable)
    assert code == 1
    source = (
        "the default in the placeholder of FACE_UID, which is not set"
        if variable is None
        else "from the environment variable FACE_UID"
    )
    assert f"got 'none' ({source})" in words
