"""Checks a node's values against one another."""

import re
from typing import Any

from .findings import Findings, nearest
from .names import suggestion
from .product import config, params, properties, sdk, token
from .resolve import Resolved, shell_variable_of, with_source

_MUST_DIFFER = (
    ("agora_appcert", "agora_appid", "the App Certificate", "the App ID"),
    ("agora_token", "agora_appcert", "the token", "the App Certificate"),
    ("spatius_api_key", "spatius_app_id", "the API key", "the app id"),
    ("spatius_api_key", "spatius_avatar_id", "the API key", "the avatar id"),
)

_STAND_IN = re.compile(
    r"\.{2,}|\u2026|<.*>|\[.*\]|\{.*\}|.*[x*]{4,}|todo|tbd"
    r"|your[-_ ].*|.*[-_ ]here|change[-_ ]?(me|it).*|replace[-_ ].*"
    r"|(my|example|dummy|placeholder|insert)[-_ ].*(key|id|cert\w*|token)",
    re.DOTALL | re.IGNORECASE,
)
"""What documents and environment files write in place of a value."""

_NAMED_FREELY = ("agora_channel", "extra_params")

_REGIONS = ("us-west", "ap-northeast", "cn-beijing")

_DAMAGED = (
    "cannot be read: it is cut or damaged; set all of the token that was made, "
    "and nothing else"
)

_UID = re.compile("[0-9]{1,10}")


STAND_IN = "an example from a document; replace it with your own value"


def is_stand_in(value: Any) -> bool:
    """Return whether documents write this in place of a value."""
    return isinstance(value, str) and bool(_STAND_IN.fullmatch(value.strip()))


def check_values(resolved: Resolved, now_s: float) -> Findings:
    """Return what is wrong with values that each have the right form.

    `now_s` is in seconds since the epoch.
    """
    found = Findings()
    for name, other, what, other_what in _MUST_DIFFER:
        value = _text(resolved, name)
        if value and value.lower() == _text(resolved, other).lower():
            found.errors.append(
                f"params.{name}: {what} is the same text as {other_what} "
                f"(params.{other}); one of them is in the wrong place"
            )
    for name in params.Params.model_fields:
        if name not in _NAMED_FREELY and is_stand_in(_text(resolved, name)):
            text = f"{resolved.given.path(name)}: {STAND_IN}"
            found.errors.append(with_source(text, resolved))
    _check_token(resolved, now_s, found)
    _check_names(resolved, found)
    _check_region(resolved, found)
    return found


def _check_names(resolved: Resolved, found: Findings) -> None:
    """Report properties that mean nothing, with what was meant."""
    top = ("params", "channel", *config.Config.model_fields)
    for name, value in resolved.tree.items():
        if name in params.Params.model_fields:
            if not properties.is_missing(value):
                found.warnings.append(
                    f"{name}: at the top level; it belongs under params"
                )
        elif name not in top:
            found.warnings.append(
                f"{name}: unknown property, not used{suggestion(name, *top)}"
            )
    for name in resolved.given.unknown:
        if name == "params":
            found.errors.append(
                "params.params: not read; its values belong directly under "
                "params"
            )
        elif name not in top:
            found.warnings.append(
                f"params.{name}: unknown, not used{suggestion(name)}"
            )


def _check_region(resolved: Resolved, found: Findings) -> None:
    region = _text(resolved, "region").lower()
    has_urls = _text(resolved, "console_endpoint_url")
    if region and region not in (*_REGIONS, sdk.AUTO_REGION) and not has_urls:
        found.warnings.append(
            f"{resolved.given.path('region')}: {region} is none of the known "
            f"regions {', '.join(_REGIONS)}{nearest(region, _REGIONS)}"
        )


def _check_token(resolved: Resolved, now_s: float, found: Findings) -> None:
    given, app_id = (
        _text(resolved, "agora_token"),
        _text(resolved, "agora_appid"),
    )
    if not given:
        return
    if facts := token.read(given):
        _check_facts(facts, resolved, now_s, found)
    elif given.startswith("007"):
        found.errors.append(f"{resolved.given.path('agora_token')}: {_DAMAGED}")
    elif given == app_id:
        # Agora takes that where the project has no App Certificate.
        found.warnings.append(
            "params.agora_token: the App ID in place of a token; Agora "
            "accepts it only for a project without an App Certificate"
        )
    elif given != _text(resolved, "agora_appcert"):
        found.errors.append(
            "params.agora_token: not an Agora RTC token: expected all of one "
            f"that begins with 006 or 007, got text of {len(given)} "
            "characters. Leave it empty to have the extension sign tokens "
            "with params.agora_appcert"
        )


def _check_facts(
    facts: Any, resolved: Resolved, now_s: float, found: Findings
) -> None:
    """Check what the token says of itself against the node's params.

    config.py takes these tokens: whether one is valid is for Agora to say.
    """
    path = resolved.given.path("agora_token")
    if facts.is_damaged:
        found.errors.append(f"{path}: {_DAMAGED}")
        return
    channel = str(resolved.given.params.get("agora_channel"))
    if _text(resolved, "agora_channel") and not facts.is_for_channel(channel):
        found.errors.append(
            f"{path}: expected a token for the channel in "
            f"{resolved.given.path('agora_channel')}, got one for another "
            "channel"
        )
    uid = str(resolved.given.params.get("agora_uid")).strip()
    if _UID.fullmatch(uid) and not facts.is_for_uid(int(uid)):
        found.errors.append(
            f"{path}: expected a token for the uid in "
            f"{resolved.given.path('agora_uid')}, got one for another uid than {uid}"
        )
    if missing := facts.missing_privileges(now_s):
        found.errors.append(
            f"{path}: expected the token of a publisher, got one without the "
            f"privilege to {' and to '.join(missing)}; sign it for the role "
            "publisher"
        )


def _text(resolved: Resolved, name: str) -> str:
    """Return a param's text, "" where it is missing or was not filled in."""
    value = resolved.given.params.get(name)
    if not isinstance(value, str) or shell_variable_of(value):
        return ""
    return "" if properties.PLACEHOLDER.search(value) else value.strip()
