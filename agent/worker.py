"""A worker: a process that carries flows but can do nothing else.

``python -I -m hostguard.agent.worker CHANNEL RING CONTROL DOORBELL SYNCED``: the five descriptors that it has.

Order of start: everything is imported, every file read, the event loop made; the supervisor's first message says which cage to
close; the cage is closed; the second message says what to work by. From the first byte of an agent on, the process can do no
more than read and write the sockets that it was handed.

The worker ends when its supervisor does, at once: its sockets close, and the hooks refuse what comes after.
"""

from __future__ import annotations

import asyncio
import codecs
import importlib
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Coroutine

import msgspec
import uvloop

from ..policy import rules
from ..policy.asks import Approval
from ..policy.detect import scanner
from ..protocols.postgres import encryption, scram
from ..protocols.postgres.encodings import CODECS
from ..recorder.journal import Journal
from . import clearing, held, hold_messages, login, messages
from .channel import PACKET_BYTES, Channel
from .clearance_messages import Cleared, Drawn
from .durability import Durability
from .flow import Tally
from .gate import Gate
from .loop import Loop
from .sandbox import cage
from .sandbox.privileges import StillPrivileged
from .tls.material import Material
from .wording import Message

BUG = 70
"""Exit code after an error of ours (sysexits.h: EX_SOFTWARE)."""
MAX_MESSAGE_BYTES = 256 * 1024 * 1024
"""From the supervisor, which is trusted: a configuration with all its policies."""
MAX_QUEUED_BYTES = 256 * 1024 * 1024


def main() -> None:
    """Run until the supervisor says so, or is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come to the whole group; the supervisor says what follows from them
    first, *fds = map(int, sys.argv[1:])
    channel = socket.socket(fileno=first)
    journal = Journal(fds, lambda: (time.time_ns(), time.monotonic_ns()))
    material = _warm()
    wanted = msgspec.msgpack.decode(channel.recv(PACKET_BYTES + 1)[1:], type=cage.Cage)
    cage.prepare(wanted)
    uvloop.run(_run(channel, journal, material, wanted))


async def _run(channel: socket.socket, journal: Journal, material: Material, wanted: cage.Cage) -> None:
    try:
        applied = cage.close(wanted)
    except StillPrivileged as error:
        print(f"a worker may not run: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    await Worker(channel, journal, material, applied).run()
    os._exit(0)


def _warm() -> Material:
    """Read what would otherwise be read when it is first needed: there are no files later, and no memory for new code."""
    importlib.import_module("pglast.parser")
    rules.schema()
    rules.base_source()
    scanner.warm()
    for codec in (*CODECS.values(), "utf-8", "ascii", "latin-1", "idna", "unicode_escape"):
        codecs.lookup(codec)
    scram.verifier(b"", b"salt", 1)  # OpenSSL fetches what it takes when it is first asked for
    return Material(encryption.ALPN)


class Worker:
    """Carries messages between the supervisor and the loop."""

    def __init__(self, sock: socket.socket, journal: Journal, material: Material, applied: cage.Applied) -> None:
        self._material = material
        self._sock = sock
        self._journal = journal
        self._applied = applied
        self._loop: Loop | None = None
        self._channel: Channel | None = None
        self._works: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Work until told to stop."""
        self._channel = Channel(
            self._sock,
            self._heard,
            self._alone,
            takes_sockets=True,
            max_message_bytes=MAX_MESSAGE_BYTES,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )
        await self._over.wait()

    def _say(self, message: Message) -> None:
        assert self._channel is not None
        self._channel.send(messages.encode(message))

    def _alone(self, _: str) -> None:
        """The supervisor is gone, or takes nothing any more: nobody keeps the log, so nothing may go on."""
        os._exit(0)

    def _heard(self, data: bytes, sock: socket.socket | None) -> None:
        try:
            self._take(messages.to_worker(data), sock)
        except Exception:  # the supervising handler of the worker itself: it ends closed, and the supervisor tells
            self._crash()

    def _take(self, message: messages.ToWorker, sock: socket.socket | None) -> None:
        if isinstance(message, messages.Begin):
            self._begin(message)
            return
        loop = self._loop
        assert loop is not None
        match message:
            case messages.NewFlow():
                self._journal.begin_flow(message.flow)
                self._work(loop.open(message, sock))
            case messages.Dialled():
                loop.dialled(message, sock)
            case hold_messages.Judge():
                loop.judge(message)
            case messages.CatalogChanged():
                loop.catalog_changed(message)
            case messages.NewPolicy():
                loop.take_policy(message)
            case messages.Deliver():
                loop.deliver(message, sock)
            case messages.Tls():
                loop.material.take(message)
            case messages.Ping():
                loop.report(message)
            case messages.Stop():
                self._work(self._stop(loop, message.grace_s))
            case _:
                _to_relay(loop, message)

    def _begin(self, begin: messages.Begin) -> None:
        tally = Tally()
        gate = Gate(self._journal, tally)
        settings = begin.document.log
        durable = Durability(self._journal, gate, strict=settings.durability == "strict", batch_s=settings.batch_ms / 1000)
        self._loop = Loop(begin, gate, durable, tally, self._material, self._say)
        self._work(durable.run())
        self._work(self._loop.refresh())
        self._work(self._loop.patience.run())
        self._say(messages.Ready(self._applied))

    async def _stop(self, loop: Loop, grace_s: float) -> None:
        await loop.stop(grace_s)
        self._over.set()

    def _work(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            traceback.print_exception(error)
            os._exit(BUG)

    def _crash(self) -> None:
        traceback.print_exc()
        os._exit(BUG)


def _to_relay(loop: Loop, message: messages.ToRelay) -> None:
    """What is about one operation of one flow; nothing happens when the flow has ended meanwhile."""
    relay = loop.relays.get(message.flow)
    if relay is None:
        return
    match message:
        case hold_messages.Filed():
            held.filed(relay, message)
        case hold_messages.Granted():
            held.granted(relay, message)
        case hold_messages.Approved():
            held.approved(relay, Approval(frozenset(message.by)), message.request)
        case Cleared():
            clearing.cleared(relay, message)
        case Drawn():
            clearing.drawn(relay, message)
        case hold_messages.Refuse():
            held.refused(relay, message.reason, message.hint, message.code, message.request)
        case messages.Recall():
            relay.withdraw(message.reason, message.code)
        case messages.Authenticated():
            login.answered(relay, message)
        case messages.LoginFailed():
            login.failed(relay, message)
        case messages.CredentialRead():
            login.read_again(relay, message)
        case messages.End(_, reason, code) if code:
            relay.withdraw(reason, code)
            relay.terminate(reason, code)
            relay.end(reason)
        case messages.End():
            relay.end(message.reason)


if __name__ == "__main__":
    main()
