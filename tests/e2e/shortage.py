"""What a host runs out of, for a guard alone: memory, up to the kernel's own killing for it, or room on the log's disk."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from guarded_cgroups import unique_name

MIB = 1 << 20
SPARE_BYTES = 4 * MIB
"""What is left when memory begins to run short."""
KILL_LIMIT_S = 30
# It takes what is left, a page at a time.
HOG = """
import mmap, sys
with open(sys.argv[1] + "/cgroup.procs", "w") as file: file.write("0")
room = mmap.mmap(-1, int(sys.argv[2]))
for at in range(0, len(room), mmap.PAGESIZE): room[at] = 1
sys.stdin.read()
"""


class Memory:
    """A memory cgroup of the test's own (v1 or v2), in which a daemon is started and may be made to run out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        v1 = (folder / "memory.limit_in_bytes").exists()
        self._limit, self._free = (folder / "memory.limit_in_bytes", "-1") if v1 else (folder / "memory.max", "max")
        self._usage = folder / ("memory.usage_in_bytes" if v1 else "memory.current")
        self._procs = folder / "cgroup.procs"
        self._events = folder / ("memory.oom_control" if v1 else "memory.events")

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that is to run in it."""
        return ("sh", "-c", f'echo $$ > {self.folder}/cgroup.procs && exec "$@"', "sh")

    def kills(self) -> int:
        """How many processes the kernel has killed here for want of memory."""
        lines = self._events.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def emptied(self) -> None:
        """Wait until nothing runs here any more: workers end a moment after their supervisor."""
        deadline = time.monotonic() + KILL_LIMIT_S
        while self._procs.read_text(encoding="ascii"):
            assert time.monotonic() < deadline, "processes outlive the daemon"

    def run_out(self, victim: int) -> None:
        """Have the memory run out; returns once the kernel has killed for it.

        It takes `victim`: one of 1000 counts as large as all that the cgroup may hold, beside what it does hold (proc(5)).
        """
        before = self.kills()
        Path(f"/proc/{victim}/oom_score_adj").write_text("1000", encoding="ascii")
        self._limit.write_text(str(int(self._usage.read_text(encoding="ascii")) + SPARE_BYTES), encoding="ascii")
        hog = subprocess.Popen([sys.executable, "-I", "-c", HOG, self.folder, str(256 * MIB)], stdin=subprocess.PIPE)
        try:
            deadline = time.monotonic() + KILL_LIMIT_S
            while self.kills() == before:
                assert time.monotonic() < deadline, "the kernel killed nobody"
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(f"memory never ran out: {hog.wait(0.02)}")
        finally:
            self._limit.write_text(self._free, encoding="ascii")
            hog.kill()
            hog.communicate()


@contextmanager
def memory() -> Iterator[Memory]:
    """A memory cgroup for the length of a block; what runs in it has to end before."""
    folder = _hierarchy() / unique_name()
    folder.mkdir()
    try:
        yield Memory(folder)
    finally:
        folder.rmdir()


def _hierarchy() -> Path:
    """Where the memory controller is mounted: alone (v1), or in the unified hierarchy with all others (v2)."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, mount, kind, options, *_ = line.split()
        control = Path(mount) / "cgroup.subtree_control"
        if (kind == "cgroup" and "memory" in options.split(",")) or (
            kind == "cgroup2" and "memory" in control.read_text(encoding="ascii").split()
        ):
            return Path(mount)
    pytest.skip("this host has no memory controller to make a cgroup in")


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[None]:
    """A small disk of its own at `folder`, which is made; what uses it has to end before."""
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=700", "hostguard-test", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def full(folder: Path) -> Iterator[Callable[[], None]]:
    """All room of a disk is taken, to the last byte, for the length of a block.

    Yields what takes the room again that became free since, as that of a dead worker's journal does.
    """
    filler = folder / "filler"

    def fill() -> None:
        with filler.open("ab", buffering=0) as file:
            for piece in (1 << 16, 1):
                with suppress(OSError):
                    while file.write(bytes(piece)):
                        continue

    try:
        fill()
        yield fill
    finally:
        filler.unlink()
