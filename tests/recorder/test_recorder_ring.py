"""The native part of the journal against what it stands for: msgspec's bytes, zlib's sums."""

from __future__ import annotations

import os
from pathlib import Path
from zlib import crc32

import msgspec
from journals import Pair, entries_of

from hostguard.recorder._ring_cffi import ffi, lib
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.packing import frame, pack
from hostguard.recorder.stored import Stored


def test_a_large_entry_that_meets_a_full_ring_goes_through_once_there_is_room(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1 << 18, patience_ms=20_000, stalled=lambda: pair.drain.turn())
    flow = pair.open_flow()
    pair.journal.append(flow, Operation(0, "query", "x" * 60_000), Operation(1, "query", "x" * 60_000))
    pair.journal.append(flow, Operation(2, "query", "x" * 60_000), Operation(3, "query", "x" * 50_000))
    pair.journal.append(flow, Operation(4, "query", "x" * 70_000))
    pair.drain.turn()
    pair.close()
    assert [entry.operation for entry in entries_of(tmp_path) if isinstance(entry, Operation)] == [0, 1, 2, 3, 4]


def test_the_native_part_packs_as_python_does() -> None:
    """The stamps of ``ring.c`` are msgspec's bytes."""
    out = ffi.new("char[]", 70_000)
    for number in (0, 1, 127, 128, 255, 256, 65_535, 65_536, (1 << 32) - 1, 1 << 32, (1 << 63) - 1):
        for operation in (Operation(number, "query", "x" * 300, parameters=(b"", None, b"y" * 70_0)), Cancel(number)):
            array = pack((operation,))
            size = lib.hg_frames(array, len(array), number, number, True, number, number, out, len(out))
            operation.wall_ns = operation.mono_ns = operation.flow = number
            operation.seq = number + 1
            assert ffi.buffer(out, size)[:] == frame(operation, lambda _: Stored(0, b""))


def test_the_crc_is_zlibs() -> None:
    data = os.urandom(1000)
    for start in (0, 1, 7):
        for size in range(400):
            assert lib.hg_crc(0, data[start : start + size], size) == crc32(data[start : start + size])
            assert lib.hg_crc(12345, data[start : start + size], size) == crc32(data[start : start + size], 12345)
    assert lib.hg_crc(0, data * 1000, 1_000_000) == crc32(data * 1000)


def test_garbage_of_every_length_is_no_array() -> None:
    for data in (
        b"",
        b"\x91",
        b"\xdd\xff\xff\xff\xff",
        b"\xdc\x00",
        b"\xc6\xff\xff\xff\xff",
        b"\x81\xa1",
        b"\xc1",
        b"\xd9\x05ab",
    ):
        assert not lib.hg_fits(data, len(data))
    assert lib.hg_fits(b"\x81\xa1a\xcf\x7f" + b"\xff" * 7, 12)
    assert not lib.hg_fits(b"\x81\xa1a\xcf\x80" + b"\0" * 7, 12)
    whole = msgspec.msgpack.encode({"a": [1, -1, 1.5, None, True, b"x" * 300, "y" * 70_000, {"b": list(range(70_000))}]})
    assert lib.hg_fits(whole, len(whole))
    for cut in [*range(1, 320), *range(len(whole) - 300, len(whole))]:
        assert not lib.hg_fits(whole[:cut], cut)
