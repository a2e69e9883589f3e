"""A writer whose system calls fail on command: strace injects the errors, the log must hold what was promised."""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from faulty_writer import RECIPIENT, STRACE, check, run, torn
from sealed_log import SealedLog

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
