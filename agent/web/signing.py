"""Sign-ins that have begun, each until its answer comes or its time is over."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ...identity.mapping import ClaimRule, given
from ...identity.verified import Verified, quoted

MAX_BEGUN = 4096
"""Sign-ins under way; the one that began first is forgotten."""
BEGUN_S = 600.0


class NotSignedIn(Exception):
    """Nobody has signed in; the message says why, for whoever tried."""


class Nobody(NotSignedIn):
    """The provider vouches for somebody who is no user: that goes on record."""

    def __init__(self, message: str, subject: str) -> None:
        super().__init__(message)
        self.subject = subject


@dataclass(frozen=True, slots=True)
class Person:
    """Who has signed in."""

    user: str
    subject: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Secrets:
    """What one sign-in is recognised by; each from 32 random bytes, URL-safe."""

    state: str
    nonce: str
    verifier: str

    @property
    def challenge(self) -> str:
        """RFC 7636 §4.2."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()


class Provider(Protocol):
    """Where users sign in."""

    name: str
    label: str
    failure: str
    """Why nobody could sign in last; empty when somebody could."""
    posts: bool
    """Whether its answer comes as a form of its own page's."""

    async def place(self, secrets: Secrets, redirect_uri: str, now: float) -> str:
        """Where the browser is to go. Raises NotSignedIn."""
        ...

    async def person(self, secrets: Secrets, redirect_uri: str, answer: Mapping[str, str], now: float) -> Person:
        """Who that is, by what the browser brings back. Raises NotSignedIn."""
        ...


def person_of(found: Verified, users: Sequence[ClaimRule], groups: Sequence[ClaimRule], label: str) -> Person:
    """The one user that the rules give to whom a provider vouches for, with the groups. Raises Nobody."""
    named = given(users, found)
    if len(named) != 1:
        said = "several users" if named else "no user"
        raise Nobody(f"{quoted(found.subject)} of {label} is {said} of hostguard", found.subject)
    return Person(named[0], found.subject, given(groups, found))


@dataclass(frozen=True, slots=True)
class Begun:
    """One sign-in."""

    provider: str
    secrets: Secrets
    browser: str
    """Hash of the cookie of the browser that began it."""
    then: str
    """Path on the page where it was to go."""
    at: float


class Signing:
    """Those under way, bounded; a sign-in is found once."""

    def __init__(self) -> None:
        self._begun: OrderedDict[str, Begun] = OrderedDict()

    def begin(self, provider: str, cookie: str, then: str, now: float) -> Secrets:
        """A new one, for the browser with that cookie."""
        made = Secrets(token(), token(), token())
        self._begun[made.state] = Begun(provider, made, hashed(cookie), then, now)
        while len(self._begun) > MAX_BEGUN:
            self._begun.popitem(last=False)
        return made

    def take(self, state: str, provider: str, cookie: str, now: float) -> Begun | None:
        """The sign-in that this is the answer to; None for another provider's, another browser's, a late or a second answer."""
        begun = self._begun.pop(state, None)
        if begun is None or begun.provider != provider or not 0 <= now - begun.at < BEGUN_S:
            return None
        return begun if hmac.compare_digest(begun.browser, hashed(cookie)) else None


def token() -> str:
    """32 random bytes, fit for URLs and cookies."""
    return secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """SHA-256 in hex: what is kept of a secret that somebody else holds."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def csrf(secret: str) -> str:
    """What the page's own forms know of a session's secret, and no other site's can."""
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), b"hostguard csrf", "sha256").hex()
