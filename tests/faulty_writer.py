"""A writer of a log whose system calls are made to fail, and the check of what it leaves."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyrage
from sealed_log import SealedLog, assert_whole

from hostguard.recorder.entry import Cancel, DaemonStart, LogRemoved, Operation
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored

STRACE = shutil.which("strace")
KEEP_BYTES = 100_000
"""Retention's bound: small enough that something goes."""

# A whole writer: appends, rotation, payloads, seals, witnesses' files, retention. Says what it may say only once it is true. It
# talks by sendto, because the faults hit every write.
WRITER = """
import os, socket, sys, time
from pathlib import Path
from hostguard.recorder.durable import LogUnavailable
from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.packing import LogCorrupt
from hostguard.recorder.retention import Rule, plan, remove
from hostguard.recorder.seal import Sealer, SealFailed
from hostguard.identity.auditors import Recipients
from hostguard.recorder.witnessed import keep
folder, first, segment_bytes, talk = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
encrypt = Recipients(sys.argv[6:]).encrypt if sys.argv[6:] else None
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
def append():
    global number
    try:
        text = f"{number}" + "x" * (70_000 if number % 20 == 0 else 10)
        log.append(0, Cancel(number), Operation(number, "query", text))
        say(f"appended {number}")
        number += 1
    except LogUnavailable as error:
        say(f"failed {error}")
def seal():
    try:
        log.sync()
        sealer.seal()
        say(f"sealed {sealer.checkpoint.size}")
        keep(folder, "w1", (folder / "checkpoint").read_text())
    except (LogUnavailable, SealFailed, OSError) as error:
        say(f"failed {error}")
def retain():
    try:
        log.payloads.watch()
        rule = Rule(keep_bytes=int(sys.argv[5]))
        found = plan(folder, rule, sealer.checkpoint.size, time.time_ns())
        if found:
            position = log.append(0, found.record(rule))
            log.sync()
            sealer.seal()
            if sealer.checkpoint.size >= position:
                remove(found, log.payloads)
    except (LogUnavailable, SealFailed, LogCorrupt, OSError) as error:
        say(f"failed {error}")
for turn in range(5):
    for _ in range(16):
        append()
    seal()
    retain()
try:
    log.close()
except (LogUnavailable, OSError) as error:
    say(f"failed {error}")
os._exit(0)
"""

AUDITOR = pyrage.x25519.Identity.generate()
RECIPIENT = str(AUDITOR.to_public())


@dataclass(frozen=True, slots=True)
class Ran:
    """What a writer said, and what was seen of it."""

    appended: int
    """Last number whose append returned."""
    sealed: int
    failures: int
    """Failures that it told."""
    trace: str
    """strace's, of what was traced."""

    @property
    def met(self) -> int:
        """How many calls were made to fail."""
        return self.trace.count("(INJECTED)")

    @property
    def calls(self) -> Counter[str]:
        """How often each system call was made."""
        return Counter(re.findall(r"^\d+ +(\w+)\(", self.trace, re.MULTILINE))


def run(
    folder: Path,
    fault: str,
    *,
    segment_bytes: int = 4000,
    only: Path | None = None,
    traced: str | None = None,
    recipient: str = "",
    environment: dict[str, str] | None = None,
) -> Ran:
    """One writer that meets the fault. Traced are the calls that it is about (the rest would only cost time), or those given."""
    first = next_number(folder)
    out = folder.parent / "trace"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        arguments = [str(folder), str(first), str(segment_bytes), str(theirs.fileno()), str(KEEP_BYTES)]
        arguments += [recipient] if recipient else []
        variables = os.environ | (environment or {})
        writer = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], pass_fds=[theirs.fileno()], env=variables)
        theirs.close()
        talk = ours.makefile("r")
        assert talk.readline() == "begun\n"
        # Attached only now, so that the faults are met by the recorder and not by Python's own start.
        assert STRACE is not None
        calls = traced or re.sub(r"inject=([^:]*):.*", r"\1", fault)
        paths = [] if only is None else ["-P", str(only)]
        injected = ["-e", fault] if fault else []
        attach: list[str | Path] = [STRACE, "-f", "-p", str(writer.pid), "-o", out, *paths, "-e", f"trace={calls}", *injected]
        tracer = subprocess.Popen(attach, stderr=subprocess.PIPE, text=True)
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        assert "attached" in line, line
        ours.send(b"!")
        words = [line.split(" ", 1) for line in talk]
        assert writer.wait(60) == 0, "the writer met something that it does not expect"
        tracer.communicate(timeout=60)
    said = {what: int(rest) for what, rest in words if what != "failed"}
    failures = sum(what == "failed" for what, _ in words)
    return Ran(said.get("appended", first - 1), said.get("sealed", 0), failures, out.read_text(errors="replace"))


def numbers(folder: Path) -> list[int]:
    return [entry.target for _, entry in Reader(folder).entries() if isinstance(entry, Cancel)] if folder.is_dir() else []


def next_number(folder: Path) -> int:
    return max(numbers(folder), default=-1) + 1


def check(folder: Path, ran: Ran) -> None:
    """Everything promised is there, once, in order; the log verifies as it was left, and goes on."""
    # Verification sees to it that what is gone at the beginning was removed on record.
    assert assert_whole(folder).sealed >= ran.sealed
    reader = Reader(folder, decrypt=lambda data: bytes(pyrage.decrypt(data, [AUDITOR])))
    # A payload goes before the segment of its entry, whose removal may then fail.
    gone = max((entry.before for _, entry in Reader(folder).entries() if isinstance(entry, LogRemoved)), default=0)
    for index, entry in reader.entries():
        if index >= gone and isinstance(entry, Operation) and isinstance(entry.text, Stored):
            assert reader.payload(entry.text) is not None
    before = numbers(folder)
    assert before == list(range(before[0], before[0] + len(before)))
    assert before[-1] >= ran.appended
    log = SealedLog(folder, segment_bytes=4000)
    log.seal()
    position = log.log.position
    log.close()
    report = assert_whole(folder)
    assert report.sealed == report.entries == position
    assert numbers(folder) == before


def torn(folder: Path) -> Path:
    """A sealed log of which retention will find something to remove, with an end that a crash tore."""
    sealed = SealedLog(folder, segment_bytes=4000)
    sealed.log.append(0, DaemonStart("1", 7))
    for number in range(320):
        sealed.log.append(0, Operation(number, "query", "x" * (70_000 if number == 10 else 10)), Cancel(number))
    sealed.seal().close()
    with max((folder / "entries").iterdir()).open("ab") as segment:
        segment.write(b"\x00\x99torn")
    return folder
