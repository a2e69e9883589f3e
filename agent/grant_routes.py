"""What the control API answers about grants."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from ..policy.requests import NotAllowed
from .granting import Granting, Wanted
from .grantview import grant_facts
from .peer import Peer

MAX_REASON = 1000
"""Characters of what a user says; it goes on record."""


class GrantRoutes:
    """Its handlers. Who asks is told by `known`, which raises NotAllowed for who may not even look."""

    def __init__(self, granting: Granting, known: Callable[[web.Request], Peer], name: Callable[[Peer], str]) -> None:
        """`name`: the user that the peer is, or NotAllowed."""
        self._granting = granting
        self._known = known
        self._name = name

    def add_to(self, app: web.Application) -> None:
        """Answer below ``/v1/grants``."""
        app.router.add_get("/v1/grants", self._list)
        app.router.add_post("/v1/grants", self._issue)
        app.router.add_get("/v1/grants/{id}", self._show)
        app.router.add_post("/v1/grants/{id}/endorse", self._endorse)
        app.router.add_post("/v1/grants/{id}/revoke", self._revoke)

    async def _list(self, request: web.Request) -> web.Response:
        self._known(request)
        now, everything = time.time(), request.query.get("all") == "1"
        return web.json_response([grant_facts(grant, now) for grant in self._granting.grants.list(now, everything=everything)])

    async def _show(self, request: web.Request) -> web.Response:
        self._known(request)
        return web.json_response(grant_facts(self._granting.grants.get(request.match_info["id"]), time.time()))

    async def _issue(self, request: web.Request) -> web.Response:
        peer = self._known(request)
        try:
            wanted = msgspec.json.decode(await request.read(), type=Wanted)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(reason=f"the body is no grant: {error}") from None
        grant = self._granting.issue(wanted, self._name(peer), peer.uid, peer.groups)
        return web.json_response(grant_facts(grant, time.time()))

    async def _endorse(self, request: web.Request) -> web.Response:
        peer = self._known(request)
        grant = self._granting.endorse(request.match_info["id"], self._name(peer), peer.uid, peer.groups)
        return web.json_response(grant_facts(grant, time.time()))

    async def _revoke(self, request: web.Request) -> web.Response:
        peer = self._known(request)
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, str])
        except msgspec.DecodeError:
            raise web.HTTPBadRequest(reason="the body must be an object with the text `reason`, optional") from None
        try:
            user = self._name(peer)
        except NotAllowed:
            # Root operates this host, whoever it is.
            if peer.uid != 0:
                raise
            user = ""
        reason = body.get("reason", "")[:MAX_REASON]
        grant = self._granting.revoke(request.match_info["id"], user, peer.uid, reason, peer.groups)
        return web.json_response(grant_facts(grant, time.time()))
