"""The console: it hands out session tokens for an API key."""

import asyncio
import json
import math
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aiohttp import web

from .clock import Clock, sleep
from .faults import (
    Faults,
    Hang,
    HttpFault,
    Malformed,
    Refuse,
    Slow,
    Unreachable,
)
from .record import Record

TOKEN_PATH = "/v1/console/session-tokens"
SPATIALREAL_TOKEN_PATH = "/v1/auth/session-token"
# Longest life of a session token that the console grants.
MAX_TOKEN_LIFE_S = 24 * 3600


@dataclass(frozen=True)
class SessionToken:
    """A session token that was handed out."""

    # 1, 2, 3 ...: stands in the record in place of the text.
    number: int
    # Epoch seconds.
    end_s: float
    text: str = field(repr=False)
    api_key: str = field(repr=False)


class SessionTokens:
    """The session tokens that were handed out."""

    def __init__(self) -> None:
        self._by_text: dict[str, SessionToken] = {}

    def __repr__(self) -> str:
        return f"<SessionTokens {len(self._by_text)}>"

    def issue(self, end_s: float, api_key: str) -> SessionToken:
        """Make a new token that ends at `end_s` (epoch seconds)."""
        token = SessionToken(
            len(self._by_text) + 1, end_s, secrets.token_urlsafe(24), api_key
        )
        self._by_text[token.text] = token
        return token

    def texts(self) -> list[str]:
        """All of them, for tests that look for leaks."""
        return list(self._by_text)

    def find(self, text: str) -> SessionToken | None:
        """The token with this text, ended or not."""
        return self._by_text.get(text)


def error_response(
    status: int,
    title: str = "",
    detail: str = "",
    code: str = "",
    body: str | None = None,
    retry_after_s: float | None = None,
) -> web.Response:
    """Answer with the JSON errors object of the real service.

    The SDK reads status, title, detail and code of the first error.
    """
    error: dict[str, Any] = {
        "status": status,
        "title": title or _phrase(status),
    }
    if detail:
        error["detail"] = detail
    if code:
        error["code"] = code
    return web.Response(
        status=status,
        text=json.dumps({"errors": [error]}) if body is None else body,
        content_type="application/json",
        headers=None
        if retry_after_s is None
        else {"Retry-After": f"{retry_after_s:g}"},
    )


def refusal(fault: Refuse, **own_secrets: str) -> web.Response:
    """Turn a planned Refuse into a response, placeholders filled in."""
    return error_response(
        fault.status,
        fault.title,
        fill(fault.detail, **own_secrets),
        fault.code,
        None if fault.body is None else fill(fault.body, **own_secrets),
        fault.retry_after_s,
    )


def fill(text: str, **own_secrets: str) -> str:
    """Replace {api_key}, {session_token} and {agora_token} in a text."""
    for name, value in own_secrets.items():
        text = text.replace(f"{{{name}}}", value)
    return text


class Console:
    """Answers POST {console}/session-tokens.

    Also the endpoint of `spatialreal`: the same request at another path, with
    {"session_token"} for an answer.
    """

    def __init__(
        self,
        record: Record,
        faults: Faults,
        tokens: SessionTokens,
        *,
        api_keys: Collection[str] | None,
        clock: Clock,
        now: Callable[[], float],
        refuses_tokens: Callable[[], bool] = lambda: False,
    ) -> None:
        self._record = record
        self._faults = faults
        self._tokens = tokens
        # None: any key that is not empty.
        self._api_keys = api_keys
        self._clock = clock
        self._now = now
        # Whether as many sessions are live as the plan allows.
        self._refuses_tokens = refuses_tokens
        # The fault of every request while the console is down.
        self.outage: HttpFault | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one token request."""
        api_key = request.headers.get("X-Api-Key", "")
        key_ok = bool(api_key) and (
            self._api_keys is None or api_key in self._api_keys
        )
        expire_at = _expire_at(await request.text())

        def answered(status: int | None, number: int | None = None) -> None:
            self._record.token_answered(
                status,
                key_ok=key_ok,
                expire_at=expire_at,
                session_token=number,
            )

        fault = self._faults.next("console") or self.outage
        if fault is not None:
            self._record.fault(f"console: {fault}")
        if isinstance(fault, Refuse):
            answered(fault.status)
            return refusal(fault, api_key=api_key)
        if isinstance(fault, Unreachable):
            answered(None)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if isinstance(fault, Malformed):
            answered(200)
            return web.Response(
                text=f'{{"{_answer_field(request.path)}": ',
                content_type="application/json",
            )
        if isinstance(fault, Hang):
            answered(None)
            await asyncio.Event().wait()
        if isinstance(fault, Slow):
            await sleep(self._clock, fault.delay_s)

        if not key_ok:
            answered(401)
            return error_response(401)
        if expire_at is None:
            answered(400)
            return error_response(400, detail="expireAt must be a number")
        left_s = expire_at - self._now()
        if left_s <= 0:
            answered(400)
            return error_response(400, detail="expireAt is in the past")
        if left_s > MAX_TOKEN_LIFE_S:
            answered(400)
            return error_response(400, detail="expireAt is over 24 h away")
        if self._refuses_tokens():
            answered(429)
            return error_response(429, detail="too many sessions at once")
        token = self._tokens.issue(expire_at, api_key)
        answered(200, token.number)
        return web.json_response({_answer_field(request.path): token.text})


def _answer_field(path: str) -> str:
    is_spatialreal = path == SPATIALREAL_TOKEN_PATH
    return "session_token" if is_spatialreal else "sessionToken"


def _expire_at(body: str) -> float | None:
    """Read {"expireAt": epoch seconds}; None when it is not that."""
    try:
        value = json.loads(body)["expireAt"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
