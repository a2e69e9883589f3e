"""Who exercised which duty on what, whether somebody may exercise another beside it.

Look-up and record are one: a duty is exercised by a row in the ledger, written and synced before the operation goes on, in the
one thread that looks rows up. So two flows can't exercise both of two exclusive duties, whatever they race for. A crash then
leaves a duty on record that was not exercised, never the other way round.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from ..policy.decide import Decider
from ..policy.duties import ANY, shown
from ..policy.duty_sections import Exclusion
from ..policy.strict import suggest
from ..recorder.lookalikes import unmistakable
from .ledger import Ledger, LedgerUnavailable
from .store import Store

COARSE_S = 1.0
"""A row is not written again within this time: a window may count this much longer."""

Items = Sequence[tuple[str, str]]
"""(duty, object), as `policy.duties` names objects."""


class Refusal(msgspec.Struct, frozen=True):
    """Why an operation may not go on."""

    reason: str
    hint: str = ""
    policies: tuple[str, ...] = ()


class Deed(msgspec.Struct, frozen=True):
    """One operation that exercises duties."""

    agent: str
    users: tuple[str, ...]
    """The agent's owner, then who approved."""
    items: tuple[tuple[str, str], ...]
    flow: int
    operation: int
    at: float
    """Wall time."""


class History:
    """The duties of all agents and users."""

    def __init__(self, store: Store, decider: Decider) -> None:
        self._store = store
        self._decider = decider
        self.changes = 0
        """A number that grows whenever something is exercised."""

    async def exercise(self, deed: Deed) -> Refusal | None:
        """Have the deed on record if it is allowed; None when it is there. Never raises for a ledger that can't be written."""
        document = self._decider.policy.document
        for duty, _ in deed.items:
            if duty not in document.duties:
                known = suggest(duty, document.duties)
                return Refusal(f'the configuration has no duty "{duty}"{known}', "Try again: the policy has just changed.")
        exclusions = dict(document.exclusions)
        try:
            refusal = await self._store.do(lambda ledger: _exercise(ledger, exclusions, deed))
            self.changes += refusal is None
            return refusal
        except LedgerUnavailable as error:
            why = f"the duties that this exercises can't be kept on disk, so it is refused: {error}"
            return Refusal(why, "The disk of hostguard's state_dir must be writable.")

    async def objection(self, user: str, items: Items) -> str:
        """Why the user may not take part in this now, by approving it; empty when they may. Raises LedgerUnavailable."""
        exclusions = dict(self._decider.policy.document.exclusions)
        deed = Deed("", (user,), tuple(items), 0, 0, time.time())
        found = await self._store.do(lambda ledger: next(_conflicts(ledger, exclusions, deed), None))
        return found.reason if found is not None else ""

    async def facts(self) -> list[dict[str, Any]]:
        """Every row, the latest first, for ``hostguard policy duties --history``."""
        query = "SELECT subject, duty, object, at, agent, flow, operation FROM exercise ORDER BY at DESC LIMIT 10000"
        names = ("subject", "duty", "object", "at", "agent", "flow", "operation")
        rows = await self._store.do(lambda ledger: ledger.rows(query))
        return [dict(zip(names, row, strict=True)) | {"shown": unmistakable(shown(row[2]))} for row in rows]


def _exercise(ledger: Ledger, exclusions: Mapping[str, Exclusion], deed: Deed) -> Refusal | None:
    conflict = next(_conflicts(ledger, exclusions, deed), None)
    if conflict is not None:
        return conflict
    rows = [(subject, duty, thing) for subject in _subjects(deed) for duty, thing in deed.items]
    fresh = [row for row in rows if not _written(ledger, row, deed.at)]
    if not fresh:
        return None
    with ledger.change() as connection:
        connection.executemany(
            "INSERT INTO exercise VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "at = max(at, excluded.at), agent = excluded.agent, flow = excluded.flow, operation = excluded.operation",
            [(*row, deed.at, deed.agent, deed.flow, deed.operation) for row in fresh],
        )
    return None


def _written(ledger: Ledger, row: tuple[str, str, str], at: float) -> bool:
    found = ledger.rows("SELECT at FROM exercise WHERE subject = ? AND duty = ? AND object = ?", row)
    return bool(found) and found[0][0] > at - COARSE_S


def _subjects(deed: Deed) -> list[str]:
    return [*([f"agent:{deed.agent}"] if deed.agent else []), *(f"user:{user}" for user in deed.users if user)]


def _conflicts(ledger: Ledger, exclusions: Mapping[str, Exclusion], deed: Deed) -> Iterator[Refusal]:
    for name, exclusion in exclusions.items():
        kind = "agent:" if exclusion.scope == "agent" else "user:"
        for duty, thing in deed.items:
            if duty not in exclusion.duties:
                continue
            others = [other for other in exclusion.duties if other != duty]
            for other in others:
                if any(each == other and _same(exclusion, thing, its) for each, its in deed.items):
                    yield _refusal(name, exclusion, "", duty, thing, f'this very operation is "{other}" as well')
                for subject in _subjects(deed):
                    if subject.startswith(kind) and (found := _found(ledger, exclusion, subject, other, thing, deed.at)):
                        yield _refusal(name, exclusion, subject, duty, thing, _told(other, found))


def _same(exclusion: Exclusion, one: str, other: str) -> bool:
    return exclusion.within != "object" or one == other or ANY in (one, other)


def _found(ledger: Ledger, exclusion: Exclusion, subject: str, duty: str, thing: str, now: float) -> tuple[Any, ...] | None:
    """The latest row by which the subject has exercised the other duty, where that counts."""
    query = "SELECT object, at, flow, operation FROM exercise WHERE subject = ? AND duty = ?"
    values: list[str | float] = [subject, duty]
    if exclusion.within == "object" and thing != ANY:
        query, values = query + " AND object IN (?, ?)", [*values, thing, ANY]
    if exclusion.within == "window":
        query, values = query + " AND at > ?", [*values, now - exclusion.window_s - COARSE_S]
    rows = ledger.rows(query + " ORDER BY at DESC LIMIT 1", values)
    return rows[0] if rows else None


def _told(duty: str, row: Iterable[Any]) -> str:
    # Not whose: who hears it, be it another agent of the same owner, may not look at every agent.
    thing, at, flow, operation = row
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
    return f'has taken part in "{duty}" on {shown(thing)} at {when} (flow {flow}, operation {operation})'


def _refusal(name: str, exclusion: Exclusion, subject: str, duty: str, thing: str, why: str) -> Refusal:
    kind, _, who = subject.partition(":")
    how = {"always": "", "object": " of one object", "window": f" within {exclusion.window_s} s"}[exclusion.within]
    said = f"{kind} {who} {why}" if subject else why
    reason = f'exclusion "{name}" keeps "{duty}" apart from the other duty{how}: {said}; now it is {shown(thing)}'
    if exclusion.scope == "agent":
        hint = "Have another agent do it."
    else:
        hint = (
            "Have an agent of another owner do it, with the approval of others: nobody who took part in the one may in the other."
        )
    return Refusal(reason, hint, (f"exclusion {name}",))
