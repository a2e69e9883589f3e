"""What guarded processes tried past the loop, counted without loss, told within bounds.

The kernel's programs tell of at most 200 of a kind in a second and count the rest; an agent may go on at that rate for ever. So
within a minute the first of its like (the same process, road and destination) goes on record at once, and how many more came when
the minute is over. Each workload has room of its own for likes, so that a noisy one hides nobody else's: what finds no room is
counted by workload and road. What the kernel did not tell at all is known by road alone, from its counters.
"""

from __future__ import annotations

import collections
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from ..kernel.layouts import COUNTERS, Event
from ..recorder import entry

LIKES = 32
"""Of each workload in a minute: so many entries at once, and as many again when the minute is over."""
LATEST = 32
"""Kept for ``status``."""
ROADS = frozenset(
    name for name in COUNTERS if name.startswith(("refused_", "denied_", "killed_")) or name in ("dropped", "tainted")
)
"""Counters that are kinds of events, each for something that did not happen, or would not have."""


class Who(NamedTuple):
    """To whom an event is attributed."""

    agent: str
    workload: str


NOBODY = Who("", "")


class Like(NamedTuple):
    """Events of the same process to the same end are alike."""

    who: Who
    road: str
    observed: bool
    pid: int
    start_ticks: int
    protocol: int
    destination: str


@dataclass(slots=True)
class Told:
    """A like that is on record, with how many came since."""

    first: entry.RoadDenied
    more: int = 0


class Denials:
    """Takes events and counters, gives entries. Nothing is forgotten but by `latest`."""

    def __init__(self, counters: Mapping[str, int], describe: Callable[[Event], entry.RoadDenied]) -> None:
        """counters: the kernel's, as they are before its first event is read. describe: the entry for one event."""
        self._describe = describe
        self._begun = dict(counters)
        self._told: dict[Like, Told] = {}
        self._room: collections.Counter[Who] = collections.Counter()
        self._rest: collections.Counter[tuple[Who, str, bool]] = collections.Counter()
        self._seen: collections.Counter[str] = collections.Counter()
        self.counts: collections.Counter[tuple[Who, str]] = collections.Counter()
        """Since the start; of nobody: what the kernel counted, and did not tell."""
        self.latest: collections.deque[dict[str, Any]] = collections.deque(maxlen=LATEST)
        """As they went on record, newest last."""

    def take(self, event: Event, who: Who) -> entry.RoadDenied | None:
        """Count one event; an entry when it is the first of its like."""
        self.ignore(event)
        self.counts[who, event.kind] += 1
        destination = destination_of(event)
        like = Like(who, event.kind, event.observed, event.pid, event.start_ticks, event.protocol, destination)
        known = self._told.get(like)
        if known is not None:
            known.more += 1
            return None
        if self._room[who] >= LIKES:
            self._rest[who, event.kind, event.observed] += 1
            return None
        self._room[who] += 1
        told = self._describe(event)
        told.agent, told.workload, told.destination = who.agent, who.workload, destination
        self._told[like] = Told(told)
        self.latest.append(_facts(told))
        return told

    def ignore(self, event: Event) -> None:
        """Take note that the kernel has told of it, and no more."""
        self._seen[event.kind] += 1

    def minute(self, counters: Mapping[str, int]) -> list[entry.RoadDenied]:
        """The minute is over: what came beside the entries. counters: read before the last events were taken."""
        found = [_again(told.first, told.more) for told in self._told.values() if told.more]
        found += [
            entry.RoadDenied(road, who.agent, who.workload, times=times, observed=observed)
            for (who, road, observed), times in self._rest.items()
        ]
        self._told.clear()
        self._room.clear()
        self._rest.clear()
        return found + self._untold(counters)

    def _untold(self, counters: Mapping[str, int]) -> list[entry.RoadDenied]:
        """What the kernel counted and has not told. An event that is on its way is in there, and taken off the next time."""
        found = []
        for road in sorted(ROADS):
            total = counters.get(road, 0)
            missing = total - self._begun.get(road, 0) - self._seen[road]
            if missing > 0:
                self._seen[road] += missing
                self.counts[NOBODY, road] += missing
                found.append(entry.RoadDenied(road, times=missing, total=total))
        return found


def destination_of(event: Event) -> str:
    """Address and port, or a UNIX socket's address, ``@`` for an abstract one's first byte."""
    if event.path:
        path = b"@" + event.path[1:] if event.path.startswith(b"\0") else event.path
        return path.decode(errors="backslashreplace")
    if not event.host:
        return ""
    return f"[{event.host}]:{event.port}" if ":" in event.host else f"{event.host}:{event.port}"


def family_name(number: int) -> str:
    """``AF_PACKET``; the number for a family that nobody has named."""
    try:
        return socket.AddressFamily(number).name
    except ValueError:
        return f"family {number}"


def _again(first: entry.RoadDenied, times: int) -> entry.RoadDenied:
    """The same once more; the log stamps each entry that it gets."""
    return msgspec.structs.replace(first, times=times, happened_ns=0, wall_ns=0, mono_ns=0)


def _facts(told: entry.RoadDenied) -> dict[str, Any]:
    return {
        "road": told.road,
        "agent": told.agent,
        "workload": told.workload,
        "observed": told.observed,
        "at": told.happened_ns / 1e9,
        "pid": told.pid,
        "uid": told.uid,
        "comm": told.comm,
        "exe": str(told.exe),
        "family": family_name(told.family) if told.family else "",
        "protocol": told.protocol,
        "destination": str(told.destination),
    }
