"""Sign-ins that have begun, each until its answer comes or its time is over."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from .oidc import Secrets

MAX_BEGUN = 4096
"""Sign-ins under way; the one that began first is forgotten."""
BEGUN_S = 600.0


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
