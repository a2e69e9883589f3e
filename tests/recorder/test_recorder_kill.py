"""Writers killed with SIGKILL at random moments."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyrage
import pytest
from sealed_log import SealedLog, assert_whole

from hostguard.recorder.entry import Cancel, Operation, Unknown
from hostguard.recorder.prove import consistency_proof
from hostguard.recorder.reader import Reader
from hostguard.recorder.tree import check_consistency


def targets(folder: Path) -> list[int]:
    """What the log holds: the numbers of its `Cancel` entries."""
    return [entry.target for _, entry in Reader(folder).entries() if isinstance(entry, Cancel)]


WRITER = """
import sys, time
from pathlib import Path
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.seal import Sealer
from hostguard.identity.auditors import Recipients
encrypt = Recipients(sys.argv[3:]).encrypt if sys.argv[3:] else None
log = Log(Path(sys.argv[1]), lambda: (time.time_ns(), time.monotonic_ns()), segment_bytes=20_000, encrypt=encrypt)
sealer = Sealer(Path(sys.argv[1]), Signer("example.com/log", b"s" * 32), log.sync)
number = int(sys.argv[2])
while True:
    log.append(0, Cancel(number), Operation(number, "query", "x" * (70_000 if number % 50 == 0 else number % 200)))
    if number % 7 == 0:
        log.sync()
    if number % 11 == 0:
        sealer.seal()
    number += 1
    print(number, flush=True)
"""


AUDITOR = pyrage.x25519.Identity.generate()


def opened(data: bytes) -> bytes:
    return bytes(pyrage.decrypt(data, [AUDITOR]))


def kill_and_check(folder: Path, chance: random.Random) -> int:
    """One writer, killed at a random moment; returns how many entries there are now. Half of them encrypt payloads."""
    promised = len(targets(folder))
    recipients = chance.choice([[], [str(AUDITOR.to_public())]])
    command = [sys.executable, "-c", WRITER, str(folder), str(promised), *recipients]
    child = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        for _ in range(chance.randrange(1, 300)):
            promised = int(child.stdout.readline())
        for _ in range(chance.randrange(2000)):
            pass
        child.kill()
        child.wait()
    seen = assert_whole(folder)
    sealed = SealedLog(folder).seal()
    position = sealed.log.position
    sealed.close()
    report = assert_whole(folder)
    assert report.sealed == report.entries == position
    if seen.sealed:
        check_consistency(
            seen.sealed, seen.root, report.sealed, report.root, consistency_proof(folder, seen.sealed, report.sealed)
        )
    found = targets(folder)
    assert found == list(range(len(found)))
    assert len(found) >= promised, "an append that had returned is lost"
    reader = Reader(folder, decrypt=opened)
    entries = [entry for _, entry in reader.entries()]
    assert len(entries) == position
    assert not any(isinstance(entry, Unknown) for entry in entries)
    for entry in entries:
        if isinstance(entry, Operation) and not isinstance(entry.text, str):
            assert entry.text is not None
            assert reader.payload(entry.text) is not None
    return position


def test_a_writer_killed_at_any_moment_leaves_all_it_had_appended(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(10):
        kill_and_check(tmp_path / "log", chance)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_writer_killed_again_and_again(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
    runs = 0
    while time.monotonic() < until:
        if kill_and_check(tmp_path / f"log{runs // 50}", chance) == 0:
            raise AssertionError("the writer never began")
        runs += 1
    print("runs", runs)
