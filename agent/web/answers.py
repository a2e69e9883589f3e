"""What the supervisor answers to somebody who has signed in, authorized here by the same calls as on the control socket."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from ...policy.grants import NotThere, UnknownGrant
from ...policy.requests import AlreadyDecided, BookFull, NotAllowed, RequestError, UnknownRequest
from ..drawing import Drawing, NotDrawn
from ..grantview import grant_brief, grant_facts
from ..history import History
from ..holds import Holds
from ..ledger import LedgerUnavailable
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
MAX_GRANTS = 500
MAX_HISTORY = 500
"""Rows that are shown, the latest; `hostguard policy duties --history` has all."""


class Answers:
    """To all sessions of one daemon."""

    def __init__(self, sessions: Sessions, holds: Holds, history: History, drawing: Drawing) -> None:
        self._sessions = sessions
        self._holds = holds
        self._history = history
        self._drawing = drawing

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
        if isinstance(asked, messages.Answer):
            return await self._holds.decide(
                asked.request,
                user=session.user,
                provider=session.provider,
                groups=session.groups,
                approve=asked.approve,
                reason=asked.reason,
                digest=asked.digest,
                uses=asked.uses,
                until=asked.until,
            )
        if isinstance(asked, messages.OnGrant):
            return self._on_grant(asked, session)
        match asked.what:
            case "waiting" | "everything":
                return self._holds.briefly(everything=asked.what == "everything")
            case "request":
                return self._holds.show_to(asked.which, session.user, session.groups)
            case "grants":
                return self._grants()
            case "grant":
                return self._grant(asked.which, session)
            case "duties":
                return await self._duties()
        return {"waiting": self._holds.pending}

    # -- grants -----------------------------------------------------------------------------------------------------------------

    def _grants(self) -> dict[str, Any]:
        now = time.time()
        found = self._holds.granting.grants.list(now, everything=False)
        return {"grants": [grant_brief(grant, now) for grant in found[:MAX_GRANTS]], "more": max(0, len(found) - MAX_GRANTS)}

    def _grant(self, name: str, session: Session) -> dict[str, Any]:
        granting = self._holds.granting
        grant = granting.grants.get(name)
        may_revoke, may_endorse = granting.rights(grant, session.user, session.groups)
        return {**grant_facts(grant, time.time()), "may_revoke": may_revoke, "may_endorse": may_endorse}

    def _on_grant(self, asked: messages.OnGrant, session: Session) -> dict[str, Any]:
        granting = self._holds.granting
        if asked.verb == "revoke":
            changed = granting.revoke(asked.grant, session.user, -1, asked.reason, session.groups)
        else:
            changed = granting.endorse(asked.grant, session.user, -1, session.groups)
        return grant_facts(changed, time.time())

    # -- duties -----------------------------------------------------------------------------------------------------------------

    async def _duties(self) -> dict[str, Any]:
        table, failure = None, ""
        try:
            table = await self._drawing.get(DRAW_S)
        except NotDrawn as error:
            failure = str(error)
        rows = await self._history.facts()
        return {"table": table, "failure": failure, "history": rows[:MAX_HISTORY], "more": max(0, len(rows) - MAX_HISTORY)}


def _told(number: int, session: Session, status: int = 200, error: str = "", body: Any = None) -> messages.Told:
    data = msgspec.json.encode(body)
    return messages.Told(number, status, session.user, session.provider, session.until, data, error)
