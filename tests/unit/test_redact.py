"""No piece of a secret stays in a text."""

import hashlib
import random
import re
import string
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from spatius_avatar_python.messages import redact as redact_module
from spatius_avatar_python.messages.redact import (
    ALLOWLIST,
    MASK,
    MAX_RECENT,
    PIECE,
    Redactor,
    bare_url,
    defect,
)
from spatius_avatar_python.speech import Speech

SECRET = "sk-Zx9Qv7Wk3Tm5Rj1Np8"

# The mask's own characters are left out: no real secret holds them.
letters = st.sampled_from(string.ascii_letters + string.digits + "-_+/=.: ")
secrets = st.text(letters, min_size=PIECE, max_size=40)
# Few letters make pieces overlap, within a secret and between two.
alike = st.text("ab", min_size=PIECE, max_size=20)


def pieces(secret: str) -> set[str]:
    """Return every piece of `secret` that must not be shown."""
    return {secret[i : i + PIECE] for i in range(len(secret) - PIECE + 1)}


@st.composite
def texts_with_pieces(draw, of=secrets):
    """Secrets, and a text that repeats parts of them."""
    known = draw(st.lists(of, min_size=1, max_size=3))
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        parts.append(draw(st.text(letters | st.characters(), max_size=8)))
        secret = draw(st.sampled_from(known))
        start = draw(st.integers(0, len(secret)))
        parts.append(secret[start : draw(st.integers(start, len(secret)))])
    text = "".join(parts)
    assume("*" not in text)
    return known, text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (SECRET, MASK),
        (f"key {SECRET}, refused", f"key {MASK}, refused"),
        (f"{SECRET}{SECRET}", MASK),
        (f"{SECRET} {SECRET}", f"{MASK} {MASK}"),
        (f"begins {SECRET[:9]}...", f"begins {MASK}..."),
        (f"...{SECRET[-7:]} ends", f"...{MASK} ends"),
        (f"has {SECRET[4:10]} within", f"has {MASK} within"),
        (f"has {SECRET[4:9]} within", f"has {SECRET[4:9]} within"),
        (SECRET.lower(), SECRET.lower()),
        ("", ""),
        ("short", "short"),
    ],
)
def test_masks_each_run_once(text, shown):
    """A run of secret characters becomes one mask, of any length."""
    assert Redactor([SECRET])(text) == shown


@given(texts_with_pieces())
def test_no_piece_stays(case):
    """Of six characters in a row of a secret, none are shown as they were."""
    known, text = case
    # A piece that is one of our own words, too, is left to be read.
    assume(
        not any(piece in ALLOWLIST for one in known for piece in pieces(one))
    )
    shown = Redactor(known)(text)
    for secret in known:
        assert not any(piece in shown for piece in pieces(secret))


@given(texts_with_pieces(of=alike))
def test_no_piece_stays_where_pieces_overlap(case):
    """Nor where a mask's two sides would make up a piece."""
    known, text = case
    shown = Redactor(known)(text)
    for secret in known:
        assert not any(piece in shown for piece in pieces(secret))


@given(st.lists(secrets, max_size=3), st.text())
def test_other_text_is_unchanged(known, text):
    """A text without a piece comes out as it went in."""
    assume(not any(p in text for secret in known for p in pieces(secret)))
    assert Redactor(known)(text) == text


def test_masks_nothing_but_pieces():
    """The text around a piece is kept."""
    shown = Redactor([SECRET])(f"<{SECRET[2:8]}><{SECRET[3:14]}>")
    assert shown == f"<{MASK}><{MASK}>"


def test_a_secret_without_a_piece_changes_no_text():
    """One so short hides nothing, and would garble every sentence."""
    assert Redactor(["on"])("the connection is on") == "the connection is on"


def test_our_own_words_stay_readable():
    """A key that begins with our name does not hide our name."""
    redact = Redactor(["spatius-9f3kq27x"])
    assert redact("params.spatius_api_key: no 9f3kq27x") == (
        f"params.spatius_api_key: no {MASK}"
    )


def test_knows_a_secret_from_when_it_is_added():
    """Secrets that come later are masked from then on."""
    redact = Redactor()
    assert redact(SECRET) == SECRET
    redact.add(SECRET)
    assert redact(SECRET) == MASK


def test_empty_secret_is_none():
    """A secret that is missing changes no text."""
    assert Redactor([""])("a text") == "a text"


def test_repr_shows_no_secret():
    """The redactor's own text does not show the secrets."""
    shown = repr(Redactor([SECRET, "k9Q"]))
    assert "k9Q" not in shown
    assert not any(piece in shown for piece in pieces(SECRET))


def test_many_secrets_do_not_pile_up():
    """Every attempt to connect brings new tokens; old ones are forgotten."""
    redact = Redactor([SECRET])

    def attempts(first: int, last: int) -> None:
        for number in range(first, last):
            digest = hashlib.sha256(str(number).encode()).hexdigest()
            redact.add_recent(digest)
            assert redact(digest) == MASK

    attempts(0, 2 * MAX_RECENT)
    tracemalloc.start()
    try:
        attempts(2 * MAX_RECENT, 10 * MAX_RECENT)
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown < 500_000
    assert redact(SECRET) == MASK


def token(number: int, size: int) -> str:
    """Return a token like no other, of so many characters."""
    rng = random.Random(number)
    return "".join(rng.choices(string.ascii_letters, k=size))


def test_long_secrets_do_not_pile_up(monkeypatch):
    """The fewer are kept, the longer they are; the latest always is."""
    most = 1000
    monkeypatch.setattr(redact_module, "MAX_RECENT_SIZE", most)
    redact = Redactor([SECRET])
    for number in range(4):
        redact.add_recent(token(number, most * 2 // 5))
    assert redact(token(3, 20)) == redact(token(2, 20)) == MASK
    assert redact(token(1, 20)) == token(1, 20)
    redact.add_recent(token(4, most + 1))
    assert redact(token(4, 20)) == MASK
    assert redact(token(3, 20)) == token(3, 20)
    assert redact(SECRET) == MASK


class Counted(str):
    """A text that counts how often a part of it is taken."""

    taken = 0

    def __getitem__(self, key: Any) -> str:
        self.taken += 1
        return super().__getitem__(key)


def test_new_secret_is_all_that_is_read():
    """The event loop waits meanwhile: a token may have 2000 characters."""
    redact = Redactor()
    known = Counted(token(1, 2000))
    redact.add_recent(known)
    taken = known.taken
    redact.add_recent(token(2, 2000))
    assert known.taken == taken > 0


def test_piece_of_two_secrets_stays_hidden():
    """The older one is forgotten, but not the part that both have."""
    redact = Redactor(["permanent-key"])
    redact.add_recent("shared-old, permanent-key")
    redact.add_recent("shared-new")
    for number in range(MAX_RECENT - 1):
        redact.add_recent(token(number, 20))
    assert redact("shared") == redact("permanent-key") == MASK
    assert redact("ed-old") == "ed-old"
    redact.add_recent(token(MAX_RECENT, 20))
    assert redact("shared") == "shared"


@pytest.mark.parametrize(
    "url", ["https://me:hunter2@host:99999/v1", "wss://me:hunter2@[::1/v2"]
)
def test_url_that_cannot_be_parsed_is_not_repeated(url):
    """The place of its password is unknown."""
    assert bare_url(url) == "an invalid URL"


class Mute(Exception):
    """An exception that cannot be shown."""

    def __repr__(self) -> str:
        raise ValueError


def raise_mute() -> None:
    raise Mute


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            Speech().avatar.failed,
            r"AssertionError\('there .*'\) at speech/avatar_output\.py:\d+",
        ),
        # Raised by a library, for a line of the package.
        (
            lambda: Redactor([3]),  # type: ignore[list-item]
            r"TypeError\(.*\) at messages/redact\.py:\d+",
        ),
        (lambda: int("x"), r"ValueError\(.*\)"),
        (raise_mute, "Mute"),
    ],
    ids=["own", "deeper", "foreign", "mute"],
)
def test_defect_names_the_line_of_the_package(
    call: Callable[[], Any], text: str
):
    """The last one that it came from, without the folders above."""
    with pytest.raises(Exception) as raised:
        call()
    assert re.fullmatch(text, defect(raised.value))
