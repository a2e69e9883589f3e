"""Reading the log from its bytes, whatever they are."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.recorder.entry import (
    Cancel,
    Decision,
    Entry,
    FlowClose,
    FlowOpen,
    FlowRefused,
    LogBegin,
    Operation,
    Reply,
    Unknown,
)
from hostguard.recorder.log import Log
from hostguard.recorder.packing import LogCorrupt, frame
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored


def ticking() -> tuple[int, int]:
    return (1, 2)


def framed(entry: Entry) -> bytes:
    return frame(entry, lambda payload: Stored(len(payload), b""))


def raw(**fields: object) -> bytes:
    """A frame with a right CRC around any fields."""
    body = msgspec.msgpack.encode({**fields, "crc": 0xFFFFFFFF})[:-4]
    data = body + zlib.crc32(body).to_bytes(4)
    return len(data).to_bytes(2) + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "entries").mkdir()
    return tmp_path


def put(folder: Path, data: bytes, first: int = 0) -> None:
    (folder / "entries" / f"{first:020d}.seg").write_bytes(data)


def targets(reader: Reader) -> Iterator[int]:
    return (entry.target for _, entry in reader.entries() if isinstance(entry, Cancel))


THREE = framed(Cancel(1)) + framed(Cancel(2)) + framed(Cancel(3))


def test_a_missing_log_has_no_entries(tmp_path: Path) -> None:
    reader = Reader(tmp_path / "nothing")
    assert reader.poll() == []
    assert list(reader.entries()) == []


def test_an_incomplete_entry_at_the_end_is_waited_for_at_every_length(folder: Path) -> None:
    edges = [0, *(len(THREE) // 3 * n for n in (1, 2, 3))]
    for size in range(len(THREE) + 1):
        put(folder, THREE[:size])
        reader = Reader(folder)
        complete = sum(edge <= size for edge in edges) - 1
        assert list(targets(reader)) == [1, 2, 3][:complete]
        put(folder, THREE)
        assert list(targets(reader)) == [1, 2, 3][complete:]


def test_a_log_that_grows_byte_by_byte_gives_each_entry_once(folder: Path) -> None:
    reader = Reader(folder)
    found = []
    for size in range(len(THREE) + 1):
        put(folder, THREE[:size])
        found += [index for index, _ in reader.poll()]
    assert found == [0, 1, 2]


def test_a_reader_follows_a_writer_through_its_segments(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking, segment_bytes=300)
    reader = Reader(tmp_path)
    seen: list[int] = []
    for number in range(50):
        log.append(0, Cancel(number))
        if number % 3 == 0:
            seen += targets(reader)
            assert seen == list(range(number + 1))
            assert reader.position == log.position
    log.close()


@pytest.mark.parametrize("start", [0, 1, 7, 49, 50, 51, 400])
def test_a_reader_begins_anywhere(tmp_path: Path, start: int) -> None:
    log = Log(tmp_path, ticking, segment_bytes=300)
    for number in range(49):
        log.append(0, Cancel(number))
    log.close()
    assert [index for index, _ in Reader(tmp_path, start).entries()] == list(range(start, 50))


@pytest.mark.parametrize(
    ("data", "following", "message"),
    [
        (THREE[:-1] + b"\0", None, "entry 2: .*CRC"),
        (THREE[:20] + b"\0" + THREE[21:], None, "entry 0: .*CRC"),
        (THREE + bytes(2), None, "entry 3: an entry of no bytes"),
        (THREE + b"\0", (3, THREE), "entry 3: segment 0 ends within it, 1 bytes"),
        (THREE, (4, THREE), "entry 3: segment 0 ends before it, the next begins with 4"),
        (THREE, (2, THREE), "entry 3: segment 0 ends before it, the next begins with 2"),
        (raw(kind=5, flow=1), None, "entry 0: .*kind"),
        (raw(flow=1), None, "entry 0: .*kind"),
        (raw(kind="later", flow="x"), None, "entry 0: .*flow"),
        (raw(kind="cancel", flow=1, target="x"), None, "entry 0: the fields of the cancel entry"),
    ],
)
def test_what_no_writer_leaves_is_corrupt_and_the_index_is_told(
    folder: Path, data: bytes, following: tuple[int, bytes] | None, message: str
) -> None:
    put(folder, data)
    if following:
        put(folder, following[1], following[0])
    with pytest.raises(LogCorrupt, match=message):
        list(Reader(folder).entries())


def test_a_log_without_its_beginning_is_read_from_where_it_begins(folder: Path) -> None:
    """Retention removes the oldest segments; whether it did is for `verify` to tell."""
    put(folder, THREE, 7)
    assert [index for index, _ in Reader(folder).entries()] == [7, 8, 9]
    assert [index for index, _ in Reader(folder, 8).entries()] == [8, 9]


def test_the_entries_before_a_corrupt_one_are_given(folder: Path) -> None:
    for bad in (THREE[:-1] + b"\0", THREE[: len(THREE) // 3 * 2] + bytes(100)):
        put(folder, bad)
        iterator = Reader(folder).entries()
        assert [next(iterator)[0], next(iterator)[0]] == [0, 1]
        with pytest.raises(LogCorrupt, match="entry 2"):
            next(iterator)


def test_a_kind_and_a_field_of_a_later_version_are_no_error(folder: Path) -> None:
    put(folder, raw(kind="later", news=1, flow=4) + raw(kind="cancel", target=3, news=1))
    (_, later), (_, cancel) = Reader(folder).entries()
    assert isinstance(later, Unknown)
    assert (later.kind, later.flow, later.fields["news"]) == ("later", 4, 1)
    assert isinstance(cancel, Cancel)
    assert cancel.target == 3


def test_a_flow_is_found_among_others_and_what_agents_write_cannot_join_it(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking, segment_bytes=1000)
    flows = [log.open_flow(FlowOpen(f"agent{number}", "w", "r")) for number in range(3)]
    forged = f"\xa4flow{flows[1]}".encode("latin-1") + b"\xa4flow\x01\xa3seq" + b"\xa4flow\x02\xa3seq" + b"\xa4flow\x03\xa3seq"
    for number in range(20):
        for flow in flows:
            log.append(flow, Operation(number, "query", "x", parameters=(forged,)))
    log.append(flows[1], FlowClose("done"))
    log.append(flows[1], Decision(1, "allow"))
    log.close()
    for flow in flows:
        entries = [entry for _, entry in Reader(tmp_path, flow).flow(flow)]
        assert {entry.flow for entry in entries} == {flow}
        assert [entry.seq for entry in entries if isinstance(entry, Entry)][:21] == list(range(1, 22))
    assert [entry.seq for _, entry in Reader(tmp_path).flow(flows[1]) if isinstance(entry, Entry)][-2:] == [22, 0]


def test_kinds_choose_entries_by_their_first_bytes(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    flow = log.open_flow(FlowOpen("a", "w", "r"))
    log.append(flow, Operation(1, "query", "x"), Decision(1, "deny"), Reply(1, "ok"))
    log.open_flow(FlowRefused("a", "w", "r", reason="no"))
    log.close()
    for kinds in ((Decision,), (FlowOpen,), (FlowRefused, Reply), (LogBegin,), (Operation,)):
        expected = [entry for _, entry in Reader(tmp_path).entries() if type(entry) in kinds]
        assert [entry for _, entry in Reader(tmp_path).entries(kinds)] == expected
        assert len(expected) == len(kinds)


def read_all(data: bytes) -> None:
    """Any bytes are entries or LogCorrupt, and any daemon can open them and go on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "entries").mkdir()
        put(folder, data)
        for read in (Reader(folder).entries(), Reader(folder).entries((Decision, FlowOpen)), Reader(folder).flow(1)):
            with contextlib.suppress(LogCorrupt):
                list(read)
        log = Log(folder, ticking)
        log.append(0, Cancel(99))
        log.close()


VALID = st.sampled_from([framed(Cancel(1)), framed(Operation(1, "query", "SELECT 1")), framed(FlowOpen("a", "w", "r", pid=7))])


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_entries_or_corrupt(data: bytes) -> None:
    read_all(data)


@settings(max_examples=60, deadline=None)
@given(st.lists(VALID, min_size=1, max_size=4), st.data())
def test_entries_with_bytes_cut_changed_or_repeated_are_entries_or_corrupt(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    read_all(whole[:start] + data.draw(st.binary(max_size=20)) + whole[end:])
    read_all(whole[:end] + whole[start:])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["v", "flow", "seq", "operation", "verdict", "target", "text", "policies", "reason"]),
        st.recursive(
            st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5) | st.floats(),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        ),
    ),
    st.sampled_from(["operation", "decision", "cancel", "reply", "flow.open", "later"]),
)
def test_any_fields_with_a_right_crc_are_an_entry_or_corrupt(fields: dict[str, object], kind: str) -> None:
    read_all(raw(kind=kind, **fields))


@pytest.mark.parametrize("size", range(1, 12))
def test_entries_of_few_bytes_are_corrupt(size: int) -> None:
    read_all(size.to_bytes(2) + b"\xde" * size)


def test_nesting_without_end_is_corrupt() -> None:
    body = b"\x83\xa4kind\xa5later\xa4deep" + b"\x91" * 60_000 + b"\x00\xa3crc\xce"
    data = body + zlib.crc32(body).to_bytes(4)
    read_all(len(data).to_bytes(2) + data)
