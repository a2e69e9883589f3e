"""The programs of real processes, hashed while they run, change, go away."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from hostguard.identity.executable import Hashes, Program
from hostguard.identity.process import process_of


@contextmanager
def running(*command: str | Path) -> Iterator[tuple[int, int]]:
    """Pid and start time of a cat that has said that it runs."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"r")
        process.stdin.flush()
        assert process.stdout.read(1) == b"r"
        found = process_of(process.pid, None)
        assert found is not None
        yield found.pid, found.start_ticks
    finally:
        process.kill()
        process.communicate()


def program_of(pid: int, start_ticks: int) -> Program:
    found = Program.of(pid, start_ticks)
    assert found is not None
    return found


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "cat"
    path.write_bytes(Path("/bin/cat").read_bytes())
    path.chmod(0o755)
    return path


def test_a_running_program_is_hashed_once() -> None:
    hashes = Hashes()
    expected = hashlib.sha256(Path("/bin/cat").read_bytes()).hexdigest()
    with running("/bin/cat") as process, closing(program_of(*process)) as program:
        assert hashes.known(program) is None
        assert hashes.take(program) == expected
        assert program.is_here
    with running("/bin/cat") as process, closing(program_of(*process)) as program:
        assert hashes.known(program) == expected


def test_a_program_whose_path_now_leads_elsewhere_is_still_the_one_that_runs(copy: Path) -> None:
    expected = hashlib.sha256(copy.read_bytes()).hexdigest()
    with running(copy) as process:
        copy.rename(copy.with_name("old"))
        copy.write_bytes(b"another")
        with closing(program_of(*process)) as program:
            assert Hashes().take(program) == expected
            assert program.is_here  # at the path that it has now
    with running(copy.with_name("old")) as process:
        copy.with_name("old").unlink()
        copy.with_name("old").write_bytes(b"another")
        with closing(program_of(*process)) as program:
            assert Hashes().take(program) == expected
            assert not program.is_here


def test_a_file_that_changed_is_hashed_anew(copy: Path) -> None:
    hashes = Hashes()
    with running(copy) as process, closing(program_of(*process)) as program:
        first = hashes.take(program)
    copy.write_bytes(copy.read_bytes() + b"more")
    with running(copy) as process, closing(program_of(*process)) as program:
        assert hashes.known(program) is None
        assert hashes.take(program) == hashlib.sha256(copy.read_bytes()).hexdigest() != first


def test_a_file_that_changes_while_it_is_read_has_no_hash(copy: Path) -> None:
    with closing(Program(os.open(copy, os.O_RDONLY), str(copy))) as program:
        with copy.open("ab") as file:
            file.write(b"more")
        assert program.hash() is None
        assert Hashes().take(program) is None


def test_a_path_in_another_mount_namespace_is_not_ours(copy: Path) -> None:
    """A process that covers a path with its own program shows that path as its executable."""
    other = copy.with_name("other")
    other.write_bytes(copy.read_bytes())
    other.chmod(0o755)
    covered = running("unshare", "--mount", "sh", "-c", f"mount --bind {other} {copy} && exec {copy}")
    with covered as process, closing(program_of(*process)) as program:
        assert program.path == str(copy)
        assert not program.is_here


def test_a_process_that_ended_or_another_one_has_no_program() -> None:
    with running("/bin/cat") as (pid, start_ticks):
        assert Program.of(pid, start_ticks + 1) is None
    assert Program.of(pid, start_ticks) is None
    assert Program.of(2**22 + 1, 0) is None


def test_the_oldest_hash_goes_when_there_are_too_many(tmp_path: Path) -> None:
    hashes = Hashes(max_hashes=2)
    programs = []
    for number in range(3):
        path = tmp_path / str(number)
        path.write_bytes(bytes([number]))
        programs.append(Program(os.open(path, os.O_RDONLY), str(path)))
        hashes.take(programs[-1])
    assert [hashes.known(program) is not None for program in programs] == [False, True, True]
    for program in programs:
        program.close()
