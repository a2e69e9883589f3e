"""Verification: every change to a sealed log is found, and nothing is found in one that is whole."""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sealed_log import SIGNER, SealedLog, assert_whole, verified

from hostguard.recorder.checkpoint import Checkpoint, cosigned_message, open_checkpoint
from hostguard.recorder.findings import Head
from hostguard.recorder.frames import frames
from hostguard.recorder.handover import Keys
from hostguard.recorder.note import COSIGNATURE, BadNote, Note, Signature, Signer, Verifier
from hostguard.recorder.prove import root_at
from hostguard.recorder.treefiles import CHECKPOINT, TreeFiles
from hostguard.recorder.verify import verify
from hostguard.recorder.witnessed import kept


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed log of several segments, tiles of three levels, payloads."""
    folder = tmp_path_factory.mktemp("sealed") / "log"
    SealedLog(folder).fill(300).seal().fill(420).seal().close()
    kinds = {str(path.relative_to(folder)).partition("/")[0] for path in sealed_files(folder)}
    # All that there is, but what witnesses have and hand-overs of the key: those have tests of their own.
    assert kinds == {"checkpoint", "entries", "payloads", "tile"}
    assert list(folder.glob("tile/entries/*.p/*"))
    return folder


def sealed_files(folder: Path) -> list[Path]:
    """All files but the lock, which is no part of the record."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")


Mutation = Callable[[bytes, random.Random], bytes]


def flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def truncate(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data))]


def drop(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.randrange(1, 100) :]


def repeat(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[: at + 1] + data[at:]


def append(data: bytes, chance: random.Random) -> bytes:
    return data + chance.randbytes(chance.randrange(1, 50))


def swap(data: bytes, chance: random.Random) -> bytes:
    half = chance.randrange(1, len(data))
    return data[half:] + data[:half]


MUTATIONS: tuple[Mutation, ...] = (flip, truncate, drop, repeat, append, swap)


def found_after(path: Path, data: bytes, folder: Path) -> bool:
    """Whether verification sees that the file has these bytes instead of its own."""
    before = path.read_bytes()
    if data == before:
        return True
    path.write_bytes(data)
    try:
        report = verified(folder)
        # What is behind the last entry is no part of the sealed log; it is told apart, and the next daemon cuts it.
        return report.findings != [] or report.torn > 0
    finally:
        path.write_bytes(before)


def mutations(folder: Path, chance: random.Random) -> Iterator[tuple[Path, str, bytes]]:
    """Files of the log, each with some change."""
    while True:
        path = chance.choice(sealed_files(folder))
        mutation = chance.choice(MUTATIONS)
        yield path, mutation.__name__, mutation(path.read_bytes(), chance)


def test_a_whole_log_verifies(original: Path) -> None:
    report = assert_whole(original)
    assert (report.entries, report.sealed, report.payloads) == (721, 721, 7)


def test_every_kind_of_change_in_every_file_is_found(original: Path) -> None:
    chance = random.Random(7)
    missed = [
        (path.name, mutation.__name__)
        for path in sealed_files(original)
        for mutation in MUTATIONS
        if not found_after(path, mutation(path.read_bytes(), chance), original)
    ]
    assert missed == []


def test_every_file_that_is_gone_is_found(original: Path) -> None:
    for path in sealed_files(original):
        if path.parent.name.endswith(".p") and int(path.name) < max(int(other.name) for other in path.parent.iterdir()):
            continue  # A wider one has its hashes.
        data = path.read_bytes()
        path.unlink()
        try:
            assert verified(original).findings != [], path
        finally:
            path.write_bytes(data)


def test_every_byte_of_what_a_witness_has_matters(tmp_path: Path) -> None:
    """What is kept of a witness is read with its key and compared with the log: a change of either signature or of the head."""
    sealed = SealedLog(tmp_path).fill(30).seal()
    sealed.close()
    text, now_s = sealed.sealer.checkpoint.text(), 1_700_000_000
    key = Ed25519PrivateKey.from_private_bytes(b"w" * 32)
    witness = Verifier("witness.example/w1", COSIGNATURE, key.public_key().public_bytes_raw())
    signature = now_s.to_bytes(8) + key.sign(cosigned_message(text, now_s))
    note = Note(text, (*SIGNER.sign(text).signatures, Signature(witness.name, witness.key_id, signature)))
    data = str(note).encode()
    keys = Keys(SIGNER.verifier)

    def is_found(changed: bytes) -> bool:
        TreeFiles(tmp_path).replace("witness/w1", changed)
        try:
            found = kept(tmp_path, "w1", keys, str(witness))
        except BadNote:
            return True
        assert found is not None
        return verify(tmp_path, SIGNER.verifier, [Head("witness w1", found.checkpoint)]).findings != []

    assert not is_found(data)
    for at in range(len(data)):
        assert is_found(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]), at
        assert is_found(data[:at]), at
    for mutation in MUTATIONS:
        assert is_found(mutation(data, random.Random(3))), mutation.__name__


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_no_change_at_random_goes_unseen(original: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    until = time.monotonic() + float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
    count = 0
    for path, name, data in mutations(original, random.Random(seed)):
        assert found_after(path, data, original), (path, name)
        count += 1
        if time.monotonic() > until:
            break
    print("mutations", count)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_every_byte_of_a_small_log_matters(tmp_path: Path) -> None:
    SealedLog(tmp_path, segment_bytes=1500).fill(30).seal().close()
    until = time.monotonic() + float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
    for path in sealed_files(tmp_path):
        data = path.read_bytes()
        for at in range(len(data)):
            assert found_after(path, data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :], tmp_path), (path, at)
            if time.monotonic() > until:
                return


def test_an_entry_rewritten_with_a_right_crc_is_named(tmp_path: Path) -> None:
    """What somebody with root can do: the log still opens and reads, but it is not what was sealed."""
    SealedLog(tmp_path / "log", segment_bytes=1 << 20).fill(40).seal().close()
    SealedLog(tmp_path / "other", segment_bytes=1 << 20).fill(41).close()
    ours, theirs = (next((tmp_path / name / "entries").iterdir()) for name in ("log", "other"))
    data, other = ours.read_bytes(), theirs.read_bytes()
    begin, end = list(frames(data))[17]
    start, stop = list(frames(other))[18]
    assert end - begin == stop - start
    ours.write_bytes(data[:begin] + other[start:stop] + data[end:])
    findings = verified(tmp_path / "log").findings
    assert findings[0].place == "entry 17"
    assert findings[0].expected != findings[0].found
    assert any("another root" in finding.problem for finding in findings)


def test_two_entries_in_another_order_are_named(tmp_path: Path) -> None:
    SealedLog(tmp_path, segment_bytes=1 << 20).fill(40).seal().close()
    (segment,) = (tmp_path / "entries").iterdir()
    data = segment.read_bytes()
    bounds = list(frames(data))
    (a, b), (c, d) = bounds[10], bounds[11]
    segment.write_bytes(data[: a - 2] + data[c - 2 : d] + data[a - 2 : b] + data[d:])
    assert verified(tmp_path).findings[0].place == "entry 10"


def test_a_log_shortened_with_its_tiles_and_an_old_checkpoint_contradicts_whoever_saw_the_newer_one(tmp_path: Path) -> None:
    """Rolled back to an earlier state as a whole, the folder is right in itself: only others can tell."""
    SealedLog(tmp_path / "log").fill(100).seal().close()
    shutil.copytree(tmp_path / "log", tmp_path / "old")
    sealed = SealedLog(tmp_path / "log").fill(100).seal()
    sealed.close()
    assert verified(tmp_path / "old").findings == []
    head = Head("witness w1", sealed.sealer.checkpoint)
    (finding,) = verify(tmp_path / "old", SIGNER.verifier, heads=[head]).findings
    assert (finding.place, "witness w1" in finding.problem) == ("entry 101", True)


def test_a_rewritten_log_signed_by_the_right_key_contradicts_whoever_saw_the_other(tmp_path: Path) -> None:
    """Root can take the key as well and make another past: its heads contradict those that others have."""
    sealed = SealedLog(tmp_path / "log").fill(100).seal()
    sealed.close()
    forged = SealedLog(tmp_path / "forged")
    forged.fill(49).log.append(0)
    forged.fill(60).seal().close()
    assert verified(tmp_path / "forged").findings == []
    other = Checkpoint(SIGNER.name, 101, sealed.sealer.checkpoint.root[:-1] + b"!")
    (finding,) = verify(tmp_path / "forged", SIGNER.verifier, heads=[Head("witness w1", other)]).findings
    assert "witness w1" in finding.problem
    assert finding.expected == other.root.hex()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 512, 700, 721])
def test_a_verification_from_a_remembered_checkpoint_reads_what_came_after(original: Path, size: int) -> None:
    start = Checkpoint(SIGNER.name, size, root_at(original, size))
    report = verify(original, SIGNER.verifier, start=start)
    assert report.findings == []
    assert report.begun_at == size // 256 * 256
    wrong = Checkpoint(SIGNER.name, size, bytes(32))
    assert verify(original, SIGNER.verifier, start=wrong).findings != []


def test_a_tail_that_is_not_sealed_is_told_apart(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path).fill(299).seal().fill(30)
    report = assert_whole(tmp_path)
    assert (report.sealed, report.entries) == (300, 330)
    sealed.close()
    last = max((tmp_path / "entries").iterdir())
    data = last.read_bytes()
    last.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    (finding,) = verified(tmp_path).findings
    assert finding.place == "entry 329"
    assert "not sealed" in finding.problem


def test_a_log_under_another_key_is_not_ours(original: Path) -> None:
    findings = verify(original, Signer("example.com/log", b"t" * 32).verifier).findings
    assert findings[0].place == CHECKPOINT
    assert "not signed by" in findings[0].problem


def test_a_log_without_anything_verifies(tmp_path: Path) -> None:
    SealedLog(tmp_path).close()
    assert assert_whole(tmp_path).entries == 1


def test_the_published_checkpoint_opens_with_the_public_key(original: Path) -> None:
    text = (original / CHECKPOINT).read_text(encoding="utf-8")
    assert open_checkpoint(text, SIGNER.verifier)[0].size == 721


def test_progress_is_told(original: Path) -> None:
    told: list[int] = []
    verify(original, SIGNER.verifier, progress=told.append)
    assert told == [256, 512, 721]


def test_a_log_that_is_sealed_meanwhile_verifies_all_the_time(tmp_path: Path) -> None:
    sealed = SealedLog(tmp_path, segment_bytes=1 << 20).fill(200).seal()
    done = threading.Event()

    def work() -> None:
        for _ in range(120):
            sealed.fill(17).seal()
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    reports = []
    while not done.is_set():
        reports.append(verified(tmp_path))
    worker.join()
    sealed.close()
    assert [report.findings for report in reports if report.findings] == []
    assert len({report.sealed for report in reports}) > 3
