"""When sessions are made, renewed and closed, as it is configured."""

from dataclasses import dataclass, field
from typing import Optional

from .. import token
from ..session import Failure, Session
from ..settings import Params

RENEWAL_S = 15.0
"""The longest renewal: 3 s to close, and 10 to open."""

MIN_TIME_LIMIT_S = 60.0
"""A session that reaches its time limit earlier is ignored."""


@dataclass(frozen=True)
class Lifetime:
    """How long a session may be used, in seconds from the begin of its opening.

    From `renew_after_s` on it is renewed in a quiet moment, at
    `renew_latest_s` in any. `token_expires_at_s` (epoch) is the end of a
    given Agora token, which cannot be renewed. A spare session is discarded
    at `spare_max_age_s` (0 = none is made).
    """

    renew_after_s: float
    renew_latest_s: float
    token_expires_at_s: Optional[float] = None
    spare_max_age_s: float = 0.0


def lifetime_of(
    session_expire_minutes: float, token_expires_at_s: Optional[float] = None
) -> Lifetime:
    """Return when to renew sessions that are valid for so many minutes."""
    whole_s = session_expire_minutes * 60
    return Lifetime(
        whole_s * 0.7,
        whole_s - RENEWAL_S,
        token_expires_at_s,
        whole_s * 0.35,
    )


@dataclass
class LearnedLimit:
    """The longest session of a plan, in seconds; inf while it is not known."""

    limit_s: float = float("inf")


_learned: dict[str, LearnedLimit] = {}


def learned_limit_of(app_id: str) -> LearnedLimit:
    """Return the limit that all extensions of this process share which use
    one Spatius app: the plan is its account's."""
    return _learned.setdefault(app_id, LearnedLimit())


def forget_learned_limits() -> None:
    """Have the limits learned anew, as in a new process."""
    _learned.clear()


@dataclass(frozen=True)
class Plan:
    """When sessions are made and given up.

    `sample_rate` is in Hz, None for that of the frames. `idle_disconnect_s` of
    0 and `fallback_after_s` of 0 mean never. Without `auto_connect` the first
    session is made when there is something to say.

    How long the service lets a session last depends on the account's plan, and
    no API tells it: `max_session_minutes` is configured (None if it is not),
    and `learned_limit` is learned from the first session that reaches it.
    """

    lifetime: Lifetime = field(default_factory=lambda: lifetime_of(30))
    sample_rate: Optional[int] = None
    fallback_after_s: float = 0.0
    idle_disconnect_s: float = 0.0
    auto_connect: bool = True
    max_session_minutes: Optional[float] = None
    learned_limit: LearnedLimit = field(default_factory=LearnedLimit)

    @classmethod
    def of(cls, params: Params, auto_connect: bool) -> "Plan":
        """Return the plan that a node's params configure."""
        given = params.agora_token
        facts = token.read(given.get_secret_value()) if given else None
        return cls(
            lifetime=lifetime_of(
                params.session_expire_minutes, facts and facts.expires_at_s
            ),
            sample_rate=params.rate_hz,
            fallback_after_s=params.fallback_after_ms / 1000,
            idle_disconnect_s=params.idle_disconnect_s,
            auto_connect=auto_connect,
            max_session_minutes=params.max_session_minutes,
            learned_limit=learned_limit_of(params.spatius_app_id),
        )

    @property
    def time_limit_s(self) -> float:
        """How long a session lasts from its opening on, inf if unknown."""
        minutes = self.max_session_minutes
        configured_s = float("inf") if minutes is None else minutes * 60
        return min(configured_s, self.learned_limit.limit_s)

    def learn(self, failure: Optional[Failure], lasted_s: float) -> None:
        """Note why a session ended that was ready for so long."""
        if failure is not None and failure.reached_time_limit:
            if lasted_s >= MIN_TIME_LIMIT_S:
                learned = self.learned_limit
                learned.limit_s = min(learned.limit_s, lasted_s)

    def renew_at(self, session: Session) -> float:
        """Return from when on to renew a session in a quiet moment."""
        return min(
            session.began_at + self.lifetime.renew_after_s,
            session.opened_at + self.time_limit_s * 0.7,
        )

    def renew_latest_at(self, session: Session) -> float:
        """Return when to renew a session at the latest."""
        return min(
            session.began_at + self.lifetime.renew_latest_s,
            session.opened_at + self.time_limit_s - RENEWAL_S,
        )
