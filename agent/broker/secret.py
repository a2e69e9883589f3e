"""The secrets of the configured credentials, each read again in time.

A secret that was read stays in use when its source fails later: the server knows whether it is still good. One that the server
refuses is read again at once, once for each version.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from ...policy.credential_sections import Credential
from ...policy.credentials import Chosen, reference, variants
from ...protocols.postgres import scram
from .messages import SecretFacts
from .unreadable import Unreadable

AGAIN_S = 5.0
"""After an attempt that failed the next one comes so soon."""
MAX_DERIVED = 64
"""Results of PBKDF2 kept for each secret: a server has one salt for a user. Who makes salts up gets no memory for it."""

Read = Callable[[str], Awaitable[bytes]]
"""The secret at a place as the configuration writes it; raises Unreadable."""


@dataclass(slots=True)
class Version:
    """A secret as it was read once, with what was worked out from it."""

    number: int
    secret: bytes = field(repr=False)
    derived: dict[tuple[bytes, int], bytes] = field(default_factory=dict, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def derive(self, salt: bytes, iterations: int) -> bytes:
        """SaltedPassword of SCRAM (RFC 5802 §3), from PBKDF2 only for the first time."""
        found = self.derived.get((salt, iterations))
        if found is None:
            found = scram.derive(self.secret, salt, iterations)
            with self.lock:  # machines run in threads
                if len(self.derived) >= MAX_DERIVED:
                    self.derived.clear()
                self.derived[salt, iterations] = found
        return found


class Secret:
    """One secret; variants of a credential that name the same place share it."""

    def __init__(self, place: str, refresh_s: int, read: Read) -> None:
        self.place = place
        self.version: Version | None = None
        self.read_at = 0.0
        """Wall time of the last success."""
        self.failure = ""
        """Why the last attempt failed; empty when it did not."""
        self.refresh_s = refresh_s
        self._read = read
        self._numbers = itertools.count(1)
        self._reading: asyncio.Task[None] | None = None

    async def have(self) -> Version:
        """The newest version that could be read. Raises Unreadable when there is none."""
        if self.version is None:
            await self.renew()
        if self.version is None:
            raise Unreadable(self.failure)
        return self.version

    async def renew(self) -> None:
        """Read it again; whoever asks while it is being read waits for that."""
        self.doubt()
        assert self._reading is not None
        await asyncio.shield(self._reading)

    def doubt(self) -> None:
        """Read it again, and don't wait for that."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._renew())

    async def refused(self, used: int) -> bool:
        """A server did not take version `used`: whether there is another one, now that it was read again if need be."""
        if self.version is not None and self.version.number == used:
            await self.renew()
        return self.version is not None and self.version.number != used

    async def run(self) -> None:
        """Keep it fresh; runs until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(min(self.refresh_s, AGAIN_S) if self.failure else self.refresh_s)

    async def _renew(self) -> None:
        try:
            secret = await self._read(self.place)
        except Unreadable as error:
            self.failure = str(error)
            return
        self.failure, self.read_at = "", time.time()
        # The same secret stays the same version: what was derived from it holds.
        if self.version is None or self.version.secret != secret:
            self.version = Version(next(self._numbers), secret)


class Secrets:
    """All credentials of a configuration."""

    def __init__(self, credentials: Mapping[str, Credential], read: Read) -> None:
        self._by_place: dict[tuple[str, str], Secret] = {}
        self.chosen: dict[str, Chosen] = {}
        """Variant to what it is."""
        self._keys: dict[str, str] = {}
        for name, credential in credentials.items():
            for chosen in variants(name, credential):
                self.chosen[chosen.variant] = chosen
                self._keys[chosen.variant] = name
                for place in (chosen.secret, credential.key):
                    if place and (name, place) not in self._by_place:
                        self._by_place[name, place] = Secret(place, credential.refresh_s, read)

    def password(self, variant: str) -> Secret | None:
        """The password of a variant; None where it has none."""
        return self._by_place.get((self._keys[variant], self.chosen[variant].secret))

    def key(self, variant: str) -> Secret | None:
        """The private key of its client certificate."""
        return self._by_place.get((self._keys[variant], self.chosen[variant].credential.key))

    def doubt(self, variant: str) -> None:
        """A server did not take what it got: have it read again, for the next login."""
        for secret in (self.password(variant), self.key(variant)):
            if secret is not None:
                secret.doubt()

    def all(self) -> list[Secret]:
        """Each once."""
        return list(self._by_place.values())

    def facts(self) -> tuple[SecretFacts, ...]:
        """For ``status``; never the secrets."""
        found = []
        for variant, chosen in self.chosen.items():
            for place, what in ((chosen.secret, ""), (chosen.credential.key, " (key)")):
                if place:
                    secret = self._by_place[self._keys[variant], place]
                    kind = reference(place).kind
                    found.append(SecretFacts(variant + what, kind, secret.read_at, secret.failure[:1024]))
        return tuple(found)
