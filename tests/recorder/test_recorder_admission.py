"""A worker that is hostile or broken: its journal ends on record, the log stays readable, nothing of it hangs or crashes."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journals import Pair, entries_of, opened_again, targets

from hostguard.recorder.durable import LogUnavailable
from hostguard.recorder.entry import (
    Cancel,
    DaemonStop,
    Decision,
    Entry,
    FlowClose,
    FlowOpen,
    JournalEnd,
    LogRemoved,
    LogResumed,
    Operation,
    Reply,
)
from hostguard.recorder.packing import frame, pack
from hostguard.recorder.stored import Stored
from hostguard.recorder.wrapping import wrap

PAGE = 4096
ENTRIES, LARGE = 0x48470001, 0x48470002


def stamped(entry: Entry, flow: int, seq: int) -> Entry:
    entry.wall_ns, entry.mono_ns, entry.flow, entry.seq = 1_700_000_000_000_000_000, 5, flow, seq
    return entry


def framed(entry: Entry) -> bytes:
    return frame(entry, lambda value: wrap(value, None)[0])


def resealed(entry: bytes) -> bytes:
    """An entry with its CRC computed, behind its length."""
    body = entry[:-4]
    return len(entry).to_bytes(2) + body + crc32(body).to_bytes(4)


def ring_frame(number: int, position: int, body: bytes, count: int, kind: int = ENTRIES) -> bytes:
    head = struct.pack("<IIQQI", kind, len(body), position, number, count)
    return head + struct.pack("<I", crc32(body, crc32(head)) if kind == LARGE else crc32(head)) + body + bytes(-len(body) % 8)


class Hostile:
    """A worker that writes what it likes with the descriptors that it was given."""

    def __init__(self, pair: Pair) -> None:
        self._pair = pair
        self._control = mmap.mmap(pair.fds[1], PAGE)

    def put(self, data: bytes, position: int) -> None:
        os.pwrite(self._pair.fds[0], data, PAGE + position)

    def publish(self, position: int) -> None:
        self._control[0:8] = struct.pack("<Q", position)

    def write(self, body: bytes, count: int = 1, kind: int = ENTRIES) -> None:
        """A sound frame, published, around whatever body."""
        position = self._pair.journal.position
        data = ring_frame(self._pair.number, position, body, count, kind)
        self.put(data, position)
        self.publish(position + len(data))

    def scribble(self, at: int, data: bytes) -> None:
        self._control[at : at + len(data)] = data

    def close(self) -> None:
        self._control.close()


def ended(folder: Path) -> JournalEnd:
    (end,) = [entry for entry in entries_of(folder) if isinstance(entry, JournalEnd)]
    return end


FLOW = 2
"""What the first flow's number is in these tests."""


def huge() -> bytes:
    return framed(stamped(Cancel((1 << 64) - 1), FLOW, 3))


def rekeyed() -> bytes:
    """An unknown field among the known ones."""
    data = framed(stamped(Cancel(5), FLOW, 3))[2:]
    return resealed(bytes([data[0] + 1]) + data[1:-9] + b"\xa1z\x01" + data[-9:])


def twice() -> bytes:
    """A field that is there twice: readers would differ on which one counts."""
    data = framed(stamped(Cancel(5), FLOW, 3))[2:]
    return resealed(bytes([data[0] + 1]) + data[1:-9] + b"\xa4flow\x00" + data[-9:])


def mistyped() -> bytes:
    return resealed(framed(stamped(Cancel(5), FLOW, 3))[2:].replace(b"target\x05", b"target\xc2"))


def no_utf8() -> bytes:
    return resealed(framed(stamped(Operation(1, "query", "hello"), FLOW, 3))[2:].replace(b"hello", b"\xff\xfe\xfd\xfc\xfb"))


def unknown_kind() -> bytes:
    return resealed(framed(stamped(Cancel(5), FLOW, 3))[2:].replace(b"\xa6cancel", b"\xa6cancer"))


def later_format() -> bytes:
    return resealed(framed(stamped(Cancel(5), FLOW, 3))[2:].replace(b"\xa1v\x01", b"\xa1v\x02"))


FORGED: dict[str, bytes] = {
    "another's flow": framed(stamped(Cancel(5), 1, 3)),
    "a flow to come": framed(stamped(Cancel(5), 1 << 40, 1)),
    "a number left out": framed(stamped(Cancel(5), FLOW, 4)),
    "a number twice": framed(stamped(Cancel(5), FLOW, 2)),
    "no number": framed(stamped(Cancel(5), FLOW, 0)),
    "a number without a flow": framed(stamped(Cancel(5), 0, 3)),
    "a flow's beginning": framed(stamped(FlowOpen("a", "b", "c"), FLOW, 3)),
    "the daemon's end": framed(stamped(DaemonStop("bye"), 0, 0)),
    "a removal": framed(stamped(LogRemoved(10**9, 1, 1, 1, "rule"), 0, 0)),
    "a journal's end": framed(stamped(JournalEnd(1, "bye"), 0, 0)),
    "resumed in a flow": framed(stamped(LogResumed(1, "", 0), FLOW, 3)),
    "an operation of no flow": framed(stamped(Operation(1, "query", "x"), 0, 0)),
    "a wrong CRC": framed(stamped(Cancel(5), FLOW, 3))[:-1] + b"?",
    "nothing": b"",
    "no entry": b"hello",
    "an empty entry": b"\0\0",
    "a length beyond the frame": b"\xff\xff" + framed(stamped(Cancel(5), FLOW, 3))[2:],
    "no map": resealed(b"\x93\x01\x02\x03" + b"\0" * 60 + b"\xa3crc\xce\0\0\0\0"),
    "a huge integer": huge(),
    "an unknown field": rekeyed(),
    "a field twice": twice(),
    "another type": mistyped(),
    "text that is none": no_utf8(),
    "an unknown kind": unknown_kind(),
    "a later format": later_format(),
}


@pytest.mark.parametrize("what", FORGED)
def test_what_no_sound_worker_writes_ends_its_journal(tmp_path: Path, what: str) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    assert flow == FLOW
    pair.journal.append(flow, Cancel(1))
    hostile = Hostile(pair)
    hostile.write(FORGED[what])
    pair.drain.turn()
    pair.drain.turn()
    hostile.close()
    assert [number for number, _ in pair.failed] == [pair.number] == list(pair.drain.failures)
    assert not pair.journal.available
    with pytest.raises(LogUnavailable, match="journal was ended"):
        pair.journal.append(flow, Cancel(2))
    assert list((tmp_path / "journals").iterdir()) == []
    pair.close()
    assert targets(tmp_path) == [1]
    closed = entries_of(tmp_path)[-2]
    assert isinstance(closed, FlowClose)
    assert closed.seq == 3
    end = ended(tmp_path)
    assert end.fault == "worker"
    assert end.lost >= 32
    assert FORGED[what][:40] in end.rejected


@pytest.mark.parametrize("what", FORGED)
def test_a_crash_does_not_let_it_in_either(tmp_path: Path, what: str) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Cancel(1))
    position = pair.journal.position
    pair.close()
    data = ring_frame(pair.number, position, FORGED[what], 1)
    with pair.ring.open("r+b") as file:
        file.seek(PAGE + position)
        file.write(data)
        file.seek(64)
        file.write(struct.pack("<Q", position + len(data)))
    opened_again(tmp_path)
    assert targets(tmp_path) == [1]
    assert (ended(tmp_path).fault, ended(tmp_path).lost) == ("crash", len(data))


def test_what_came_before_the_forged_entry_is_kept(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    for number in range(40):
        pair.journal.append(flow, Cancel(number), Reply(number, "ok"))
    hostile = Hostile(pair)
    hostile.write(framed(stamped(Cancel(99), flow + 50, 1)))
    pair.drain.turn()
    hostile.close()
    pair.close()
    assert targets(tmp_path) == list(range(40))


def test_a_large_frame_is_checked_as_well(tmp_path: Path) -> None:
    for number, entry in enumerate((DaemonStop("x" * 70_000), stamped(Operation(1, "query", "x" * 70_000), FLOW, 9))):
        pair = Pair(tmp_path / str(number), 1 << 20)
        pair.open_flow()
        hostile = Hostile(pair)
        hostile.write(pack((entry,)), 1, LARGE)
        pair.drain.turn()
        hostile.close()
        assert len(pair.failed) == 1
        pair.close()
        assert ended(tmp_path / str(number)).fault == "worker"


def test_a_large_frame_with_a_short_crc_leaves_no_garbage(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 20)
    flow = pair.open_flow()
    entry = stamped(Cancel(4), flow, 2)
    entry.crc = 5
    hostile = Hostile(pair)
    hostile.write(pack((entry,)), 1, LARGE)
    pair.drain.turn()
    hostile.close()
    pair.close()
    assert targets(tmp_path) == [4]


@pytest.mark.parametrize("published", [1, 7, 8, 4088, 1 << 16, (1 << 16) + 8, (1 << 63) - 8, (1 << 64) - 8])
def test_a_position_that_cannot_be_is_no_reason_to_read(tmp_path: Path, published: int) -> None:
    pair = Pair(tmp_path)
    pair.open_flow()
    hostile = Hostile(pair)
    hostile.publish(published)
    pair.drain.turn()
    hostile.close()
    assert len(pair.failed) == 1
    pair.close()
    assert ended(tmp_path).position == 0


def test_a_position_that_goes_back_ends_the_journal(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Cancel(1))
    pair.drain.turn()
    hostile = Hostile(pair)
    hostile.publish(0)
    pair.drain.turn()
    hostile.close()
    assert len(pair.failed) == 1
    pair.close()
    assert targets(tmp_path) == [1]


@pytest.mark.parametrize("size", [0, 100, PAGE, PAGE + 50])
def test_a_file_that_was_shortened_ends_the_journal(tmp_path: Path, size: int) -> None:
    pair = Pair(tmp_path)
    flow = pair.open_flow()
    pair.journal.append(flow, Cancel(1))
    os.ftruncate(pair.fds[0], size)
    pair.drain.turn()
    assert len(pair.failed) == 1
    pair.close()
    assert ended(tmp_path).fault == "worker"


def test_the_control_page_cannot_be_shortened(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    with pytest.raises(PermissionError):
        os.ftruncate(pair.fds[1], 0)
    pair.close()


def test_a_worker_that_makes_its_pipes_block_hangs_nobody(tmp_path: Path) -> None:
    pair = Pair(tmp_path, strict=True)
    flow = pair.open_flow()
    for descriptor in pair.fds[2:]:
        os.set_blocking(descriptor, True)
    for number in range(70_000):
        pair.drain._wake_worker(pair.drain._open[pair.number])
        if number % 1000 == 0:
            pair.journal.append(flow, Cancel(number // 1000))
            pair.drain.turn(sync=True)
    pair.close()
    assert targets(tmp_path) == list(range(70))


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    """One flipped byte anywhere in what was published: what is before stays, and nothing else comes in."""
    pair = Pair(tmp_path, 1 << 16)
    flow = pair.open_flow()
    sound = []
    for at in range(400):
        if at % 50 == 0:
            pair.drain.end_journal(pair.number, "next")
            pair.drain.turn()
            pair.close()
            pair = Pair(tmp_path, 1 << 16)
        flow = pair.open_flow()
        pair.journal.append(flow, Cancel(at))
        pair.drain.turn()
        position = pair.journal.position
        pair.journal.append(flow, Cancel(10_000 + at))
        length = pair.journal.position - position
        if at >= length:
            break
        (byte,) = os.pread(pair.fds[0], 1, PAGE + position + at)
        os.pwrite(pair.fds[0], bytes([byte ^ 0x41]), PAGE + position + at)
        pair.drain.turn()
        if not pair.failed:
            # Between an entry and the next frame are up to seven bytes that mean nothing.
            sound.append(at)
            continue
        pair.drain.turn()
        pair.close()
        pair = Pair(tmp_path, 1 << 16)
    pair.close()
    found = targets(tmp_path)
    assert [t for t in found if t >= 10_000] == [10_000 + at for at in sound if at < length]
    assert len(sound) < 8
    assert all(at > length - 8 for at in sound)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ratcpx"), st.integers(0, 20_000), st.binary(min_size=1, max_size=40)), min_size=1, max_size=12
    )
)
def test_scribbling_never_reaches_the_log(actions: list[tuple[str, int, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pair = Pair(folder, 1 << 14)
        flow = pair.open_flow()
        hostile = Hostile(pair)
        number = 0
        for action, at, data in actions:
            if action == "r":
                hostile.put(data, at % (1 << 14))
            elif action == "c":
                hostile.scribble(at % (PAGE - 40), data)
            elif action == "p":
                hostile.publish(at // 8 * 8)
            elif action == "x":
                hostile.write(data)
            elif action == "a":
                try:
                    pair.journal.append(flow, Cancel(number))
                    number += 1
                except (LogUnavailable, ValueError):
                    pass
            else:
                pair.drain.turn()
        pair.drain.turn()
        hostile.close()
        pair.close()
        opened_again(folder)
        found = targets(folder)
        assert found == list(range(len(found)))
        assert len([e for e in entries_of(folder) if isinstance(e, JournalEnd)]) == 1


def test_an_agents_words_above_the_bound_are_payloads_whatever_the_worker_does(tmp_path: Path) -> None:
    pair = Pair(tmp_path, payload_above=40)
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(1, "query", "SELECT 'a secret that is longer than the bound'"), Decision(1, "allow"))
    pair.journal.append(flow, Operation(2, "query", "SELECT 1"))
    pair.drain.turn()
    pair.close()
    first, second = (entry for entry in entries_of(tmp_path) if isinstance(entry, Operation))
    assert isinstance(first.text, Stored)
    assert second.text == "SELECT 1"
    assert b"secret" not in b"".join(path.read_bytes() for path in (tmp_path / "entries").iterdir())
