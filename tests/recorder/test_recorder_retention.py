"""Retention: whole segments go with what only they hold; proofs, readers and the verifier cope."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from sealed_log import SIGNER, SealedLog, assert_whole, ticking, verified

from hostguard.recorder.carried import CARRIED, to_bytes
from hostguard.recorder.checkpoint import open_checkpoint
from hostguard.recorder.durable import segment_names
from hostguard.recorder.entry import Cancel, LogRemoved, Operation
from hostguard.recorder.packing import LogCorrupt
from hostguard.recorder.payloads import payload_paths
from hostguard.recorder.prove import check_proof, consistency_proof, prove, root_at
from hostguard.recorder.reader import Reader
from hostguard.recorder.retention import Plan, Rule, plan, remove
from hostguard.recorder.tiles import bundle_path
from hostguard.recorder.tree import check_consistency
from hostguard.recorder.treefiles import CHECKPOINT

NOW_NS = ticking()[0] + 10**15
OLD = Rule(keep_ns=10**14)


@pytest.fixture
def sealed(tmp_path: Path) -> SealedLog:
    return SealedLog(tmp_path / "log").fill(900).seal()


def removed(sealed: SealedLog, rule: Rule) -> Plan:
    """Carry the rule out as the daemon does."""
    found = plan(sealed.folder, rule, sealed.sealer.checkpoint.size, NOW_NS)
    assert found is not None
    sealed.log.append(0, found.record(rule))
    sealed.seal()
    remove(found, sealed.log.payloads)
    return found


def test_old_segments_go_and_the_log_still_verifies(sealed: SealedLog) -> None:
    before = sealed.sealer.checkpoint
    found = removed(sealed, OLD)
    sealed.close()
    assert segment_names(sealed.folder)[0] == found.before > 300
    assert len(payload_paths(sealed.folder)) == 9 - len(found.payloads) < 9
    assert not (sealed.folder / bundle_path(0)).exists()
    report = assert_whole(sealed.folder)
    assert (report.removed, report.entries) == (found.before, 902)
    assert root_at(sealed.folder, before.size) == before.root
    check_consistency(
        300, root_at(sealed.folder, 300), before.size, before.root, consistency_proof(sealed.folder, 300, before.size)
    )
    again = SealedLog(sealed.folder).fill(300).seal()
    again.close()
    assert assert_whole(sealed.folder).sealed == 1202


def test_what_is_left_is_read_and_proven(sealed: SealedLog) -> None:
    found = removed(sealed, OLD)
    sealed.close()
    indices = [index for index, _ in Reader(sealed.folder).entries()]
    assert indices == list(range(found.before, 902))
    (record,) = (entry for _, entry in Reader(sealed.folder).entries() if isinstance(entry, LogRemoved))
    assert (record.before, record.payloads) == (found.before, len(found.payloads))
    note = (sealed.folder / CHECKPOINT).read_text(encoding="utf-8")
    head = open_checkpoint(note, SIGNER.verifier)[0]
    assert check_proof(prove(sealed.folder, 901, head, note), SIGNER.verifier).index == 901
    with pytest.raises(LogCorrupt, match="no segment holds it"):
        prove(sealed.folder, 5, head, note)


def test_a_payload_stays_while_a_kept_entry_refers_to_it(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path)
    sealed.log.append(0, Operation(1, "query", "y" * 70_000))
    sealed.fill(900)
    sealed.log.append(0, Operation(2, "query", "y" * 70_000))
    sealed.seal()
    removed(sealed, OLD)
    sealed.close()
    *_, kept = (entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, Operation))
    assert not isinstance(kept.text, str)
    assert kept.text is not None
    assert Reader(tmp_path).payload(kept.text) is not None
    assert_whole(tmp_path)


def test_segments_go_until_the_rest_is_small_enough(sealed: SealedLog) -> None:
    total = sum(
        path.stat().st_size for part in ("entries", "payloads") for path in (sealed.folder / part).rglob("*") if path.is_file()
    )
    one = sealed.folder / "entries" / f"{0:020d}.seg"
    found = plan(sealed.folder, Rule(keep_bytes=total - one.stat().st_size - 1), sealed.sealer.checkpoint.size, NOW_NS)
    assert found is not None
    assert len(found.segments) == 2
    assert plan(sealed.folder, Rule(keep_bytes=total), sealed.sealer.checkpoint.size, NOW_NS) is None
    sealed.close()


def test_nothing_goes_that_is_young_or_not_sealed(sealed: SealedLog) -> None:
    size = sealed.sealer.checkpoint.size
    assert plan(sealed.folder, Rule(keep_ns=10**16), size, NOW_NS) is None
    assert plan(sealed.folder, OLD, 10, NOW_NS) is None
    assert plan(sealed.folder, Rule(), size, NOW_NS) is None
    sealed.close()


def test_segments_that_are_gone_without_a_record_are_found(sealed: SealedLog) -> None:
    found = plan(sealed.folder, OLD, sealed.sealer.checkpoint.size, NOW_NS)
    assert found is not None
    remove(found, sealed.log.payloads)
    sealed.close()
    findings = verified(sealed.folder).findings
    assert any("without a record" in finding.problem for finding in findings)


def test_a_segment_more_than_the_record_says_is_found(sealed: SealedLog) -> None:
    removed(sealed, OLD)
    sealed.fill(600).seal().close()
    first = segment_names(sealed.folder)[0]
    (sealed.folder / "entries" / f"{first:020d}.seg").unlink()
    assert any("without a record" in finding.problem for finding in verified(sealed.folder).findings)


def test_the_hashes_of_what_is_gone_can_not_be_changed(sealed: SealedLog) -> None:
    removed(sealed, OLD)
    sealed.close()
    tile = sealed.folder / "tile" / "0" / "000"
    data = bytearray(tile.read_bytes())
    data[77] ^= 1
    tile.write_bytes(data)
    assert verified(sealed.folder).findings != []


def test_a_crash_in_the_middle_of_a_removal_is_made_up_for_by_the_next(sealed: SealedLog) -> None:
    found = plan(sealed.folder, OLD, sealed.sealer.checkpoint.size, NOW_NS)
    assert found is not None
    sealed.log.append(0, found.record(OLD))
    sealed.seal()
    (sealed.folder / CARRIED).write_bytes(to_bytes(found.carried))
    for path in (*found.payloads, *found.bundles[:1], *found.segments[:1]):
        path.unlink()
    assert_whole(sealed.folder)
    again = removed(sealed, OLD)
    assert again.before == found.before
    sealed.close()
    assert_whole(sealed.folder)
    shutil.rmtree(sealed.folder)


def test_the_first_number_left_begins_the_reading(sealed: SealedLog) -> None:
    found = removed(sealed, OLD)
    sealed.close()
    first = next(Reader(sealed.folder, 3).entries((Cancel,)))
    assert first[0] >= found.before
