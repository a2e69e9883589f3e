"""pysaml2's identity provider behind a page on the loopback: it takes everybody for one person, and answers by a form."""

from __future__ import annotations

import base64
import html
import http.server
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asserting import certificate
from certificates import Certificate
from saml_provider import SamlProvider

SUBJECT = "bob@corp.example"


class SamlIdp:
    """One that runs."""

    def __init__(self, folder: Path, url: str, back: str) -> None:
        """`back`: where browsers are sent with the answer, as its metadata of the service have it."""
        self.url, self.back = url, back
        self.certificate = certificate()
        self.requests: list[Any] = []
        """The AuthnRequests that it was asked by."""
        self._provider = SamlProvider(folder, self.certificate, back, url)

    def answer(self, request: str, subject: str = SUBJECT, by: Certificate | None = None) -> str:
        """A response to the request, or to none; assertion and all signed, as it is POSTed. `by`: another key's."""
        provider = self._provider
        with tempfile.TemporaryDirectory() as folder:
            if by is not None:
                provider = SamlProvider(Path(folder), by, self.back, self.url)
            return base64.b64encode(provider.response(request or None, subject)).decode()

    def page(self, query: str) -> str:
        """The form that goes off by itself, for a request by redirect."""
        asked = parse_qs(query)
        request = self._provider.asked(asked["SAMLRequest"][0])
        self.requests.append(request)
        assert request.assertion_consumer_service_url == self.back
        fields = {"SAMLResponse": self.answer(request.id), "RelayState": asked["RelayState"][0]}
        hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
        form = f'<form method="post" action="{html.escape(self.back)}">{hidden}</form>'
        return f"<!DOCTYPE html>{form}<script>document.forms[0].submit()</script>"


@contextmanager
def saml_idp(back: str) -> Iterator[SamlIdp]:
    """One that runs as long as the context."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = idp.page(urlsplit(self.path).query).encode() if self.path.startswith("/sso?") else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Quietly."""

    with tempfile.TemporaryDirectory() as folder, http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        idp = SamlIdp(Path(folder), f"http://127.0.0.1:{server.server_address[1]}/sso", back)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield idp
        finally:
            server.shutdown()
