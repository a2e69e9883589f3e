"""The keys that an issuer publishes (RFC 7517), kept for a bounded time.

Only public keys for signatures are taken from a set: a symmetric key in it would make anybody an issuer who can read it, a
private one has been published. How keys are fetched, and when it is, comes in as arguments.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey

from .verified import NotVerified, quoted

MAX_DOCUMENT_BYTES = 512 * 1024
"""Of any document that an issuer publishes."""
MAX_KEYS = 100
RETRY_S = 10.0
"""Seconds between two attempts at least, whoever asks for whatever key: an issuer is not flooded by forged key ids."""
_RSA_BITS = range(2048, 8193)
_SAME_AS = {"EdDSA": "Ed25519"}
"""RFC 9864: the old name of the same algorithm."""
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "Ed25519": "Ed25519"}


class FetchFailed(Exception):
    """A document could not be had; the message says why."""


Fetch = Callable[[str], Awaitable[bytes]]
"""Gives what is at a URL, at most `MAX_DOCUMENT_BYTES`, following no redirect. Raises FetchFailed."""


def read_object(document: bytes, what: str) -> dict[str, Any]:
    """A JSON object from outside. Raises FetchFailed."""
    if len(document) > MAX_DOCUMENT_BYTES:
        raise FetchFailed(f"{what} is longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        found = json.loads(document)
    except (ValueError, RecursionError):
        raise FetchFailed(f"{what} is no JSON") from None
    if not isinstance(found, dict):
        raise FetchFailed(f"{what} is no JSON object")
    return found


class KeySet:
    """Public keys for signatures."""

    def __init__(self, keys: list[tuple[str | None, Key]]) -> None:
        self._keys = keys

    @classmethod
    def of(cls, document: bytes, use: str = "sig") -> KeySet:
        """Read a JWK set, leaving out keys that are not for us. `use`: what a key that says its use must say.

        Raises FetchFailed when it is no set, or has no key for us.
        """
        listed = read_object(document, "the key set").get("keys")
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise FetchFailed(f"the key set has no list of at most {MAX_KEYS} keys")
        keys = [pair for item in listed if (pair := _usable(item, use)) is not None]
        if not keys:
            raise FetchFailed("the key set has no public key for signatures in it")
        return cls(keys)

    def __len__(self) -> int:
        return len(self._keys)

    def thumbprints(self) -> frozenset[str]:
        """Of all keys (RFC 7638)."""
        return frozenset(key.thumbprint() for _, key in self._keys)

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The key with this id that suits the algorithm; without an id, the only one that does. None for none or several."""
        suiting = [key for own, key in self._keys if (kid is None or own == kid) and _suits(key, algorithm)]
        return suiting[0] if len(suiting) == 1 else None


def _usable(item: Any, use: str) -> tuple[str | None, Key] | None:
    if not isinstance(item, dict) or item.get("kty") not in ("RSA", "EC", "OKP") or "d" in item:
        return None
    kid, operations = item.get("kid"), item.get("key_ops")
    if item.get("use", use) != use or (operations is not None and operations != ["verify"]):
        return None
    if kid is not None and not isinstance(kid, str):
        return None
    # SPIFFE's own use is a word that no general library knows.
    plain = {name: value for name, value in item.items() if name not in ("use", "key_ops")}
    try:
        key = JWKRegistry.import_key(plain)
        key.thumbprint()
    except (JoseError, ValueError, TypeError, KeyError, OverflowError):
        return None
    if isinstance(key, RSAKey) and key.public_key.key_size not in _RSA_BITS:
        return None
    return kid, key


def _suits(key: Key, algorithm: str) -> bool:
    """Whether a key is of the algorithm's own kind, and not meant for another."""
    algorithm = _SAME_AS.get(algorithm, algorithm)
    meant = key.get("alg")
    if meant is not None and _SAME_AS.get(str(meant), meant) != algorithm:
        return False
    if algorithm[:2] in ("RS", "PS"):
        return isinstance(key, RSAKey)
    return isinstance(key, ECKey | OKPKey) and key.curve_name == _CURVES.get(algorithm)


Found = Callable[[], Awaitable[KeySet]]
"""Gives the issuer's keys as they are now. Raises FetchFailed."""


class Published:
    """An issuer's keys, as they were fetched last. One task at a time: a second would not wait for what the first fetches."""

    def __init__(self, fetch: Found, refresh_s: float, keep_s: float) -> None:
        """`refresh_s`: age from which on they are fetched again; `keep_s`: from which on they are worth nothing."""
        self._fetch = fetch
        self._refresh_s = refresh_s
        self._keep_s = keep_s
        self._keys: KeySet | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None
        self.fault = ""
        """Why the last attempt to fetch them failed; empty when it didn't."""

    @property
    def fetched_at(self) -> float:
        """When they were fetched last; 0 when they never were."""
        return self._fetched_at

    def thumbprints(self, now: float) -> frozenset[str]:
        """Of the keys that something can be verified by now."""
        return frozenset() if self._keys is None or not self._fresh(now, self._keep_s) else self._keys.thumbprints()

    async def refresh(self, now: float) -> None:
        """Fetch them if they are old. Never raises for an issuer that can't be reached: see `fault`."""
        if not self._fresh(now, self._refresh_s):
            await self._try(now)

    async def key(self, kid: str | None, algorithm: str, now: float) -> Key:
        """The key of a signature. An unknown one is looked for at the issuer's, since it may be new.

        Raises NotVerified: ``key`` when there is none, ``unavailable`` when nothing is known of the issuer's keys.
        """
        await self.refresh(now)
        found = self._find(kid, algorithm, now)
        if found is None and await self._try(now):
            found = self._find(kid, algorithm, now)
        if found is not None:
            return found
        if self._keys is None or not self._fresh(now, self._keep_s):
            raise NotVerified("unavailable", f"the issuer's keys are not known: {self.fault or 'they were not fetched yet'}")
        raise NotVerified(
            "key", f"the issuer publishes no key {quoted(kid) if kid is not None else 'without an id'} for {algorithm}"
        )

    def _find(self, kid: str | None, algorithm: str, now: float) -> Key | None:
        return self._keys.find(kid, algorithm) if self._keys is not None and self._fresh(now, self._keep_s) else None

    def _fresh(self, now: float, limit_s: float) -> bool:
        # A clock that was set back makes them older, not younger.
        return self._keys is not None and 0 <= now - self._fetched_at < limit_s

    async def _try(self, now: float) -> bool:
        """Fetch them unless that was tried just now; whether there are new ones."""
        if self._tried_at is not None and 0 <= now - self._tried_at < RETRY_S:
            return False
        self._tried_at = now
        try:
            self._keys = await self._fetch()
        except FetchFailed as error:
            self.fault = str(error)
            return False
        self._fetched_at, self.fault = now, ""
        return True
