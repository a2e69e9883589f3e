"""One worker as the supervisor has it: its process, its channel, the flows that it carries.

Nothing that a worker says is believed: a message must be well formed, no longer than it may be, and about a flow that was given
to this very worker. One that is not ends the worker. So does silence: a worker that leaves `HUNG` pings
unanswered is killed.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import Callable

from ..recorder import entry
from ..recorder.drain import Drain
from . import messages
from .bequest import BerthLeft
from .channel import Channel, pair
from .child import Child
from .flows import OpenFlow
from .messages import BadMessage
from .sandbox.cage import Applied, Cage
from .wording import Message, cut

STARTING = 30
"""Pings after which a worker that is not ready is killed; they are a second apart (`crew`)."""
HUNG = 20
"""Pings that a worker may leave unanswered. The longest statement that is read at all, a million characters, can take half of
that time on a slow machine."""
QUIET = 2
"""A worker that is silent for longer gets no new flows while another is not."""
GONE_S = 1.0
MAX_QUEUED_BYTES = 64 * 1024 * 1024
MODULE = "hostguard.agent.worker"


Handler = Callable[["Berth", OpenFlow | None, messages.FromWorker], None]
"""Carries out what a worker asks for. The flow is None for what is about none."""


class Berth:
    """One worker, from its start to its end."""

    def __init__(self, name: str, drain: Drain, handler: Handler, max_message_bytes: int, journal: int | None = None) -> None:
        """Opens its journal, if it is not this one of the drain's already. Raises LogUnavailable."""
        self.name = name
        self.flows: dict[int, OpenFlow] = {}
        self.pid = 0
        self.ready = asyncio.Event()
        self.applied: Applied | None = None
        """What the worker says of its cage, once it is in it."""
        self.report: messages.Report | None = None
        """The last one."""
        self.silent = 0
        """Pings in a row that it left unanswered. Counted, not timed: while this process was stopped itself nobody was silent."""
        self.epoch = 0
        """Of the policy that it has said to be in force."""
        self.end_reason = ""
        """Why it is killed or gone; empty while it lives."""
        self.since = 0.0
        """Since when it is to end with its last flow, wall time: an earlier supervisor started it; 0 for one of ours."""
        self.leaving = False
        """It was told to end, and gets no flows any more."""
        self._drain = drain
        self._handed = drain.open_journal(name) if journal is None else None
        self.journal = self._handed.number if self._handed is not None else journal or 0
        """Number of its journal."""
        self._handler = handler
        self._max_message_bytes = max_message_bytes
        self._process: Child | None = None
        self._channel: Channel | None = None
        self._pinged = 0
        self._answers: dict[int, asyncio.Future[messages.Report]] = {}

    @classmethod
    def adopt(cls, left: BerthLeft, drain: Drain, handler: Handler, now: float) -> Berth:
        """The worker of an earlier supervisor. `now`: wall time. What it says is heard from the next turn of the loop on."""
        berth = cls(left.name, drain, handler, left.max_message_bytes, left.journal)
        berth.pid, berth.applied, berth.report, berth.silent = left.pid, left.applied, left.report, left.silent
        berth.epoch, berth._pinged, berth.since = left.epoch, left.pinged, left.since or now
        if left.ready:
            berth.ready.set()
        berth._process = Child(left.pid, left.pidfd)
        berth._open_channel(socket.socket(fileno=left.channel.sock)).resume(left.channel)
        return berth

    def leave(self) -> BerthLeft:
        """Let go of the worker, for a successor that `adopt`s it."""
        assert self._process is not None
        assert self._channel is not None
        return BerthLeft(
            name=self.name,
            pid=self.pid,
            pidfd=self._process.pidfd,
            journal=self.journal,
            channel=self._channel.halfway(),
            max_message_bytes=self._max_message_bytes,
            ready=self.ready.is_set(),
            applied=self.applied,
            report=self.report,
            silent=self.silent,
            epoch=self.epoch,
            pinged=self._pinged,
            since=self.since,
        )

    def _open_channel(self, sock: socket.socket) -> Channel:
        self._channel = Channel(
            sock,
            self.heard,
            self._cut_off,
            takes_sockets=False,
            max_message_bytes=self._max_message_bytes,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )
        return self._channel

    async def start(self, cage: Cage, begin: messages.Begin) -> None:
        """Start the process and tell it what to work by. Raises OSError."""
        assert self._handed is not None
        ours, theirs = pair()
        self._open_channel(ours)
        fds = (theirs.fileno(), *self._handed.fds)
        try:
            self._process = Child.start((sys.executable, "-I", "-m", MODULE, *map(str, fds)), fds)
        finally:
            theirs.close()
            self._handed.close_fds()
        self.pid = self._process.pid
        self.epoch = begin.epoch
        self.say(cage)
        self.say(begin)

    @property
    def alive(self) -> bool:
        """Whether there is a process, as far as is known."""
        return self._process is not None and self._process.code is None

    async def ended(self) -> str:
        """Wait for its end; returns why, in a sentence about "it"."""
        assert self._process is not None
        assert self._channel is not None
        code = await self._process.wait()
        self._channel.close()
        for waiting in self._answers.values():
            waiting.cancel()
        self.end_reason = self.end_reason or _died(code)
        return self.end_reason

    def _cut_off(self, reason: str) -> None:
        """Its channel has ended. One that ends by itself has a moment for it, so that its exit code tells why."""
        if reason:
            self.kill(reason)
        else:
            asyncio.get_running_loop().call_later(GONE_S, self.kill, "it let its channel go")

    def kill(self, reason: str) -> None:
        """End it now; `ended` tells the rest."""
        if self._process is None or self._process.code is None:
            self.end_reason = self.end_reason or reason
            if self._process is not None:
                self._process.kill()

    def close_journal(self, reason: str, fault: str) -> None:
        """Put the end of its journal, and of whatever flows it left open, on record."""
        self._drain.end_journal(self.journal, reason, fault)

    # -- to the worker --------------------------------------------------------------------------------------------------------

    def say(self, message: Message | Cage, passed: socket.socket | None = None) -> None:
        """Send it a message; `passed` is its own from here on."""
        if self._channel is not None:
            self._channel.send(messages.encode(message), passed)
        elif passed is not None:
            passed.close()

    def open_flow(self, opened: entry.FlowOpen) -> int:
        """Put a flow on record that this worker will carry. Raises LogUnavailable."""
        return self._drain.open_flow(self.journal, opened)

    def give(self, flow: OpenFlow, sock: socket.socket) -> None:
        """Hand a connection over."""
        self.flows[flow.id] = flow
        unread = cut(flow.unread)
        login = flow.user, flow.credential, flow.carried
        facts = flow.id, flow.agent, flow.rule.name, flow.resource, *login, unread, flow.names, flow.bearer
        self.say(messages.NewFlow(*facts), sock)

    def ping(self) -> None:
        """Ask for a sign of life; one that owes an answer for too long is killed."""
        self.silent += 1
        if self.silent > (HUNG if self.ready.is_set() else STARTING):
            self.kill("it did not answer any more" if self.ready.is_set() else "it did not get ready")
        elif self.ready.is_set() and self._pinged == (self.report.number if self.report else 0):
            self._ping(0)

    async def tell(self, flows: int) -> messages.Report:
        """A report of now, with facts of so many flows; cancelled when the worker ends."""
        answer: asyncio.Future[messages.Report] = asyncio.get_running_loop().create_future()
        self._answers[self._ping(flows)] = answer
        return await answer

    def _ping(self, flows: int) -> int:
        self._pinged += 1
        self.say(messages.Ping(self._pinged, flows))
        return self._pinged

    @property
    def responsive(self) -> bool:
        """It answered a moment ago."""
        return self.ready.is_set() and not self.end_reason and self.silent <= QUIET

    # -- from the worker ------------------------------------------------------------------------------------------------------

    def heard(self, data: bytes, _: socket.socket | None = None) -> None:
        """Take one message of the worker's; what is none, or may not be said, ends it."""
        if self.end_reason:
            return
        try:
            message = messages.from_worker(data)
            self._take(message)
        except BadMessage as error:
            self.kill(str(error))

    def _take(self, message: messages.FromWorker) -> None:
        match message:
            case messages.Ready():
                self.applied, self.silent = message.cage, 0
                self.ready.set()
            case messages.Report():
                self._reported(message)
            case messages.PolicyTaken():
                self.epoch = message.epoch
                self._handler(self, None, message)
            case messages.CatalogChanged():
                self._handler(self, None, message)
            case messages.Closed():
                self._handler(self, self._flow(message.flow), message)
                del self.flows[message.flow]
            case _:
                self._handler(self, self._flow(message.flow), message)

    def _flow(self, number: int) -> OpenFlow:
        flow = self.flows.get(number)
        if flow is None:
            raise BadMessage(f"it spoke of flow {number}, which it does not carry")
        return flow

    def _reported(self, report: messages.Report) -> None:
        if report.number > self._pinged:
            raise BadMessage("it answered what it was not asked")
        self.report, self.silent = report, 0
        waiting = self._answers.pop(report.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(report)


def _died(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if -code == signal.SIGSYS:
        return f"it made a system call that no worker makes ({name}), and was ended for it"
    return f"it was killed by {name}"
