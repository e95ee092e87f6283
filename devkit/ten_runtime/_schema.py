"""Types that a manifest's `api` declares, for properties and for messages.

What is not declared is not checked. Schemas that a manifest imports through
`interface` are not read.
"""

from typing import Any

from ._messages import CmdResult, Msg, properties_of

_INT_RANGES = {
    f"{sign}int{bits}": (
        (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    for bits in (8, 16, 32, 64)
    for sign in ("", "u")
}
_FLOATS = ("float32", "float64")


def mismatch(schema: dict, value: Any, where: str = "") -> str | None:
    """Why `value` does not fit `schema`, or None if it does.

    An integer fits a float type and every integer type that can hold it;
    nothing else converts.
    """
    wanted = schema.get("type")
    place = f"'{where}'" if where else "the value"
    if wanted in _INT_RANGES:
        low, high = _INT_RANGES[wanted]
        if type(value) is not int:
            return f"{place} is {_type_name(value)}, declared {wanted}"
        if not low <= value <= high:
            return f"{place} is out of the range of {wanted}"
        return None
    if wanted in _FLOATS:
        fits = type(value) in (int, float)
    elif wanted == "string":
        fits = type(value) is str
    elif wanted == "bool":
        fits = type(value) is bool
    elif wanted == "object":
        if isinstance(value, dict):
            return mismatch_in_object(schema, value, where)
        fits = False
    elif wanted == "array":
        if isinstance(value, list):
            return _mismatch_in_array(schema, value, where)
        fits = False
    else:
        return None
    return (
        None if fits else f"{place} is {_type_name(value)}, declared {wanted}"
    )


def mismatch_in_object(
    schema: dict, value: dict, where: str = ""
) -> str | None:
    """Like `mismatch`, for `{"properties": {...}, "required": [...]}`."""
    prefix = f"{where}." if where else ""
    for name in schema.get("required") or ():
        if name not in value:
            return f"'{prefix}{name}' is required and missing"
    for name, declared in (schema.get("properties") or {}).items():
        if name in value:
            reason = mismatch(declared, value[name], prefix + name)
            if reason is not None:
                return reason
    return None


def _mismatch_in_array(schema: dict, value: list, where: str) -> str | None:
    items = schema.get("items")
    if items:
        for index, item in enumerate(value):
            reason = mismatch(items, item, f"{where}[{index}]")
            if reason is not None:
                return reason
    return None


def _type_name(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string"}
    names.update({bool: "a bool", int: "an integer", float: "a float"})
    return names.get(type(value), "null")


class Schemas:
    """The `api` part of one extension's manifest."""

    def __init__(self, api: dict | None = None) -> None:
        api = api or {}
        self.properties = _as_object_schema(api.get("property"))
        self._messages: dict[tuple[str, str], dict] = {}
        for kind in ("cmd", "data", "audio_frame", "video_frame"):
            for direction in ("in", "out"):
                key = f"{kind}_{direction}"
                for entry in api.get(key) or ():
                    self._add(key, entry)

    def _add(self, key: str, entry: dict) -> None:
        name = entry.get("name", "")
        if entry.get("property"):
            schema = _as_object_schema(entry["property"])
            self._messages[key, name] = schema
        result = (entry.get("result") or {}).get("property")
        if result and key == "cmd_in":
            # The extension answers the commands that come in, so their
            # results are messages that go out.
            self._messages["result_out", name] = _as_object_schema(result)

    def mismatch_incoming(self, msg: Msg) -> str | None:
        """Why a message may not enter the extension, or None."""
        return self._mismatch(msg, "_in")

    def mismatch_outgoing(self, msg: Msg) -> str | None:
        """Why a message may not leave the extension, or None."""
        return self._mismatch(msg, "_out")

    def _mismatch(self, msg: Msg, direction: str) -> str | None:
        if not self._messages:
            return None
        name = msg.cmd_name() if isinstance(msg, CmdResult) else msg.get_name()
        schema = self._messages.get((msg.schema_kind + direction, name))
        if schema is None:
            return None
        return mismatch_in_object(schema, properties_of(msg))


def _as_object_schema(declared: dict | None) -> dict:
    """Manifests hold `{"properties": {...}}` or, older ones, the inside."""
    if not declared:
        return {}
    properties = declared.get("properties")
    if isinstance(properties, dict) and not isinstance(
        properties.get("type"), str
    ):
        return declared
    return {"properties": declared}
