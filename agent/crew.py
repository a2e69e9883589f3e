"""The workers as a whole: as many as are configured, each replaced when it ends.

A worker's end is the end of its flows and of nothing else: they are closed by the kernel, on record by the supervisor, and what
they had held is withdrawn. A worker that ends soon after its start is replaced more slowly each time.

A supervisor that takes over from another (`take_up`) has that one's workers as well, with their flows. It starts its own all the
same, from the code that is there now. Until these are ready the others take new flows; then each ends with its last flow.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import os
import pwd
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from ..identity.workload import WorkloadRule
from ..policy.document import Document
from ..recorder.drain import Drain
from ..recorder.durable import LogUnavailable
from . import messages
from .bequest import CrewLeft
from .berth import Berth, Handler
from .concerning import MAX_WORKERS, concerning_workers, wanted_workers
from .failures import Failure
from .flow import Tally
from .flows import OpenFlow
from .latency import Latency
from .sandbox import seccomp
from .sandbox.cage import Cage
from .sight import ANY, About
from .wording import Message

PING_S = 1.0
REPORT_S = 1.0
"""How long `status` waits for a worker before it shows what the worker said last."""
MIN_LIFE_S = 10.0
"""A worker that lived longer is replaced at once."""
MAX_PAUSE_S = 10.0
DEATHS_S = 60.0
MANY_DEATHS = 3
"""So many ends of workers within `DEATHS_S` are a problem that ``status`` shows in red."""
SPARE_FILES = 64
CLOSE_S = 5.0
TAKE_S = 10.0
"""A worker that has not put a new policy in force after this long is killed: its successor has it from the start."""


class Crew:
    """Starts, watches, replaces, adds up."""

    def __init__(self, document: Document, drain: Drain, epoch: int, hash_key: bytes) -> None:
        """`document`: the configuration, of which workers get what concerns them. Raises Failure."""
        self.wanted = wanted_workers(document)
        self.berths: list[Berth] = []
        self.deaths: collections.deque[tuple[float, str]] = collections.deque(maxlen=MAX_WORKERS)
        """When workers ended that should not have (monotonic), and why; the latest."""
        self.died = 0
        """How many did, since the start."""
        self.seccomp_failure = ""
        self._user = user_of(document)
        self._programs = self._compiled()
        self._files = _files(document)
        self._begin = messages.Begin(concerning_workers(document), epoch, hash_key)
        self.tls: Callable[[], messages.Tls] = lambda: messages.Tls((), ())
        """What TLS takes at this moment; a worker hears it right after `Begin`."""
        self._drain = drain
        self._handler: Handler = _nothing
        self._flow_lost: Callable[[OpenFlow, str], None] = _nothing
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self._taken = asyncio.Event()
        """Set whenever it may be that a worker has put a policy in force, or is gone."""
        self._tally = Tally()
        """Of the workers that have ended."""
        self._added = Latency()
        self._adopted = False

    def take_up(self, left: CrewLeft, handler: Handler, rules: Mapping[str, WorkloadRule]) -> list[OpenFlow]:
        """Go on with an earlier supervisor's workers and flows; before `start`. `rules`: by workload. Raises OSError."""
        self._adopted = True
        self._tally, self.died = Tally(*left.tally), left.died
        self._added.merge(left.added, left.added_ns)
        self.deaths.extend(left.deaths)
        self._handler = handler
        self.berths = [Berth.adopt(one, self._drain, self._handled, time.time()) for one in left.berths]
        carriers = {berth.journal: berth for berth in self.berths}
        flows = [OpenFlow.of(one, carriers[one.journal], rules[one.workload]) for one in left.flows]
        for flow in flows:
            flow.berth.flows[flow.id] = flow
        self.broadcast(messages.NewPolicy(self._begin.document, self._begin.epoch))
        return flows

    def leave(self) -> CrewLeft:
        """Let go of all workers that live, for the next supervisor; nothing of this crew may run afterwards."""
        for berth in [berth for berth in self.berths if not berth.alive]:
            self.berths.remove(berth)
            self._bury(berth, berth.end_reason or "it ended while the daemon was restarted")
        flows = [flow.leave() for flow in self.flows]
        tally, deaths = self._tally, list(self.deaths)
        return CrewLeft(
            berths=[berth.leave() for berth in self.berths],
            flows=flows,
            tally=(tally.allowed, tally.denied, tally.held),
            added=self._added.counts,
            added_ns=self._added.total_ns,
            died=self.died,
            deaths=deaths,
        )

    def _compiled(self) -> tuple[bytes, bytes]:
        try:
            return seccomp.compiled(), seccomp.compiled_early()
        except seccomp.NoSeccomp as error:
            self.seccomp_failure = str(error)
            return b"", b""

    async def start(self, handler: Handler, flow_lost: Callable[[OpenFlow, str], None]) -> None:
        """Start all workers, and wait until they can take flows. Raises Failure.

        `flow_lost`: called for each flow of a worker that has ended.
        """
        self._handler, self._flow_lost = handler, flow_lost
        self._tasks = [asyncio.create_task(self._keep(f"worker-{number}")) for number in range(1, self.wanted + 1)]
        self._tasks.append(asyncio.create_task(self._ping()))
        self._tasks[:0] = [asyncio.create_task(self._watch(berth)) for berth in self.berths]
        while self.pick() is None or (not self._adopted and self._own_ready < self.wanted):
            if self.died >= MANY_DEATHS:
                raise Failure(f"the workers do not start: {self.deaths[-1][1]}")
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(0.01)

    # -- one after the other --------------------------------------------------------------------------------------------------

    async def _keep(self, name: str) -> None:
        """Have one worker, and another when it ends."""
        pause_s = 0.0
        while not self._stopping:
            started_at = time.monotonic()
            reason = await self._one(name)
            if self._stopping:
                return
            self.died += 1
            self.deaths.append((time.monotonic(), reason))
            print(f"{name} ended and is replaced: {reason}", flush=True)
            pause_s = 0.0 if time.monotonic() - started_at > MIN_LIFE_S else min(max(2 * pause_s, 0.1), MAX_PAUSE_S)
            await asyncio.sleep(pause_s)

    async def _watch(self, berth: Berth) -> None:
        """Wait for the end of a worker that an earlier supervisor started."""
        reason = await berth.ended()
        self.berths.remove(berth)
        self._bury(berth, reason)
        if not (berth.leaving or self._stopping):
            self.died += 1
            self.deaths.append((time.monotonic(), reason))
            print(f"{berth.name}, which an earlier daemon started, ended: {reason}", flush=True)

    def _let_go(self) -> None:
        """End the workers of earlier supervisors that have nothing to do any more."""
        if self._own_ready < self.wanted:
            return
        for berth in self.berths:
            if berth.since and not berth.flows and berth.ready.is_set() and not berth.leaving:
                berth.leaving = True
                berth.say(messages.Stop(0.0))

    @property
    def _own_ready(self) -> int:
        return sum(berth.ready.is_set() and not berth.since for berth in self.berths)

    async def _one(self, name: str) -> str:
        """One worker's life; returns why it ended."""
        try:
            berth = Berth(name, self._drain, self._handled, messages.max_from_worker(self._begin.document))
        except (OSError, LogUnavailable) as error:
            return f"it could not be started: {error}"
        self.berths.append(berth)
        try:
            await berth.start(self._cage(name), self._begin)
            berth.say(self.tls())
            reason = await berth.ended()
        except OSError as error:
            reason = berth.end_reason = f"it could not be started: {error}"
        finally:
            self.berths.remove(berth)
        self._bury(berth, reason)
        return reason

    def _cage(self, name: str) -> Cage:
        uid, gid = self._user
        return Cage(uid, gid, self._files, os.getpid(), *self._programs, name=f"hg-{name}")

    def _bury(self, berth: Berth, reason: str) -> None:
        """What is left to do for a worker that has ended."""
        if berth.report is not None:
            report = berth.report
            self._tally.allowed += report.allowed
            self._tally.denied += report.denied
            self._tally.held += report.held
            self._tally.would_deny += report.would_deny
            self._tally.would_hold += report.would_hold
            self._added.merge(report.added, report.added_ns)
        sentence = f"the worker that carried it ended: {reason}"
        for flow in list(berth.flows.values()):
            self._flow_lost(flow, sentence)
        self._taken.set()
        berth.close_journal(sentence, "" if self._stopping else "internal")

    def journal_failed(self, number: int, reason: str) -> None:
        """What the worker with this journal wrote is not to be believed."""
        for berth in self.berths:
            if berth.journal == number:
                berth.kill(f"it wrote into its journal what no worker writes: {reason}")

    def _handled(self, berth: Berth, flow: OpenFlow | None, message: messages.FromWorker) -> None:
        if isinstance(message, messages.PolicyTaken):
            self._taken.set()
            return
        self._handler(berth, flow, message)

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_S)
            for berth in self.berths:
                berth.ping()
            self._let_go()

    # -- for the others -------------------------------------------------------------------------------------------------------

    @property
    def flows(self) -> list[OpenFlow]:
        """All open flows."""
        return [flow for berth in self.berths for flow in berth.flows.values()]

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(len(berth.flows) for berth in self.berths)

    def pick(self) -> Berth | None:
        """The worker that is to carry the next flow: the one with the fewest, of those that answer."""
        ready = [berth for berth in self.berths if berth.ready.is_set() and not berth.end_reason and not berth.leaving]
        # An earlier supervisor's worker takes new flows only as long as there is nobody else.
        ready = [berth for berth in ready if not berth.since] or ready
        awake = [berth for berth in ready if berth.responsive]
        return min(awake or ready, key=lambda berth: len(berth.flows), default=None)

    def broadcast(self, message: Message, but: Berth | None = None) -> None:
        """Say something to every worker, `but` this one."""
        for berth in self.berths:
            if berth is not but:
                berth.say(message)

    async def new_policy(self, document: Document, epoch: int) -> None:
        """Put a policy in force in all workers; returns when every one that lives has it."""
        self._begin = msgspec.structs.replace(self._begin, document=concerning_workers(document), epoch=epoch)
        self.broadcast(messages.NewPolicy(self._begin.document, epoch))
        try:
            async with asyncio.timeout(TAKE_S):
                while any(berth.epoch < epoch for berth in self.berths):
                    self._taken.clear()
                    await self._taken.wait()
        except TimeoutError:
            for berth in self.berths:
                if berth.epoch < epoch:
                    berth.kill(f"it did not put policy {epoch} in force")

    async def reports(self, flows: int) -> dict[int, messages.FlowFacts]:
        """Have every worker report; returns facts of at most so many flows of each. What one says last is in `Berth.report`."""
        asked = [asyncio.ensure_future(berth.tell(flows)) for berth in self.berths if berth.responsive]
        if not asked:
            return {}
        done, late = await asyncio.wait(asked, timeout=REPORT_S)
        for task in late:
            task.cancel()
        told = [task.result() for task in done if not task.cancelled()]
        return {facts.flow: facts for report in told for facts in report.flows}

    @property
    def tally(self) -> Tally:
        """Operations since the start, by verdict, as far as they are reported."""
        found = dataclasses.replace(self._tally)
        for report in self._reported():
            found.allowed += report.allowed
            found.denied += report.denied
            found.held += report.held
            found.would_deny += report.would_deny
            found.would_hold += report.would_hold
        return found

    @property
    def added(self) -> Latency:
        """From an operation's decoding to its release, over all workers."""
        found = Latency()
        found.merge(self._added.counts, self._added.total_ns)
        for report in self._reported():
            found.merge(report.added, report.added_ns)
        return found

    def _reported(self) -> list[messages.Report]:
        return [berth.report for berth in self.berths if berth.report is not None]

    @property
    def log_failure(self) -> str:
        """Why a worker can't put entries on record; empty when all can."""
        return next((report.log_failure for report in self._reported() if report.log_failure), "")

    def facts(self) -> list[dict[str, Any]]:
        """Each worker, as ``status`` shows it."""
        return [
            {
                "name": berth.name,
                "pid": berth.pid,
                "ready": berth.responsive,
                "since": berth.since,
                "flows": len(berth.flows),
                "operations": berth.report.allowed + berth.report.denied + berth.report.held if berth.report else 0,
                "sandbox": str(berth.applied) if berth.applied else "",
                "missing": list(berth.applied.missing) if berth.applied else [],
            }
            for berth in self.berths
        ]

    def problems(self) -> list[str]:
        """What is not fine, a sentence each."""
        found: list[str] = []
        recent = [reason for at, reason in self.deaths if time.monotonic() - at < DEATHS_S]
        if len(recent) >= MANY_DEATHS:
            ended = f"{len(recent)} workers ended within a minute"
            found.append(About(f"{ended}, the last one because {recent[-1]}", ANY, ended))
        awake = sum(berth.responsive for berth in self.berths)
        if awake < self.wanted:
            found.append(f"only {awake} of {self.wanted} workers serve")
        if self.seccomp_failure:
            found.append(f"workers run without a filter of system calls: {self.seccomp_failure}")
        return found

    # -- the end --------------------------------------------------------------------------------------------------------------

    async def stop(self, grace_s: float) -> None:
        """Let the workers finish within `grace_s` seconds, then end them."""
        self._stopping = True
        self.broadcast(messages.Stop(grace_s))
        keepers = self._tasks[:-1]
        if keepers:
            _, late = await asyncio.wait(keepers, timeout=grace_s + 2.0)
            if late:
                self.kill("it did not stop")
                await asyncio.wait(keepers, timeout=grace_s)
        await self.close()

    def kill(self, reason: str) -> None:
        """End all workers now."""
        for berth in self.berths:
            berth.kill(reason)

    async def close(self) -> None:
        """Nothing runs after this, whatever came before."""
        self._stopping = True
        self.kill("the daemon ends")
        if self._tasks:
            await asyncio.wait(self._tasks[:-1], timeout=CLOSE_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def user_of(document: Document) -> tuple[int, int]:
    """Ids of the user that workers become. Raises Failure."""
    name = document.daemon.worker_user
    for candidate in (name,) if name else ("hostguard", "nobody"):
        try:
            found = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if found.pw_uid == 0:
            raise Failure(f"{document.file}: daemon.worker_user: workers can't be root")
        return found.pw_uid, found.pw_gid
    raise Failure(f"{document.file}: daemon.worker_user: this host has no user {name or 'nobody'}")


def _files(document: Document) -> int:
    """Descriptors of a worker: two for each flow, all flows in one worker if need be, as far as the host lets us."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(2 * document.limits.max_flows + SPARE_FILES, hard)


def _nothing(*_: object) -> None:
    """Before the start."""
