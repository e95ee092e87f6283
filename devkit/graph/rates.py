"""The sample rates that a TTS sends, read from its properties."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .model import Graph
from .packages import own_properties
from .resolve import expand
from .tree import joined

_PCM = re.compile("pcm|raw|riff|linear|s16")
_IN_HZ = re.compile(r"(?<!\d)(\d{4,5})(?!\d)")
_IN_KHZ = re.compile(r"(\d{1,2}(?:\.\d+)?)khz")


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch("[0-9]{4,6}", text) else None


def _of_format(text: str) -> int | None:
    """Return the rate in a name such as pcm_24000 or raw-24khz-16bit."""
    if not _PCM.search(text):
        return None
    if found := _IN_KHZ.search(text):
        return round(float(found[1]) * 1000)
    found = _IN_HZ.search(text)
    return int(found[1]) if found else None


_READERS: tuple[tuple[re.Pattern[str], Callable[[str], int | None]], ...] = (
    (re.compile("sampl(e|ing)rate(hz|hertz)?$|^rate$"), _whole),
    (re.compile("format|encoding"), _of_format),
)
"""How a value is read, by its key in small letters without underscores."""

_NOT_SENT = ("input", "asr")
"""The beginning of a key about the audio that a model listens to."""


def rates_of(
    graph: Graph, name: str, environ: Mapping[str, str]
) -> dict[str, int]:
    """Return each output rate of a TTS node in Hz, by its path.

    Those of the graph's node, or else those of its package's property.json.
    """
    node = graph.named(name)
    if found := dict(_rates(expand(node.property, environ, {}), name)):
        return found
    shipped = own_properties(node.addon, graph.app_dir)
    where = f"{node.addon}/property.json: "
    rates = _rates(expand(shipped, environ, {}), "")
    return {where + path: rate for path, rate in rates}


def _rates(value: Any, path: str) -> Iterator[tuple[str, int]]:
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        inner, plain = joined(path, key), key.lower().replace("_", "")
        if plain.startswith(_NOT_SENT):
            continue
        readers = [read for name, read in _READERS if name.search(plain)]
        if isinstance(item, (str, int)) and readers:
            if (rate := readers[0](str(item).lower())) is not None:
                yield inner, rate
        else:
            yield from _rates(item, inner)
