"""What one supervisor leaves, the next one finds: channels halfway through a message, processes, what must not have changed."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import msgspec
import pytest

from hostguard.agent import preflight
from hostguard.agent.bequest import CrewLeft
from hostguard.agent.channel import PACKET_BYTES, Channel, Halfway, pair
from hostguard.agent.child import Child
from hostguard.agent.handover import VARIABLE, VERSION, BadHandover, Handover, take
from hostguard.agent.resources import NamesLeft
from hostguard.agent.speech import hash_of, speech
from hostguard.policy.document import Document, load

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
KNOWN = {1: "313717ce247fb494"}
"""Version of the state to the beginning of its schema's hash."""


def test_a_state_that_has_changed_has_another_version() -> None:
    """A field that is new and has a default changes the hash but not the version: then change the hash here."""
    assert KNOWN[VERSION] == hash_of([Handover])[:16]


def test_what_is_said_of_a_word_is_no_part_of_it() -> None:
    def word(doc: str, kind: object) -> type:
        return msgspec.defstruct("Word", [("text", kind)], namespace={"__doc__": doc})

    assert hash_of([word("One.", str)]) == hash_of([word("Another.", str)])
    assert hash_of([word("One.", str)]) != hash_of([word("One.", int)])


def test_the_words_are_the_same_in_every_process() -> None:
    async def play() -> preflight.Finding:
        return await preflight.ask(load(SHOP))

    assert asyncio.run(play()) == preflight.Finding(asyncio.run(play()).release, VERSION, speech())


def test_a_channel_goes_over_halfway_through_messages() -> None:
    async def play() -> None:
        ours, theirs = pair()
        heard: list[tuple[bytes, socket.socket | None]] = []

        def channel(sock: socket.socket, most: int = 1 << 24) -> Channel:
            return Channel(
                sock,
                lambda data, passed: heard.append((data, passed)),
                lambda reason: pytest.fail(reason),
                takes_sockets=True,
                max_message_bytes=most,
                max_queued_bytes=most,
            )

        first = channel(ours)
        # Half a message has come, which the channel has read.
        theirs.send(b"\1" + b"a" * 10)
        await asyncio.sleep(0)
        while not first._parts:
            await asyncio.sleep(0)
        # More goes out than the kernel takes, with a socket at the end.
        large, (passed, other) = os.urandom(200 * PACKET_BYTES), socket.socketpair()
        first.send(large)
        first.send(b"and a socket", passed)
        left = msgspec.msgpack.decode(msgspec.msgpack.encode(first.halfway()), type=Halfway)
        assert left.queue
        assert [fd for _, fd in left.queue if fd >= 0]
        second = channel(socket.socket(fileno=left.sock))
        second.resume(left)
        theirs.send(b"\0" + b"b" * 10)
        there = channel(theirs)
        async with asyncio.timeout(20):
            while len(heard) < 3:
                await asyncio.sleep(0)
        whole = dict(heard)
        assert set(whole) == {b"a" * 10 + b"b" * 10, large, b"and a socket"}
        received = whole[b"and a socket"]
        assert received is not None
        other.sendall(b"hello")
        assert received.recv(5) == b"hello"
        for sock in (received, other):
            sock.close()
        second.close()
        there.close()

    asyncio.run(play())


def test_a_process_is_waited_for_by_whoever_has_its_pidfd() -> None:
    async def begin() -> tuple[int, int]:
        child = Child.start((sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)"), ())
        return child.pid, os.dup(child.pidfd)

    async def end(pid: int, pidfd: int) -> int:
        child = Child(pid, pidfd)
        child.kill()
        return await child.wait()

    assert asyncio.run(end(*asyncio.run(begin()))) == -9


def test_an_exit_code_is_told() -> None:
    async def play() -> int:
        return await Child.start((sys.executable, "-c", "raise SystemExit(7)"), ()).wait()

    assert asyncio.run(play()) == 7


@pytest.mark.parametrize("left", [b"", b"\xc1", msgspec.msgpack.encode({"version": 1})])
def test_what_can_not_be_read_is_not_taken_over(left: bytes) -> None:
    memfd = os.memfd_create("left")
    os.write(memfd, left)
    environment = {VARIABLE: str(memfd)}
    with pytest.raises(BadHandover):
        take(environment)
    assert environment == {}
    assert take(environment) is None


@pytest.mark.parametrize("version", [VERSION - 1, VERSION, VERSION + 1])
def test_only_a_state_of_this_version_is_taken_over(version: int) -> None:
    """What follows from another one, a start as after a crash, is played by `tests/e2e/test_restart.py` in `make soak`."""
    left = Handover(
        version=version,
        release="1",
        hooks="",
        loader="",
        remarks=(),
        heartbeat=os.dup(0),
        lock=os.dup(0),
        control=os.dup(0),
        listeners=(),
        namespaces=[],
        resolver=(),
        ending=(),
        epoch=1,
        crew=CrewLeft(berths=[], flows=[], tally=(0, 0, 0), added=(), added_ns=0, died=0, deaths=[]),
        journals=[],
        holds=[],
        names=NamesLeft([], []),
        opened=0,
        refused=0,
    )
    memfd = os.memfd_create("left")
    os.write(memfd, msgspec.msgpack.encode(left))
    try:
        if version == VERSION:
            assert take({VARIABLE: str(memfd)}) == left
        else:
            with pytest.raises(BadHandover, match=f"left version {version} of its state, this one knows {VERSION}"):
                take({VARIABLE: str(memfd)})
    finally:
        for descriptor in (left.heartbeat, left.lock, left.control):
            os.close(descriptor)


def changed(**sections: object) -> tuple[Document, Document]:
    before = load(SHOP)
    return before, msgspec.structs.replace(before, **sections)


def test_what_flows_were_set_up_by_may_not_change() -> None:
    before = load(SHOP)
    daemon, log = before.daemon, before.log
    name = next(iter(before.resources))
    other = msgspec.structs.replace(before.resources[name], addresses=("127.0.0.1:1",))
    replace = msgspec.structs.replace
    rows: list[tuple[dict[str, object], list[str]]] = [
        ({}, []),
        ({"daemon": replace(daemon, workers=7)}, []),
        ({"resources": {**before.resources, "new": other}}, []),
        ({"resources": {**before.resources, name: other}}, [f"resources.{name}"]),
        ({"daemon": replace(daemon, state_dir="/elsewhere", attach="/other")}, ["daemon.state_dir", "daemon.attach"]),
        ({"workloads": dict(reversed([*before.workloads.items(), ("x", next(iter(before.workloads.values())))]))}, ["workloads"]),
        ({"log": replace(log, durability="strict" if log.durability == "batch" else "batch")}, ["log.durability"]),
    ]
    for sections, names in rows:
        found = preflight.objections(*changed(**sections))
        assert [sentence.split(": ")[1].split(" ")[0] for sentence in found] == names


def test_a_configuration_with_mistakes_is_an_objection(tmp_path: Path) -> None:
    good = load(SHOP)
    broken = tmp_path / "hostguard.toml"
    broken.write_text(good.text.replace("[users.", "[usrs.", 1))
    finding = preflight.find(str(broken), preflight.Running(good.text, good.sources))
    assert any("usrs" in objection for objection in finding.objections)
