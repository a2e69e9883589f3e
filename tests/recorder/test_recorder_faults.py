"""A writer whose system calls fail on command: strace injects the errors, the log must hold what was promised."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyrage
import pytest
from sealed_log import SealedLog, assert_whole
from whole_writer import WRITER

from hostguard.recorder.entry import Cancel, DaemonStart, LogRemoved, Operation
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored

STRACE = shutil.which("strace")
pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")

CALLS: dict[str, tuple[str, ...]] = {
    "write": ("EIO", "ENOSPC"),
    "pwrite64": ("EIO", "ENOSPC"),
    "fsync": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "ftruncate": ("EIO",),
    "rename": ("EIO", "ENOSPC"),
    "openat": ("EMFILE", "EIO", "ENOSPC"),
    "mkdir": ("EIO", "ENOSPC"),
    "unlink": ("EIO",),
    "rmdir": ("EIO",),
    "flock": ("ENOLCK",),
    "pread64": ("EIO",),
    "read": ("EIO",),
    "lseek": ("EIO",),
    "newfstatat": ("EIO",),
    "getdents64": ("EIO",),
    "close": ("EIO",),
}
"""What the writer asks of the file system, with errors that it may be given (their man pages)."""
BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
KEEP_BYTES = 100_000
"""Retention's bound: small enough that something goes."""
SHIM = Path(__file__).with_name("short_writes.c")
WRITTEN = {
    ".seg": 50,
    ".partial": 5,
    "/tile/0": 500,
    "/tile/entries": 500,
    "checkpoint": 40,
    "witness": 40,
    "carried": 1,
    "lock": 1,
}
"""Part of the path of each kind of file that the writer writes, with bytes that a short write to it takes."""
PROVOKED = {"pwrite64": "fdatasync"}
"""Calls that are made only after another one has failed."""
OTHERS = {
    *("brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "sched_yield", "restart_syscall", "rt_sigaction"),
    *("getpid", "gettid", "getrandom", "clock_gettime", "clock_nanosleep", "sendto", "recvfrom", "exit_group", "rt_sigreturn"),
    *(
        "fcntl",
        "dup",
        "ioctl",
    ),
}
"""Memory, threads, time, the socket to the test; and what Python asks of open descriptors, such as whether it is a terminal."""

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


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failing_call_takes_nothing_that_was_promised(tmp_path: Path, fault: str) -> None:
    folder = torn(tmp_path / "log")
    # Every other fault meets a writer that encrypts.
    ran = run(folder, fault, recipient=RECIPIENT if FAULTS.index(fault) % 2 else "")
    assert ran.met > 0
    assert ran.failures > 0
    check(folder, ran)


def test_the_table_of_calls_is_complete(tmp_path: Path) -> None:
    """The writer asks nothing of the kernel that is not made to fail here, and everything that is, it asks."""
    plain = run(torn(tmp_path / "log"), "", traced="all", recipient=RECIPIENT)
    check(tmp_path / "log", plain)
    provoking = f"inject={','.join(PROVOKED.values())}:error=EIO:when=4+2"
    made = plain.calls + run(torn(tmp_path / "other"), provoking, traced="all").calls
    assert sorted(set(made) - set(CALLS) - OTHERS) == []
    assert sorted(set(CALLS) - set(made)) == []


def single_fault(call: str, error: str, when: int) -> str:
    """The n-th call fails; for one that is only made after a failure, that one as well."""
    calls = ",".join(filter(None, (PROVOKED.get(call), call)))
    return f"inject={calls}:error={error}:when={when}{'+' if call in PROVOKED else ''}"


@pytest.mark.parametrize("call", CALLS)
def test_each_call_may_fail(tmp_path: Path, call: str) -> None:
    """The first time that it is made, and one in the middle."""
    first = run(torn(tmp_path / "first"), single_fault(call, CALLS[call][0], 1))
    middle = run(
        torn(tmp_path / "middle"), single_fault(call, CALLS[call][-1], max(2, first.calls[call] // 2)), recipient=RECIPIENT
    )
    assert first.met > 0
    check(tmp_path / "first", first)
    check(tmp_path / "middle", middle)


@pytest.mark.parametrize("when", ["1", "5", "12", "3+4"])
@pytest.mark.parametrize("returned", [0, 1, 40, 120])
def test_a_write_that_is_said_to_be_short_takes_nothing_that_was_promised(tmp_path: Path, when: str, returned: int) -> None:
    """The kernel says that it took fewer bytes than it was given, and took none."""
    folder = tmp_path / "log"
    segment = folder / "entries" / f"{0:020d}.seg"
    SealedLog(folder, segment_bytes=1 << 20).close()
    ran = run(folder, f"inject=write:retval={returned}:when={when}", segment_bytes=1 << 20, only=segment)
    assert ran.failures > 0
    check(folder, ran)


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shortens writes."""
    library = tmp_path_factory.mktemp("shim") / "short_writes.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SHIM, "-ldl"], check=True)
    return library


def run_short(shim: Path, folder: Path, match: str, when: str, most: int, recipient: str = "") -> tuple[Ran, int]:
    """One writer of which that write takes so many bytes at most; with how often it happened."""
    met = folder.parent / "met"
    met.unlink(missing_ok=True)
    variables = {
        "LD_PRELOAD": str(shim),
        "SHORT_MATCH": match,
        "SHORT_WHEN": when,
        "SHORT_BYTES": str(most),
        "SHORT_MET": str(met),
    }
    ran = run(folder, "", traced="none", recipient=recipient, environment=variables)
    return ran, met.stat().st_size if met.exists() else 0


# The lock is written once.
@pytest.mark.parametrize(("match", "when"), sorted(set(itertools.product(WRITTEN, ["1", "2", "1+"])) - {("lock", "2")}))
def test_a_short_write_takes_nothing_that_was_promised(tmp_path: Path, shim: Path, match: str, when: str) -> None:
    """Of each kind of file; for real, so that half of it is in the file."""
    folder = torn(tmp_path / "log")
    ran, met = run_short(shim, folder, match, when, WRITTEN[match], RECIPIENT if when == "2" else "")
    assert met > 0
    check(folder, ran)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_any_write_may_be_short(tmp_path: Path, shim: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + BUDGET_S
    runs = met = 0
    while time.monotonic() < until:
        folder = tmp_path / f"log{runs // 20}"
        if not folder.exists():
            torn(folder)
        match, when = chance.choice([*WRITTEN, str(folder)]), f"{1 + int(chance.expovariate(0.1))}{chance.choice(['', '+'])}"
        most = chance.choice([0, 1, 100, 1000]) if "+" not in when else chance.choice([1, 100, 1000])
        print(match, when, most)
        ran, short = run_short(shim, folder, match, when, most, chance.choice(["", RECIPIENT]))
        check(folder, ran)
        runs, met = runs + 1, met + (short > 0)
    print("runs", runs, "short writes met in", met)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_each_call_may_fail_each_time_that_it_is_made(tmp_path: Path) -> None:
    """The whole table: every call, every error, its first, second, third… time, as far as the budget goes."""
    until = time.monotonic() + BUDGET_S
    made = run(torn(tmp_path / "counted"), "", traced="all").calls
    runs = when = 0
    while time.monotonic() < until and when < max(made.values()):
        when += 1
        for call, errors in CALLS.items():
            for error in errors if when <= made[call] or call in PROVOKED else ():
                fault = single_fault(call, error, when)
                print(fault)
                folder = torn(tmp_path / "log")
                check(folder, run(folder, fault))
                shutil.rmtree(folder)
                runs += 1
    print("runs", runs, "of each call the first", when)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_any_call_may_fail_at_any_time(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + BUDGET_S
    runs = met = 0
    while time.monotonic() < until:
        folder = tmp_path / f"log{runs // 20}"
        if not folder.exists():
            torn(folder)
        calls = ",".join(chance.sample(sorted(CALLS), chance.randrange(1, 3)))
        when = chance.choice(["{}", "{}+", "{}+{}"]).format(chance.randrange(1, 60), chance.randrange(1, 9))
        fault = f"inject={calls}:error={chance.choice(['EIO', 'ENOSPC', 'EDQUOT', 'EMFILE', 'EROFS'])}:when={when}"
        print(fault)
        ran = run(folder, fault, recipient=chance.choice(["", RECIPIENT]))
        check(folder, ran)
        runs, met = runs + 1, met + (ran.met > 0)
    print("runs", runs, "faults met in", met)
    shutil.rmtree(tmp_path)
