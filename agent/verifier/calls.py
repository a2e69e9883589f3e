"""The control API's calls about identities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiohttp import web

from ...kernel import cgroups
from ...kernel.errors import KernelError
from ..ledger import LedgerUnavailable
from ..routes import Caller, Right, Routes
from .bindings import Binding, binding_facts
from .service import Vouching


class Calls:
    """``/v1/identity`` and what is below it."""

    def __init__(self, vouching: Vouching) -> None:
        self._vouching = vouching

    def add(self, routes: Routes) -> None:
        """Answer to them."""
        routes.add("GET", "/v1/identity", Right("look", "identities"), self._list)
        routes.add("POST", "/v1/identity/follow", Right("operate", "follow_identity"), self._follow)
        routes.add("POST", "/v1/identity/revoke", Right("operate", "revoke_identity"), self._revoke)

    async def _list(self, request: web.Request, caller: Caller) -> web.Response:
        facts: dict[str, Any] = self._vouching.facts()
        facts["tokens"] = caller.seen(facts["tokens"], "identities")
        pid = request.query.get("pid", "")
        if pid.isdecimal():
            facts["process"] = await self._process(int(pid), caller)
        return web.json_response(facts)

    async def _process(self, pid: int, caller: Caller) -> dict[str, Any]:
        """What is verified of a process now."""
        try:
            cgroup = cgroups.cgroup_id(cgroups.of_process(pid))
        except KernelError as error:
            return {"missing": str(error), "issuer": "", "subject": "", "roles": [], "until": 0}
        agent = await self._vouching.agent_of(pid)
        if agent and not caller.sees(agent, "identities"):
            return {"missing": "you may not look at who vouches for it", "issuer": "", "subject": "", "roles": [], "until": 0}
        standing = self._vouching.standing(agent, cgroup)
        bearer = standing.bearer
        return {
            "missing": standing.missing,
            "issuer": bearer.issuer,
            "subject": bearer.subject,
            "roles": list(bearer.roles),
            "until": standing.until,
        }

    async def _follow(self, request: web.Request, caller: Caller) -> web.Response:
        """``hostguard exec`` has made a cgroup, for whose processes the token in a file is."""
        match await _body(request):
            case {"agent": str(agent), "issuer": str(issuer), "cgroup": str(cgroup), "token_file": str(file)}:
                caller.insist_by_name(agent, f"have a token's file followed for agent {agent}")
                try:
                    error = await self._vouching.follow(agent, issuer, Path(cgroup), file)
                except (KernelError, ValueError) as failure:
                    error = str(failure)
                return web.json_response({"error": error})
        return web.json_response({"error": "expected agent, issuer, cgroup, token_file"}, status=400)

    async def _revoke(self, request: web.Request, caller: Caller) -> web.Response:
        """What is revoked of an agent's, by all issuers or one."""
        match await _body(request):
            case {"agent": str(agent), "issuer": str() | None as issuer}:
                policies = caller.insist_by_name(agent, f"revoke tokens of agent {agent}")
                chosen = _chosen(list(self._vouching.bindings), agent, issuer)
                try:
                    self._vouching.revoke(chosen, caller.by, policies)
                except LedgerUnavailable as error:
                    return web.json_response({"error": f"it can't be kept: {error}"}, status=500)
                return web.json_response({"revoked": [binding_facts(binding) for binding in chosen]})
        return web.json_response({"error": "expected agent, and an issuer or null"}, status=400)


def _chosen(bindings: Sequence[Binding], agent: str, issuer: str | None) -> list[Binding]:
    return [b for b in bindings if b.agent == agent and (issuer is None or b.issuer == issuer)]


async def _body(request: web.Request) -> Any:
    try:
        return await request.json()
    except ValueError:
        return None
