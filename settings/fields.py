"""Types of properties: what is taken, and what is said of the rest.

A value may come from an environment variable, hence as text. No message shows
one that may be a secret.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Union
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_core import PydanticCustomError

MAX_SHOWN = 8  # characters of an invalid text
MAX_DIGITS = 20
_DIGITS = re.compile(f"[+-]?[0-9]{{1,{MAX_DIGITS}}}")

_TRUE = ("true", "1", "yes", "on")
_FALSE = ("false", "0", "no", "off")


def invalid(expected: str, got: object = None) -> PydanticCustomError:
    """Return pydantic's error for a value that is not what was expected."""
    text = f"expected {expected}"
    if got is not None:
        text += f", got {_safe_repr(got)}"
    # Pydantic would take braces in the text for fields.
    return PydanticCustomError("invalid", "{text}", {"text": text})


def _safe_repr(value: object) -> str:
    """Return what a message may say of a value that is in the wrong place:
    a long text may be a secret that was meant for another property. Digits
    alone are a uid or another number, and no secret of these services."""
    is_number = isinstance(value, str) and _DIGITS.fullmatch(value)
    if isinstance(value, str) and len(value) > MAX_SHOWN and not is_number:
        return f"text of {len(value)} characters"
    if isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS} digits"
    if isinstance(value, (str, int, float)):
        return repr(value)
    return f"a value of type {type(value).__name__}"


def _number(value: Any) -> Any:
    """Return the number that a property or an environment variable means."""
    if isinstance(value, str) and re.fullmatch(
        r"[+-]?[0-9]{1,20}(\.[0-9]{1,20})?", value.strip()
    ):
        value = float(value) if "." in value else int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if isinstance(value, bool) else value


def whole(
    low: int, high: int, unit: str = "", word: str = ""
) -> BeforeValidator:
    """Take a whole number; `word` is the one text that may stand for it."""
    expected = f"a whole number from {low} to {high}{unit}"
    if word:
        expected += f", or {word}"

    def check(value: Any) -> Union[int, str]:
        if word and isinstance(value, str) and value.strip().lower() == word:
            return word
        number = _number(value)
        if not isinstance(number, int) or not low <= number <= high:
            raise invalid(expected, value)
        return number

    return BeforeValidator(check)


def decimal(low: float, high: float, unit: str) -> BeforeValidator:
    expected = f"a number from {low:g} to {high:g}{unit}"

    def check(value: Any) -> float:
        number = _number(value)
        if not isinstance(number, (int, float)) or not low <= number <= high:
            raise invalid(expected, value)
        return number

    return BeforeValidator(check)


def flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = value.strip().lower() if isinstance(value, str) else value
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise invalid("true or false", value)


def flag_or(word: str) -> BeforeValidator:
    """Take a boolean, or the one text that may stand for it."""

    def check(value: Any) -> Union[bool, str]:
        if isinstance(value, str) and value.strip().lower() == word:
            return word
        try:
            return flag(value)
        except PydanticCustomError:
            raise invalid(f"true, false or {word}", value) from None

    return BeforeValidator(check)


def _text(value: Any) -> Any:
    if not isinstance(value, (str, SecretStr)):
        # Numbers are not shown: the text may have been a secret.
        raise invalid(f"text, got a value of type {type(value).__name__}")
    return value


def folder(value: Any) -> str:
    _text(value)
    try:
        ok = "\0" not in value and bool(value.encode())
    except UnicodeEncodeError:
        ok = False
    if not ok:
        raise invalid("the path of a folder")
    return value


def header_safe(value: str) -> str:
    """Refuse what no HTTP header can carry; both go out in one."""
    if not re.fullmatch(r"[!-~]+", value):
        raise invalid("printable ASCII characters without spaces")
    return value


def secret_header_safe(value: SecretStr) -> SecretStr:
    header_safe(value.get_secret_value())
    return value


def hex_32(value: str) -> None:
    # The value is not shown: the two of Agora are easily mistaken for one
    # another, and one of them is a secret.
    if not re.fullmatch(r"[0-9a-fA-F]{32}", value):
        raise invalid(
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
            parts = urlsplit(header_safe(value))
            # As a client encodes it: no part may be empty or too long.
            (parts.hostname or "").encode("idna")
        except (ValueError, PydanticCustomError):
            raise invalid(expected) from None
        try:
            _ = parts.port
        except ValueError:
            raise invalid("a port from 0 to 65535 in the URL") from None
        if f"{parts.scheme}://" not in schemes or not parts.hostname:
            raise invalid(expected)
        if is_base and (parts.query or parts.fragment):
            raise invalid(expected)
        return value

    return AfterValidator(check)


def _texts(value: Any) -> Any:
    if not isinstance(value, Mapping):
        raise invalid("an object whose values are text", value)
    for name, text in value.items():
        if not isinstance(text, str):
            # Its value is not shown: nobody knows what these are.
            raise invalid(
                f"text for {_safe_repr(str(name))}, got a value of type "
                f"{type(text).__name__}"
            )
    return value


Text = Annotated[str, BeforeValidator(_text)]
Secret = Annotated[SecretStr, BeforeValidator(_text)]
Flag = Annotated[bool, BeforeValidator(flag)]
Texts = Annotated[dict[str, str], BeforeValidator(_texts)]
