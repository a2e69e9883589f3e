"""An issuer in memory: keys, tokens signed as they should be and as they should not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Coroutine
from typing import Any, TypeVar, cast

from joserfc.jwk import ECKey, Key, KeyParameters, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact

from hostguard.identity.jwks import FetchFailed
from hostguard.identity.trust import ALGORITHMS, Trust

ISSUER = "https://login.example"
NOW = 1_800_000_000.0
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def parameters(kid: str, more: dict[str, str]) -> KeyParameters:
    return cast("KeyParameters", {"kid": kid, **more})


def rsa(kid: str, **more: str) -> RSAKey:
    return RSAKey.generate_key(2048, parameters(kid, more))


def ec(kid: str, **more: str) -> ECKey:
    return ECKey.generate_key("P-256", parameters(kid, more))


def ed(kid: str) -> OKPKey:
    return OKPKey.generate_key("Ed25519", {"kid": kid})


def published(*keys: Key) -> bytes:
    return json.dumps(KeySet(list(keys)).as_dict(private=False)).encode()


class Site:
    """What is at an issuer's URLs, and how often it was asked for."""

    def __init__(self, *keys: Key, issuer: str = ISSUER) -> None:
        self.down = False
        self.asked: list[str] = []
        self.pages = {
            f"{issuer}/.well-known/openid-configuration": json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/keys"}).encode()
        }
        self._keys_url = f"{issuer}/keys"
        self.publish(*keys)

    def publish(self, *keys: Key) -> None:
        self.pages[self._keys_url] = published(*keys)

    async def fetch(self, url: str) -> bytes:
        self.asked.append(url)
        if self.down or url not in self.pages:
            raise FetchFailed("nobody answers")
        return self.pages[url]


def trust(**changes: Any) -> Trust:
    given: dict[str, Any] = {"kind": "oidc", "issuer": ISSUER, "audiences": frozenset(["hostguard"])}
    return Trust(**{**given, **changes})


def claims(**changes: Any) -> dict[str, Any]:
    """Those of a good token; None leaves one out."""
    good = {"iss": ISSUER, "sub": "bot", "aud": "hostguard", "exp": NOW + 300, "iat": NOW - 5, "jti": "1", **changes}
    return {name: value for name, value in good.items() if value is not None}


def signed(key: Key, body: dict[str, Any] | bytes, algorithm: str = "RS256", **header: Any) -> bytes:
    """A token; the header's ``kid`` is the key's unless another, or None for none, is given."""
    whole = {"alg": algorithm, "kid": key.kid, **header}
    whole = {name: value for name, value in whole.items() if value is not None}
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    if "crit" in whole or "b64" in whole:
        return forged(whole, payload, b"x")
    return serialize_compact(whole, payload, key, registry=registry).encode()


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def forged(header: dict[str, Any], payload: bytes, signature: bytes) -> bytes:
    return b".".join((b64(json.dumps(header).encode()), b64(payload), b64(signature)))


def hmac_signed(header: dict[str, Any], payload: bytes, secret: bytes) -> bytes:
    """A token with an HMAC over it, whatever its header says."""
    head = b".".join((b64(json.dumps(header).encode()), b64(payload)))
    return head + b"." + b64(hmac.new(secret, head, hashlib.sha256).digest())
