"""Hints for the names of properties that do not exist."""

import re
from difflib import get_close_matches
from typing import Optional

from .params import REGIONS, Params

TOP_LEVEL = ("auto_connect", "channel", "dump", "dump_path", "params")
"""The properties that stand at the top level."""

_OTHER_NAMES = {
    "spatius_api_key": "api_key key x_api_key api_token",
    "spatius_app_id": "app_id",
    "spatius_avatar_id": "avatar_id avatar character_id",
    "agora_token": "token rtc_token channel_token",
    "agora_appcert": "app_cert app_certificate certificate agora_cert "
    "agora_certificate agora_app_certificate",
    "agora_appid": "app_id agora_app_id rtc_app_id",
    "agora_channel": "channel_name agora_channel_name rtc_channel room_name",
    "agora_uid": "uid avatar_uid agora_avatar_uid user_id stream_id "
    "publisher_uid",
    "region": "environment",
    "audio_format": "format codec encoding output_format",
    "sample_rate": "rate sampling_rate audio_sample_rate sample_rate_hz "
    "input_sample_rate input_audio_sample_rate output_sample_rate",
    "session_expire_minutes": "expire_minutes session_minutes",
    "console_endpoint_url": "console_url console_endpoint base_url endpoint",
    "ingress_endpoint_url": "ingress_url ingress_endpoint websocket_url ws_url",
    "idle_disconnect_s": "idle_timeout idle_timeout_s",
    "max_session_minutes": "max_session_duration max_session_s",
    "dump_path": "dump_dir dump_folder",
    "dump": "enable_dump",
}
"""Names of other extensions, of the SDKs and of older versions."""

_REGION = re.compile("[a-z]{2}(-[a-z]{2,12}){1,3}(-?[0-9])?")
_VENDOR = re.compile("^(spatius|spatialreal|spatialwalk|avatarkit)")


def _plain(name: str) -> str:
    """Return a name for comparison: appId, app-id and app_id are the same."""
    return re.sub(r"[\W_]", "", name).lower()


def _names() -> dict[str, list[str]]:
    """Return the properties that each plain name may mean."""
    meant = {_plain(n): [n] for n in (*Params.model_fields, *TOP_LEVEL)}
    for name, others in _OTHER_NAMES.items():
        for other in others.split():
            properties = meant.setdefault(_plain(other), [])
            if name not in properties:
                properties.append(name)
    return meant


_MEANT = _names()

EXAMPLE_NAMES = frozenset(
    name
    for names in (Params.model_fields, *map(str.split, _OTHER_NAMES.values()))
    for name in names
    if "_" in name
)
"""Names that may have been left in place of a credential."""


def did_you_mean(name: str) -> str:
    """Return the question for an unknown name, "" if there is no similar
    name."""
    plain = _plain(name)
    meant = _MEANT.get(plain) or _MEANT.get(_VENDOR.sub("", plain))
    if meant is None:
        near = get_close_matches(plain, _MEANT, 1, 0.8)
        meant = _MEANT[near[0]] if near else []
    return f"did you mean {' or '.join(meant)}?" if meant else ""


def unknown_region(region: Optional[str]) -> str:
    """Return the sentence for a region that is not known, "" if it is."""
    if region in (None, "auto", *REGIONS):
        return ""
    near = get_close_matches(region.lower(), REGIONS, 1, 0.6)
    # One that resembles none is not shown: it may be a secret.
    shown = region if near or _REGION.fullmatch(region) else "the given one"
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{shown} is none of the known regions {', '.join(REGIONS)}{hint}"
