"""The program that a process runs, as bytes: which file, with what SHA-256.

``/proc/PID/exe`` leads to the file that the kernel runs, whatever has become of its path. It is opened through a descriptor of
/proc/PID, which belongs to that one process for good. A hash is kept under (device, inode, size, times): an ordinary write moves
ctime, and the kernel lets nobody write to a file that runs (ETXTBSY). The file's facts must be the same before and after reading.

Reading a large file takes its time: whoever must not wait calls `Hashes.take` in a thread. A file may also never answer (a file
system in user space): whoever waits needs a limit of its own.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass

from .process import process_folder

MAX_PROGRAM_BYTES = 2 * 1024**3
"""More is not hashed; programs are smaller."""
MAX_HASHES = 1024
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileKey:
    """One state of one file."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


class Program:
    """An opened program; `close` it."""

    __slots__ = ("_fd", "key", "path")

    def __init__(self, fd: int, path: str) -> None:
        self._fd = fd
        self.path = path
        """As /proc/PID/exe names it, in the process's mount namespace."""
        self.key = _key(fd)

    @classmethod
    def of(cls, pid: int, start_ticks: int) -> Program | None:
        """What the process with this pid and start time runs now; None when it has ended, or has no program."""
        folder = process_folder(pid, start_ticks)
        if folder is None:
            return None
        try:
            path = os.readlink("exe", dir_fd=folder)
            return cls(os.open("exe", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder), path)
        except OSError:
            return None
        finally:
            os.close(folder)

    @property
    def is_here(self) -> bool:
        """In this process's mount namespace, `path` leads to this very file."""
        try:
            found = os.stat(self.path)
        except (OSError, ValueError):
            return False
        return (found.st_dev, found.st_ino) == (self.key.device, self.key.inode)

    def fileno(self) -> int:
        """Its descriptor, open for reading."""
        return self._fd

    def hash(self) -> str | None:
        """SHA-256 in lower-case hexadecimal; None when it is too large, can't be read, or changes meanwhile."""
        if self.key.size > MAX_PROGRAM_BYTES:
            return None
        digest, offset = hashlib.sha256(), 0
        try:
            while part := os.pread(self._fd, _CHUNK_BYTES, offset):
                digest.update(part)
                offset += len(part)
                if offset > self.key.size:
                    return None
            return digest.hexdigest() if _key(self._fd) == self.key else None
        except OSError:
            return None

    def again(self) -> Program:
        """Another one for the same file, with a descriptor of its own."""
        return Program(os.dup(self._fd), self.path)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class Hashes:
    """Hashes that were taken, the latest `MAX_HASHES`. For any thread."""

    def __init__(self, max_hashes: int = MAX_HASHES) -> None:
        self._known: OrderedDict[FileKey, str] = OrderedDict()
        self._max = max_hashes
        self._lock = threading.Lock()

    def known(self, program: Program) -> str | None:
        """The program's hash if it was taken before; reads nothing."""
        with self._lock:
            found = self._known.get(program.key)
            if found is not None:
                self._known.move_to_end(program.key)
            return found

    def take(self, program: Program) -> str | None:
        """The program's hash, read if need be: O(its size). None when there is no telling."""
        found = self.known(program) or program.hash()
        if found is not None:
            with self._lock:
                self._known[program.key] = found
                while len(self._known) > self._max:
                    self._known.popitem(last=False)
        return found


def _key(fd: int) -> FileKey:
    stat = os.fstat(fd)
    return FileKey(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
