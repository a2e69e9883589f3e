"""Verifies tokens by their issuers' names; keeps the issuers' keys fresh."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from ...identity.jwks import Published
from ...identity.jws import signed_part
from ...identity.mapping import given
from ...identity.oidc import Oidc
from ...identity.saml import Saml
from ...identity.spiffe import Spiffe
from ...identity.verified import NotVerified, Verified
from ...policy.issuers import role_rules, trust_of
from ..wording import cut
from . import messages
from .fetching import fetcher

LOOK_S = 1.0
"""How often it is looked for keys that are too old."""


class Workloads(Protocol):
    """What verifies one issuer's tokens."""

    @property
    def keys(self) -> Published | None:
        """Its keys; None where they stand in the configuration."""

    async def workload(self, token: bytes, now: float) -> Verified:
        """Raises NotVerified."""


class Verifying:
    """All issuers."""

    def __init__(self, sites: Mapping[str, messages.Site], tell: Callable[[messages.Published], None]) -> None:
        """`tell`: called with an issuer's keys, whenever they were fetched or could not be."""
        self._sites = sites
        self._tell = tell
        self._issuers = {name: _of(site) for name, site in sites.items()}
        self._roles = {name: role_rules(site.issuer) for name, site in sites.items()}
        self._turns = {name: asyncio.Lock() for name in sites}
        """An issuer's keys are for one task at a time."""

    async def verdict(self, name: str, token: bytes) -> messages.Verdict:
        """What is to be said of the token. Never raises for any token."""
        token = token.strip()
        site = self._sites.get(name)
        whole = site is None or site.issuer.kind == "saml"
        digest = hashlib.sha256(token if whole else signed_part(token)).hexdigest()
        try:
            if name not in self._issuers:
                raise NotVerified("issuer", f"there is no issuer {name}")
            async with self._turns[name]:
                verified = await self._issuers[name].workload(token, time.time())
        except NotVerified as error:
            return messages.Verdict(digest, None, error.fault, cut(str(error)))
        finally:
            self._told(name)
        vouched = messages.Vouched(
            issuer=verified.issuer,
            subject=verified.subject,
            expires_at=verified.expires_at,
            token_id=verified.token_id,
            key=verified.key,
            roles=given(self._roles[name], verified),
        )
        return messages.Verdict(digest, vouched)

    async def refresh(self) -> None:
        """Keep the keys fresh; runs until cancelled."""
        await asyncio.gather(*(self._refresh(name) for name in self._issuers))

    async def _refresh(self, name: str) -> None:
        keys = self._issuers[name].keys
        while keys is not None:
            async with self._turns[name]:
                await keys.refresh(time.time())
            self._told(name)
            await asyncio.sleep(LOOK_S)

    def _told(self, name: str) -> None:
        keys = self._issuers[name].keys if name in self._issuers else None
        if keys is None:
            return
        thumbprints = tuple(sorted(keys.thumbprints(time.time())))
        self._tell(messages.Published(name, thumbprints, keys.fetched_at, cut(keys.fault)))


def _of(site: messages.Site) -> Workloads:
    trust = trust_of(site.issuer)
    if trust.kind == "saml":
        return Saml(trust, site.issuer.recipient, site.certificates)
    return (Spiffe if trust.kind == "spiffe" else Oidc)(trust, fetcher(site.ca))
