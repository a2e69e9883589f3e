"""The files that executables' paths lead to, as the kernel's map of programs has them.

The kernel knows a program by its inode. An upgrade puts another file at the path, while processes still run the one before: both
stay in the map, the old one until no process runs it. Each is held open meanwhile, so that its inode can't become another file's.
Between the moment that a new file lies at the path and the next `refresh` its processes are not guarded: a workload that must not
have that gap is found by its cgroup.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from ..kernel.errors import KernelError


class ProgramMap(Protocol):
    """The kernel's side; `Redirect` in real life."""

    def set_programs(self, wanted: Mapping[Path, int]) -> None:
        """Guard processes that run these files, and no others. Raises KernelError."""


class Programs:
    """Files by their inode, with the number of the workload that each is filed under."""

    def __init__(self, kernel: ProgramMap, executables: Mapping[str, int]) -> None:
        self._kernel = kernel
        self._paths = executables
        self._held: dict[tuple[int, int], tuple[int, int]] = {}
        self.failure = ""
        """Why the map is not as it should be; empty when it is."""

    def refresh(self) -> None:
        """Look where the paths lead now. O(processes of the host) when a file was replaced."""
        current: set[tuple[int, int]] = set()
        for path, number in self._paths.items():
            try:
                fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:
                continue  # no such program (yet)
            key = _key(os.fstat(fd))
            current.add(key)
            if key in self._held:
                os.close(fd)
            else:
                self._held[key] = (fd, number)
                self._file()
        replaced = self._held.keys() - current
        if replaced:
            self._let_go(replaced - _running())

    def close(self) -> None:
        """Let go of the files. The kernel's map stays as it is."""
        for fd, _ in self._held.values():
            os.close(fd)
        self._held.clear()

    def _let_go(self, keys: set[tuple[int, int]]) -> None:
        fds = [self._held.pop(key)[0] for key in keys]
        if fds:
            self._file()
        for fd in fds:
            os.close(fd)

    def _file(self) -> None:
        try:
            self._kernel.set_programs({Path(f"/proc/self/fd/{fd}"): number for fd, number in self._held.values()})
            self.failure = ""
        except KernelError as error:
            self.failure = str(error)


def _running() -> set[tuple[int, int]]:
    """The programs of all processes."""
    found = set()
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                found.add(_key(os.stat(f"/proc/{name}/exe")))
            except OSError:
                continue
    return found


def _key(facts: os.stat_result) -> tuple[int, int]:
    return facts.st_dev, facts.st_ino
