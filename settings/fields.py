"""Types of properties, and the sentence for a value that does not fit.

Pydantic checks types, ranges and patterns. A value may come from an
environment variable, hence as text. The sentence is made of the field's JSON
schema; it shows no value that may be a secret.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

MAX_SHOWN = 8  # characters of an invalid text
MAX_DIGITS = 20
_DIGITS = re.compile(f"[+-]?[0-9]{{1,{MAX_DIGITS}}}")

_UNITS = {"_ms": " ms", "_s": " s", "_minutes": " minutes", "_rate": " Hz"}
"""By the end of a property's name."""

_REFUSED = "refused"  # type of the errors that have a sentence of their own


def refused(expected: str) -> PydanticCustomError:
    """Return the error for a value of which no more may be shown."""
    # Pydantic would take braces in the text for fields.
    return PydanticCustomError(
        _REFUSED, "{text}", {"text": f"expected {expected}"}
    )


def problem_of(
    name: str, schema: dict[str, Any], error: Any, hide: Callable[[str], str]
) -> str:
    """Return the sentence for one of pydantic's errors.

    `schema` is the JSON schema of the property. `hide` is applied to the part
    of the value that the sentence shows, and to no other text.
    """
    value = error["input"]
    if error["type"] == _REFUSED:
        return error["msg"]
    if error["type"] == "string_type":
        # Not even a number is shown: the text may have been a secret.
        key = error["loc"][-1]
        place = "" if key == name else f" for {hide(_shown(str(key)))}"
        return f"expected text{place}, got a value of type {_type_of(value)}"
    unit = next((u for end, u in _UNITS.items() if name.endswith(end)), "")
    return f"expected {_expected(schema, unit)}, got {hide(_shown(value))}"


def _expected(schema: dict[str, Any], unit: str) -> str:
    """Return a JSON schema in words."""
    if "description" in schema:
        return schema["description"]
    if "anyOf" in schema:
        options = (one for one in schema["anyOf"] if one.get("type") != "null")
        return ", or ".join(_expected(one, unit) for one in options)
    if "enum" in schema:
        return " or ".join(schema["enum"])
    if "const" in schema:
        return schema["const"]
    if schema["type"] == "boolean":
        return "true or false"
    if schema["type"] == "object":
        return "an object whose values are text"
    low, high = schema["minimum"], schema["maximum"]
    if schema["type"] == "integer":
        return f"a whole number from {low} to {high}{unit}"
    return f"a number from {low:g} to {high:g}{unit}"


def _shown(value: object) -> str:
    """Return the part of a value that a sentence may show.

    A long text may be a secret that was meant for another property. Digits
    alone are a uid or another number, and no secret of these services.
    """
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        is_number = _DIGITS.fullmatch(value)
        return repr(value) if is_number else f"text of {len(value)} characters"
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS} digits"
    if isinstance(value, (str, int, float)):
        return repr(value)
    return f"a value of type {_type_of(value)}"


def _type_of(value: object) -> str:
    return type(value).__name__


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("pydantic would take it for 0 or 1")
    return value


def _no_number(value: Any) -> Any:
    if not isinstance(value, (bool, str)):
        raise ValueError("pydantic would take 0 and 1 for booleans")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


NUMBER = BeforeValidator(_no_boolean)
"""Behind the bounds: the schema of one before them does not show them."""
Flag = Annotated[bool, BeforeValidator(_no_number)]
Auto = Annotated[Literal["auto"], BeforeValidator(_lower)]


def _folder(value: str) -> str:
    try:
        ok = "\0" not in value and bool(value.encode() or not value)
    except UnicodeEncodeError:
        ok = False
    if not ok:
        raise refused("the path of a folder")
    return value


def _header_safe(value: str) -> str:
    if not re.fullmatch(r"[!-~]+", value):
        raise refused("printable ASCII characters without spaces")
    return value


def _secret_header_safe(value: SecretStr) -> SecretStr:
    _header_safe(value.get_secret_value())
    return value


Folder = Annotated[str, AfterValidator(_folder)]
HeaderText = Annotated[str, AfterValidator(_header_safe)]
"""Text that goes out in an HTTP header."""
HeaderSecret = Annotated[SecretStr, AfterValidator(_secret_header_safe)]


def hex_32(value: str) -> None:
    # The value is not shown: the two of Agora are easily mistaken for one
    # another, and one of them is a secret.
    if not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise refused(
            f"32 hexadecimal digits, got {len(value)} characters"
            + (" that are not all such" if len(value) == 32 else "")
        )


def url(*schemes: str, is_base: bool = False) -> AfterValidator:
    """Take a URL; `is_base`: paths will be put behind it."""
    expected = f"a URL that starts with {' or '.join(schemes)}"
    if is_base:
        expected += " and has neither query nor fragment"

    def check(value: str) -> str:
        # The value is not shown: a URL can hold a password or a key.
        try:
            # urlsplit drops white space where a server would stumble on it.
            parts = urlsplit(_header_safe(value))
            # As a client encodes it: no part may be empty or too long.
            (parts.hostname or "").encode("idna")
        except (ValueError, PydanticCustomError):
            raise refused(expected) from None
        try:
            _ = parts.port
        except ValueError:
            raise refused("a port from 0 to 65535 in the URL") from None
        if f"{parts.scheme}://" not in schemes or not parts.hostname:
            raise refused(expected)
        if is_base and (parts.query or parts.fragment):
            raise refused(expected)
        return value

    return AfterValidator(check)
