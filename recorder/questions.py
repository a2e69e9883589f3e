"""The questions for names in the log, each with what became of it, by one pass over it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from .entry import NameAnswered, NameAsked, Texts
from .filters import label
from .packing import restore
from .reader import Reader
from .stored import Stored
from .visible import visible

MAX_SHOWN = 10_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which questions somebody wants to see; None matches all."""

    agent: str | None = None
    name: str | None = None
    """The name, or a domain that it is in."""
    verdict: str | None = None
    """``allow`` or ``deny``."""
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = MAX_SHOWN
    """The newest so many."""


@dataclass(slots=True)
class Asked:
    """One question. Texts are fit to be shown."""

    entry: int
    """Position in the log."""
    wall_ns: int
    agent: str
    workload: str
    name: str
    type: str
    verdict: str
    reason: str
    policies: tuple[str, ...]
    flags: tuple[str, ...]
    pid: int
    comm: str
    server: str
    transport: str
    status: str = ""
    """Empty while there is no answer on record."""
    answers: tuple[str, ...] = ()
    upstream: str = ""
    duration_us: int = 0
    would: str = ""
    """The workload was only observed: what the verdict would have been, with this reason; it is ``allow``. Else empty."""


def questions(reader: Reader, wanted: Wanted) -> list[Asked]:
    """Those that match, the oldest first. Raises LogCorrupt as the reader does."""
    found: deque[tuple[str, Asked]] = deque()
    by_id: dict[str, Asked] = {}
    for index, entry in reader.entries((NameAsked, NameAnswered)):
        if not isinstance(entry, NameAsked | NameAnswered):
            continue
        whole = restore(entry, reader.payload)
        if isinstance(whole, NameAsked) and _matches(whole, wanted):
            asked = _asked(index, whole)
            found.append((whole.question, asked))
            by_id[whole.question] = asked
            if len(found) > wanted.limit:
                by_id.pop(found.popleft()[0], None)
        elif isinstance(whole, NameAnswered) and (asked_for := by_id.get(whole.question)) is not None:
            asked_for.status, asked_for.answers = visible(whole.status), _shown(whole.answers)
            asked_for.upstream, asked_for.duration_us = visible(whole.upstream), whole.duration_us
            if asked_for.verdict == "allow" and not asked_for.would and not isinstance(whole.reason, Stored):
                asked_for.reason = visible(whole.reason)
    return [asked for _, asked in found]


def _matches(entry: NameAsked, wanted: Wanted) -> bool:
    name = "" if isinstance(entry.name, Stored) else entry.name
    return (
        wanted.agent in (None, entry.agent)
        and (wanted.name is None or name == wanted.name or name.endswith("." + wanted.name))
        and wanted.verdict in (None, label(entry))
        and (wanted.since_ns is None or entry.wall_ns >= wanted.since_ns)
        and (wanted.until_ns is None or entry.wall_ns < wanted.until_ns)
    )


def _asked(index: int, entry: NameAsked) -> Asked:
    return Asked(
        entry=index,
        wall_ns=entry.wall_ns,
        agent=visible(entry.agent),
        workload=visible(entry.workload),
        name="a name whose payload is lost" if isinstance(entry.name, Stored) else visible(entry.name),
        type=visible(entry.type),
        verdict=visible(entry.verdict),
        reason="" if isinstance(entry.reason, Stored) else visible(entry.reason),
        policies=_shown(entry.policies),
        flags=_shown(entry.flags),
        pid=entry.pid,
        comm=visible(entry.comm),
        server=visible(entry.server),
        transport=visible(entry.transport),
        would=visible(entry.would),
    )


def _shown(texts: Texts) -> tuple[str, ...]:
    return () if isinstance(texts, Stored) else tuple(map(visible, texts))
