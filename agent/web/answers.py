"""What the supervisor answers to somebody who has signed in, authorized here by the same calls as on the control socket."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from ...policy.grants import Grant, NotThere, UnknownGrant
from ...policy.requests import AlreadyDecided, BookFull, NotAllowed, RequestError, UnknownRequest
from ..drawing import Drawing, NotDrawn
from ..grantview import grant_brief, grant_facts
from ..history import History
from ..holds import Holds
from ..ledger import LedgerUnavailable
from ..rights import Rights
from ..waiting import By
from . import messages
from .sessions import Session, Sessions

Asked = messages.Ask | messages.Answer | messages.OnGrant

STATUS: dict[type[Exception], int] = {
    NotAllowed: 403,
    UnknownRequest: 404,
    UnknownGrant: 404,
    AlreadyDecided: 409,
    BookFull: 409,
    NotThere: 409,
    LedgerUnavailable: 503,
}
DRAW_S = 8.0
"""How long somebody waits for the matrix of duties before they hear that it takes longer."""
REVOKE = "revoke_grant"
MAX_GRANTS = 500
MAX_HISTORY = 500
"""Rows that are shown, the latest; `hostguard policy duties --history` has all."""


class Answers:
    """To all sessions of one daemon."""

    def __init__(self, sessions: Sessions, holds: Holds, history: History, drawing: Drawing, rights: Rights) -> None:
        self._sessions = sessions
        self._holds = holds
        self._history = history
        self._drawing = drawing
        self._rights = rights

    async def told(self, asked: Asked) -> messages.Told:
        """What is said to one call."""
        session = self._sessions.find(asked.key, time.time())
        if session is None:
            return messages.Told(asked.id, 401)
        try:
            body = await self._body(asked, session)
        except (RequestError, LedgerUnavailable) as error:
            return _told(asked.id, session, STATUS.get(type(error), 409), str(error))
        return _told(asked.id, session, body=body)

    async def _body(self, asked: Asked, session: Session) -> Any:
        by = By(session.user, session.uid, session.provider, session.groups)
        if isinstance(asked, messages.Answer):
            self._see(asked.request, by)
            return await self._holds.decide(
                asked.request,
                by,
                approve=asked.approve,
                reason=asked.reason,
                digest=asked.digest,
                uses=asked.uses,
                until=asked.until,
            )
        if isinstance(asked, messages.OnGrant):
            return self._on_grant(asked, by)
        match asked.what:
            case "waiting" | "everything":
                return self._requests(by, everything=asked.what == "everything")
            case "request":
                self._see(asked.which, by)
                return self._holds.show_to(asked.which, by)
            case "grants":
                return self._grants(by)
            case "grant":
                return self._grant(asked.which, by)
            case "duties":
                return await self._duties(by)
        return {"waiting": len(self._requests(by, everything=False))}

    # -- requests ---------------------------------------------------------------------------------------------------------------

    def _requests(self, by: By, *, everything: bool) -> list[dict[str, Any]]:
        return [row for row in self._holds.briefly(everything=everything) if self._rights.sees(by, row["agent"], "requests")]

    def _see(self, request: str, by: By) -> None:
        """That they may know of the request. Raises UnknownRequest."""
        if not self._rights.sees(by, self._holds.agent_of(request), "requests"):
            raise UnknownRequest(f"There is no request {request}.")

    # -- grants -----------------------------------------------------------------------------------------------------------------

    def _grants(self, by: By) -> dict[str, Any]:
        now = time.time()
        open_ones = self._holds.granting.grants.list(now, everything=False)
        found = [grant for grant in open_ones if self._rights.sees(by, grant.agent, "grants")]
        return {"grants": [grant_brief(grant, now) for grant in found[:MAX_GRANTS]], "more": max(0, len(found) - MAX_GRANTS)}

    def _seen_grant(self, name: str, by: By) -> Grant:
        grant = self._holds.granting.grants.get(name)
        if not self._rights.sees(by, grant.agent, "grants"):
            raise UnknownGrant(f"There is no grant {name}.")
        return grant

    def _grant(self, name: str, by: By) -> dict[str, Any]:
        granting, grant, now = self._holds.granting, self._seen_grant(name, by), time.time()
        facts, open_still = grant_facts(grant, now), grant.state(now) in ("usable", "waiting")
        decides = granting.may_end(grant, by)
        may_revoke = open_still and self._rights.ask(by, "operate", grant.agent, verb=REVOKE, decides=decides).allowed
        return {**facts, "may_revoke": may_revoke, "may_endorse": open_still and granting.may_endorse(grant, by)}

    def _on_grant(self, asked: messages.OnGrant, by: By) -> dict[str, Any]:
        granting, grant = self._holds.granting, self._seen_grant(asked.grant, by)
        if asked.verb == "endorse":
            return grant_facts(granting.endorse(grant.id, by), time.time())
        decides = granting.may_end(grant, by)
        self._rights.insist(by, "operate", grant.agent, f"revoke {grant.id}", verb=REVOKE, decides=decides)
        return grant_facts(granting.revoke(grant.id, by, asked.reason), time.time())

    # -- duties -----------------------------------------------------------------------------------------------------------------

    async def _duties(self, by: By) -> dict[str, Any]:
        """The matrix, for who may look at every agent in it: a user's conflict names the agents by which they have it."""
        self._rights.insist(by, "look", None, "look at who could exercise which duties", what="duties")
        table, failure = None, ""
        if self._rights.sees_all(by, "history"):
            try:
                table = await self._drawing.get(DRAW_S)
            except NotDrawn as error:
                failure = str(error)
        else:
            failure = "There are agents that you may not look at, so who could exercise which duty is not shown."
        rows = [row for row in await self._history.facts() if self._rights.sees(by, row["agent"], "history")]
        return {"table": table, "failure": failure, "history": rows[:MAX_HISTORY], "more": max(0, len(rows) - MAX_HISTORY)}


def _told(number: int, session: Session, status: int = 200, error: str = "", body: Any = None) -> messages.Told:
    data = msgspec.json.encode(body)
    return messages.Told(number, status, session.user, session.provider, session.until, data, error)
