"""One flow at work: carries out a conversation's effects on the flow's two connections.

Theory of operation. The conversation is pure; this is the one place where its effects become I/O. Everything here runs in
callbacks of the event loop, without awaiting, so effects are carried out in the order in which they were returned and two
chunks of bytes can't overtake each other. Only three things take time, and each stalls just this flow: dialling the server,
syncing the log in ``strict`` mode, and a held operation.

A flow whose workload is only observed refuses nothing: decisions go on record as what they would have been, and once it can't be
read (`Opaque`) a conversation that reads nothing takes over (`unread`). Without the record it ends, as any other.

Backpressure: when one side's write buffer is over its high mark, reading from the other side pauses; when client bytes pile up
inside the conversation (it waits for a decision), reading from the client pauses. So a flow holds at most one read, two write
buffers and the conversation's own caps.

Ends: whichever comes first of `Close`, a lost connection, or a crash. All three lead to `_finish`, which runs once.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Final

from ..policy.decide import FlowPolicy
from ..policy.judgement import Judgement
from ..protocols.events import (
    Ask,
    Authenticate,
    CancelKey,
    CancelRequested,
    Close,
    Conversation,
    CredentialRefused,
    Decision,
    Effect,
    Encrypt,
    Opaque,
    Operation,
    OperationKind,
    Probed,
    Reach,
    Ready,
    Replied,
    Settled,
    Started,
    ToClient,
    ToServer,
    Verdict,
    Withdrawn,
)
from ..protocols.opaque import Passage
from . import clearing, held, login, securing, unread
from .facts import CATALOG
from .flow import Flow

if TYPE_CHECKING:
    from .loop import Loop
    from .metering import Meter

WRITE_HIGH_BYTES = 256 * 1024
"""Above this a side's write buffer stops the reading of the other side: one socket buffer's worth, so throughput stays."""
CLIENT_BACKLOG_BYTES: Final = 64 * 1024
"""Client bytes that may wait inside the conversation before reading pauses; TCP then tells the client to wait."""
CONNECT_FAILURE = b"08001"
# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global.
_ALLOW: Final = Verdict.ALLOW
_HOLD: Final = Verdict.HOLD
_PREPARE: Final = OperationKind.PREPARE
_CONNECT: Final = OperationKind.CONNECT
PREPARE_ANYWAY: Final = Decision(Verdict.ALLOW)
"""A statement that will be held when it runs may be prepared; nothing of it runs by that."""


class Relay:
    """Two connections and the conversation between them."""

    __slots__ = (
        "_client_paused",
        "_cut",
        "_finished",
        "_server_full",
        "asked_ns",
        "clearing",
        "client",
        "closing",
        "conversation",
        "dialling",
        "flow",
        "loop",
        "meter",
        "operation",
        "pending",
        "policy",
        "refusal",
        "released_ns",
        "server",
        "server_binding",
        "task",
    )

    def __init__(self, loop: Loop, flow: Flow, policy: FlowPolicy, conversation: Conversation, client: asyncio.Transport) -> None:
        self.loop = loop
        self.flow = flow
        self.policy = policy
        self.conversation = conversation
        self.client = client
        self.server: asyncio.Transport | None = None
        self.server_binding = b""
        """``tls-server-end-point`` of the server's certificate; empty without TLS."""
        self.refusal: CredentialRefused | None = None
        """The server did not take hostguard's login; the secret is being read again."""
        self.operation: Operation | None = None
        """The operation that is held, or whose record is being synced; `pending`: its judgement."""
        self.pending: Judgement | None = None
        self.asked_ns = 0
        """Monotonic time at which the operation that is being decided was decoded; 0 for one that waits for a user."""
        self.released_ns: dict[int, int] = {}
        """Operations whose reply is not complete, with the monotonic time of their release; bounded by what is in flight."""
        self.clearing: clearing.Waiting | None = None
        """The decision on that operation, with its request, that waits for the supervisor's word (`clearing`)."""
        self.meter: Meter | None = None
        """Counts what its agent's budgets are about; None where there are none."""
        self.task: asyncio.Task[None] | None = None
        self.dialling = False
        """The server is being dialled, or was."""
        self._cut = ""
        """How the connection that was lost was cut off; empty for one that ended in order."""
        self._client_paused = self._server_full = False
        self.closing = self._finished = False
        client.set_write_buffer_limits(high=WRITE_HIGH_BYTES)

    # -- bytes in -------------------------------------------------------------------------------------------------------------

    def feed_client(self, data: bytes) -> None:
        """Bytes from the agent."""
        if self.closing:
            return
        self.flow.client_bytes += len(data)
        try:
            self.carry_out(self.conversation.from_client(data))
            self.balance()
        except Exception as error:  # the supervising handler of this flow
            self.crash(error)

    def feed_server(self, data: bytes) -> None:
        """Bytes from the server."""
        if self.closing:
            return
        self.flow.server_bytes += len(data)
        try:
            self.carry_out(self.conversation.from_server(data))
            if self.meter is not None:
                self.meter.passing(self.conversation.underway)
            self.balance()
        except Exception as error:  # the supervising handler of this flow
            self.crash(error)

    def client_lost(self, how: str = "") -> None:
        """The agent's connection is gone."""
        self._lost(self.conversation.client_closed, "the agent closed the connection", how)

    def server_lost(self, how: str = "") -> None:
        """The server's connection is gone."""
        self._lost(self.conversation.server_closed, "the server closed the connection", how)

    def _lost(self, tell: Callable[[], list[Effect]], reason: str, how: str) -> None:
        self._cut = how
        if not self.closing:
            self.do(tell)
        self._finish(reason)

    # -- effects out ----------------------------------------------------------------------------------------------------------

    def carry_out(self, effects: list[Effect]) -> None:
        """Do what the conversation asks, in order.

        An answered `Ask` yields more effects; a loop, so that a pipeline of ten thousand operations does not nest. What goes to
        the server goes in one piece: two writes would wake it twice for one transaction, which costs more than all else here.
        """
        out: list[bytes] = []
        while effects:
            following: list[Effect] = []
            for effect in effects:
                if isinstance(effect, ToServer):
                    out.append(effect.data)
                elif isinstance(effect, ToClient):
                    self.client.write(effect.data)
                elif isinstance(effect, Ask):
                    following += self._ask(effect.operation)
                else:
                    self._to_server(out)
                    following += self._seldom(effect)
            effects = following
        self._to_server(out)

    def do(self, step: Callable[[], list[Effect]]) -> None:
        """Carry out what one call comes to."""
        try:
            self.carry_out(step())
            self.balance()
        except Exception as error:  # the supervising handler of this flow
            self.crash(error)

    def _to_server(self, out: list[bytes]) -> None:
        if out and self.server is not None:
            self.server.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    def _ask(self, operation: Operation) -> list[Effect]:
        self.asked_ns = time.monotonic_ns()
        judgement = self.loop.gate.judge(self.policy, self.flow, operation)
        decision = judgement.decision
        if self.flow.observed:
            decision = self.loop.gate.observed(judgement)
        elif decision.verdict is _HOLD:
            if operation.kind is not _PREPARE:
                return self.hold(operation, judgement)
            decision = PREPARE_ANYWAY
        elif (judgement.duties or self.meter is not None) and clearing.waits(self, operation, judgement):
            return []
        decision = self.loop.gate.admit(self.flow, operation, judgement, decision)
        return self._release(operation, decision, judgement)

    def _release(self, operation: Operation, decision: Decision, judgement: Judgement) -> list[Effect]:
        if self.loop.durable.strict and decision.verdict is _ALLOW:
            self.operation = operation
            self.spawn(self._release_when_durable(operation, decision, judgement))
            return []
        return self._resume(operation, decision, judgement)

    def _resume(self, operation: Operation, decision: Decision, judgement: Judgement) -> list[Effect]:
        self.operation = self.pending = None
        self.released_ns[operation.id] = now_ns = time.monotonic_ns()
        if self.asked_ns and decision.verdict is _ALLOW:
            self.loop.added.add(now_ns - self.asked_ns)
        if decision.verdict is not _ALLOW or operation.kind is _PREPARE or operation.kind is _CONNECT:
            return self.conversation.resume(operation.id, decision)
        if not (stale := self.loop.facts.shifts(judgement)):
            return self.conversation.resume(operation.id, decision)
        self.loop.facts.doubt(self, judgement)
        return self.conversation.resume(operation.id, decision) + self.loop.facts.ask_again(self, stale)

    async def _release_when_durable(self, operation: Operation, decision: Decision, judgement: Judgement) -> None:
        refusal = await self.loop.durable.synced()
        if self.operation is not operation:
            return
        self.carry_out(self._resume(operation, refusal or decision, judgement))
        self.balance()

    def hold(self, operation: Operation, judgement: Judgement) -> list[Effect]:
        """Ask users whether the operation may go on."""
        self.operation, self.pending = operation, judgement
        self.asked_ns = 0
        refusal = self.loop.asks.file(self.flow, operation, judgement)
        if refusal is None:
            return []
        decision = self.loop.gate.admit(self.flow, operation, judgement, refusal)
        self.operation = self.pending = None
        return self.conversation.resume(operation.id, decision)

    def _seldom(self, effect: Effect) -> list[Effect]:
        match effect:
            case Replied():
                released_ns = self.released_ns.pop(effect.operation_id, 0)
                self.loop.replied(self.flow, effect, released_ns)
            case Started():
                return login.started(self, effect)
            case Ready():
                return self.loop.facts.ready(self)
            case Probed():
                self.loop.facts.probed(self, effect)
            case CancelKey():
                self.loop.cancel_key(self.flow, effect.key)
            case CancelRequested():
                self.loop.cancel(self.flow, effect)
            case Authenticate():
                login.ask(self, effect)
            case CredentialRefused():
                login.refused(self, effect)
            case Withdrawn():
                held.given_up(self, effect.operation_id, effect.reason)
            case Encrypt():
                return securing.client(self, effect)
            case Reach():
                self.dial()
            case Opaque():
                return unread.begin(self, effect)
            case Settled():
                return unread.settled(self, effect)
            case Close():
                self.close(effect)
        return []

    def dial(self) -> None:
        """Connect to the server, once."""
        if not self.dialling:
            self.dialling = True
            self.spawn(self._reach())

    async def _reach(self) -> None:
        try:
            self.server = await self.loop.dial(self)
        except OSError as error:
            self.carry_out(self.conversation.terminate(str(error), CONNECT_FAILURE))
            return
        self.server.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if isinstance(self.conversation, Passage):
            await unread.go_on(self, self.conversation)
            return
        # What it was dialled for: the answer to a `Reach`, or the start.
        self.carry_out(self.conversation.reached() or self.conversation.start())
        self.balance()

    def close(self, effect: Close) -> None:
        """End both sides; a fault is told."""
        if effect.fault:
            self.loop.fault(self.flow, effect)
        self.closing = True
        self._finish(effect.reason, effect.fault)

    # -- decisions that come later: see `held` --------------------------------------------------------------------------------

    def decided(self, operation: Operation, judgement: Judgement, decision: Decision, request: str, grant: str = "") -> None:
        """Carry out the late decision on the operation that waits for it; `request` names its request, if it had one."""
        self.pending = self.clearing = None
        admit = self.loop.gate.admit
        self.do(lambda: self._release(operation, admit(self.flow, operation, judgement, decision, request, grant), judgement))

    def withdraw(self, reason: str, code: bytes) -> None:
        """Refuse the held operation because somebody no longer wants it: its client, its deadline, the daemon's end."""
        operation = self.operation
        if operation is None or self.closing:
            return
        held.given_up(self, operation.id, reason)
        self.do(lambda: self.conversation.withdraw(reason, code))

    def read_catalog(self) -> None:
        """Ask the database for its catalog again, at the next idle moment."""
        if not self.closing:
            self.do(lambda: self.loop.facts.ask_again(self, (CATALOG,)))

    def terminate(self, reason: str, code: bytes) -> None:
        """End the flow in the protocol's own words."""
        if not self.closing:
            self.do(lambda: self.conversation.terminate(reason, code))

    # -- backpressure ---------------------------------------------------------------------------------------------------------

    def hold_reading_server(self, hold: bool) -> None:
        """The client can't take more for now, or can again."""
        if self.server is None or self.server.is_closing():
            return
        (self.server.pause_reading if hold else self.server.resume_reading)()

    def server_is_full(self, full: bool) -> None:
        """The server can't take more for now, or can again."""
        self._server_full = full
        self.balance()

    def balance(self) -> None:
        """Pause the client when its bytes pile up, or let it go on."""
        wanted = self._server_full or self.conversation.client_backlog > CLIENT_BACKLOG_BYTES
        if wanted is self._client_paused or self.client.is_closing():
            return
        self._client_paused = wanted
        (self.client.pause_reading if wanted else self.client.resume_reading)()

    # -- the end --------------------------------------------------------------------------------------------------------------

    def end(self, reason: str) -> None:
        """Close both connections once what was written is out."""
        self.closing = True
        self._finish(reason)

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Run what takes time; a bug in it ends this flow alone."""
        self.task = asyncio.get_running_loop().create_task(self._supervise(work))

    async def _supervise(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:  # the supervising handler of this flow
            self.crash(error)

    def crash(self, error: Exception) -> None:
        """A bug of ours: end closed, on record, visible."""
        self.loop.crashed(self.flow, error, "".join(traceback.format_exception(error)))
        self.closing = True
        self._finish(f"internal error: {error!r}", "internal")

    def _finish(self, reason: str, fault: str = "") -> None:
        if self._finished:
            return
        self._finished = self.closing = True
        for transport in (self.client, self.server):
            if transport is not None and not transport.is_closing():
                transport.close()
        self.loop.closed(self, reason + self._cut, fault)
