"""Calls on the control socket by which somebody on the command line signs in, or out."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ...policy.requests import NotAllowed
from ...recorder.visible import visible
from ..routes import Routes
from .keeper import Keeper
from .sessions import Session
from .signing import hashed

SCHEME = "Hostguard "
"""In front of the session's secret in the header ``Authorization``."""
_KEY = re.compile(r"[0-9a-f]{64}\Z")
_HANDLE = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")

UidOf = Callable[[web.Request], int]
"""Uid of who calls. Raises NotAllowed for a guarded process."""


class SignIns:
    """Of one daemon; `page` is None where nobody can sign in."""

    def __init__(self, page: Keeper | None) -> None:
        self._page = page

    def add_to(self, routes: Routes, uid_of: UidOf) -> None:
        """Answer to them."""

        async def begin(request: web.Request) -> web.Response:
            uid_of(request)
            body = await _body(request)
            page = self._open()
            begun = await page.begin_device(str(body.get("provider", "")))
            facts = {"handle": begun.handle, "code": visible(begun.code), "place": visible(begun.place)}
            more = {"direct": visible(begun.direct), "interval_s": begun.interval_s, "until": begun.until}
            return web.json_response(facts | more)

        async def ask(request: web.Request) -> web.Response:
            uid, body, handle = uid_of(request), await _body(request), request.match_info["handle"]
            key = str(body.get("key", ""))
            if not _KEY.match(key) or not _HANDLE.match(handle):
                raise web.HTTPBadRequest(reason="the body must have the SHA-256 of the session's secret as `key`")
            session = await self._open().ask_device(handle, key, uid)
            return web.json_response({"session": None if session is None else facts_of(session)})

        async def leave(request: web.Request) -> web.Response:
            uid = uid_of(request)
            session = self.session(request, uid)
            if session is not None:
                self._open().sessions.close(session.key)
            return web.json_response({"session": None if session is None else facts_of(session)})

        routes.open("POST", "/v1/sign-in", begin)
        routes.open("POST", "/v1/sign-in/{handle}", ask)
        routes.open("POST", "/v1/sign-out", leave)

    def session(self, request: web.Request, uid: int) -> Session | None:
        """That of who calls; None for who says none. Raises NotAllowed for one that is over, or another UNIX user's."""
        said = request.headers.get("Authorization", "")
        if not said.startswith(SCHEME):
            return None
        page = self._page
        session = page.sessions.find(hashed(said.removeprefix(SCHEME)), time.time(), uid) if page is not None else None
        if session is None:
            raise NotAllowed("your sign-in is over: `hostguard login`, or `hostguard identity logout` to be your UNIX user again")
        return session

    def _open(self) -> Keeper:
        if self._page is None:
            raise NotAllowed("nobody can sign in: the configuration has no [sign_in.ISSUER]")
        return self._page


def facts_of(session: Session) -> dict[str, Any]:
    """For people."""
    return {
        "user": session.user,
        "provider": session.provider,
        "subject": visible(session.subject),
        "until": session.until,
        "groups": list(session.groups),
    }


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    return body
