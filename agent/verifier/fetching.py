"""Gets issuers' documents, in the process that may do that."""

from __future__ import annotations

import ssl

import aiohttp

from ...identity.jwks import MAX_DOCUMENT_BYTES, Fetch, FetchFailed
from ...identity.trust import url_fault

LIMIT_S = 10.0


def fetcher(ca: bytes) -> Fetch:
    """ca: PEM of the authorities that may vouch for the server; the system's when empty. Raises ValueError when it is none."""
    try:
        context = ssl.create_default_context(cadata=ca.decode("ascii") if ca else None)
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ValueError(f"no certificates in PEM: {error}") from None

    async def fetch(url: str) -> bytes:
        if fault := url_fault(url):
            raise FetchFailed(f"{url}: {fault}")
        # One connection for each document: they are minutes apart. No proxy of the environment, no cookies, no redirects.
        connector = aiohttp.TCPConnector(ssl=context, force_close=True)
        session = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=LIMIT_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        try:
            async with session, session.get(url, allow_redirects=False) as answer:
                if answer.status != 200:
                    raise FetchFailed(f"{url} answers {answer.status}")
                return await _body(answer, url)
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise FetchFailed(f"{url}: {str(error) or type(error).__name__}") from None

    return fetch


async def _body(answer: aiohttp.ClientResponse, url: str) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MAX_DOCUMENT_BYTES:
            raise FetchFailed(f"{url} is longer than {MAX_DOCUMENT_BYTES} bytes")
    return bytes(body)
