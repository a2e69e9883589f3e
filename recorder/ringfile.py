"""The files of one journal, as the log writer holds them.

    journals/<20 digits>.ring    the ring (``ring.c``), written by the worker; the name is the index of its ``journal.open``
    journals/<20 digits>.read    how far it was taken into the log, written by the log writer alone

The worker may write anything into the first, or shorten it. So it is read here by `pread`, which returns fewer bytes then, and
never mapped. The second is not the worker's to touch: see `leftover` for what it is good for.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

from ._ring_cffi import ffi, lib

PAGE = 4096
MAGIC = b"hgring1\n"
_HEADER = struct.Struct("<8sQQ40xQ")
_MARK = struct.Struct("<QQI")


class JournalBusy(Exception):
    """A process of an earlier run still holds its journal: it could append more after the journal was taken into the log."""


class RingFile:
    """One journal's files, open."""

    def __init__(self, folder: Path, number: int) -> None:
        """Open what is there. Raises OSError."""
        self.number = number
        self.path = ring_path(folder, number)
        self._ring = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._mark = os.open(self.path.with_suffix(".read"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            os.close(self._ring)
            raise

    @classmethod
    def create(cls, folder: Path, number: int, size: int) -> RingFile:
        """Make a journal of `size` bytes, all of them on the disk, so that a full one is met here. Raises OSError."""
        path = ring_path(folder, number)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, PAGE + size)
            # A crash up to here: a file without a header, which no worker has seen.
            os.pwrite(descriptor, _HEADER.pack(MAGIC, number, size, 0), 0)
            ring = cls(folder, number)
        except OSError:
            path.unlink()
            raise
        finally:
            os.close(descriptor)
        ring.mark(0, number)
        return ring

    def size(self) -> int:
        """How many bytes the ring holds; 0 for a file that is no journal of this number."""
        header = os.pread(self._ring, _HEADER.size, 0)
        if len(header) < _HEADER.size:
            return 0
        magic, number, size, _ = _HEADER.unpack(header)
        return int(size) if (magic, number) == (MAGIC, self.number) and size and size % PAGE == 0 else 0

    def written(self) -> int:
        """How far the worker says it wrote; for a journal whose worker is gone."""
        return int(_HEADER.unpack(os.pread(self._ring, _HEADER.size, 0).ljust(_HEADER.size, b"\0"))[3])

    def read(self, position: int, length: int, size: int) -> bytes:
        """A copy of the ring's bytes from `position` on; `size` is the ring's. Fewer when the file was shortened."""
        at = position % size
        first = os.pread(self._ring, min(length, size - at), PAGE + at)
        if len(first) == length or at + len(first) < size:
            return first
        return first + os.pread(self._ring, length - len(first), PAGE)

    def mark(self, position: int, entry: int) -> None:
        """All before `position` is in the log before its entry `entry`. Raises OSError."""
        data = struct.pack("<QQ", position, entry)
        os.pwrite(self._mark, data + struct.pack("<I", crc32(data)), 0)

    def marked(self) -> tuple[int, int]:
        """What was marked last; the journal's beginning if nothing was, or a power cut left nonsense."""
        data = os.pread(self._mark, _MARK.size, 0)
        if len(data) < _MARK.size or crc32(data[:16]) != _MARK.unpack(data)[2]:
            return 0, self.number
        return int(_MARK.unpack(data)[0]), int(_MARK.unpack(data)[1])

    def for_worker(self) -> int:
        """A descriptor of the ring for the worker. It carries a lock that goes when the last process that has it ends."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return descriptor

    def claim(self) -> None:
        """Make sure that no worker has the ring any more. Raises JournalBusy."""
        try:
            fcntl.flock(self._ring, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalBusy(f"a worker of an earlier run still holds {self.path}; end it first") from None

    def close(self) -> None:
        os.close(self._ring)
        os.close(self._mark)

    def remove(self) -> None:
        """Close, and remove the files; the ring first, so that what a crash leaves in between is never taken for a journal."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.path.with_suffix(".read").unlink(missing_ok=True)


class ControlPage:
    """The words that both sides share while they live (``ring.c``): a memfd that nobody can resize."""

    def __init__(self, descriptor: int | None = None) -> None:
        """Make one, or take over the one that an earlier `ControlPage` made, which also holds what it said last."""
        self.descriptor = _sealed_page() if descriptor is None else descriptor
        self._page: Any = lib.hg_control(self.descriptor)
        if self._page == ffi.NULL:
            os.close(self.descriptor)
            raise OSError(ffi.errno, f"map the control page: {os.strerror(ffi.errno)}")

    def for_worker(self) -> int:
        """A descriptor of it for the worker."""
        return os.dup(self.descriptor)

    @property
    def published(self) -> int:
        """How far the worker says it has written: not to be believed before it is checked."""
        return int(lib.hg_published(self._page))

    @property
    def rings(self) -> bool:
        """Whether the worker says that it wakes who is asleep."""
        return bool(lib.hg_rings(self._page))

    def set_asleep(self, asleep: bool) -> None:
        """Have the worker ring at its next append, or not. `published` may be read after this, and then it is missed no more."""
        lib.hg_set_asleep(self._page, asleep)

    def set_read(self, position: int) -> None:
        """The worker may write over what is before."""
        lib.hg_set_read(self._page, position)

    def set_synced(self, position: int) -> None:
        """What is before survives a power cut."""
        lib.hg_set_synced(self._page, position)

    def set_state(self, state: int, reason: str) -> None:
        """0: go on; 1: the log can't be written; 2: this journal has ended."""
        data = reason.encode("utf-8", "replace")
        lib.hg_set_state(self._page, state, data, len(data))

    def close(self) -> None:
        lib.hg_control_close(self._page)
        os.close(self.descriptor)


def _sealed_page() -> int:
    descriptor = os.memfd_create("hostguard-journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, PAGE)
    # Without these a worker could shorten it, and the next look at it would be a SIGBUS.
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return descriptor


def ring_path(folder: Path, number: int) -> Path:
    return folder / "journals" / f"{number:020d}.ring"


def leftover_numbers(folder: Path) -> list[int]:
    """Numbers of the journals whose files are there, ascending. A ``.read`` alone is what a crash left of a removal, and goes."""
    found = []
    for path in sorted((folder / "journals").glob("*")):
        if path.suffix == ".ring" and len(path.stem) == 20 and path.stem.isdecimal():
            found.append(int(path.stem))
        elif path.suffix == ".read" and not path.with_suffix(".ring").exists():
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
    return found
