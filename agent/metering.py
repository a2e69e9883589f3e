"""What a worker lets pass of its agents' budgets: out of leases that the supervisor has counted as used.

A worker is one of several, and not trusted, so what is left of a budget is the supervisor's to know. It lends a part at a time;
what is lent is used, whatever becomes of the worker. All flows of an agent in a worker share its accounts. An operation goes on
when each account has something of everything left. Rows and bytes are known only as they pass, so a reply may overdraw one
by what one read brings: then nothing more is read from that flow's server until there is another lease.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..policy.document import Document
from .clearance_messages import Draw, Drawn, Lease, Owed

if TYPE_CHECKING:
    from .relay import Relay

EXHAUSTED = b"53400"
"""SQLSTATE configuration_limit_exceeded: of a reply that is broken off."""


@dataclass(slots=True)
class Account:
    """What is left of one budget's lease; None for what is not limited, negative for what is owed."""

    operations: int | None = 0
    rows: int | None = 0
    bytes: int | None = 0
    expires_ns: int = 0

    def add(self, lease: Lease) -> None:
        """More is lent; what was owed is in it."""
        kept = any(left is not None and left > 0 for left in (self.operations, self.rows, self.bytes))
        self.operations = _sum(self.operations, lease.operations)
        self.rows = _sum(self.rows, lease.rows)
        self.bytes = _sum(self.bytes, lease.bytes)
        # What was lent before does not live longer by that.
        self.expires_ns = min(self.expires_ns, lease.expires_ns) if kept else lease.expires_ns

    def expire(self, now_ns: int) -> None:
        """What is left of an old lease is left to nobody; what is owed stays owed."""
        if now_ns > self.expires_ns:
            self.operations, self.rows, self.bytes = (
                None if left is None else min(left, 0) for left in (self.operations, self.rows, self.bytes)
            )

    def spend(self, operations: int, rows: int, octets: int) -> None:
        """So much passes."""
        self.operations = _sum(self.operations, -operations)
        self.rows = _sum(self.rows, -rows)
        self.bytes = _sum(self.bytes, -octets)

    @property
    def short(self) -> bool:
        """Nothing is left of something."""
        return any(left is not None and left <= 0 for left in (self.operations, self.rows, self.bytes))

    @property
    def overdrawn(self) -> bool:
        """A reply took more than was lent."""
        return any(left is not None and left < 0 for left in (self.rows, self.bytes))

    def owed(self, budget: str) -> Owed:
        """What was let pass beyond the lease; it is the supervisor's from here on."""
        missing = [max(0, -(left or 0)) for left in (self.operations, self.rows, self.bytes)]
        self.spend(*(-each for each in missing))
        return Owed(budget, *missing)


def _sum(left: int | None, more: int | None) -> int | None:
    return None if left is None or more is None else left + more


class Meters:
    """The accounts of a worker's agents."""

    def __init__(self) -> None:
        self._accounts: dict[str, dict[str, Account]] = {}

    def of(self, relay: Relay, document: Document) -> Meter | None:
        """What counts for a flow; None where its agent has no budget, and where nothing is refused."""
        agent = relay.flow.agent
        if relay.flow.observed:
            return None
        names = [name for name, budget in document.budgets.items() if budget.concerns(agent)]
        if not names:
            return None
        accounts = self._accounts.setdefault(agent, {})
        for name in names:
            if name not in accounts:
                operations, rows, octets = document.budgets[name].limits
                accounts[name] = Account(operations and 0, rows and 0, octets and 0)
        return Meter(relay, {name: accounts[name] for name in names})

    def forget(self) -> None:
        """The budgets may be others now: what was lent is left to nobody."""
        self._accounts.clear()


class Meter:
    """Counts what passes in one flow."""

    def __init__(self, relay: Relay, accounts: dict[str, Account]) -> None:
        self._relay = relay
        self._accounts = accounts
        self._counted = (0, 0)
        """Rows and bytes of the reply that is coming in, as far as they are counted."""
        self._drawing = False
        """A reply waits for another lease."""

    def take(self) -> bool:
        """One operation goes on; False when something is used up, and it has to wait for `draw`."""
        now_ns = time.monotonic_ns()
        for account in self._accounts.values():
            account.expire(now_ns)
        if any(account.short for account in self._accounts.values()):
            return False
        self.force()
        return True

    def force(self) -> None:
        """One operation goes on, whatever is left."""
        self._spend(1, 0, 0)

    def draw(self, operation: int) -> None:
        """Ask for more; what is owed is told."""
        owed = tuple(account.owed(name) for name, account in self._accounts.items())
        self._relay.loop.say(Draw(self._relay.flow.id, operation, owed))

    def drawn(self, leases: Iterable[Lease]) -> None:
        """More is lent."""
        for lease in leases:
            if lease.budget in self._accounts:
                self._accounts[lease.budget].add(lease)

    # -- replies --------------------------------------------------------------------------------------------------------------

    def passing(self, underway: tuple[int, int]) -> None:
        """So many rows and bytes of a reply have passed by now."""
        rows, octets = underway[0] - self._counted[0], underway[1] - self._counted[1]
        self._counted = underway
        if rows > 0 or octets > 0:
            self._spend(0, max(rows, 0), max(octets, 0))
        if any(account.overdrawn for account in self._accounts.values()):
            self._relay.hold_reading_server(True)
            if not self._drawing:
                self._drawing = True
                self.draw(0)

    def replied(self, rows: int, octets: int) -> None:
        """A reply has come to its end, with so much in all."""
        self._spend(0, max(rows - self._counted[0], 0), max(octets - self._counted[1], 0))
        self._counted = (0, 0)

    def reply_drawn(self, answer: Drawn) -> None:
        """The reply may go on, or is broken off."""
        self._drawing = False
        if answer.refusal:
            self._relay.withdraw(answer.refusal, EXHAUSTED)
            self._relay.terminate(f"{answer.refusal}. {answer.hint}", EXHAUSTED)
            return
        self.drawn(answer.leases)
        if not any(account.overdrawn for account in self._accounts.values()):
            self._relay.hold_reading_server(False)
            return
        self._drawing = True
        self.draw(0)

    def _spend(self, operations: int, rows: int, octets: int) -> None:
        for account in self._accounts.values():
            account.spend(operations, rows, octets)
