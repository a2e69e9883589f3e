"""What the page's process asks identity providers by HTTP: bounded in time, in bytes, without redirects or cookies."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import aiohttp
import yarl

from ...identity.jwks import MAX_DOCUMENT_BYTES, FetchFailed
from .line import Names

LIMIT_S = 10.0
TIMEOUT = aiohttp.ClientTimeout(total=LIMIT_S)


class Fetching:
    """From one provider."""

    def __init__(self, names: Names, roots: str) -> None:
        """`roots`: PEM; empty where nothing is asked but of the loopback."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if roots:
            context.load_verify_locations(cadata=_certificates(roots))
        self._context = context
        self._names = names

    async def get(self, url: str) -> bytes:
        """See `jwks.Fetch`."""
        status, body = await self._ask("GET", url, None, {})
        if status != 200:
            raise FetchFailed(f"{_place(url)} answers {status}")
        return body

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body, whatever the status. Raises FetchFailed."""
        return await self._ask("POST", url, form, headers)

    async def _ask(self, method: str, url: str, form: Mapping[str, str] | None, headers: Mapping[str, str]) -> tuple[int, bytes]:
        # A session for each: they are few, and nothing of one provider's answer can be left for the next.
        connector = aiohttp.TCPConnector(ssl=self._context, resolver=self._names, use_dns_cache=False, force_close=True)
        jar = aiohttp.DummyCookieJar()
        try:
            async with (
                aiohttp.ClientSession(connector=connector, cookie_jar=jar, timeout=TIMEOUT) as session,
                session.request(
                    method,
                    yarl.URL(url, encoded=True),
                    data=form,
                    headers={"Accept": "application/json", **headers},
                    allow_redirects=False,
                ) as response,
            ):
                body = await response.content.read(MAX_DOCUMENT_BYTES + 1)
                while len(body) <= MAX_DOCUMENT_BYTES and (more := await response.content.read(MAX_DOCUMENT_BYTES)):
                    body += more
                if len(body) > MAX_DOCUMENT_BYTES:
                    raise FetchFailed(f"{_place(url)} answers with more than {MAX_DOCUMENT_BYTES} bytes")
                return response.status, body
        except TimeoutError:
            raise FetchFailed(f"{_place(url)} does not answer within {LIMIT_S:.0f} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(f"{_place(url)} can't be asked: {error}") from None


def _place(url: str) -> str:
    """A URL without what may be secret in it."""
    return url.partition("?")[0]


def _certificates(pem: str) -> str:
    """Only the certificates: what else stands in a bundle (comments, in any encoding) is no ASCII for OpenSSL."""
    found, inside = [], False
    for line in pem.splitlines():
        inside = inside or line.startswith("-----BEGIN CERTIFICATE")
        if inside:
            found.append(line)
        inside = inside and not line.startswith("-----END CERTIFICATE")
    return "\n".join(found) + "\n"
