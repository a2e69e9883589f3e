"""Real processes, looked at while they live, die and hand on their pids."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostguard.identity.process import MAX_ANCESTORS, MAX_CMDLINE_BYTES, Process, Seen, process_of

SEEN = Seen("python", 1001, 1002, "/agents/x")


@contextlib.contextmanager
def running(*command: str | bytes, **options: object) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has said that it runs (a byte on stdout), and lives until the block ends or its stdin does."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)  # type: ignore[call-overload]
    try:
        assert process.stdout.read(1) == b"r"
        yield process
    finally:
        process.kill()
        process.communicate()


PROGRAM = "import sys; print(end='r', flush=True); sys.stdin.read()"


def look(pid: int) -> Process:
    found = process_of(pid, None)
    assert found is not None
    return found


def test_a_process_is_described() -> None:
    with running(sys.executable, "-c", PROGRAM, "--flag", "") as child:
        found = look(child.pid)
        assert found.pid == child.pid
        assert found.exe == os.path.realpath(sys.executable)
        assert found.cmdline == (sys.executable, "-c", PROGRAM, "--flag", "")
        assert (found.uid, found.gid, found.ppid) == (os.getuid(), os.getgid(), os.getpid())
        assert found.comm == Path(sys.executable).name
        assert (found.gone, found.cmdline_cut) == (False, False)
        assert found.ancestors[0].pid == os.getpid()
        assert found.ancestors[0].exe == found.exe
        assert found.ancestors[-1].pid == 1 or len(found.ancestors) == MAX_ANCESTORS
        lines = Path(f"/proc/{child.pid}/cgroup").read_text().splitlines()
        assert found.cgroup == next(line[3:] for line in lines if line.startswith("0::"))
        assert process_of(child.pid, found.start_ticks, SEEN) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="runs a process as another user")
def test_the_real_user_and_group_are_told() -> None:
    with running("/usr/bin/python3", "-c", PROGRAM, user=65534, group=65534, extra_groups=[]) as child:
        assert (look(child.pid).uid, look(child.pid).gid) == (65534, 65534)


def test_a_pid_that_came_again_is_not_taken_for_the_one_before() -> None:
    with running(sys.executable, "-c", PROGRAM) as child:
        ticks = look(child.pid).start_ticks
        assert process_of(child.pid, ticks - 1) is None
        gone = process_of(child.pid, ticks - 1, SEEN)
        assert gone == Process(child.pid, ticks - 1, 1001, 1002, "python", cgroup="/agents/x", gone=True)


def test_a_process_that_has_ended_is_what_the_kernel_saw() -> None:
    with running(sys.executable, "-c", PROGRAM) as child:
        ticks = look(child.pid).start_ticks
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        zombie = process_of(child.pid, ticks, SEEN)
        assert zombie is not None
        assert (zombie.gone, zombie.cgroup) == (True, "/agents/x")
        child.wait()
        assert process_of(child.pid, ticks, SEEN) == zombie
        assert process_of(child.pid, ticks) is None


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**70])
def test_a_pid_that_nobody_can_have_is_gone(pid: int) -> None:
    assert process_of(pid, 1) is None
    assert process_of(pid, 1, SEEN) is not None


def test_a_kernel_thread_has_neither_program_nor_arguments() -> None:
    if Path("/proc/2/comm").read_text() != "kthreadd\n":
        pytest.skip("no kernel threads in this pid namespace")
    found = look(2)
    assert (found.comm, found.exe, found.cmdline, found.ancestors) == ("kthreadd", "", (), ())


def test_a_name_with_parentheses_and_spaces_does_not_shift_the_fields() -> None:
    name = ") S 1 1 (x"
    program = f"open('/proc/self/comm', 'w').write({name!r}); {PROGRAM}"
    with running(sys.executable, "-c", program) as child:
        found = look(child.pid)
        assert (found.comm, found.ppid) == (name, os.getpid())


def test_arguments_that_are_no_text_or_too_many_are_escaped_and_cut() -> None:
    with running(sys.executable, "-c", PROGRAM, b"\xff\x1b", "y" * 10_000) as child:
        found = look(child.pid)
        assert found.cmdline[3] == "\\xff\x1b"
        assert found.cmdline_cut
        assert sum(len(word.replace("\\xff", "?")) + 1 for word in found.cmdline) == MAX_CMDLINE_BYTES + 1
        "".join(found.cmdline).encode()


def test_a_program_whose_file_is_gone_says_so(tmp_path: Path) -> None:
    copy = tmp_path / "cat"
    copy.write_bytes(Path("/bin/cat").read_bytes())
    copy.chmod(0o755)
    process = subprocess.Popen([copy], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"r")
        process.stdin.flush()
        assert process.stdout.read(1) == b"r"
        copy.unlink()
        assert look(process.pid).exe == f"{copy} (deleted)"
    finally:
        process.kill()
        process.communicate()


def test_more_parents_than_the_limit_are_left_out() -> None:
    nest = """
import os, sys
for _ in range(20):
    if os.fork():
        os.wait()
        os._exit(0)
print(os.getpid(), flush=True)
sys.stdin.read()
"""
    process = subprocess.Popen([sys.executable, "-c", nest], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        deepest = int(process.stdout.readline())
        found = look(deepest)
        assert len(found.ancestors) == MAX_ANCESTORS
        assert found.ancestors[0].pid == found.ppid
    finally:
        process.communicate()


def test_processes_that_die_while_they_are_looked_at_are_whole_or_gone() -> None:
    """A hundred that end by themselves at about the moment of looking: never an exception, never half a process."""
    outcomes = set()
    for _ in range(100):
        child = subprocess.Popen(["/bin/true"])
        try:
            for _ in range(20):
                found = process_of(child.pid, None, SEEN)
                assert found is not None
                outcomes.add(found.gone)
                assert found.gone or (found.exe and found.uid == os.getuid())
                if found.gone:
                    break
        finally:
            child.wait()
    assert True in outcomes


def test_no_descriptor_is_left_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for pid in (os.getpid(), 1, 2, 2**22 + 1):
        process_of(pid, None)
        process_of(pid, 1)
    assert len(os.listdir("/proc/self/fd")) == before
