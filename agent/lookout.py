"""Reads what the kernel's programs tell of guarded processes, as soon as they tell it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..identity.process import Process, Seen, process_of
from ..identity.workload import Workloads
from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..kernel.layouts import SELF_TEST, WATCHED, Event
from ..kernel.loader import Redirect
from ..recorder import entry
from .denials import NOBODY, Denials, Who
from .records import Records
from .strays import Strays

PAUSE_S = 0.05
"""After each reading: a flood turns the loop twenty times a second, not for each event."""
MINUTE_S = 60.0
NOT_SERVED = frozenset({"refused_no_listener", "refused_no_resolver"})
"""What is told of a network namespace without sockets of ours."""


class Lookout:
    """Puts events on record, has strays ended as soon as one is used, and namespaces looked for where one is refused."""

    def __init__(self, redirect: Redirect, workloads: Workloads, records: Records, strays: Strays) -> None:
        """Raises KernelError."""
        self._redirect = redirect
        self._workloads = workloads
        self._records = records
        self._strays = strays
        self.on_unserved: Callable[[], None] = lambda: None
        """Called when there may be a network namespace that nobody listens in for us."""
        self._ring = redirect.events()
        self._task: asyncio.Future[None] | None = None
        counters = redirect.counters()
        first = self._ring.read()
        # What waited has been counted already; the daemon that should have read it is gone.
        waited = Counter(event.kind for event in first)
        begun = {name: count - waited[name] for name, count in counters.items()}
        self.denials = Denials(begun, self._describe)
        self.failure = ""
        """Why the kernel's events can't be read; empty while they can."""
        self.unrecorded = 0
        """Entries that could not be written, because the log can't be."""
        # Numbers of workloads in there are those of another configuration.
        self._take(first, lambda _: NOBODY)

    def start(self) -> None:
        """Read from here on."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Put what is left on record, and let go of the ring."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        with suppress(KernelError):
            self._close_minute()
        self._ring.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        minute = loop.time() + MINUTE_S
        while True:
            told = await self._told(minute - loop.time())
            try:
                if told:
                    self._take(self._ring.read(), self._who)
                if loop.time() >= minute:
                    minute = loop.time() + MINUTE_S
                    self._close_minute()
                self.failure = ""
            except KernelError as error:
                self.failure = str(error)
            await asyncio.sleep(PAUSE_S)

    async def _told(self, limit_s: float) -> bool:
        """Whether there are events within this time."""
        loop = asyncio.get_running_loop()
        waiting = asyncio.Event()
        loop.add_reader(self._ring.fileno(), waiting.set)
        try:
            async with asyncio.timeout(limit_s):
                await waiting.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._ring.fileno())
        return True

    def facts(self) -> dict[str, Any]:
        """For ``status``: since the start, by road and by workload, with the latest."""
        counts = self.denials.counts
        roads: Counter[str] = Counter()
        for (_, road), times in counts.items():
            roads[road] += times
        return {
            "roads": dict(sorted(roads.items())),
            "workloads": [
                {"workload": who.workload, "agent": who.agent, "road": road, "times": times}
                for (who, road), times in sorted(counts.items())
            ],
            "latest": list(self.denials.latest),
            "unrecorded": self.unrecorded,
        }

    def _close_minute(self) -> None:
        counters = self._redirect.counters()
        self._take(self._ring.read(), self._who)
        self._put(self.denials.minute(counters))

    def _take(self, events: list[Event], who: Callable[[Event], Who]) -> None:
        found = []
        for event in events:
            if event.workload == SELF_TEST:
                self.denials.ignore(event)
                continue
            told = self.denials.take(event, who(event))
            if told is not None:
                found.append(told)
        if any(event.kind == "tainted" and not event.observed for event in events):
            self._strays.soon()
        if any(event.kind in NOT_SERVED and event.workload != SELF_TEST for event in events):
            self.on_unserved()
        self._put(found)

    def _put(self, entries: list[entry.RoadDenied]) -> None:
        if entries and not self._records.note(0, *entries):
            self.unrecorded += len(entries)

    def _who(self, event: Event) -> Who:
        if event.workload == WATCHED:
            return Who("", "(not classified)")
        rules = self._workloads.rules
        if not 1 <= event.workload <= len(rules):
            return NOBODY
        rule = rules[event.workload - 1]
        return Who(rule.agent, rule.name)

    def _describe(self, event: Event) -> entry.RoadDenied:
        """With what /proc still tells of the process; the numbers are the kernel's."""
        process = _process(event)
        return entry.RoadDenied(
            road=event.kind,
            happened_ns=time.time_ns() - (time.monotonic_ns() - event.time_ns),
            observed=event.observed,
            pid=event.pid,
            start_ticks=event.start_ticks,
            uid=event.uid if event.pid else -1,
            comm=process.comm,
            exe=process.exe,
            cmdline=process.cmdline,
            cgroup=process.cgroup,
            family=event.family,
            protocol=event.protocol,
        )


def _process(event: Event) -> Process:
    """What is known of whoever did it; of what the fence drops, the socket's cgroup."""
    path = cgroups.path_of(event.cgroup_id) if event.cgroup_id else None
    seen = Seen(event.comm, event.uid, -1, f"/{path.relative_to(cgroups.mount_point())}" if path else "")
    found = process_of(event.pid, event.start_ticks, seen) if event.pid else None
    return found or Process(event.pid, event.start_ticks, event.uid, -1, event.comm, cgroup=seen.cgroup)
