"""What the control API answers about grants."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from ..policy.grants import Grant, UnknownGrant
from .granting import Granting, Wanted
from .grantview import grant_facts
from .routes import Caller, Right, Routes
from .waiting import By

MAX_REASON = 1000
"""Characters of what a user says; it goes on record."""


class GrantRoutes:
    """Its handlers."""

    def __init__(self, granting: Granting, name: Callable[[By], str]) -> None:
        """`name`: the user that decides, or NotAllowed."""
        self._granting = granting
        self._name = name

    def add_to(self, routes: Routes) -> None:
        """Answer below ``/v1/grants``."""
        look, issue = Right("look", "grants"), Right("issue")
        routes.add("GET", "/v1/grants", look, self._list)
        routes.add("POST", "/v1/grants", issue, self._issue)
        routes.add("GET", "/v1/grants/{id}", look, self._show)
        routes.add("POST", "/v1/grants/{id}/endorse", issue, self._endorse)
        routes.add("POST", "/v1/grants/{id}/revoke", Right("operate", "revoke_grant"), self._revoke)

    async def _list(self, request: web.Request, caller: Caller) -> web.Response:
        now, everything = time.time(), request.query.get("all") == "1"
        facts: list[dict[str, Any]] = [
            grant_facts(grant, now) for grant in self._granting.grants.list(now, everything=everything)
        ]
        return web.json_response(caller.seen(facts, "grants"))

    async def _show(self, request: web.Request, caller: Caller) -> web.Response:
        return web.json_response(grant_facts(self._grant(request, caller), time.time()))

    def _grant(self, request: web.Request, caller: Caller) -> Grant:
        """The grant that is named, if the caller may know of it. Raises UnknownGrant."""
        name = request.match_info["id"]
        grant = self._granting.grants.get(name)
        if not caller.sees(grant.agent, "grants"):
            raise UnknownGrant(f"There is no grant {name}.")
        return grant

    async def _issue(self, request: web.Request, caller: Caller) -> web.Response:
        try:
            wanted = msgspec.json.decode(await request.read(), type=Wanted)
        except msgspec.DecodeError as error:
            raise web.HTTPBadRequest(reason=f"the body is no grant: {error}") from None
        self._name(caller.by)
        return web.json_response(grant_facts(self._granting.issue(wanted, caller.by, caller.known), time.time()))

    async def _endorse(self, request: web.Request, caller: Caller) -> web.Response:
        grant = self._grant(request, caller)
        self._name(caller.by)
        return web.json_response(grant_facts(self._granting.endorse(grant.id, caller.by), time.time()))

    async def _revoke(self, request: web.Request, caller: Caller) -> web.Response:
        try:
            body = msgspec.json.decode(await request.read(), type=dict[str, str])
        except msgspec.DecodeError:
            raise web.HTTPBadRequest(reason="the body must be an object with the text `reason`, optional") from None
        grant = self._grant(request, caller)
        caller.insist(grant.agent, f"revoke {grant.id}", decides=self._granting.may_end(grant, caller.by))
        revoked = self._granting.revoke(grant.id, caller.by, body.get("reason", "")[:MAX_REASON])
        return web.json_response(grant_facts(revoked, time.time()))
