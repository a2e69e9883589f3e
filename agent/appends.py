"""How a worker's entries get into the supervisor's log: one call for each append, answered once it is written.

The worker blocks in `RemoteLog.append` until the supervisor's answer is there, so what it forwards afterwards is on record,
whichever of the two is killed at that moment.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import msgspec

from ..protocols.events import Decision
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from .channel import Channel, pair
from .latency import Latency

PACKET_BYTES = 32 * 1024
MAX_QUEUED_BYTES = 1 << 20
_Kinds = (
    entry.Session | entry.Operation | entry.Decision | entry.Reply | entry.Withdrawn | entry.Request | entry.FlowClose
    | entry.ProbeFailed | entry.Fault
)  # fmt: skip


class Append(msgspec.Struct, frozen=True, array_like=True):
    """Entries of one flow."""

    flow: int
    entries: tuple[_Kinds, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder(Append).decode


class RemoteLog:
    """The worker's end."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def append(self, flow: int, *entries: entry.Entry) -> int:
        """Have the supervisor append entries of one flow: all of them or, with LogUnavailable, none."""
        self._send(_encode((flow, entries)))
        answer = self._sock.recv(PACKET_BYTES)
        if not answer:
            raise SystemExit(1)
        if answer[1:] != b"\0":
            raise LogUnavailable(answer[2:].decode())
        return 0

    def _send(self, data: bytes) -> None:
        for at in range(0, len(data), PACKET_BYTES):
            last = at + PACKET_BYTES >= len(data)
            self._sock.sendmsg([b"\0" if last else b"\1", data[at : at + PACKET_BYTES]])

    async def synced(self) -> Decision | None:
        """In strict mode the supervisor syncs before it answers an append."""
        return None


class Handle:
    """A worker's way to the log."""

    def __init__(self, number: int, theirs: socket.socket, channel: Channel) -> None:
        self.number = number
        self.fds = (theirs.fileno(),)
        self.flows: set[int] = set()
        self.channel = channel
        self._theirs = theirs

    def close_fds(self) -> None:
        """Once the worker has them."""
        self._theirs.close()


class Appends:
    """The supervisor's end: all workers' entries into one log."""

    def __init__(self, log: Log, *, strict: bool, batch_s: float, max_bytes: int) -> None:
        self.failure = ""
        self.syncs = Latency()
        """How long the syncs took that succeeded."""
        self._log = log
        self._strict = strict
        self._batch_s = batch_s
        self._max_bytes = max_bytes
        self._handles: dict[int, Handle] = {}
        self._opened = 0

    def open_journal(self, name: str) -> Handle:
        """For a worker that is about to start."""
        self._opened += 1
        number = self._opened
        ours, theirs = pair()
        channel = Channel(
            ours,
            lambda data, _: self._append(number, data),
            lambda _: None,
            takes_sockets=False,
            max_message_bytes=self._max_bytes,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )
        self._handles[number] = Handle(number, theirs, channel)
        return self._handles[number]

    def open_flow(self, number: int, opened: entry.FlowOpen) -> int:
        """Put a flow on record; from here on that worker appends to it. Raises LogUnavailable."""
        flow = self._log.open_flow(opened)
        self._handles[number].flows.add(flow)
        return flow

    def end_journal(self, number: int, reason: str, fault: str = "") -> None:
        """The worker is gone: close the flows that it left open."""
        handle = self._handles.pop(number)
        handle.channel.close()
        for flow in handle.flows:
            self._log.append(flow, entry.FlowClose(reason=reason, fault=fault))

    def _append(self, number: int, data: bytes) -> None:
        handle = self._handles.get(number)
        if handle is None:
            return
        try:
            found: Append = _decode(data)
            if found.flow not in handle.flows:
                raise LogUnavailable(f"flow {found.flow} is not this worker's")
            self._log.append(found.flow, *found.entries)
            if self._strict:
                self._sync()
        except (LogUnavailable, msgspec.DecodeError) as error:
            handle.channel.send(b"\1" + str(error).encode("utf-8", "replace")[:1000])
            return
        if isinstance(found.entries[-1], entry.FlowClose):
            handle.flows.discard(found.flow)
        handle.channel.send(b"\0")

    def _sync(self) -> None:
        began_ns = time.monotonic_ns()
        try:
            self._log.sync()
        except LogUnavailable as error:
            self.failure = str(error)
            raise
        self.failure = ""
        self.syncs.add(time.monotonic_ns() - began_ns)

    async def run(self) -> None:
        """Sync what is new, every `batch_s` seconds; runs until cancelled."""
        while True:
            await asyncio.sleep(self._batch_s)
            if self._log.synced_position < self._log.position:
                began_ns = time.monotonic_ns()
                try:
                    await asyncio.to_thread(self._log.sync)
                except LogUnavailable as error:
                    self.failure = str(error)
                else:
                    self.failure = ""
                    self.syncs.add(time.monotonic_ns() - began_ns)
