"""``hostguard stop``, ``resume``: what ends by it, what is on record of it.

A stop refuses new flows, names, dials from the turn of the event loop on in which it is made (`stops`). What is open ends then.
Held operations are withdrawn, the servers are asked to cancel what they are running, the workers to end the flows, with an error
that says who stopped the agent and when. A worker that has not ended them after `END_S` is killed, with whatever else it carries:
it may be hung, or no longer ours.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ..policy.decide import Decider
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from . import messages
from .cancels import Cancels
from .crew import Crew
from .flows import OpenFlow
from .holds import Holds
from .ledger import LedgerUnavailable
from .rights import named
from .sight import About
from .stops import ALL, Stop, Stops
from .waiting import By
from .wording import cut

ADMIN_SHUTDOWN = b"57P01"
CANCEL_S = 0.3
"""How long it may take to reach a server that is to cancel what it runs; then the flow ends without."""
END_S = 0.6
"""How long a worker has to end the flows."""
MAX_REASON = 1000


class NotDone(Exception):
    """It could not be done, or only in part; says what holds now."""


class Halt:
    """Carries out ``hostguard stop`` and ``resume``."""

    def __init__(self, stops: Stops, decider: Decider, crew: Crew, holds: Holds, cancels: Cancels, log: Log) -> None:
        self.stops = stops
        self._decider = decider
        self._crew = crew
        self._holds = holds
        self._cancels = cancels
        self._log = log

    async def stop(self, agent: str | None, by: By, policies: tuple[str, ...], reason: str) -> dict[str, Any]:
        """Stop an agent; None for all. Returns once nothing of its is open any more.

        `policies`: those that permit it to them. Raises NotDone.
        """
        user, name = named(by), ALL if agent is None else agent
        ending = self._flows(agent)
        # In force from here on, before anything is awaited.
        writing = asyncio.ensure_future(self.stops.add(Stop(name, user, time.time(), reason[:MAX_REASON])))
        await asyncio.sleep(0)
        await self._end(agent, str(self.stops.exactly(name)))
        try:
            kept = await writing
            stopped = entry.AgentStopped(
                agent=name,
                user=user,
                uid=by.uid,
                reason=reason[:MAX_REASON],
                flows=len(ending),
                policies=policies,
                provider=by.provider,
                groups=by.groups,
            )
            self._log.append(0, stopped)
        except LedgerUnavailable as error:
            raise NotDone(f"{name or 'every agent'} is stopped, but only until the daemon ends: {error}") from None
        except LogUnavailable as error:
            raise NotDone(f"{name or 'every agent'} is stopped, but that could not be put on record: {error}") from None
        return {"agent": name, "flows": len(ending), "says": str(kept)}

    async def resume(self, agent: str | None, by: By, policies: tuple[str, ...], reason: str) -> dict[str, Any]:
        """Lift a stop; None for that of all agents. `still`: the stops that hold beside it. Raises NotDone."""
        user, name = named(by), ALL if agent is None else agent
        stop = self.stops.exactly(name)
        if stop is None:
            whole = self.stops.exactly(ALL)
            if whole is not None:
                raise NotDone(str(whole))
            raise NotDone(
                f"agent {name} is not stopped" if name else "there is no stop of all agents; `hostguard status` lists stops"
            )
        try:
            resumed = entry.AgentResumed(
                agent=name,
                user=user,
                uid=by.uid,
                reason=reason[:MAX_REASON],
                policies=policies,
                provider=by.provider,
                groups=by.groups,
            )
            self._log.append(0, resumed)
            await self.stops.lift(name)
        except (LogUnavailable, LedgerUnavailable) as error:
            raise NotDone(f"the stop holds, lifting it could not be kept: {error}") from None
        still = [About(str(one), [one.agent]) for one in self._still(name)]
        return {"agent": name, "says": str(stop), "still": still}

    def _still(self, name: str) -> list[Stop]:
        """Stops that hold beside the one that was lifted."""
        if name:
            whole = self.stops.exactly(ALL)
            return [whole] if whole is not None else []
        return [stop for agent in self._decider.policy.document.agents if (stop := self.stops.exactly(agent)) is not None]

    def _flows(self, agent: str | None) -> list[OpenFlow]:
        return [flow for flow in self._crew.flows if agent is None or flow.agent == agent]

    async def _end(self, agent: str | None, reason: str) -> None:
        """End all that is open; what can't be is killed with its worker."""
        ending = self._flows(agent)
        for flow in ending:
            self._holds.withdraw(flow, reason)
        end = [messages.End(flow.id, cut(reason), ADMIN_SHUTDOWN) for flow in ending]
        work = [self._cancels.interrupt(flow, said, CANCEL_S) for flow, said in zip(ending, end, strict=True)]
        telling = [asyncio.ensure_future(one) for one in work]
        until = time.monotonic() + END_S
        while (open_flows := [flow for flow in ending if flow.id in flow.berth.flows]) and time.monotonic() < until:
            await asyncio.sleep(0.01)
        for berth in {flow.berth for flow in open_flows}:
            # Not whose: it is told of the other flows that it carries, too.
            berth.kill("it did not end flows of what was stopped")
        for task in telling:
            task.cancel()  # a server that is not reached by now runs what it runs to its end
        await asyncio.gather(*telling, return_exceptions=True)
