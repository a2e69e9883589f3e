"""Verifies SPIFFE JWT-SVIDs (https://github.com/spiffe/spiffe, standards/JWT-SVID.md, SPIFFE-ID.md)."""

from __future__ import annotations

import re

from .discovery import fetch_keys
from .jwks import Fetch, Published
from .jws import open_token
from .oidc import claims_checked
from .trust import Trust
from .verified import NotVerified, Verified, quoted

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512")
"""JWT-SVID 2.1: these and no others."""
TYPES = (None, "jwt", "jose")
"""JWT-SVID 2.3."""
MAX_ID_BYTES = 2048
_PATH = re.compile(r"(/[A-Za-z0-9._-]+)+")


class Spiffe:
    """The SVIDs of one trust domain; its bundle is a JWK set at a URL."""

    def __init__(self, trust: Trust, fetch: Fetch) -> None:
        """trust: its issuer is the trust domain's id, and `jwks_url` is given."""
        self.trust = trust
        self.keys = Published(lambda: fetch_keys(trust, fetch), trust.refresh_s, trust.keep_s)
        self._algorithms = tuple(name for name in trust.algorithms if name in ALGORITHMS)

    async def workload(self, token: bytes, now: float) -> Verified:
        """Which workload a JWT-SVID is about. Raises NotVerified."""
        opened = await open_token(token, self._algorithms, TYPES, lambda kid, alg: self.keys.key(kid, alg, now))
        verified = claims_checked(opened, self.trust, self.trust.audiences, now)
        domain, path = self.trust.issuer, verified.subject.removeprefix(self.trust.issuer)
        if path == verified.subject or not _is_path(path) or len(verified.subject.encode()) > MAX_ID_BYTES:
            raise NotVerified("subject", f"its subject {quoted(verified.subject)} is no workload of {domain}")
        return verified


def _is_path(path: str) -> bool:
    return _PATH.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))
