"""Sending reports through TEN: in order, redacted, and never raising."""

import asyncio
import gc
import json
from typing import Any, Optional

import pytest
import ten_runtime
from fakes import FakeClock, count_of_tasks, logged_by_the_loop, settle
from spatius_avatar_python.messages.outbox import Outbox
from spatius_avatar_python.messages.redact import MAX_RECENT
from ten_runtime import TenError, TenErrorCode

SECRET = "a-very-secret-key"
UNSENT = RuntimeError("the runtime is closing")

DRAIN_S = 0.1


class Env:
    """The part of an AsyncTenEnv that the outbox needs."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.lines: list[tuple[str, str, Optional[str]]] = []
        self.fields: list[Any] = []
        self.options: list[Any] = []
        self.may_send = asyncio.Event()
        self.may_send.set()
        self.send_error: Optional[BaseException] = None
        self.log_error_raised: Optional[Exception] = None

    async def send_data(self, data: Any) -> None:
        await self.may_send.wait()
        if self.send_error is not None:
            raise self.send_error
        text, _ = data.get_property_to_json(None)
        self.sent.append((data.get_name(), json.loads(text)))

    def _log(
        self,
        level: str,
        text: str,
        category: Any = None,
        fields: Any = None,
        option: Any = None,
    ) -> None:
        if self.log_error_raised is not None:
            raise self.log_error_raised
        self.lines.append((level, text, category))
        self.fields.append(fields)
        self.options.append(option)

    def log_info(self, text, category=None, fields=None, option=None):
        self._log("info", text, category, fields, option)

    def log_warn(self, text, category=None, fields=None, option=None):
        self._log("warn", text, category, fields, option)

    def log_error(self, text, category=None, fields=None, option=None):
        self._log("error", text, category, fields, option)


class NoFieldsEnv(Env):
    """One whose log calls take no fields that are given."""

    def log_info(self, text, category=None, fields=None, option=None):
        if fields is not None:
            raise ValueError("fields must be a Value")
        self._log("info", text, category, None, option)


class RefusingEnv(Env):
    """One whose log calls refuse fields as TEN does: with an error."""

    def log_info(self, text, category=None, fields=None, option=None):
        if fields is not None:
            return TenError.create(TenErrorCode.ErrorCodeGeneric, "refused")
        self._log("info", text, category, None, option)
        return None


class OldEnv(Env):
    """One whose log calls know neither fields nor options."""

    def log_info(self, text, category=None):
        self._log("info", text, category)


def outbox_of(env: Any) -> Outbox:
    outbox = Outbox(env)
    outbox.open()
    return outbox


@pytest.fixture
def env() -> Env:
    return Env()


@pytest.fixture
def outbox(env: Env) -> Outbox:
    return outbox_of(env)


async def test_reports_are_sent_in_order(env, outbox):
    """Each with its name and payload."""
    outbox.send("first", {"number": 1})
    outbox.send("second", {"number": 2})
    await settle()
    assert env.sent == [("first", {"number": 1}), ("second", {"number": 2})]
    assert env.lines == []


async def test_reports_wait_until_the_outbox_is_open(env):
    """TEN takes messages from on_start on."""
    outbox = Outbox(env)
    outbox.send("first", {})
    outbox.send("second", {})
    await settle()
    assert env.sent == []
    outbox.open()
    outbox.send("third", {})
    await settle()
    assert [name for name, _ in env.sent] == ["first", "second", "third"]


async def test_reports_are_sent_once_where_it_is_opened_twice(env):
    """A second `open` finds no kept messages."""
    outbox = Outbox(env)
    outbox.send("first", {})
    outbox.open()
    outbox.open()
    await settle()
    assert len(env.sent) == 1


async def test_secrets_are_redacted_at_any_depth(env, outbox):
    """In texts, in nested objects, and in log lines."""
    outbox.add_permanent_secrets([SECRET])
    outbox.send("error", {"message": SECRET, "vendor_info": {"text": SECRET}})
    outbox.log("warn", f"refused: {SECRET}")
    await settle()
    assert SECRET not in json.dumps(env.sent)
    assert SECRET not in env.lines[0][1]


async def test_session_secrets_are_redacted(env, outbox):
    """Those of a connection, which are forgotten after a while."""
    outbox.add_secrets([SECRET])
    outbox.send("error", {"message": SECRET})
    await settle()
    assert SECRET not in json.dumps(env.sent)
    outbox.add_secrets([f"session {n}" for n in range(MAX_RECENT)])
    outbox.send("error", {"message": SECRET})
    await settle()
    assert SECRET in json.dumps(env.sent)


async def test_permanent_secrets_are_never_forgotten(env, outbox):
    """However many sessions there are."""
    outbox.add_permanent_secrets([SECRET])
    for number in range(2 * MAX_RECENT):
        outbox.add_permanent_secrets([f"permanent {number}"])
        outbox.add_secrets([f"session {number}"])
    outbox.send("error", {"message": SECRET})
    await settle()
    assert SECRET not in json.dumps(env.sent)


@pytest.mark.parametrize(
    "name", ["module", "vendor", "state", "phase", "session_id", "turn_id"]
)
async def test_plain_values_are_sent_as_they_came(name, env, outbox):
    """An id must go back unchanged, even where a secret happens to match."""
    outbox.add_permanent_secrets([SECRET])
    outbox.send("error", {"metadata": {name: SECRET}})
    await settle()
    assert env.sent == [("error", {"metadata": {name: SECRET}})]


async def test_values_that_are_no_text_are_sent_unchanged(env):
    """Numbers and truth values."""
    payload = {"code": -1000, "metrics": {"sent_ms": 1.5, "interrupted": True}}
    outbox_of(env).send("metrics", payload)
    await settle()
    assert env.sent == [("metrics", payload)]


async def test_text_that_ten_does_not_take_is_cleaned(env, outbox):
    """No NUL, no lone surrogate; their removal hides no secret."""
    outbox.add_permanent_secrets([SECRET])
    outbox.send("error", {"message": "a\0b\ud800c"})
    outbox.log("warn", SECRET[:5] + "\0" + SECRET[5:])
    await settle()
    assert env.sent == [("error", {"message": "abc"})]
    assert SECRET not in env.lines[0][1]


async def test_report_that_is_not_sent_is_logged(env):
    """A failing runtime does not end the extension."""
    env.send_error = UNSENT
    outbox_of(env).send("error", {})
    await settle()
    [(level, text, _)] = env.lines
    assert level == "warn"
    assert "the runtime is closing" in text


async def test_report_whose_sending_is_cancelled_is_not_logged(env):
    """The event loop is being closed."""
    env.send_error = asyncio.CancelledError()
    logged = logged_by_the_loop()
    outbox_of(env).send("error", {})
    await settle()
    assert env.lines == []
    assert logged == []


async def test_reports_that_were_sent_are_forgotten(env, outbox):
    """There are some for each utterance."""
    before = count_of_tasks()
    for _ in range(10):
        outbox.send("metrics", {})
    await settle()
    assert len(env.sent) == 10
    assert count_of_tasks() == before


async def test_report_that_is_no_json_is_logged(env):
    """It is dropped, and named."""
    outbox_of(env).send("metrics", {"value": object()})
    await settle()
    assert env.sent == []
    [(level, text, _)] = env.lines
    assert level == "warn"
    assert "metrics could not be sent" in text


@pytest.mark.parametrize("level", ["info", "warn", "error"])
async def test_line_is_logged_with_level_and_category(level, env, outbox):
    """No category is None for TEN."""
    outbox.log(level, "text", "vendor")
    outbox.log(level, "text")
    assert env.lines == [(level, "text", "vendor"), (level, "text", None)]


async def test_line_is_one_line(env, outbox):
    """The id of a turn, which any node may send, forges no other."""
    outbox.log("info", "utterance: turn_id=7\n\x1b[31merror\u2028 forged ü")
    [(_, text, _)] = env.lines
    assert text == "utterance: turn_id=7  [31merror  forged ü"


@pytest.mark.skipif(
    not hasattr(ten_runtime, "LogOption"), reason="a runtime without LogOption"
)
async def test_line_names_the_place_that_logs_it(env):
    """Not the outbox: TEN skips its own two frames and the outbox's."""
    outbox_of(env).log("info", "text")
    assert env.options[0].skip == 3


async def test_line_has_fields(env, outbox):
    """Redacted as the text is; a value that is not plain is left out."""
    outbox.add_permanent_secrets([SECRET])
    fields = {"text": SECRET, "count": 3, "share": 0.5, "cut": True, "x": []}
    outbox.log("info", "text", "vendor", fields)
    assert env.lines == [("info", "text", "vendor")]
    [shown] = env.fields
    assert SECRET not in shown.pop("text")
    assert shown == {"count": 3, "share": 0.5, "cut": True}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**40])
async def test_number_beyond_64_bits_is_logged_as_text(number, env):
    """TEN cannot serialize it, and would lose the line."""
    outbox_of(env).log("info", "text", "", {"turn_id": number, "n": 2**63 - 1})
    assert env.fields == [{"turn_id": str(number), "n": 2**63 - 1}]


async def test_runtime_gets_the_fields():
    """Its own env takes them as they are, and returns no error."""
    log = pytest.importorskip("ten_runtime._log", reason="the stand-in's")
    lines: list[Any] = []
    log.observers.append(lines.append)
    outbox_of(ten_runtime.TenEnv()).log("info", "text", "", {"turn_id": 2**63})
    log.observers.remove(lines.append)
    assert [line.fields for line in lines] == [{"turn_id": str(2**63)}]


async def test_line_that_is_refused_with_fields_is_logged_without():
    """TEN returns an error for fields that it cannot serialize."""
    env = RefusingEnv()
    outbox_of(env).log("info", "text", "vendor", {"count": 1})
    assert env.lines == [("info", "text", "vendor")]


@pytest.mark.parametrize("env", [NoFieldsEnv, OldEnv])
async def test_runtime_without_fields_or_options_is_logged_to(env):
    """Each line once, from the first on."""
    env = env()
    outbox = outbox_of(env)
    for category in ("category", ""):
        outbox.log("info", "with fields", category, {"count": 1})
        outbox.log("info", "without", category)
    assert env.lines == [
        ("info", "with fields", "category"),
        ("info", "without", "category"),
        ("info", "with fields", None),
        ("info", "without", None),
    ]


class NoFields(dict[str, Any]):
    """An object that cannot be read."""

    def items(self) -> Any:
        raise RuntimeError("no items")


async def test_fields_that_cannot_be_read_lose_no_line(env):
    """The text says the same."""
    outbox_of(env).log("info", "text", "vendor", NoFields(count=1))
    assert env.lines == [("info", "text", "vendor")]


async def test_log_call_that_raises_ends_nothing(env):
    """There is nowhere left to report it."""
    env.log_error_raised = RuntimeError("closed")
    outbox_of(env).log("error", "text")


async def test_drain_waits_for_messages_on_their_way():
    """But for nothing else."""
    clock = FakeClock()
    env = Env()
    env.may_send.clear()
    outbox = outbox_of(env)
    outbox.send("error", {})
    draining = asyncio.ensure_future(
        outbox.drain(clock, clock.monotonic() + DRAIN_S)
    )
    await settle()
    assert not draining.done()
    env.may_send.set()
    await draining
    assert len(env.sent) == 1
    await outbox.drain(clock, clock.monotonic() + DRAIN_S)
    assert clock.pending() == 0


async def test_drain_does_not_wait_for_long():
    """A runtime that takes no message does not hold up the stop."""
    clock = FakeClock()
    env = Env()
    env.may_send.clear()
    outbox = outbox_of(env)
    outbox.send("error", {})
    draining = asyncio.ensure_future(
        outbox.drain(clock, clock.monotonic() + DRAIN_S)
    )
    await clock.advance(DRAIN_S)
    assert draining.done()
    assert env.sent == []
    env.may_send.set()
    await settle()
    assert len(env.sent) == 1


async def test_drain_survives_a_report_that_is_not_sent(env):
    """It is logged, and not waited for."""
    env.send_error = UNSENT
    logged = logged_by_the_loop()
    outbox = outbox_of(env)
    outbox.send("error", {})
    await outbox.drain(FakeClock(), DRAIN_S)
    await settle()
    assert len(env.lines) == 1
    gc.collect()
    await settle()
    assert logged == []
