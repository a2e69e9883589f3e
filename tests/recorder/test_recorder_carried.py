"""What retention carries over: the openings, policy and start without which kept entries say nothing; nobody takes them away."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorded import opened
from sealed_log import SIGNER, SealedLog, assert_whole, ticking, verified

from hostguard.recorder.carried import CARRIED, Carried, Needed, carried, to_bytes
from hostguard.recorder.checkpoint import open_checkpoint
from hostguard.recorder.entry import (
    Cancel,
    DaemonStart,
    Entry,
    FlowClose,
    FlowOpen,
    LogRemoved,
    Operation,
    PolicyLoad,
    Session,
)
from hostguard.recorder.exchanges import histories, history
from hostguard.recorder.packing import LogCorrupt, frame, restore
from hostguard.recorder.payloads import payload_path
from hostguard.recorder.prove import check_proof, prove
from hostguard.recorder.reader import Reader
from hostguard.recorder.retention import Plan, Rule, plan, remove
from hostguard.recorder.stored import Stored
from hostguard.recorder.treefiles import CHECKPOINT

NOW_NS = ticking()[0] + 10**15
OLD = Rule(keep_ns=10**14)
TEXTS = (("hostguard.toml", "[x]"), ("big.cedar", "permit;" * 20_000))


class Kept(SealedLog):
    """A log with a flow that is open for longer than the log is kept."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.log.append(0, DaemonStart("1", 7), PolicyLoad(epoch=0, accepted=True, files=(("a", "b"),), texts=(("a", "old"),)))
        self.log.append(0, PolicyLoad(epoch=1, accepted=True, texts=TEXTS), PolicyLoad(epoch=1, accepted=False))
        self.short = self.log.open_flow(opened())
        self.log.append(self.short, Session("shop", "one"), FlowClose("ended"))
        self.long = self.log.open_flow(opened("long-bot"))
        self.log.append(self.long, Session("shop", "app"), Session("shop", "again"))
        self.work()

    def work(self) -> Kept:
        """Enough of it that the entries so far may go."""
        for number in range(900):
            self.log.append(self.long, Operation(number, "query", "SELECT 1"))
        self.seal()
        return self

    def plan(self) -> Plan:
        found = plan(self.folder, OLD, self.sealer.checkpoint.size, NOW_NS)
        assert found is not None
        return found

    def retain(self) -> Plan:
        """Remove what is old, as the daemon does."""
        self.log.payloads.watch()
        found = self.plan()
        self.log.append(0, found.record(OLD))
        self.seal()
        remove(found, self.log.payloads)
        return found


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "log")


def entries(folder: Path) -> list[Entry]:
    return [entry for _, entry in Reader(folder).entries() if isinstance(entry, Entry)]


def test_a_flow_that_is_older_than_the_log_is_known_all_the_same(kept: Kept) -> None:
    found = kept.retain()
    kept.close()
    assert found.before > kept.long + 100
    (one,) = histories(Reader(kept.folder).entries(), Reader(kept.folder).payload)
    again = history(kept.long, Reader(kept.folder, kept.long).flow(kept.long), Reader(kept.folder).payload)
    for each in (one, again):
        assert (each.index, each.opened.agent, each.user) == (kept.long, "long-bot", "again")
        assert [exchange.index for exchange in each.exchanges] == list(range(found.before, kept.long + 903))


def test_the_policy_that_was_in_force_and_the_start_of_the_daemon_stay(kept: Kept) -> None:
    kept.retain()
    kept.close()
    reader = Reader(kept.folder)
    (load,) = (restore(entry, reader.payload) for entry in entries(kept.folder) if isinstance(entry, PolicyLoad))
    assert isinstance(load, PolicyLoad)
    assert (load.epoch, load.texts) == (1, TEXTS)
    assert any(isinstance(entry, DaemonStart) for entry in entries(kept.folder))
    report = assert_whole(kept.folder)
    assert report.carried == 4


def test_who_follows_the_log_is_not_told_again(kept: Kept) -> None:
    found = kept.retain()
    kept.close()
    assert Reader(kept.folder).poll()[0][0] == found.before
    assert next(Reader(kept.folder, found.before).entries())[0] == found.before
    assert next(Reader(kept.folder, kept.long + 1).entries())[0] == kept.long + 2


def test_what_is_needed_no_more_goes_with_the_next_removal(kept: Kept) -> None:
    (load,) = (entry for entry in entries(kept.folder) if isinstance(entry, PolicyLoad) and isinstance(entry.texts, Stored))
    assert isinstance(load.texts, Stored)
    kept.retain()
    assert payload_path(kept.folder, load.texts).is_file()
    assert_whole(kept.folder)
    kept.log.append(kept.long, FlowClose("ended"))
    kept.log.append(0, PolicyLoad(epoch=2, accepted=True, texts=(("a", "new"),)))
    # Known to the writer as a text that may come again: that spares it once.
    kept.fill(900).seal()
    kept.retain()
    assert payload_path(kept.folder, load.texts).exists()
    kept.fill(900).seal()
    kept.retain()
    kept.close()
    assert not payload_path(kept.folder, load.texts).exists()
    assert [type(entry) for entry in entries(kept.folder)[:3]] == [DaemonStart, PolicyLoad, Cancel]
    assert assert_whole(kept.folder).carried == 2


def test_what_was_carried_over_is_carried_on(kept: Kept) -> None:
    first = kept.retain()
    second = kept.work().retain()
    kept.close()
    assert second.before > first.before
    assert second.carried == first.carried
    assert assert_whole(kept.folder).carried == 4


def test_it_can_be_proven(kept: Kept) -> None:
    kept.retain()
    kept.close()
    note = (kept.folder / CHECKPOINT).read_text()
    proven = check_proof(prove(kept.folder, kept.long, open_checkpoint(note, SIGNER.verifier)[0], note), SIGNER.verifier)
    assert proven.index == kept.long
    assert b"long-bot" in proven.entry


def test_a_crash_at_any_step_leaves_all_of_it(kept: Kept) -> None:
    """Before the file is replaced, after it, and after each segment, of a first removal and of a second."""
    for _ in range(2):
        kept.log.open_flow(opened())
        kept.work()
        found = kept.plan()
        kept.log.append(0, found.record(OLD))
        kept.seal()
        replacing: Callable[[], object] = partial((kept.folder / CARRIED).write_bytes, to_bytes(found.carried))
        for step in (lambda: None, replacing, *(path.unlink for path in found.segments)):
            step()
            assert_whole(kept.folder)
            indices = [index for index, _ in Reader(kept.folder).entries()]
            assert indices == sorted(set(indices))
            (one,) = (one for one in histories(Reader(kept.folder).entries(), lambda _: None) if one.index == kept.long)
            assert one.user == "again"
            if plan(kept.folder, OLD, kept.sealer.checkpoint.size, NOW_NS) is not None:
                assert kept.plan().carried == found.carried
    kept.close()


def test_every_byte_of_it_matters(kept: Kept) -> None:
    kept.retain()
    kept.close()
    path = kept.folder / CARRIED
    whole = path.read_bytes()
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [finding.place for finding in verified(kept.folder).findings] == [CARRIED]
    for less in (b"", whole[:-1], to_bytes(carried_of(whole)[:-1])):
        path.write_bytes(less)
        assert [finding.place for finding in verified(kept.folder).findings] == [CARRIED]
    path.unlink()
    assert [finding.problem for finding in verified(kept.folder).findings] == ["it is not there"]
    path.write_bytes(whole)
    assert_whole(kept.folder)


def carried_of(data: bytes) -> tuple[Carried, ...]:
    needed = Needed()
    at = 0
    while at < len(data):
        end = at + 10 + int.from_bytes(data[at + 8 : at + 10])
        needed.take(int.from_bytes(data[at : at + 8]), data[at + 8 : end])
        at = end
    return needed.all()


def test_the_file_of_an_earlier_removal_is_found(kept: Kept) -> None:
    kept.retain()
    earlier = (kept.folder / CARRIED).read_bytes()
    kept.log.append(kept.long, FlowClose("ended"))
    kept.fill(900).seal()
    kept.retain()
    kept.close()
    (kept.folder / CARRIED).write_bytes(earlier)
    assert [finding.place for finding in verified(kept.folder).findings] == [CARRIED]


def test_a_lie_that_the_record_repeats_is_found_by_the_tree(kept: Kept) -> None:
    """Whoever may append could put another opening on record as carried over: the leaf has been in the tree since then."""
    found = kept.plan()
    lie = FlowOpen("nobody", "w", "r")
    lie.flow = kept.long
    false = Carried(kept.long, frame(lie, lambda _: Stored(0, b"")))
    changed = tuple(false if one.index == kept.long else one for one in found.carried)
    lying = Plan(found.folder, found.before, changed, found.segments, found.payloads, found.bundles)
    kept.log.append(0, lying.record(OLD))
    kept.seal()
    remove(lying, kept.log.payloads)
    kept.close()
    assert [finding.place for finding in verified(kept.folder).findings] == [f"entry {kept.long}"]


def test_a_payload_of_it_that_is_gone_is_found(kept: Kept) -> None:
    found = kept.retain()
    kept.close()
    (load,) = (entry for entry in entries(kept.folder) if isinstance(entry, PolicyLoad))
    assert isinstance(load.texts, Stored)
    payload_path(kept.folder, load.texts).unlink()
    (finding,) = verified(kept.folder).findings
    assert "its payload" in finding.problem
    assert found.carried


def test_a_removal_of_an_earlier_version_is_no_finding(kept: Kept) -> None:
    found = kept.plan()
    kept.log.append(0, LogRemoved(found.before, len(found.segments), len(found.payloads), found.bytes, str(OLD)))
    kept.seal()
    remove(found, kept.log.payloads)
    (kept.folder / CARRIED).unlink()
    kept.close()
    assert_whole(kept.folder)


def test_a_torn_file_is_an_error_not_half_an_answer(kept: Kept) -> None:
    kept.retain()
    kept.close()
    path = kept.folder / CARRIED
    whole = path.read_bytes()
    ends = {0}
    for one in carried(kept.folder):
        ends.add(max(ends) + len(to_bytes([one])))
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        if cut in ends:
            assert carried(kept.folder)[: len(whole)] is not None
        else:
            with pytest.raises(LogCorrupt):
                carried(kept.folder)


@given(st.binary(max_size=400))
def test_any_bytes_are_entries_or_corrupt(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / CARRIED).write_bytes(data)
    with suppress(LogCorrupt):
        assert to_bytes(carried(folder)) == data


def stamped(entry: Entry, flow: int) -> bytes:
    entry.flow = flow
    return frame(entry, lambda _: Stored(0, b""))


def test_flows_of_a_killed_daemon_are_needed_until_the_second_start_after_it() -> None:
    """What its workers had in their journals is taken into the log after the next start."""
    needed = Needed()
    needed.take(1, stamped(DaemonStart("1", 1), 0))
    needed.take(2, stamped(opened(), 2))
    needed.take(3, stamped(opened(), 3))
    needed.take(4, stamped(DaemonStart("1", 2), 0))
    needed.take(5, stamped(FlowClose("crash"), 3))
    needed.take(6, stamped(Session("d", "u"), 2))
    assert [one.index for one in needed.all()] == [2, 4, 6]
    needed.take(7, stamped(DaemonStart("1", 3), 0))
    assert [one.index for one in needed.all()] == [7]
