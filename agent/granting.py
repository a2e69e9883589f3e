"""Grants at work: who may issue one, which one covers a held operation, what goes on record of it.

A grant is used in this order: its use is spent in the store, then on record, then the worker may go on. A crash in between loses
the use. Whether the issuers' approval still counts is asked anew at every use, of the policy in force then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import msgspec

from ..identity.users import Users
from ..policy.approvers import Approvers
from ..policy.asks import Answer
from ..policy.decide import Decider
from ..policy.grants import MAX_USES, Grant, Kind, Terms, When, digests, shape_digest, statement_digest
from ..policy.issuers import groups_of
from ..policy.requests import NotAllowed, Request, Vouched
from ..policy.sql.shape import shape
from ..recorder import entry
from ..recorder.parameters import plain
from .faults import Faults
from .grants import Also, Grants, nothing_else
from .hold_messages import Hold
from .ledger import LedgerUnavailable
from .records import Records
from .waiting import By

SHOWN_CHARACTERS = 16_384
"""Of a grant's statement; what it is good for is its digest."""
SMALLEST_S = 900
"""Seconds of the smallest grant that somebody is offered to issue."""
SEARCH_PATH = ("pg_catalog", "public")
"""The schemas of a session that never set its search_path, as the server tells them."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user asks for by hand."""

    agent: str
    resource: str
    database: str
    statement: str
    uses: Annotated[int, msgspec.Meta(ge=0, le=MAX_USES)]
    until: When
    """Wall time, seconds."""
    not_before: When = 0
    """The same; 0 for now."""
    parameters: tuple[str | None, ...] = ()
    """As text; None is SQL NULL."""
    shape: bool = False
    user: str = ""
    """Of the database; empty for any."""
    search_path: tuple[str, ...] = SEARCH_PATH
    reason: str = ""


class Granting:
    """Issues, finds and spends grants."""

    def __init__(self, grants: Grants, records: Records, users: Users, decider: Decider, faults: Faults) -> None:
        self.grants = grants
        self.users = users
        self._records = records
        self._decider = decider
        self._faults = faults

    # -- what users do --------------------------------------------------------------------------------------------------------

    def issue(self, wanted: Wanted, by: By, known: Callable[[], Sequence[str]]) -> Grant:
        """A grant for a statement that nobody has held yet. Raises NotAllowed, BookFull, LedgerUnavailable.

        `known`: the agents that the user may know of. Another one, if they may not issue this to it, is answered as one that is
        not there.
        """
        resources, user = self._decider.policy.document.resources, by.user
        if wanted.resource not in resources:
            raise _nothing("resource", wanted.resource, resources)
        place = (wanted.agent, wanted.resource, wanted.database, wanted.user, wanted.search_path)
        if wanted.shape:
            form = shape(wanted.statement)
            if form is None:
                raise NotAllowed("This statement's shape can't be told without parsing it; grant the exact statement.")
            kind, digest = Kind.SHAPE, shape_digest(*place, form)
        else:
            kind, digest = Kind.STATEMENT, statement_digest(*place, wanted.statement, wanted.parameters)
        now = time.time()
        grant = Grant(
            id=self.grants.new_id(),
            kind=kind,
            agent=wanted.agent,
            resource=wanted.resource,
            digest=digest,
            statement=wanted.statement[:SHOWN_CHARACTERS],
            parameters=tuple("NULL" if value is None else value for value in wanted.parameters),
            database=wanted.database,
            user=wanted.user,
            search_path=wanted.search_path,
            uses=wanted.uses,
            not_before=wanted.not_before or now,
            until=wanted.until,
            issued_at=now,
            reason=wanted.reason,
            issuers=(user,),
            vouched=_vouched(by),
            left=wanted.uses,
        )
        self._check_terms(grant, now)
        answer = self._may_stand(grant, by)
        if not answer.allowed and grant.agent not in (agents := known()):
            raise _nothing("agent", grant.agent, agents)
        self._insist(answer, user, f"issue this grant to {grant.agent} on {grant.resource}")
        return self.put(grant, by)

    def offer(self, request: Request, needs: Sequence[str], by: By, uses: int, until: float, shown: Sequence[str]) -> Grant:
        """The grant that a user's yes to a request may come with; not there yet (`put`). Raises NotAllowed, BookFull."""
        now = time.time()
        user, groups = by.user, self._groups(by.user, by.groups)
        grant = self.of(request, now, uses=uses, until=until, issuers=(user,), shown=shown, vouched=_vouched(by))
        self._check_terms(grant, now)
        answer = self._approvers.may_issue(user, groups, grant.agent, grant.resource, needs, grant.terms)
        self._insist(answer, user, f"issue a grant for {request.id}")
        self.grants.check_room(now)
        return grant

    def may_offer(self, request: Request, needs: Sequence[str], by: By) -> bool:
        """Whether the user's yes to the request could come with a grant, be it the smallest."""
        place, smallest = (request.agent, request.resource), Terms(Kind.OPERATION, 1, SMALLEST_S)
        groups = self._groups(by.user, by.groups)
        return bool(needs) and self._approvers.may_issue(by.user, groups, *place, needs, smallest).allowed

    def of(
        self,
        request: Request,
        now: float,
        *,
        uses: int,
        until: float,
        issuers: tuple[str, ...],
        shown: Sequence[str],
        **more: Any,
    ) -> Grant:
        """A grant of exactly what the request is about. `shown`: its parameters as people read them."""
        session = request.session
        return Grant(
            id=self.grants.new_id(),
            kind=Kind.OPERATION,
            agent=request.agent,
            resource=request.resource,
            digest=request.digest,
            statement=request.text[:SHOWN_CHARACTERS],
            parameters=tuple(shown),
            database=str(session.get("database", "")),
            user=str(session.get("user", "")),
            search_path=tuple(session.get("search_path") or ()),  # type: ignore[arg-type]
            summary=request.summary,
            uses=uses,
            not_before=now,
            until=until,
            issued_at=now,
            request=request.id,
            issuers=issuers,
            left=uses,
            **more,
        )

    def put(self, grant: Grant, by: By, also: Also = nothing_else) -> Grant:
        """Have a grant in force, with whatever else is to be kept in the same transaction.

        Raises NotAllowed when it can't be put on record, LedgerUnavailable.
        """
        # On record before it can be used. A crash here leaves an entry without a grant.
        self._put_on_record(grant, by)
        self.grants.add(grant, also)
        return grant

    def endorse(self, name: str, by: By) -> Grant:
        """One more user stands for a grant. Raises NotAllowed, UnknownGrant, NotThere, LedgerUnavailable."""
        grant = self.grants.get(name)
        self._insist(self._may_stand(grant, by), by.user, f"stand for {name}")
        self._put_on_record(grant, by)
        return self.grants.endorse(name, by.user, time.time(), by.groups)

    def may_endorse(self, grant: Grant, by: By) -> bool:
        """Whether the user, who does not stand for it yet, may."""
        return by.user not in grant.issuers and self._may_stand(grant, by).allowed

    def may_end(self, grant: Grant, by: By) -> bool:
        """Whether the user stands for the grant, or may issue it."""
        return by.user in grant.issuers or self._may_stand(grant, by).allowed

    def revoke(self, name: str, by: By, reason: str) -> Grant:
        """End a grant at once. Raises UnknownGrant, NotThere, LedgerUnavailable."""
        return self._revoke(self.grants.get(name), by, reason)

    def _may_stand(self, grant: Grant, by: By) -> Answer:
        document = self._decider.policy.document
        if grant.agent not in document.agents or grant.resource not in document.resources:
            return Answer(False)
        groups = self._groups(by.user, by.groups)
        return self._approvers.may_issue_any(by.user, groups, grant.agent, grant.resource, grant.terms)

    def revoke_all_of(self, request: str, by: By, reason: str) -> None:
        """End what was granted with a request. Raises LedgerUnavailable."""
        for grant in self.grants.list(time.time(), everything=False):
            if grant.request == request:
                self._revoke(grant, by, reason)

    def _revoke(self, grant: Grant, by: By, reason: str) -> Grant:
        name = grant.id
        revoked = self.grants.revoke(name, by.user or "root", reason, time.time())
        told = entry.GrantRevoked(
            grant=name,
            user=by.user,
            uid=by.uid,
            left=revoked.left,
            reason=reason,
            provider=by.provider,
            groups=by.groups,
        )
        if not self._records.note(0, told):
            self._faults.add(0, grant.agent, "internal", f"{name} is revoked, but not on record: {self._records.failure}")
        return revoked

    # -- what workers ask for ---------------------------------------------------------------------------------------------------

    def covering(self, agent: str, resource: str, hold: Hold) -> list[tuple[Grant, tuple[str, ...]]]:
        """The grants that could let the operation go, each with the users whose approval it comes to; best first.

        When the store can't be read there are none, and the operation is held.
        """
        operation = hold.operation
        values = plain(operation.parameters, operation.formats, operation.types)
        found = digests(agent, resource, operation, hold.depends, hold.form, values)
        try:
            grants = self.grants.covering(agent, found, time.time())
        except LedgerUnavailable as error:
            self._faults.add(0, agent, "internal", str(error))
            return []
        return [(grant, by) for grant in grants if (by := self.standing(grant, hold.needs))]

    def standing(self, grant: Grant, needs: Sequence[str]) -> tuple[str, ...]:
        """Of the users who issued it those whose approval counts now for these actions, sorted."""
        found = self.who_may(grant.issuers, grant.agent, grant.resource, needs, grant.escalation, grant.vouched)
        if not grant.once:
            may_issue, given, terms = self._approvers.may_issue, dict(grant.vouched), grant.terms
            groups = {user: self._groups(user, given.get(user, ())) for user in found}
            found = tuple(u for u in found if may_issue(u, groups[u], grant.agent, grant.resource, needs, terms).allowed)
        return tuple(sorted(found))

    def who_may(
        self,
        users: Sequence[str],
        agent: str,
        resource: str,
        needs: Sequence[str],
        escalation: int,
        vouched: Vouched = (),
    ) -> tuple[str, ...]:
        """Those of the users who may approve these actions now."""
        document, may = self._decider.policy.document, self._approvers.may_approve
        if agent not in document.agents or resource not in document.resources:
            return ()
        given = dict(vouched)
        groups = {user: self._groups(user, given.get(user, ())) for user in users if user in document.users}
        return tuple(user for user in groups if may(user, groups[user], agent, resource, needs, escalation).allowed)

    def spend(self, grant: Grant, by: tuple[str, ...], flow: int, hold: Hold) -> bool:
        """Spend one use for this operation, put that on record; whether both were done, so that it may go."""
        if self.standing(grant, hold.needs) != by:
            return False
        try:
            left = self.grants.use(grant.id, time.time())
        except LedgerUnavailable as error:
            self._faults.add(flow, grant.agent, "internal", str(error))
            return False
        # A crash here loses the use.
        return left is not None and self._records.note(
            flow, entry.GrantUsed(grant=grant.id, operation=hold.operation.id, users=by, left=left)
        )

    # -- the rest ---------------------------------------------------------------------------------------------------------------

    @property
    def _approvers(self) -> Approvers:
        return self._decider.policy.approvers

    def _groups(self, user: str, vouched: Sequence[str]) -> tuple[str, ...]:
        return groups_of(self._decider.policy.document, user, vouched)

    def _check_terms(self, grant: Grant, now: float) -> None:
        if grant.uses < 1:
            raise NotAllowed("A grant has one use at least.")
        if not grant.not_before < grant.until or grant.until <= now:
            raise NotAllowed("A grant has to end after it begins, and in the future.")
        self.grants.check_room(now)

    def _insist(self, answer: Answer, user: str, what: str) -> None:
        if answer.allowed:
            return
        named = ", ".join(f'"{policy}"' for policy in answer.policies)
        raise NotAllowed(f"{user} may not {what}: " + (f"forbidden by {named}." if named else 'no policy permits it ("issue").'))

    def _put_on_record(self, grant: Grant, by: By) -> None:
        issued = entry.GrantIssued(
            grant=grant.id,
            user=by.user,
            uid=by.uid,
            agent=grant.agent,
            resource=grant.resource,
            form=grant.kind.value,
            digest=bytes.fromhex(grant.digest),
            text=grant.statement,
            parameters=grant.parameters,
            uses=grant.uses,
            not_before_ns=int(grant.not_before * 1e9),
            until_ns=int(grant.until * 1e9),
            request=grant.request,
            reason=grant.reason,
            provider=by.provider,
            groups=by.groups,
        )
        if not self._records.note(0, issued):
            raise NotAllowed(f"It can't be put on record: {self._records.failure}")


def _nothing(what: str, name: str, known: Iterable[str]) -> NotAllowed:
    return NotAllowed(f"There is no {what} {name}; there is {', '.join(sorted(known)) or 'none'}.")


def _vouched(by: By) -> Vouched:
    return ((by.user, by.groups),) if by.groups else ()
