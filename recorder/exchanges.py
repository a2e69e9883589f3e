"""Entries of one flow, put to the operations that they belong to.

Texts are as recorded, not fit for a terminal: `replay` makes them so. Each entry keeps its index, so that whatever is made of
these can say where in the log it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from .entry import (
    Approval,
    Captured,
    Decision,
    Entry,
    FlowClose,
    FlowOpen,
    FlowRefused,
    Opaque,
    Operation,
    Reply,
    Request,
    Session,
    Unknown,
    Withdrawn,
)
from .filters import label
from .packing import Fetch, restore
from .reader import Record
from .stored import Stored
from .wrapping import file_hash

ENDS = frozenset({"approved", "denied", "withdrawn", "expired"})
"""Verdicts of an `Approval` after which its request is over; others are a yes that does not suffice alone."""


class NoSuchFlow(LookupError):
    """The log has no flow of this number."""


@dataclass(slots=True)
class Exchange:
    """One operation with all that followed from it, as far as it is on record."""

    index: int
    """Of the `Operation` in the log."""
    operation: Operation
    decisions: list[tuple[int, Decision]] = field(default_factory=list)
    request: Request | None = None
    request_index: int = -1
    approvals: list[tuple[int, Approval]] = field(default_factory=list)
    """Users' answers in order; the last one ends the request."""
    withdrawn: Withdrawn | None = None
    reply: Reply | None = None
    captured: Captured | None = None
    """The rows that the agent got; None when they were not captured, or are not to be read."""

    @property
    def decision(self) -> Decision | None:
        """The last word of policy."""
        return self.decisions[-1][1] if self.decisions else None

    @property
    def held(self) -> bool:
        return any(decision.verdict == "hold" for _, decision in self.decisions)

    @property
    def is_open(self) -> bool:
        """It waits for an approval that may still come."""
        return self.request is not None and not any(approval.verdict in ENDS for _, approval in self.approvals)

    @property
    def would(self) -> str:
        """``deny`` or ``hold`` for what only passed because its workload was observed; else empty."""
        decision = self.decision
        return decision.would if decision is not None and decision.would != "allow" else ""

    def verdicts(self) -> frozenset[str]:
        """Every verdict it got: a held one that was approved has two."""
        return frozenset(label(decision) for _, decision in self.decisions)

    def accesses(self) -> tuple[tuple[str, str], ...]:
        """(action, object) pairs; none when they are lost or the operation was not understood."""
        decision = self.decision
        return () if decision is None or isinstance(decision.accesses, Stored) else decision.accesses

    def tags(self) -> tuple[str, ...]:
        """Tags whose values were masked in the reply, or would have been."""
        return () if self.reply is None or isinstance(self.reply.tags, Stored) else self.reply.tags


@dataclass(slots=True)
class History:
    """All entries of one flow, in order of time."""

    index: int
    """The flow's number."""
    opened: FlowOpen
    items: list[Exchange | Record] = field(default_factory=list)
    """Operations, each where it was asked for, and what belongs to none."""
    session: Session | None = None
    closed: FlowClose | None = None
    _by_number: dict[int, Exchange] = field(default_factory=dict)

    @property
    def exchanges(self) -> list[Exchange]:
        return [item for item in self.items if isinstance(item, Exchange)]

    @property
    def may_go_on(self) -> bool:
        """Whether later entries of the log can still belong to it."""
        if isinstance(self.opened, FlowRefused):
            return False
        return self.closed is None or any(exchange.is_open for exchange in self.exchanges)

    @property
    def unread(self) -> str:
        """Why it, or the rest of it, passed unread: its workload was only observed. Else empty."""
        events = (item[1] for item in self.items if isinstance(item, tuple))
        return next((text_of(event.reason) for event in events if isinstance(event, Opaque)), "")

    @property
    def database(self) -> str:
        return text_of(self.session.database) if self.session else ""

    @property
    def user(self) -> str:
        """The database's user, as the client named it."""
        return text_of(self.session.user) if self.session else ""

    def add(self, index: int, entry: Entry | Unknown) -> None:
        """Put the next entry of the flow in its place."""
        if isinstance(entry, Operation):
            self._by_number[entry.operation] = exchange = Exchange(index, entry)
            self.items.append(exchange)
        elif isinstance(entry, FlowClose):
            self.closed = entry
        elif not self._join(index, entry):
            if isinstance(entry, Session):
                self.session = entry
            self.items.append((index, entry))

    def _join(self, index: int, entry: Entry | Unknown) -> bool:
        """Put the entry to its operation; False when it belongs to none."""
        if not isinstance(entry, Decision | Request | Approval | Withdrawn | Reply | Captured):
            return False
        exchange = self._by_number.get(entry.operation)
        if exchange is None:
            return False
        match entry:
            case Decision():
                exchange.decisions.append((index, entry))
            case Request():
                exchange.request, exchange.request_index = entry, index
            case Approval():
                exchange.approvals.append((index, entry))
            case Withdrawn():
                exchange.withdrawn = entry
            case Reply():
                exchange.reply = entry
            case Captured():
                exchange.captured = entry
        return True


def history(number: int, records: Iterable[Record], fetch: Fetch) -> History:
    """What is on record of flow `number`, from its entries in order, as `Reader.flow` gives them. Raises NoSuchFlow."""
    found: History | None = None
    for index, entry in records:
        whole = entry if isinstance(entry, Unknown) else restore(entry, fetch)
        if found is not None:
            found.add(index, whole)
        elif isinstance(whole, FlowOpen):
            found = History(index, whole)
        else:
            break
    if found is None:
        raise NoSuchFlow(f"the log has no flow {number}")
    return found


def histories(
    records: Iterable[Record], fetch: Fetch, wanted: Collection[int] | None = None, *, captured: bool = False
) -> Iterator[History]:
    """Every flow of the log (or those `wanted`), by one pass over it, each once nothing more can belong to it.

    captured: with the rows that were captured, which may be much.

    Holds in memory the flows that are open at one time. Those that never ended come last.
    """
    under_way: dict[int, History] = {}
    for index, entry in records:
        if isinstance(entry, FlowOpen) and (wanted is None or entry.flow in wanted):
            under_way[entry.flow] = History(index, _whole(entry, fetch))
        elif entry.flow in under_way:
            if captured or not isinstance(entry, Captured):
                under_way[entry.flow].add(index, entry if isinstance(entry, Unknown) else restore(entry, fetch))
        else:
            continue
        if not under_way[entry.flow].may_go_on:
            yield under_way.pop(entry.flow)
    yield from under_way.values()


def _whole(entry: FlowOpen, fetch: Fetch) -> FlowOpen:
    restore(entry, fetch)
    return entry


def text_of(value: str | Stored | None) -> str:
    """The text, or what stands in for one whose payload is no longer there."""
    return lost(value) if isinstance(value, Stored) else value or ""


def lost(reference: Stored) -> str:
    """In place of a field whose payload is no longer there, is not what was stored, or is encrypted to keys that are not here."""
    why = "encrypted and not opened" if reference.encrypted else "not to be had"
    return f"⟦{reference.length} bytes, {why}: payload {file_hash(reference).hex()}⟧"
