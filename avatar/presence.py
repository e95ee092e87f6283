"""Whether the avatar is in its Agora channel, as the RTC extension sees it.

A session that Spatius has confirmed may never join: with another App ID than
that of the deployment, or with a wrong token. Spatius does not report it.
"""

from typing import Optional

from ..session import Failure, Session

JOIN_WITHIN_S = 10.0
"""How long a ready session may take to be in the channel."""


class Presence:
    """Gives up a session that is not in its channel.

    Only if the graph wires the RTC extension's reports to the avatar: the
    first one, of any user, shows that it does. Without a `uid` of its own (0)
    the avatar cannot be told from others.
    """

    def __init__(self, uid: int) -> None:
        self.due_at = float("inf")
        """When `check` has something to do."""
        self.is_absent = False
        """Not in the channel in time, and not since."""
        self._uid = str(uid) if uid else ""
        self._is_in_channel = False
        self._has_joined = False
        self._counts_from = float("inf")  # inf while nothing is reported

    def joined(self, uid: str, now: float) -> None:
        """Take the report that a user has joined the channel."""
        if self._take(uid, now):
            self._is_in_channel = self._has_joined = True
            self.is_absent = False

    def left(self, uid: str, now: float) -> None:
        """Take the report that a user has left the channel."""
        if self._take(uid, now):
            self._is_in_channel = False
            self._counts_from = now

    def check(self, session: Optional[Session], now: float) -> None:
        """Give up a session that is not in the channel in time, once until
        the avatar has been there."""
        self.due_at = float("inf")
        if self._is_in_channel or self.is_absent:
            return
        if session is None or not session.is_ready:
            return
        self.due_at = max(session.ready_at, self._counts_from) + JOIN_WITHIN_S
        if now >= self.due_at:
            self.due_at = float("inf")
            self.is_absent = True
            session.lose(self._failure(session))

    def _take(self, uid: str, now: float) -> bool:
        """Return whether a report is about the avatar."""
        if self._uid and self._counts_from == float("inf"):
            self._counts_from = now
        return bool(self._uid) and uid == self._uid

    def _failure(self, session: Session) -> Failure:
        how = "has left" if self._has_joined else "has not joined"
        return Failure(
            f"the avatar (uid {self._uid}) {how} its Agora channel for "
            f"{JOIN_WITHIN_S:.0f} s, though Spatius has confirmed the session: "
            "check that params.agora_appid is the App ID that this Spatius "
            "deployment publishes with, that agora_appcert or agora_token "
            "belongs to it, to agora_channel and to agora_uid, that no other "
            "participant has this uid, and that the RTC extension is in the "
            "same channel with the same App ID",
            code="notJoined",
            phase="agora",
            connection_id=session.connection_id,
        )
