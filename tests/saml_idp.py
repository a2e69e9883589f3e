"""A SAML identity provider on the loopback: it takes everybody for one person, and answers by a form of its page."""

from __future__ import annotations

import base64
import html
import http.server
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from asserting import AUDIENCE, IDP, assertion, certificate, response, signed
from certificates import Certificate
from lxml import etree

SUBJECT = "bob@corp.example"


@dataclass
class SamlIdp:
    """One that runs."""

    url: str = ""
    certificate: Certificate = field(default_factory=certificate)
    requests: list[etree._Element] = field(default_factory=list)
    """What it was asked."""

    def answer(self, back: str, request: str, subject: str = SUBJECT, by: Certificate | None = None) -> str:
        """A response, assertion and all signed, as it is POSTed."""
        key, now = by or self.certificate, time.time()
        inner = signed(assertion(now, subject, recipient=back, request=request, issuer=IDP, audience=AUDIENCE), key)
        whole = signed(response(now, inner, request=request, destination=back, issuer=IDP), key)
        return base64.b64encode(whole.encode()).decode()

    def page(self, query: str) -> str:
        """The form that goes off by itself, for a request by redirect."""
        asked = parse_qs(query)
        request = etree.fromstring(zlib.decompress(base64.b64decode(asked["SAMLRequest"][0]), wbits=-15))
        self.requests.append(request)
        back = request.get("AssertionConsumerServiceURL", "")
        fields = {"SAMLResponse": self.answer(back, request.get("ID", "")), "RelayState": asked["RelayState"][0]}
        hidden = "".join(f'<input type="hidden" name="{name}" value="{html.escape(value)}">' for name, value in fields.items())
        form = f'<form method="post" action="{html.escape(back)}">{hidden}</form>'
        return f"<!DOCTYPE html>{form}<script>document.forms[0].submit()</script>"


@contextmanager
def saml_idp() -> Iterator[SamlIdp]:
    """One that runs as long as the context."""
    idp = SamlIdp()

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

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        idp.url = f"http://127.0.0.1:{server.server_address[1]}/sso"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield idp
        finally:
            server.shutdown()
