"""What an OpenID provider says of itself (OpenID Connect Discovery 1.0, RFC 8414)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .jwks import Fetch, FetchFailed, KeySet, read_object
from .trust import Trust, url_fault
from .verified import quoted

WELL_KNOWN = "/.well-known/openid-configuration"


@dataclass(frozen=True, slots=True)
class Metadata:
    """An OpenID provider's endpoints; empty for one that it does not have. `url_fault` has nothing against any of them."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    device_authorization_endpoint: str = ""
    end_session_endpoint: str = ""
    says_issuer: bool = False
    """Whether an authorization response has ``iss`` (RFC 9207), so that one without is none of this provider's."""


async def discover(issuer: str, fetch: Fetch) -> Metadata:
    """The provider's own document. Raises FetchFailed, also when it speaks for another issuer."""
    return metadata_of(issuer, await fetch(issuer.removesuffix("/") + WELL_KNOWN))


def metadata_of(issuer: str, document: bytes) -> Metadata:
    """Read the document that was found at this issuer's. Raises FetchFailed."""
    found = read_object(document, "the provider's metadata")
    if found.get("issuer") != issuer:
        raise FetchFailed(f"the metadata is that of {quoted(found.get('issuer'))}, not of {quoted(issuer)}")
    urls = {name: _url(found, name) for name in Metadata.__slots__ if name not in ("issuer", "says_issuer")}
    if not urls["jwks_uri"]:
        raise FetchFailed("the metadata has no jwks_uri")
    return Metadata(issuer=issuer, says_issuer=found.get("authorization_response_iss_parameter_supported") is True, **urls)


def _url(found: Mapping[str, Any], name: str) -> str:
    url = found.get(name, "")
    if not isinstance(url, str):
        raise FetchFailed(f"{name} is no text")
    if url and (fault := url_fault(url)):
        raise FetchFailed(f"{name}: {fault}")
    return url


async def fetch_keys(trust: Trust, fetch: Fetch) -> KeySet:
    """The issuer's keys, from where the configuration says that they are, else the provider. Raises FetchFailed."""
    use = "jwt-svid" if trust.kind == "spiffe" else "sig"
    url = trust.jwks_url or (await discover(trust.issuer, fetch)).jwks_uri
    return KeySet.of(await fetch(url), use)
