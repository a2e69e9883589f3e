"""A writer whose system calls fail on command: strace injects the errors, the log must hold what was promised."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pyrage
import pytest
from sealed_log import SealedLog, assert_whole

from hostguard.recorder.entry import Cancel, Operation, Stored
from hostguard.recorder.reader import Reader

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")

# Says what it may say only once it is true. It talks by sendto, because the faults hit every write.
WRITER = """
import os, socket, sys, time
from pathlib import Path
from hostguard.recorder.durable import LogUnavailable
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.seal import Sealer, SealFailed
from hostguard.identity.auditors import Recipients
folder, first, segment_bytes, talk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
encrypt = Recipients(sys.argv[5:]).encrypt if sys.argv[5:] else None
out = socket.socket(fileno=talk)
def say(text):
    out.send(text.encode() + b"\\n")
say("begun")
out.recv(1)
try:
    log = Log(folder, lambda: (time.time_ns(), time.monotonic_ns()), segment_bytes=segment_bytes, encrypt=encrypt)
    sealer = Sealer(folder, Signer("example.com/log", b"s" * 32), log.sync)
except (LogUnavailable, SealFailed) as error:
    say(f"failed {error}")
    os._exit(0)
number = first
for turn in range(5):
    for _ in range(8):
        try:
            log.append(0, Cancel(number), Operation(number, "query", f"{number}" + "x" * (70_000 if number % 20 == 0 else 10)))
            say(f"appended {number}")
            number += 1
        except LogUnavailable as error:
            say(f"failed {error}")
    try:
        log.sync()
        sealer.seal()
        say(f"sealed {sealer.checkpoint.size}")
    except (LogUnavailable, SealFailed) as error:
        say(f"failed {error}")
os._exit(0)
"""

FAULTS = [
    *(f"inject=write:error={error}:when={when}" for error in ("EIO", "ENOSPC") for when in ("1", "9", "20+7")),
    *(f"inject=fdatasync:error={error}:when={when}" for error in ("EIO", "ENOSPC") for when in ("1", "2+2", "3")),
    *(f"inject=fsync:error=EIO:when={when}" for when in ("1", "6", "4+5", "20+")),
    *(f"inject=rename:error={error}:when={when}" for error in ("EIO", "ENOSPC") for when in ("1", "4", "5+3")),
    *(f"inject=openat:error={error}:when={when}" for error in ("EMFILE", "EIO") for when in ("5", "25", "30+11")),
    "inject=ftruncate,write:error=EIO:when=3+4",
    "inject=pwrite64,fdatasync:error=EIO:when=2+3",
    "inject=mkdir:error=ENOSPC:when=2",
    "inject=?mkdir,?rmdir,?unlink:error=EIO:when=1+2",
]
CALLS = (
    "write",
    "fsync",
    "fdatasync",
    "ftruncate",
    "pwrite64",
    "rename",
    "openat",
    "mkdir",
    "unlink",
    "flock",
    "pread64",
    "read",
)


AUDITOR = pyrage.x25519.Identity.generate()
RECIPIENT = str(AUDITOR.to_public())


def run(
    folder: Path, fault: str, *, segment_bytes: int = 4000, only: Path | None = None, recipient: str = ""
) -> tuple[int, int, int]:
    """One writer that meets the fault; returns the last number whose append returned, the last size sealed, failures told."""
    first = len(numbers(folder))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command: list[str | Path] = [sys.executable, "-c", WRITER, folder, str(first), str(segment_bytes), str(theirs.fileno())]
        command += [recipient] if recipient else []
        writer = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        talk = ours.makefile("r")
        assert talk.readline() == "begun\n"
        # Attached only now, so that the faults are met by the recorder and not by Python's own start.
        assert STRACE is not None
        paths = [] if only is None else ["-P", str(only)]
        attach = [STRACE, "-f", "-p", str(writer.pid), "-o", "/dev/null", *paths, "-e", fault]
        tracer = subprocess.Popen(attach, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        ours.send(b"!")
        words = [line.split(" ", 1) for line in talk]
        assert writer.wait(60) == 0
        tracer.communicate(timeout=60)
    said = {what: int(rest) for what, rest in words if what != "failed"}
    return said.get("appended", first - 1), said.get("sealed", 0), sum(what == "failed" for what, _ in words)


def numbers(folder: Path) -> list[int]:
    return [entry.target for _, entry in Reader(folder).entries() if isinstance(entry, Cancel)] if folder.is_dir() else []


def check(folder: Path, appended: int, sealed: int) -> None:
    """Everything promised is there, once, in order; the log verifies as it was left, and goes on."""
    assert assert_whole(folder).sealed >= sealed
    reader = Reader(folder, decrypt=lambda data: bytes(pyrage.decrypt(data, [AUDITOR])))
    for _, entry in reader.entries():
        if isinstance(entry, Operation) and isinstance(entry.text, Stored):
            assert reader.payload(entry.text) is not None
    before = numbers(folder)
    assert before == list(range(len(before)))
    assert len(before) > appended
    log = SealedLog(folder, segment_bytes=4000)
    log.seal()
    position = log.log.position
    log.close()
    report = assert_whole(folder)
    assert report.sealed == report.entries == position
    assert numbers(folder) == before


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_call_takes_nothing_that_was_promised(tmp_path: Path, fault: str) -> None:
    folder = tmp_path / "log"
    SealedLog(folder, segment_bytes=4000).seal().close()
    # Every other fault meets a writer that encrypts.
    appended, sealed, failures = run(folder, fault, recipient=RECIPIENT if FAULTS.index(fault) % 2 else "")
    assert failures > 0, "the fault was never met"
    check(folder, appended, sealed)


@pytest.mark.parametrize("when", ["1", "5", "12", "3+4"])
@pytest.mark.parametrize("returned", [0, 1, 40, 120])
def test_a_short_write_takes_nothing_that_was_promised(tmp_path: Path, when: str, returned: int) -> None:
    """The kernel says that it took fewer bytes than it was given."""
    folder = tmp_path / "log"
    segment = folder / "entries" / f"{0:020d}.seg"
    SealedLog(folder, segment_bytes=1 << 20).close()
    fault = f"inject=write:retval={returned}:when={when}"
    appended, sealed, failures = run(folder, fault, segment_bytes=1 << 20, only=segment)
    assert failures > 0
    check(folder, appended, sealed)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_any_call_may_fail_at_any_time(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
    runs = met = 0
    while time.monotonic() < until:
        folder = tmp_path / f"log{runs // 20}"
        if not folder.exists():
            SealedLog(folder, segment_bytes=4000).seal().close()
        calls = ",".join(f"?{call}" for call in chance.sample(CALLS, chance.randrange(1, 3)))
        when = chance.choice(["{}", "{}+", "{}+{}"]).format(chance.randrange(1, 60), chance.randrange(1, 9))
        fault = f"inject={calls}:error={chance.choice(['EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'EROFS'])}:when={when}"
        print(fault)
        appended, sealed, failures = run(folder, fault, recipient=chance.choice(["", RECIPIENT]))
        check(folder, appended, sealed)
        runs, met = runs + 1, met + (failures > 0)
    print("runs", runs, "faults met in", met)
    shutil.rmtree(tmp_path)
