"""Sealing: what is there after each step, what a failing disk leaves, what opening does with it."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sealed_log import SIGNER, SealedLog, assert_whole, verified

from hostguard.recorder.checkpoint import Checkpoint, open_checkpoint
from hostguard.recorder.note import Signer
from hostguard.recorder.packing import LogCorrupt
from hostguard.recorder.prove import check_proof, consistency_proof, prove, root_at
from hostguard.recorder.raw import Cursor, leaf_hashes
from hostguard.recorder.seal import MAX_ENTRIES, STEPS, Sealer, SealFailed
from hostguard.recorder.tiles import Tile, bundle_path, partial_tiles
from hostguard.recorder.tree import BadProof, check_consistency, root_of
from hostguard.recorder.treefiles import CHECKPOINT, TreeSyscalls, tree_file_paths


def published(folder: Path) -> Checkpoint:
    return open_checkpoint((folder / CHECKPOINT).read_text(encoding="utf-8"), SIGNER.verifier)[0]


def leaves(folder: Path) -> list[bytes]:
    """The leaf hashes of all entries, by reading them."""
    cursor, found = Cursor(folder), []
    while frames := cursor.read(1 << 60):
        found += leaf_hashes(frames)
    return found


def test_a_sealed_log_is_the_static_files_of_the_specification(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(699).seal()
    assert published(tmp_path) == sealed.sealer.checkpoint == Checkpoint(SIGNER.name, 700, root_of(leaves(tmp_path)))
    expected = [Tile(0, 0, 256).path, Tile(0, 1, 256).path, bundle_path(0), bundle_path(1), bundle_path(2, 188)]
    assert tree_file_paths(tmp_path) == sorted([*expected, *(tile.path for tile in partial_tiles(700))])
    segments = b"".join(path.read_bytes() for path in sorted((tmp_path / "entries").iterdir()))
    bundles = b"".join((tmp_path / path).read_bytes() for path in (bundle_path(0), bundle_path(1), bundle_path(2, 188)))
    assert bundles == segments
    sealed.close()
    assert_whole(tmp_path)


def test_a_seal_of_nothing_new_writes_nothing(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(3).seal()
    before = (tmp_path / CHECKPOINT).stat()
    sealed.seal().close()
    assert (tmp_path / CHECKPOINT).stat() == before


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), min_size=1, max_size=6))
def test_seals_of_any_sizes_agree_with_each_other(tmp_path: Path, steps: list[tuple[int, bool]]) -> None:
    folder = tmp_path / "log"
    shutil.rmtree(folder, ignore_errors=True)
    sealed, heads = SealedLog(folder), []
    for count, reopen in steps:
        sealed.fill(count).seal()
        heads.append(sealed.sealer.checkpoint)
        if reopen:
            sealed.close()
            sealed = SealedLog(folder)
    sealed.close()
    assert assert_whole(folder).sealed == heads[-1].size
    for head in heads:
        assert root_at(folder, head.size) == head.root
        proof = consistency_proof(folder, head.size, heads[-1].size)
        check_consistency(head.size, head.root, heads[-1].size, heads[-1].root, proof)


@pytest.mark.parametrize("count", [5, 255, 256, 600])
@pytest.mark.parametrize("steps", range(len(STEPS) + 1))
def test_a_crash_after_any_step_leaves_a_log_that_verifies_and_seals_on(tmp_path: Path, steps: int, count: int) -> None:
    sealed = SealedLog(tmp_path).fill(299).seal().fill(count)
    before = published(tmp_path)
    work = sealed.sealer._begin(sealed.log.sync())
    for step in STEPS[:steps]:
        step(sealed.sealer, work)
    sealed.close()
    assert assert_whole(tmp_path).sealed == (300 + count if steps > STEPS.index(Sealer._publish) else 300)
    sealed = SealedLog(tmp_path).fill(7).seal()
    sealed.close()
    report = assert_whole(tmp_path)
    assert report.sealed == report.entries == 307 + count
    proof = consistency_proof(tmp_path, before.size, report.sealed)
    check_consistency(before.size, before.root, report.sealed, report.root, proof)


def test_what_an_unfinished_seal_left_is_not_trusted(tmp_path: Path) -> None:
    """After a power cut, files that were not synced may hold anything."""
    sealed = SealedLog(tmp_path).fill(299).seal().fill(600)
    work = sealed.sealer._begin(sealed.log.sync())
    for step in STEPS[:2]:
        step(sealed.sealer, work)
    sealed.close()
    known = {tile.path for tile in partial_tiles(300)} | {bundle_path(1, 44), bundle_path(0), Tile(0, 0, 256).path}
    for path in set(tree_file_paths(tmp_path)) - known:
        (tmp_path / path).write_bytes(b"")
    assert_whole(tmp_path)
    SealedLog(tmp_path).fill(1).seal().close()
    assert assert_whole(tmp_path).sealed == 901
    assert all((tmp_path / path).stat().st_size for path in tree_file_paths(tmp_path))


T = TypeVar("T")


class Disk:
    """A disk on which the n-th call of one kind fails, before or after it had its effect."""

    def __init__(self) -> None:
        self.call = ""
        self.countdown = 0
        self.lost = True
        self.calls: list[str] = []

    def syscalls(self) -> TreeSyscalls:
        return TreeSyscalls(
            write=lambda descriptor, data: self._do("write", lambda: os.write(descriptor, data)),
            fsync=lambda descriptor: self._do("fsync", lambda: os.fsync(descriptor)),
            rename=lambda old, new: self._do("rename", lambda: os.rename(old, new)),
        )

    def _do(self, name: str, call: Callable[[], T]) -> T:
        self.calls.append(name)
        fails = False
        if name == self.call:
            self.countdown -= 1
            fails = self.countdown == 0
        if not fails:
            return call()
        if not self.lost:
            call()
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def calls_of_one_seal(tmp_path: Path) -> list[str]:
    disk = Disk()
    sealed = SealedLog(tmp_path, syscalls=disk.syscalls()).fill(299).seal()
    disk.calls.clear()
    sealed.fill(300).seal().close()
    return disk.calls


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "persisted"])
def test_every_call_that_fails_fails_one_seal_and_the_next_one_makes_up_for_it(tmp_path: Path, lost: bool) -> None:
    calls = calls_of_one_seal(tmp_path / "counting")
    assert {"write", "fsync", "rename"} == set(calls)
    for name in ("write", "fsync", "rename"):
        for number in range(1, calls.count(name) + 1):
            folder, disk = tmp_path / f"{name}{number}", Disk()
            sealed = SealedLog(folder, syscalls=disk.syscalls()).fill(299).seal().fill(300)
            disk.call, disk.countdown, disk.lost = name, number, lost
            with pytest.raises(SealFailed, match="Input/output"):
                sealed.seal()
            before = assert_whole(folder)
            assert before.sealed in (300, 600)
            sealed.fill(2).seal().close()
            report = assert_whole(folder)
            assert report.sealed == 602
            SealedLog(folder).close()


def test_a_short_write_is_continued(tmp_path: Path) -> None:
    syscalls = TreeSyscalls(write=lambda descriptor, data: os.write(descriptor, data[:7]))
    SealedLog(tmp_path, syscalls=syscalls).fill(20).seal().close()
    assert assert_whole(tmp_path).sealed == 21


def test_lost_tiles_are_made_again_from_the_segments(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(699).seal()
    before = {path: (tmp_path / path).read_bytes() for path in tree_file_paths(tmp_path)}
    sealed.close()
    shutil.rmtree(tmp_path / "tile")
    assert verified(tmp_path).findings != []
    SealedLog(tmp_path).close()
    assert {path: (tmp_path / path).read_bytes() for path in tree_file_paths(tmp_path)} == before
    assert_whole(tmp_path)


def test_an_old_log_is_sealed_piece_by_piece(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path, segment_bytes=1 << 20)
    count = MAX_ENTRIES + 300
    for number in range(0, count, 50):
        sealed.fill(50 if number % 100 else 49)
    sealed.seal().close()
    assert assert_whole(tmp_path).sealed == sealed.log.position


def test_a_shortened_log_is_not_sealed_over(tmp_path: Path) -> None:
    SealedLog(tmp_path, segment_bytes=1 << 20).fill(20).seal().close()
    (segment,) = (tmp_path / "entries").iterdir()
    cut = Cursor(tmp_path).read(15)
    segment.write_bytes(b"".join(cut))
    with pytest.raises(LogCorrupt, match="15 entries, expected 21"):
        SealedLog(tmp_path)


def test_a_rewritten_past_is_not_sealed_over(tmp_path: Path) -> None:
    SealedLog(tmp_path).fill(300).seal().close()
    other = tmp_path / "other"
    SealedLog(other).fill(301).close()
    shutil.rmtree(tmp_path / "entries")
    (other / "entries").rename(tmp_path / "entries")
    for path in (tmp_path / "entries").iterdir():
        path.write_bytes(path.read_bytes())
    # The same entries: nothing has changed, and nothing is said.
    SealedLog(tmp_path).close()
    first = min((tmp_path / "entries").iterdir())
    data = bytearray(first.read_bytes())
    data[100] ^= 1
    first.write_bytes(data)
    SealedLog(tmp_path).close()
    shutil.rmtree(tmp_path / "tile")
    with pytest.raises(LogCorrupt, match="not those that were sealed"):
        SealedLog(tmp_path)


def test_a_checkpoint_of_another_key_is_not_taken_over(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(3).seal()
    with pytest.raises(LogCorrupt, match="not signed by"):
        Sealer(tmp_path, Signer("example.com/log", b"t" * 32), sealed.log.sync)
    sealed.close()


def test_entries_that_are_not_durable_are_not_sealed(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(3)
    durable = sealed.log.sync()
    sealed.fill(2)
    sealer = Sealer(tmp_path, SIGNER, lambda: durable)
    assert sealer.seal().size == durable == 4
    assert sealer.seal().size == 4
    sealed.close()


def test_every_entry_can_be_proven_and_no_proof_fits_another(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(299).seal()
    head, note = published(tmp_path), (tmp_path / CHECKPOINT).read_text(encoding="utf-8")
    frames = []
    cursor = Cursor(tmp_path)
    while found := cursor.read(1 << 60):
        frames += found
    for index in range(300):
        proven = check_proof(prove(tmp_path, index, head, note), SIGNER.verifier)
        assert (proven.index, proven.entry, proven.checkpoint) == (index, frames[index][2:], head)
    text = prove(tmp_path, 7, head, note)
    with pytest.raises(BadProof):
        check_proof(text.replace("index 7", "index 8"), SIGNER.verifier)
    sealed.fill(1)
    with pytest.raises(ValueError, match="not under a checkpoint"):
        prove(tmp_path, 300, head, note)
    sealed.close()
