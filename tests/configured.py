"""Configurations that are valid, and the errors of others."""

from pathlib import Path
from typing import Any

import pytest
from spatius_avatar_python import config, token

ROOT = Path(__file__).resolve().parents[1]
CONFIGURATION = ROOT / "docs/configuration.md"
PROPERTY_JSON = ROOT / "property.json"
MANIFEST_JSON = ROOT / "manifest.json"

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
# A given token says its App ID in the clear; the rest is secret.
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
CREDENTIALS = (
    "spatius_api_key",
    "spatius_app_id",
    "spatius_avatar_id",
    "agora_appid",
    "agora_appcert",
    "agora_token",
)

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
