"""What the supervisor does for its workers, one message at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine

from . import hold_messages, messages
from .berth import Berth
from .budgets import Exhausted
from .cancels import Cancels
from .clearance_messages import Clear, Cleared, Draw, Drawn
from .crew import Crew
from .dialling import Dialler
from .faults import Faults
from .flows import OpenFlow
from .history import Deed
from .holds import Holds
from .logins import Logins
from .messages import BadMessage
from .restraint import Restraint
from .wording import cut

CATALOG_PAUSE_S = 0.2
"""Workers hear of a catalog's change at once, then again at most this often: to read one costs a database something."""


class Desk:
    """Carries out what `messages.FromWorker` asks for. Raises BadMessage for what no worker of ours would say."""

    def __init__(
        self,
        crew: Crew,
        holds: Holds,
        cancels: Cancels,
        logins: Logins,
        faults: Faults,
        dialler: Dialler,
        restraint: Restraint,
    ) -> None:
        self._restraint = restraint
        self._dialler = dialler
        self._crew = crew
        self._logins = logins
        self._holds = holds
        self._cancels = cancels
        self._faults = faults
        self._works: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str, bool], float] = {}
        """(resource, database, seen) to when workers heard of it last, or are going to."""

    def handle(self, berth: Berth, flow: OpenFlow | None, message: messages.FromWorker) -> None:
        """Carry out one message of a worker, about one of its flows or about none."""
        if isinstance(message, messages.CatalogChanged):
            self._catalog(berth, message)
        if flow is None:
            return
        match message:
            case messages.Dial():
                self._dial(flow)
            case messages.Authenticate():
                self._work(self._logins.asked(flow, message))
            case messages.CredentialRefused():
                self._work(self._logins.refused(flow))
            case hold_messages.Hold():
                if (trying := self._holds.file(flow, message)) is not None:
                    self._work(trying)
            case hold_messages.Withdraw():
                self._holds.withdraw(flow, message.reason)
            case hold_messages.Touched():
                self._holds.touched(flow, message)
            case hold_messages.Judged():
                self._holds.judged(flow, message)
            case Clear():
                self._work(self._clear(flow, message))
            case Draw():
                self._work(self._draw(flow, message))
            case messages.CancelKey():
                self._cancels.add(flow, message.key)
            case messages.Cancel():
                self._work(self._cancels.cancel(flow, message.key, message.request))
            case messages.Fault():
                self._faults.add(flow.id, flow.agent, message.fault, message.reason)
            case messages.Closed():
                self.closed(flow, "the flow ended")

    def closed(self, flow: OpenFlow, reason: str) -> None:
        """Forget what was kept for a flow that has ended."""
        self._holds.withdraw(flow, reason)
        self._cancels.remove(flow)
        self._logins.forget(flow)

    async def settle(self, limit_s: float) -> None:
        """Wait until what is under way now is done, at most this long."""
        if self._works:
            await asyncio.wait(self._works, timeout=limit_s)

    def take_up(self, flow: OpenFlow) -> None:
        """Go on with what an earlier supervisor did for the flow."""
        self._logins.choose(flow)
        if flow.cancel_key:
            self._cancels.add(flow, flow.cancel_key)
        if flow.dialling:
            self._work(self._connect(flow))
        if flow.cancelled:
            # The packet is not sent again: by now it would cancel something else.
            flow.berth.say(messages.End(flow.id, "cancel request handled"))

    def _dial(self, flow: OpenFlow) -> None:
        if flow.dialled:
            raise BadMessage(f"it dialled twice for flow {flow.id}")
        flow.dialled = flow.dialling = True
        self._work(self._connect(flow))

    async def _connect(self, flow: OpenFlow) -> None:
        try:
            self._check_stop(flow)
            link = self._logins.link(flow)
            sock, carried = await self._dialler.dial(flow), ""
            if flow.carried:
                sock, carried = await self._logins.carry(flow, sock)
            # It may have been stopped meanwhile.
            try:
                self._check_stop(flow)
            except OSError:
                sock.close()
                raise
        except OSError as error:
            flow.dialling = False
            flow.berth.say(messages.Dialled(flow.id, cut(str(error))))
            return
        flow.dialling = False
        flow.berth.say(messages.Dialled(flow.id, "", carried, link), sock)

    async def _clear(self, flow: OpenFlow, message: Clear) -> None:
        """Have the duties on record that the operation exercises, or say why it may not."""
        users = (self._holds.owner_of(flow.agent), *message.by)
        deed = Deed(flow.agent, users, message.duties, flow.id, message.operation, time.time())
        refusal = await self._restraint.history.exercise(deed)
        if refusal is None:
            flow.berth.say(Cleared(flow.id, message.operation))
        else:
            flow.berth.say(Cleared(flow.id, message.operation, refusal.reason, refusal.hint, refusal.policies))

    async def _draw(self, flow: OpenFlow, message: Draw) -> None:
        """Lend something of the budgets of the flow's agent, or say why nothing is left."""
        found = await self._restraint.budgets.draw(flow.agent, message.owed)
        if isinstance(found, Exhausted):
            said = found.reason, found.hint, found.policies, found.hold
            flow.berth.say(Drawn(flow.id, message.operation, (), *said))
        else:
            flow.berth.say(Drawn(flow.id, message.operation, found))

    def _check_stop(self, flow: OpenFlow) -> None:
        """Raises OSError, with the sentence for the agent, when it is stopped."""
        if why := self._restraint.stops.why(flow.agent):
            raise OSError(f"hostguard does not connect to {flow.destination} for you: {why}")

    def _catalog(self, berth: Berth, message: messages.CatalogChanged) -> None:
        """Tell the other workers now or, if they have just heard it, a little later: the last change is always told."""
        now = time.monotonic()
        place = message.resource, message.database, message.seen
        self._told = {known: at for known, at in self._told.items() if at > now - CATALOG_PAUSE_S}
        last = self._told.get(place)
        if last is None:
            self._told[place] = now
            self._crew.broadcast(message, but=berth)
        elif last <= now:
            self._told[place] = last + CATALOG_PAUSE_S
            asyncio.get_running_loop().call_at(last + CATALOG_PAUSE_S, self._crew.broadcast, message)

    def _work(self, work: Coroutine[None, None, None]) -> None:
        """Run this beside everything else; a bug in it is a fault that is shown."""
        task = asyncio.create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._works.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._faults.add(0, "", "internal", repr(task.exception()))
