"""What holds for every call of the page: who may call, how often, what browsers may make of the answer."""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from .limits import Limits, Rate, caller_of

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it browsers send forms with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Strict-Transport-Security": "max-age=31536000",
    "Cache-Control": "no-store",
}
ANSWER = re.compile(r"/sign-in/[^/]+/answer\Z")
CALLS = Rate(burst=200, per_s=20.0)
"""Of one address: many people may share one."""


class Manners:
    """Middleware."""

    def __init__(self, public_url: str, crashed: Callable[[Exception], None], refuse: Callable[[int, str], web.Response]) -> None:
        """`crashed`: told of a bug of ours. `refuse`: the page for a status with a sentence."""
        self._origin = public_url
        self._host = urlsplit(public_url).netloc
        self._crashed = crashed
        self._refuse = refuse
        self.calls = Limits(CALLS)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check, call, finish."""
        response: web.StreamResponse = self._objection(request) or await self._called(request, handler)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _objection(self, request: web.Request) -> web.Response | None:
        if not self.calls.take(caller_of(request.remote or ""), time.monotonic()):
            return self._refuse(429, "Too many calls come from your address. Wait a little.")
        # Another name that leads here (DNS rebinding) is not ours to answer to.
        if request.headers.getall("Host", []) != [self._host]:
            return self._refuse(421, f"This page is at {self._origin}.")
        # Every browser says with a form's POST which page it is from. A provider's answer is from the provider's own.
        own = not ANSWER.match(request.path)
        if own and request.method not in ("GET", "HEAD") and request.headers.get("Origin") != self._origin:
            return self._refuse(403, "This did not come from hostguard's own page.")
        return None

    async def _called(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            if error.status >= 400:
                return self._refuse(error.status, error.reason)
            raise
        except TimeoutError:
            return self._refuse(503, "hostguard is busy. Try again.")
        except (ConnectionError, web.RequestPayloadError):
            raise
        except Exception as error:  # the supervising handler of a call: it is told, and the page goes on
            traceback.print_exc()
            self._crashed(error)
            return self._refuse(500, "This went wrong inside hostguard; it is on record.")
