"""Names of properties that were meant for others."""

import re
from collections.abc import Iterable

from .findings import nearest
from .product import params

_VENDOR = re.compile("^(spatius|spatialreal|spatialwalk|avatarkit)")

_OTHER_NAMES = {
    "apikey": "spatius_api_key",
    "key": "spatius_api_key",
    "xapikey": "spatius_api_key",
    "appid": "spatius_app_id or agora_appid",
    "avatarid": "spatius_avatar_id",
    "avatar": "spatius_avatar_id",
    "appcert": "agora_appcert",
    "appcertificate": "agora_appcert",
    "certificate": "agora_appcert",
    "agoracert": "agora_appcert",
    "agoracertificate": "agora_appcert",
    "agoraappcertificate": "agora_appcert",
    "token": "agora_token",
    "rtctoken": "agora_token",
    "uid": "agora_uid",
    "avataruid": "agora_uid",
    "agoraavataruid": "agora_uid",
    "streamid": "agora_uid",
    "channelname": "agora_channel",
    "agorachannelname": "agora_channel",
    "environment": "region",
    "encoding": "audio_format",
    "audiosamplerate": "sample_rate",
    "inputaudiosamplerate": "sample_rate",
    "inputsamplerate": "sample_rate",
    "samplingrate": "sample_rate",
    "consoleurl": "console_endpoint_url",
    "consoleendpoint": "console_endpoint_url",
    "ingressurl": "ingress_endpoint_url",
    "ingressendpoint": "ingress_endpoint_url",
    "idletimeout": "idle_disconnect_s",
}
"""What other extensions, or earlier versions, call a param: in small letters
and without separators."""


def suggestion(name: str, *others: str) -> str:
    """Return "; did you mean ...?" for a property of an unknown name, or "".

    `others` are names that it may stand for beside those of the params.
    """
    known = [*params.Params.model_fields, *others]
    plain = _plain(name)
    if meant := _meant(plain, known) or _meant(_VENDOR.sub("", plain), known):
        return f"; did you mean {meant}?"
    return nearest(name, known, cutoff=0.7)


def _meant(plain: str, known: Iterable[str]) -> str:
    for name in known:
        if _plain(name) == plain:
            return name
    return _OTHER_NAMES.get(plain, "")


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
