"""The control API's calls, each with the right that it takes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import msgspec
from aiohttp import web

from ..policy.asks import Answer
from ..policy.requests import NotAllowed
from .client import LEFT_OUT
from .rights import Rights, named
from .sight import within_sight
from .waiting import By

OPEN = "open"
"""In place of an action: who somebody is, and signing in; that concerns nobody else, and takes no right."""


class Right(msgspec.Struct, frozen=True):
    """What a call takes."""

    action: str
    """``approve`` and ``issue`` are asked of the request, the grant, itself."""
    word: str = ""
    """``context.what`` of ``look``, ``context.verb`` of ``operate``."""
    here: str = ""
    """Of a call about this host, which is asked before anything else: what a refusal says that one may not do."""


class Caller:
    """Who makes one call."""

    def __init__(self, by: By, right: Right, rights: Rights) -> None:
        self.by = by
        self.left_out = 0
        """How many rows were."""
        self.rights = rights
        self._right = right

    def insist(self, agent: str | None, doing: str, **context: str | bool) -> tuple[str, ...]:
        """That they may do to the agent, or the host, what this call is for. Raises NotAllowed."""
        return self.rights.insist(self.by, self._right.action, agent, doing, **self._with_word(context))

    def insist_by_name(self, agent: str, doing: str, *, left: bool = False) -> tuple[str, ...]:
        """The same of an agent that they have named. Raises NotAllowed, NoSuchAgent; as `Rights.insist_by_name`."""
        return self.rights.insist_by_name(self.by, self._right.action, agent, doing, left=left, **self._with_word({}))

    def _with_word(self, context: dict[str, str | bool]) -> dict[str, str | bool]:
        word = {"look": "what", "operate": "verb"}.get(self._right.action)
        return {word: self._right.word, **context} if word else context

    @property
    def name(self) -> str:
        """Who they are, for people."""
        return named(self.by)

    def ask(self, agent: str, **context: str | bool) -> Answer:
        """Whether they may do to the agent what this call is for."""
        return self.rights.ask(self.by, self._right.action, agent, **context)

    @property
    def may_at_all(self) -> bool:
        """Whether there is anything that they could be permitted by this right."""
        return self.rights.could(self.by, self._right.action)

    def known(self) -> list[str]:
        """The agents whose names they may be told."""
        return self.rights.known_to(self.by)

    def sees(self, agent: str, what: str) -> bool:
        """Whether they may look at this of the agent's."""
        return self.rights.sees(self.by, agent, what)

    def seen(self, rows: Iterable[dict[str, Any]], what: str) -> list[dict[str, Any]]:
        """Those of the rows whose ``agent`` they may look at; the others are counted."""
        found, count = [], 0
        for row in rows:
            count += 1
            if self.sees(row["agent"], what):
                found.append(row)
        self.left_out += count - len(found)
        return found

    def within_sight(self, facts: dict[str, Any]) -> dict[str, Any]:
        """A status without what it tells of agents that they may not look at; what is left out of lists is counted."""
        return {name: self._within_sight(value) for name, value in facts.items()}

    def _within_sight(self, value: Any) -> Any:
        if isinstance(value, str):
            return within_sight(value, self._sees_status) or ""
        if isinstance(value, dict):
            return self.within_sight(value)
        if not isinstance(value, list | tuple):
            return value
        rows = [self._within_sight(row) for row in value if self._is_within_sight(row)]
        self.left_out += len(value) - len(rows)
        return rows

    def _is_within_sight(self, row: Any) -> bool:
        if isinstance(row, str):
            return within_sight(row, self._sees_status) is not None
        return not isinstance(row, dict) or not row.get("agent") or self._sees_status(row["agent"])

    def _sees_status(self, agent: str | None) -> bool:
        return self.sees(agent, "status") if agent is not None else self.rights.sees_all(self.by, "status")


Handler = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
OpenHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _silently(request: web.Request, why: str) -> None:
    """Keep no trace."""


class Routes:
    """Puts calls on a router."""

    def __init__(self, router: web.UrlDispatcher, rights: Rights, who: Callable[[web.Request], By]) -> None:
        """`who` calls; raises NotAllowed for an agent, and for nobody's UNIX user."""
        self.rights: dict[tuple[str, str], Right] = {}
        """By method and path, as the router has them."""
        self._router = router
        self._asked = rights
        self._who = who

    def add(
        self, method: str, path: str, right: Right, handler: Handler, turned_away: Callable[[web.Request, str], None] = _silently
    ) -> None:
        """Answer to a call that takes a right. `turned_away`: is told of who may not call at all, and why."""

        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                caller = Caller(self._who(request), right, self._asked)
            except NotAllowed as error:
                turned_away(request, str(error))
                raise
            if right.here:
                caller.insist(None, right.here)
            response = await handler(request, caller)
            if caller.left_out and not response.prepared:
                response.headers[LEFT_OUT] = str(caller.left_out)
            return response

        self._add(method, path, right, answer)

    def open(self, method: str, path: str, handler: OpenHandler) -> None:
        """Answer to a call by which somebody says who they are."""
        self._add(method, path, Right(OPEN), handler)

    def _add(self, method: str, path: str, right: Right, handler: OpenHandler) -> None:
        route = self._router.add_route(method, path, handler)
        assert route.resource is not None
        self.rights[method, route.resource.canonical] = right
