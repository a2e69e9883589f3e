"""The control API's calls about identities."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from ...kernel import cgroups
from ...kernel.errors import KernelError
from ...policy.requests import NotAllowed
from ..ledger import LedgerUnavailable
from .bindings import Binding, binding_facts
from .service import Vouching


class Peer(Protocol):
    """Who calls, as the kernel says."""

    @property
    def uid(self) -> int: ...


PeerOf = Callable[[web.Request], Peer]
"""Raises NotAllowed."""


class Calls:
    """``/v1/identity`` and what is below it."""

    def __init__(self, vouching: Vouching) -> None:
        self._vouching = vouching

    def add(self, router: web.UrlDispatcher, peer_of: PeerOf) -> None:
        """`peer_of`: the caller, if it may look at things."""
        self._peer_of = peer_of
        router.add_get("/v1/identity", self._list)
        router.add_post("/v1/identity/follow", self._follow)
        router.add_post("/v1/identity/revoke", self._revoke)

    async def _list(self, request: web.Request) -> web.Response:
        self._peer_of(request)
        facts: dict[str, Any] = self._vouching.facts()
        pid = request.query.get("pid", "")
        if pid.isdecimal():
            facts["process"] = await self._process(int(pid))
        return web.json_response(facts)

    async def _process(self, pid: int) -> dict[str, Any]:
        """What is verified of a process now."""
        try:
            cgroup = cgroups.cgroup_id(cgroups.of_process(pid))
        except KernelError as error:
            return {"missing": str(error), "issuer": "", "subject": "", "roles": [], "until": 0}
        agent = await self._vouching.agent_of(pid)
        standing = self._vouching.standing(agent, cgroup)
        bearer = standing.bearer
        return {
            "missing": standing.missing,
            "issuer": bearer.issuer,
            "subject": bearer.subject,
            "roles": list(bearer.roles),
            "until": standing.until,
        }

    async def _follow(self, request: web.Request) -> web.Response:
        """``hostguard exec`` has made a cgroup, for whose processes the token in a file is."""
        self._root(request, "follow a token's file")
        match await _body(request):
            case {"agent": str(agent), "issuer": str(issuer), "cgroup": str(cgroup), "token_file": str(file)}:
                try:
                    error = await self._vouching.follow(agent, issuer, Path(cgroup), file)
                except (KernelError, ValueError) as failure:
                    error = str(failure)
                return web.json_response({"error": error})
        return web.json_response({"error": "expected agent, issuer, cgroup, token_file"}, status=400)

    async def _revoke(self, request: web.Request) -> web.Response:
        """What is revoked of an agent's, by all issuers or one, for all its processes or those in a cgroup."""
        peer = self._root(request, "revoke a token")
        match await _body(request):
            case {"agent": str(agent), "issuer": str() | None as issuer}:
                chosen = _chosen(list(self._vouching.bindings), agent, issuer)
                try:
                    self._vouching.revoke(chosen, pwd.getpwuid(peer.uid).pw_name)
                except LedgerUnavailable as error:
                    return web.json_response({"error": f"it can't be kept: {error}"}, status=500)
                return web.json_response({"revoked": [binding_facts(binding) for binding in chosen]})
        return web.json_response({"error": "expected agent, and an issuer or null"}, status=400)

    def _root(self, request: web.Request, what: str) -> Peer:
        peer = self._peer_of(request)
        if peer.uid != 0:
            raise NotAllowed(f"only root may {what}")
        return peer


def _chosen(bindings: Sequence[Binding], agent: str, issuer: str | None) -> list[Binding]:
    return [b for b in bindings if b.agent == agent and (issuer is None or b.issuer == issuer)]


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None
