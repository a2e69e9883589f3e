"""A daemon that makes way for the code that is installed now, without its flows noticing.

Order. The installed code is asked first, in a process of its own (`preflight`): up to here nothing has changed. Then calls on the
control socket are answered, no connection is accepted any more (they wait in the listeners), what is under way for workers is
finished, the log writer's thread takes what was published and ends. From then on nothing waits for anything: what is left is
collected and the new program executed in one go (`handover`), so no task of the old one comes in between.

Workers go on meanwhile; what they put on record stays in their journals. With ``log.durability = "strict"``, or for what needs
the supervisor (a new server connection, a hold), they wait.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from ..kernel.loader import Redirect
from ..policy.decide import Decider
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from .broker.keeper import Keeper as BrokerKeeper
from .control import Control
from .crew import Crew
from .desk import Desk
from .entrance import Entrance
from .failures import Failure
from .handover import VERSION, Handover
from .holds import Holds
from .lease import AHEAD_NS
from .logwriter import LogWriter
from .names.keeper import Keeper
from .namespaces import Namespaces
from .preflight import Finding, ask
from .resources import Resources
from .rights import named
from .selftest import SelfTest
from .sight import ANY, About
from .speech import speech
from .strays import Strays
from .verifier.service import Vouching
from .waiting import By
from .web.keeper import Keeper as Page

SETTLE_S = 1.0
"""How long a server may take to be connected, before the successor begins that anew."""
IDENTIFY_S = 10.0
"""How long it may take to find out whose the accepted connections are."""
GRACE_S = 5.0
"""How long busy flows may go on that can't be handed over."""
SIGNAL = By()
"""In place of who asks: whoever may signal the daemon, which is root."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Of a daemon, what is handed over or has to come to rest."""

    lock: int
    log: Log
    writer: LogWriter
    redirect: Redirect
    hooks: str
    """What is attached, as `kernel.hooks.code` told at the start."""
    decider: Decider
    crew: Crew
    desk: Desk
    holds: Holds
    names: Keeper
    broker: BrokerKeeper
    resources: Resources
    entrance: Entrance
    namespaces: Namespaces
    test: SelfTest
    strays: Strays
    vouching: Vouching
    page: Page | None


class Restart:
    """Asks whether it can be done; does it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[Any] | None = None
        self._end_flows = False
        self._by = SIGNAL
        self._policies: tuple[str, ...] = ()
        self.wanted = asyncio.Event()
        """Set once it can be done, and shall."""
        self.failure = ""
        """Why the last one was not begun; empty when none was asked for, or it was."""

    def soon(self) -> None:
        """Have it done, if no flow ends by it; for a signal."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self.ask(False))

    async def ask(self, end_flows: bool, by: By = SIGNAL, policies: tuple[str, ...] = ()) -> dict[str, Any]:
        """Have it done if it can be; `refused` says why not. end_flows: also if open flows would end by it.

        `by`: who asks for it, as goes on record, with the policies that permit it to them.
        """
        async with self._asking:
            if self.wanted.is_set():
                return {"refused": "it is under way already"}
            finding = await ask(self._parts.decider.policy.document)
            ends = finding.speech != speech()
            self.failure = "; ".join(self._objections(finding, ends and not end_flows))
            flows = self._parts.crew.count
            if self.failure:
                print(f"restart refused: {self.failure}", flush=True)
                return {"refused": About(self.failure, ANY, "it can't be done; the daemon's own output says why")}
            self._end_flows, self._by, self._policies = ends, by, policies
            self.wanted.set()
            # The successor has a broker of its own; what this one's carries ends with it.
            carried = sum(flow.carried for flow in self._parts.crew.flows)
            told = {"from": version("hostguard"), "to": finding.release, "flows": flows, "flows_end": ends, "carried": carried}
            return {"refused": "", **told}

    def _objections(self, finding: Finding, keep_flows: bool) -> list[str]:
        if finding.objections:
            return list(finding.objections)
        found = []
        if finding.handover != VERSION:
            found.append(f"version {finding.release} does not take over from this one: stop the daemon, then start it")
        if keep_flows and self._parts.crew.count:
            found.append(
                f"the workers of version {finding.release} are told things in other words, so {self._parts.crew.count} open "
                "flows would end: ask for that (--end-flows), or wait until they have ended"
            )
        if self._parts.writer.drain.failure:
            found.append(f"the log can't be written: {self._parts.writer.drain.failure}")
        return found

    async def make_way(self, control: Control) -> Handover:
        """Bring everything to rest, and tell all that the successor must know. Raises Failure."""
        parts = self._parts
        socket = await control.leave()
        parts.entrance.pause()
        await parts.entrance.settle(IDENTIFY_S)
        if self._end_flows:
            await parts.crew.stop(GRACE_S)
        for turn in (parts.test.turn, parts.strays.turn):
            await turn.acquire()
        await parts.desk.settle(SETTLE_S)
        parts.holds.stop_trying()
        await parts.holds.announcer.stop()
        if parts.page is not None:
            await parts.page.drawing.stop()
        await parts.writer.pause()
        # Nothing is awaited from here on.
        return self._collect(socket)

    def _collect(self, control: int) -> Handover:
        parts = self._parts
        page = parts.page.leave() if parts.page is not None else None
        left = (parts.names.leave(), parts.broker.leave(), parts.vouching.let_go(), parts.holds.announcer.leave(), page)
        ending = [child for child in left if child is not None]
        flows = parts.crew.count
        crew = parts.crew.leave()
        try:
            user = "" if self._by is SIGNAL else named(self._by)
            stopped = entry.DaemonStop("restart", flows, user, self._by.uid, self._by.provider, self._policies, self._by.groups)
            parts.log.append(0, stopped)
        except LogUnavailable as error:
            raise Failure(f"the daemon's end could not be put on record: {error}") from None
        parts.redirect.beat(time.monotonic_ns() + AHEAD_NS)
        return Handover(
            hooks=parts.hooks,
            loader=parts.redirect.loader,
            remarks=parts.redirect.remarks,
            heartbeat=parts.redirect.heartbeat,
            release=version("hostguard"),
            lock=parts.lock,
            control=control,
            listeners=tuple(parts.entrance.leave()),
            namespaces=parts.namespaces.leave(),
            resolver=tuple(parts.names.detach()),
            ending=tuple((child.pid, child.pidfd) for child in ending),
            epoch=parts.decider.policy.epoch,
            crew=crew,
            journals=parts.writer.drain.bequeath(),
            holds=parts.holds.leave(),
            names=parts.resources.leave(),
            opened=parts.entrance.opened,
            refused=parts.entrance.refused,
            vouched=parts.vouching.leave(),
            page=tuple(parts.page.detach()) if parts.page is not None else (),
            sessions=parts.page.sessions.leave() if parts.page is not None else [],
        )
