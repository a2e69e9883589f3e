"""Messages between supervisor and worker arrive whole, in order, with their sockets; who breaks a rule is cut off."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.agent.channel import PACKET_BYTES, Channel, pair

MAX = 4 * PACKET_BYTES


@dataclass
class End:
    """What came out at one end."""

    messages: list[bytes] = field(default_factory=list)
    sockets: list[socket.socket | None] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    def channel(self, sock: socket.socket, *, takes_sockets: bool = True, queued: int = 16 * MAX) -> Channel:
        return Channel(
            sock, self._message, self.ends.append, takes_sockets=takes_sockets, max_message_bytes=MAX, max_queued_bytes=queued
        )

    def _message(self, data: bytes, passed: socket.socket | None) -> None:
        self.messages.append(data)
        self.sockets.append(passed)


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0)


SIZES = [0, 1, PACKET_BYTES - 1, PACKET_BYTES, PACKET_BYTES + 1, 3 * PACKET_BYTES + 7]


def test_messages_of_every_size_arrive_whole_and_in_order() -> None:
    async def play() -> list[bytes]:
        ours, theirs = pair()
        here, there = End(), End()
        one, other = here.channel(ours), there.channel(theirs)
        sent = [os.urandom(size) for size in SIZES for _ in range(8)]
        for message in sent:
            one.send(message)
        await until(lambda: len(there.messages) == len(sent))
        one.close()
        await until(lambda: bool(there.ends))
        other.close()
        assert there.messages == sent
        assert (here.ends, there.ends) == ([], [""]), "who closes is not told of it"
        return there.messages

    asyncio.run(play())


def test_a_socket_comes_with_its_message_and_is_closed_here() -> None:
    async def play() -> None:
        ours, theirs = pair()
        there = End()
        one, other = End().channel(ours), there.channel(theirs)
        passed = [socket.socketpair() for _ in range(3)]
        for number, (mine, _) in enumerate(passed):
            one.send(bytes([number]) * PACKET_BYTES * number)
            one.send(b"with %d" % number, mine)
        await until(lambda: len(there.messages) == 6)
        for number, (mine, kept) in enumerate(passed):
            got = there.sockets[2 * number + 1]
            assert there.messages[2 * number + 1] == b"with %d" % number
            assert there.sockets[2 * number] is None
            assert got is not None
            got.send(b"x")
            assert kept.recv(1) == b"x"
            assert mine.fileno() == -1
            got.close()
            kept.close()
        one.close()
        other.close()

    asyncio.run(play())


def test_a_socket_from_where_none_may_come_is_thrown_away() -> None:
    async def play() -> None:
        ours, theirs = pair()
        there = End()
        one, other = End().channel(ours), there.channel(theirs, takes_sockets=False)
        before = len(os.listdir("/proc/self/fd"))
        mine, kept = socket.socketpair()
        one.send(b"take this", mine)
        await until(lambda: bool(there.messages))
        assert there.sockets == [None]
        assert kept.recv(1) == b"", "somebody holds it"
        kept.close()
        assert len(os.listdir("/proc/self/fd")) == before
        one.close()
        other.close()

    asyncio.run(play())


def test_a_message_that_is_too_long_ends_the_channel() -> None:
    async def play() -> None:
        ours, theirs = pair()
        there = End()
        one = End().channel(ours)
        there.channel(theirs)
        one.send(bytes(MAX + 1))
        await until(lambda: bool(there.ends))
        assert there.messages == []
        assert f"more than {MAX} bytes" in there.ends[0]
        one.close()

    asyncio.run(play())


def test_an_end_that_does_not_read_is_given_up() -> None:
    async def play() -> None:
        ours, theirs = pair()
        here = End()
        one = here.channel(ours, queued=MAX)
        for _ in range(1000):
            one.send(bytes(PACKET_BYTES))
            if here.ends:
                break
        assert "does not take" in here.ends[0]
        mine, kept = socket.socketpair()
        one.send(b"after the end", mine)
        assert mine.fileno() == -1
        kept.close()
        theirs.close()

    asyncio.run(play())


@pytest.mark.parametrize("packets", [[b"\x01a", b"\x01b", b"\x00c"], [b"\x00abc"]])
def test_packets_make_a_message(packets: list[bytes]) -> None:
    async def play() -> None:
        ours, theirs = pair()
        there = End()
        channel = there.channel(theirs)
        for packet in packets:
            ours.send(packet)
        await until(lambda: bool(there.messages))
        assert there.messages == [b"abc"]
        channel.close()
        ours.close()

    asyncio.run(play())


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=200), max_size=30))
def test_whatever_packets_come_nothing_else_happens(packets: list[bytes]) -> None:
    """Messages, or the end of the channel; a hostile worker can send any packets."""

    async def play() -> None:
        ours, theirs = pair()
        there = End()
        there.channel(theirs)
        for packet in packets:
            ours.send(packet)
        ours.close()
        await until(lambda: bool(there.ends))
        assert len(there.messages) == sum(packet[:1] == b"\0" for packet in packets)

    asyncio.run(play())
