"""Children of cgroups, told of when they come or go.

inotify reports a directory that is made or removed in a watched one (fsnotify works on cgroupfs since directories there are
made by mkdir(2)). It is no proof: events come after the fact, and too many at once are dropped. So nothing safe may rest on
them; what is reported is where to look, and `OVERFLOW` says to look everywhere. A cgroup that is removed tells its parent, not
itself.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from inotify_simple import INotify, flags

from .errors import KernelError

_MASK = flags.CREATE | flags.DELETE | flags.ONLYDIR
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Child:
    """A directory that came or went below a watched cgroup; by now it may have gone, or come again."""

    parent: Path
    name: str


OVERFLOW = Child(Path(), "")
"""Events were lost."""


class CgroupWatch:
    """The watched cgroups. `fileno` is readable when `read` has something."""

    def __init__(self) -> None:
        """Raises KernelError."""
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            raise KernelError.of(error, "inotify", "cannot watch cgroups") from error
        self._paths: dict[int, Path] = {}
        self._numbers: dict[Path, int] = {}

    def fileno(self) -> int:
        """For select, poll, an event loop."""
        return int(self._inotify.fileno())

    def __len__(self) -> int:
        return len(self._paths)

    def add(self, path: Path) -> bool:
        """Watch for children of this cgroup from now on; False when it is gone. Raises KernelError (ENOSPC: too many watches)."""
        try:
            number = self._inotify.add_watch(path, _MASK)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENODEV):
                return False
            raise KernelError.of(error, str(path), "cannot be watched") from error
        # A cgroup that was removed and made again is another inode, so another number.
        earlier = self._numbers.get(path, number)
        if earlier != number:
            self._forget(earlier)
        self._paths[number], self._numbers[path] = path, number
        return True

    def remove(self, path: Path) -> None:
        """Watch no longer; fine for one that isn't watched."""
        number = self._numbers.pop(path, None)
        if number is not None:
            self._forget(number)

    def read(self) -> Iterator[Child]:
        """What has happened since the last call, in order; nothing if nothing has. Raises KernelError."""
        try:
            events = self._inotify.read(timeout=0)
        except OSError as error:
            raise KernelError.of(error, "inotify", "cannot be read") from error
        for event in events:
            if event.mask & flags.Q_OVERFLOW:
                yield OVERFLOW
            elif event.wd in self._paths and not event.mask & flags.IGNORED:
                yield Child(self._paths[event.wd], event.name)

    def close(self) -> None:
        """Watch nothing any more."""
        self._inotify.close()

    def _forget(self, number: int) -> None:
        self._paths.pop(number, None)
        try:
            self._inotify.rm_watch(number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # its directory is gone, the watch with it
                raise KernelError.of(error, "inotify", "cannot end a watch") from error


def child_names(path: Path) -> list[str]:
    """Names of the cgroups directly below one; empty when it is gone. Raises KernelError."""
    try:
        with os.scandir(path) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENOTDIR):
            return []
        raise KernelError.of(error, str(path), "cannot list the cgroups in it") from error
