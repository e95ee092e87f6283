"""Faults of the service on demand, each with its place and time.

A fault is a small frozen value. `Faults` holds the plans: which fault comes
at which point, and how often. Plans of one point are used up in the order
in which they were made, so a test can write down a whole course:

    server.faults.console(Refuse(503), times=2)
    server.faults.upgrade(Refuse(401, detail="token is expired"))
    server.faults.handshake(ServerError(3, "agora_egress: no"), times=None)
    server.faults.runtime(Close(1011), after=AudioMessages(5))
    server.now(Stall())

Texts (`detail`, `message`, `reason`, `body`) may hold the placeholders
{api_key}, {session_token} and {agora_token}; the service fills them in with
the client's own secrets, so a test can find out whether the client leaks
secrets that a server echoes. The record keeps the text with the placeholder.
"""

import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

# Why the service itself cuts playback.
CutReason = Literal["preempted", "pause_timeout"]


@dataclass(frozen=True)
class Refuse:
    """Answer the HTTP request or the upgrade with an error status."""

    # 400 to 599.
    status: int
    # Title of the JSON error; the status' own phrase when empty.
    title: str = ""
    detail: str = ""
    # Code of the JSON error; left out when empty.
    code: str = ""
    # Sent as it is in place of the JSON errors object.
    body: str | None = None
    # Value of the Retry-After header; left out when None.
    retry_after_s: float | None = None


@dataclass(frozen=True)
class Malformed:
    """Answer a token request with 200 and something that is no JSON."""


@dataclass(frozen=True)
class Hang:
    """Never answer. At the handshake: upgrade, then never confirm."""


@dataclass(frozen=True)
class Unreachable:
    """Break the connection without an answer, as if no server ran."""


@dataclass(frozen=True)
class Slow:
    """Answer well, but later."""

    delay_s: float


@dataclass(frozen=True)
class ServerError:
    """Send a server_error; at the handshake in place of the confirmation.

    At runtime the session goes on, as with the real service; plan a Close
    behind it for one that ends.
    """

    # 3 invalid argument, 14 unavailable, 16 unauthenticated, 4001 credits
    # exhausted, 4002 session time limit.
    code: int
    message: str = ""
    # At the handshake: no close behind it, and no reply to the client's.
    then_silent: bool = False


@dataclass(frozen=True)
class Close:
    """Close the websocket with a close frame."""

    # 1000 to 4999.
    code: int = 1000
    reason: str = ""


@dataclass(frozen=True)
class Reset:
    """Break the TCP connection with an RST, without a close frame."""


@dataclass(frozen=True)
class Stall:
    """Stop reading from the socket: no message, no pong, no close reply.

    The client's messages fill the kernel's buffers, then block it.
    """

    # After this many seconds reading goes on; None: when `Resume` comes.
    for_s: float | None = None


@dataclass(frozen=True)
class BlackHole:
    """Lose every packet in both directions: no FIN, no RST, no pong.

    The service goes on to play the audio that it has received. Messages of
    either side arrive when packets pass again.
    """

    # After this many seconds packets pass again; None: when `Resume` comes.
    for_s: float | None = None
    # The service's host has vanished: playback stops at this moment, and
    # neither `Resume` nor anything else brings the host back.
    host_vanishes: bool = False

    def __post_init__(self) -> None:
        if self.host_vanishes and self.for_s is not None:
            raise ValueError("a host that vanishes does not return: no for_s")


@dataclass(frozen=True)
class Resume:
    """End a `Stall` or `BlackHole`; read at full speed after `SlowReader`."""


@dataclass(frozen=True)
class Silence:
    """Stop reading permanently, and never close: a peer that is gone."""


@dataclass(frozen=True)
class SlowReader:
    """Read no faster than this from now on."""

    bytes_per_s: float


@dataclass(frozen=True)
class StopPlayback:
    """Discard all audio that has not been played, and the rest to come.

    The service does so of its own accord, for example after a long pause.
    """

    # Reason of the ServerPlaybackState INTERRUPTED.
    reason: CutReason = "pause_timeout"

    def __post_init__(self) -> None:
        if self.reason not in get_args(CutReason):
            raise ValueError(f"reason must be one of {get_args(CutReason)}")


@dataclass(frozen=True)
class Animate:
    """Send a server_response_animation for the latest request. No fault."""

    end: bool = False


HttpFault = Refuse | Malformed | Hang | Slow | Unreachable
UpgradeFault = Refuse | Hang | Slow
HandshakeFault = Hang | Slow | ServerError | Close | Reset | Stall | BlackHole
RuntimeFault = (
    ServerError
    | Close
    | Reset
    | Stall
    | BlackHole
    | Resume
    | Silence
    | SlowReader
    | StopPlayback
    | Animate
)
Fault = HttpFault | HandshakeFault | RuntimeFault


@dataclass(frozen=True)
class AudioMessages:
    """When a connection's n-th audio message from now on has been read."""

    count: int


@dataclass(frozen=True)
class AudioBytes:
    """When a connection has sent this many bytes of audio from now on."""

    count: int


@dataclass(frozen=True)
class OnEnd:
    """When the end of a request has been read."""


@dataclass(frozen=True)
class OnInterrupt:
    """When an interrupt has been read."""


@dataclass(frozen=True)
class OnConfirm:
    """When the confirmation of a session has been sent."""


@dataclass(frozen=True)
class Quiet:
    """When nothing has been read for this long behind the latest message.

    The message counts that is read first after the plan was made.
    """

    for_s: float


Trigger = AudioMessages | AudioBytes | OnEnd | OnInterrupt | OnConfirm | Quiet


@dataclass
class _Plan:
    """A fault with the number of times it is still to come."""

    fault: Any
    # None: every time.
    times: int | None

    @property
    def used_up(self) -> bool:
        return self.times is not None and self.times <= 0

    def use(self) -> Any:
        if self.times is not None:
            self.times -= 1
        return self.fault


@dataclass
class _RuntimePlan(_Plan):
    """A fault that waits for an event of a connection."""

    trigger: Trigger
    # Number of the connection it is meant for; None: whichever comes first.
    connection: int | None
    # Connection number -> messages or bytes of audio it has sent.
    counts: dict[int, int] = field(default_factory=dict)

    def is_for(self, connection: int) -> bool:
        return self.connection in (None, connection)

    def meets(self, connection: int, event: Trigger) -> bool:
        """Count audio; return whether the plan is due with this event."""
        if not self.is_for(connection):
            return False
        if not isinstance(self.trigger, (AudioMessages, AudioBytes)):
            return event == self.trigger
        if not isinstance(event, AudioBytes):
            return False
        is_count = isinstance(self.trigger, AudioMessages)
        step = 1 if is_count else event.count
        before = self.counts.get(connection, 0)
        self.counts[connection] = before + step
        return before < self.trigger.count <= before + step


# Point -> faults that may be planned for it.
ALLOWED: dict[str, tuple[Any, ...]] = {
    "console": get_args(HttpFault),
    "upgrade": get_args(UpgradeFault),
    "handshake": get_args(HandshakeFault),
    "runtime": get_args(RuntimeFault),
}
# "server_error" -> ServerError, and so on.
FAULTS_BY_NAME: dict[str, Any] = {
    re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(): kind
    for kinds in ALLOWED.values()
    for kind in kinds
}
TRIGGERS_BY_NAME: dict[str, Any] = {
    "audio_messages": lambda count: AudioMessages(int(count)),
    "audio_bytes": lambda count: AudioBytes(int(count)),
    "quiet_s": lambda duration_s: Quiet(float(duration_s)),
    "end": OnEnd,
    "interrupt": OnInterrupt,
    "confirm": OnConfirm,
}


class Faults:
    """The plans of a server. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._plans: dict[str, list[Any]] = {point: [] for point in ALLOWED}
        self._runtime: list[_RuntimePlan] = self._plans["runtime"]

    def __repr__(self) -> str:
        with self._lock:
            counts = [f"{at}={len(its)}" for at, its in self._plans.items()]
            return f"<Faults {' '.join(counts)}>"

    def console(self, fault: HttpFault, *, times: int | None = 1) -> None:
        """Plan a fault for the next token requests; times=None: all."""
        self._add("console", _Plan(fault, times))

    def upgrade(self, fault: UpgradeFault, *, times: int | None = 1) -> None:
        """Plan a fault for the next websocket upgrades."""
        self._add("upgrade", _Plan(fault, times))

    def handshake(
        self, fault: HandshakeFault, *, times: int | None = 1
    ) -> None:
        """Plan a fault for the next sessions, once they are configured."""
        self._add("handshake", _Plan(fault, times))

    def runtime(
        self,
        fault: RuntimeFault,
        *,
        after: Trigger,
        connection: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Plan a fault for the moment at which `after` has happened.

        Nothing else is read from the connection before the fault has acted.
        Several plans for one moment act in the order they were made. Audio
        is counted from the making of the plan, by each plan and for each
        connection on its own; a count is met once per connection.
        """
        self._add("runtime", _RuntimePlan(fault, times, after, connection))

    def clear(self) -> None:
        """Remove every plan. Faults that have acted stay as they are."""
        with self._lock:
            for plans in self._plans.values():
                plans.clear()

    def next(self, point: str) -> Any:
        """Take the fault that is due at a point other than "runtime"; None if
        there is none."""
        with self._lock:
            plans = self._plans[point]
            if not plans:
                return None
            fault = plans[0].use()
            if plans[0].used_up:
                del plans[0]
            return fault

    def quiet_waits_s(self, connection: int) -> set[float]:
        """Return for which silences of a connection a fault is planned."""
        if not self._runtime:
            return set()
        with self._lock:
            return {
                plan.trigger.for_s
                for plan in self._runtime
                if isinstance(plan.trigger, Quiet) and plan.is_for(connection)
            }

    def due(self, connection: int, event: Trigger) -> list[RuntimeFault]:
        """Take the faults that are due with an event.

        An audio message is an event `AudioBytes`.
        """
        # Looked at without the lock, for each message: a plan made at this
        # very moment may as well have been made just after it.
        if not self._runtime:
            return []
        with self._lock:
            faults = [
                plan.use()
                for plan in self._runtime
                if plan.meets(connection, event)
            ]
            # In place: `_plans` holds this list, too.
            self._runtime[:] = [p for p in self._runtime if not p.used_up]
            return faults

    def _add(self, point: str, plan: _Plan) -> None:
        if plan.times is not None and plan.times < 1:
            raise ValueError("times must be 1 or more, or None for always")
        with self._lock:
            self._plans[point].append(plan)


def fault_from_json(point: str, spec: Mapping[str, Any]) -> Fault:
    """Build a fault from {"name": "close", "code": 1011, ...}.

    Raises ValueError for an unknown name or field, or one out of place.
    """
    values = dict(spec)
    name = values.pop("name", None)
    kind = FAULTS_BY_NAME.get(str(name))
    if kind is None:
        raise ValueError(f"unknown fault, expected {sorted(FAULTS_BY_NAME)}")
    if kind not in ALLOWED[point]:
        raise ValueError(f"{name} is no fault for {point}")
    known = {one.name for one in fields(kind)}
    if not known.issuperset(values):
        raise ValueError(f"{name} takes {sorted(known)} only")
    try:
        return kind(**values)
    except TypeError as exc:
        raise ValueError(f"{name}: a field is missing") from exc


def trigger_from_json(spec: Any) -> Trigger:
    """Build a trigger from {"audio_messages": 5}, "end" and the like.

    Raises ValueError.
    """
    try:
        if isinstance(spec, str):
            return TRIGGERS_BY_NAME[spec]()
        ((name, count),) = spec.items()
        return TRIGGERS_BY_NAME[name](count)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise ValueError(
            'after must be "end", "interrupt", "confirm", '
            '{"audio_messages": n}, {"audio_bytes": n} or {"quiet_s": s}'
        ) from exc
