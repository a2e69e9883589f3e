"""Who has signed in, as the supervisor knows it: by the hash of a secret that only their browser or command line has."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

MAX_SESSIONS = 4096
MAX_OF_USER = 16
"""Sessions of one user; another one ends the one that ends first."""


class Session(msgspec.Struct, frozen=True):
    """Somebody who signed in."""

    key: str
    user: str
    provider: str
    subject: str
    """What the provider calls them."""
    address: str
    """Where they are; ``uid N`` for the command line."""
    began_at: float
    until: float
    """Wall time from which on it is none."""
    uid: int = -1
    """The UNIX user whose processes alone may use it; -1 for a browser's."""
    groups: tuple[str, ...] = ()
    """Groups that the provider's claims give them, beside the configuration's, as long as this lasts."""


class Sessions:
    """The open ones, bounded."""

    def __init__(self, session_s: int, is_user: Callable[[str], bool]) -> None:
        """`is_user`: whether the configuration in force has a user of that name."""
        self._session_s = session_s
        self._is_user = is_user
        self._open: dict[str, Session] = {}

    def open(
        self,
        key: str,
        user: str,
        provider: str,
        subject: str,
        address: str,
        now: float,
        uid: int = -1,
        groups: tuple[str, ...] = (),
    ) -> Session:
        """A new session; where there are too many, the one that ends first ends now."""
        self.sweep(now)
        own = [session for session in self._open.values() if session.user == user]
        for crowd, limit in ((own, MAX_OF_USER), (list(self._open.values()), MAX_SESSIONS)):
            if len(crowd) >= limit:
                self._open.pop(min(crowd, key=lambda session: session.until).key, None)
        session = Session(key, user, provider, subject, address, now, now + self._session_s, uid, groups)
        self._open[key] = session
        return session

    def find(self, key: str, now: float, uid: int = -1) -> Session | None:
        """The session, if it is one still; a user who is no longer configured has none, nor has a clock that was set back."""
        session = self._open.get(key)
        if session is None or session.uid != uid:
            return None
        if not session.began_at <= now < session.until or not self._is_user(session.user):
            del self._open[key]
            return None
        return session

    def close(self, key: str) -> Session | None:
        """End it; the session, if there was one."""
        return self._open.pop(key, None)

    def sweep(self, now: float) -> None:
        """Forget those that are over."""
        for key in list(self._open):
            session = self._open[key]
            if not session.began_at <= now < session.until:
                del self._open[key]

    def leave(self) -> list[Session]:
        """All, for the next supervisor."""
        return list(self._open.values())

    def take_up(self, left: list[Session]) -> None:
        """Go on with those of an earlier supervisor."""
        self._open = {session.key: session for session in left}

    @property
    def users(self) -> dict[str, int]:
        """Users who have signed in to how many sessions they have."""
        found: dict[str, int] = {}
        for session in self._open.values():
            found[session.user] = found.get(session.user, 0) + 1
        return found
