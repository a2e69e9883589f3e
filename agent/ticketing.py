"""Ticket mode: a held operation is refused with the id of a request, to go through when it comes again once that is approved.

Order of an approval: on record, then ticket and grant in one transaction. What is true if we crash in between: users' answers are
on record, and the ticket is as it was, so it is asked for again; nothing was released by it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import msgspec

from ..policy.approvals import Kept as InBook
from ..policy.approvals import RequestBook
from ..policy.decide import Decider
from ..policy.grants import Grant
from ..policy.issuers import groups_of
from ..policy.judgement import Judgement
from ..policy.requests import (
    SHOWN_CHARACTERS,
    AlreadyDecided,
    BookFull,
    NotAllowed,
    Request,
    State,
    UnknownRequest,
    operation_digest,
    verdict_of,
)
from ..protocols.events import Operation, OperationKind, Session
from ..recorder.parameters import render
from .faults import Faults
from .flows import OpenFlow
from .granting import Granting
from .history import Items
from .hold_messages import Filed, Hold
from .ledger import LedgerUnavailable
from .records import Records
from .tickets import MAX_BYTES, Kept, Tickets
from .waiting import By, OnTicket, Ticket, approval_entry

AGAIN = "Run it again, as it is, once it is approved."


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a held operation in ticket mode."""

    answer: Filed
    fresh: Request | None = None
    """The request, if it is a new one, or users are asked again."""


class Ticketing:
    """Ties tickets to the book of requests, to grants, to the log."""

    def __init__(
        self, tickets: Tickets, book: RequestBook, granting: Granting, records: Records, decider: Decider, faults: Faults
    ) -> None:
        """Take up the open tickets of earlier runs. Raises LedgerUnavailable."""
        self._tickets = tickets
        self._book = book
        self._granting = granting
        self._records = records
        self._decider = decider
        self._faults = faults
        book.reserved |= tickets.names()
        for kept in tickets.open():
            request = kept.request
            held = OnTicket(request.agent, request.resource, kept.ticket, decider)
            book.take_up(InBook(_light(request), _operation(request), kept.needs), held)

    def wanted(self, policies: tuple[str, ...]) -> bool:
        """Whether an operation that these policies would permit is refused with a ticket, and does not wait."""
        rules = self._decider.policy.book.rules
        modes = {rules[name].node.annotations.get("hold") for name in policies if name in rules}
        if "ticket" in modes:
            return True
        return "wait" not in modes and self._decider.policy.document.approvals.mode == "ticket"

    def file(self, flow: OpenFlow, hold: Hold, judgement: Judgement) -> Answered:
        """What to tell the worker: of the ticket that there is for this very operation, or of a new one."""
        try:
            return self._file(flow, hold, judgement, time.time())
        except (BookFull, LedgerUnavailable) as error:
            if isinstance(error, LedgerUnavailable):
                self._faults.add(flow.id, flow.agent, "internal", str(error))
            return Answered(Filed(flow.id, hold.operation.id, refusal=str(error)))

    def _file(self, flow: OpenFlow, hold: Hold, judgement: Judgement, now: float) -> Answered:
        operation = hold.operation
        digest = operation_digest(flow.agent, flow.resource, operation, hold.depends)
        known = self._tickets.asked_for(flow.agent, digest, now)
        if known is not None and known.state not in (State.USED, State.WITHDRAWN):
            return self._known(flow, hold, known, now)
        held = OnTicket(flow.agent, flow.resource, Ticket(hold.asks, hold.flags, hold.duties), self._decider)
        request = self._book.file(held, operation, judgement, flow.process_facts(), now, number=flow.id, ticket=True)
        kept = Kept(request, held.ticket, hold.needs)
        if len(msgspec.msgpack.encode(kept)) > MAX_BYTES:
            self._book.discard(request.id)
            refusal = f"this needs an approval, and is longer than the {MAX_BYTES} bytes that are kept for one"
            return Answered(Filed(flow.id, operation.id, refusal=refusal, hint="Ask for less at a time."))
        try:
            self._granting.grants.check_room(now)
            self._tickets.add(kept)
        except (BookFull, LedgerUnavailable):
            self._book.discard(request.id)
            raise
        self._book.reserved.add(request.id)
        light = _light(request)
        self._book.note(request.id, text=light.text, parameters=(), prepared=())
        return Answered(_filed(flow, operation, request, f"this waits for approval as request {request.id}", AGAIN), request)

    def _known(self, flow: OpenFlow, hold: Hold, known: Request, now: float) -> Answered:
        operation = hold.operation
        if known.state is State.DENIED:
            reason = f"{known.decided_by} denied request {known.id}" + (f": {known.reason}" if known.reason else "")
            return Answered(_filed(flow, operation, known, reason, "Ask the approver before trying again."))
        if known.state is State.APPROVED:
            # Its grant did not release it: the policies or what the statement means are not what they were.
            self._granting.revoke_all_of(known.id, By("", 0), "its approval does not suffice any more")
            level = self._book.escalation(known, now)
            still = self._granting.who_may(known.approved_by, known.agent, known.resource, hold.needs, level, known.vouched)
            reopened = self._book.reopen(known.id, still, "what was approved does not suffice any more", now)
            self._tickets.save(reopened)
            by = ", ".join(known.approved_by)
            reason = f"request {known.id} was approved by {by}, which does not suffice any more; it waits for more approvals"
            return Answered(_filed(flow, operation, reopened, reason, AGAIN), reopened)
        return Answered(_filed(flow, operation, known, f"this waits for approval as request {known.id}", AGAIN))

    def duties(self, request: Request) -> Items:
        """What the ticket's operation exercises if it runs. Raises LedgerUnavailable."""
        ticket = self._tickets.ticket(request.id)
        return ticket.duties if ticket is not None else ()

    def decide(self, request: Request, by: By, approve: bool, reason: str, offer: Grant | None) -> Request:
        """A user's answer. Raises NotAllowed, AlreadyDecided, UnknownRequest, BookFull, LedgerUnavailable."""
        now = time.time()
        groups = groups_of(self._decider.policy.document, by.user, by.groups)
        before = self._book.snapshot(request.id)
        until = offer.until if offer is not None else 0
        said = (by.user, groups, approve, reason, request.digest)
        decided = self._book.decide(request.id, *said, now=now, until=until, vouched=by.groups)
        try:
            self._keep(decided, by, offer, now)
        except (LedgerUnavailable, NotAllowed):
            self._book.restore(before)
            raise
        return decided

    def _keep(self, decided: Request, by: By, offer: Grant | None, now: float) -> None:
        self._record(decided, verdict_of(decided), by)
        if decided.state is not State.APPROVED:
            self._tickets.save(decided)
            return
        grant = offer or self._once(decided, now)
        self._granting.put(grant, by, also=lambda connection: self._tickets.change(connection, decided))

    def _once(self, decided: Request, now: float) -> Grant:
        """What an approved ticket is good for, unless more was granted with it."""
        whole = self.whole(decided)
        return self._granting.of(
            whole,
            now,
            uses=1,
            until=decided.expires_at,
            issuers=decided.approved_by,
            vouched=decided.vouched,
            shown=render(whole.parameters, whole.formats, whole.types),
            once=True,
            escalation=self._book.escalation(decided, now),
        )

    def withdraw(self, request: Request, by: By, reason: str) -> Request:
        """Take a ticket back. Raises AlreadyDecided, LedgerUnavailable."""
        if request.state is State.APPROVED:
            self._granting.revoke_all_of(request.id, by, reason)
        withdrawn = self._book.withdraw(request.id, reason)
        self._record(withdrawn, "withdrawn", by)
        self._tickets.save(withdrawn)
        return withdrawn

    def used(self, request_id: str) -> Request | None:
        """Its operation was released; the ticket, if it was one that waited for that."""
        try:
            request = self._book.get(request_id)
            if request.mode != "ticket" or request.state is not State.APPROVED:
                return None
            self._book.use(request_id, request.digest, time.time())
            request = self._book.get(request_id)
            self._tickets.save(request)
        except UnknownRequest:
            # A grant may outlive the request that it came with.
            return None
        except (AlreadyDecided, NotAllowed, LedgerUnavailable) as error:
            # The grant is spent, so nothing can be released by it again, whatever the ticket says.
            self._faults.add(0, "", "internal", str(error))
            return None
        return request

    def expired(self, request: Request) -> None:
        """Nobody decided it in time, or nobody used it."""
        self._record(request, "expired", By())
        try:
            self._tickets.save(request)
        except LedgerUnavailable as error:
            self._faults.add(request.flow, request.agent, "internal", str(error))

    def whole(self, request: Request) -> Request:
        """The ticket with all of its statement."""
        try:
            kept = self._tickets.whole(request.id)
        except LedgerUnavailable:
            return request
        if kept is None:
            return request
        return msgspec.structs.replace(request, text=kept.text, parameters=kept.parameters, prepared=kept.prepared)

    def _record(self, request: Request, verdict: str, by: By) -> None:
        approval = approval_entry(request, verdict, request.operation, by)
        if not self._records.note(request.flow, approval) and verdict in ("approved", "collected"):
            raise NotAllowed(f"It can't be put on record: {self._records.failure}")


def _light(request: Request) -> Request:
    """What of it stays in memory."""
    return msgspec.structs.replace(request, text=request.text[:SHOWN_CHARACTERS], parameters=(), prepared=())


def _operation(request: Request) -> Operation:
    """Stands for its operation in the book, which is not asked about it any more."""
    return Operation(
        request.operation, OperationKind.QUERY, request.text[:SHOWN_CHARACTERS], msgspec.convert(request.session, Session)
    )


def _filed(flow: OpenFlow, operation: Operation, request: Request, reason: str, hint: str) -> Filed:
    digest, expires_ns = bytes.fromhex(request.digest), int(request.expires_at * 1e9)
    return Filed(flow.id, operation.id, request.id, digest, expires_ns, refusal=reason, hint=hint)
