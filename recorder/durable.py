"""The log's entries on disk: segments, with the payloads beside them.

Layout
    lock                          held (flock) by the one process that writes
    entries/<20 digits>.seg       segments: entries, each behind its length; the name is the index of the first
    payloads/ab/<sha256 in hex>   what was too long for an entry (`payloads`)

The bytes of the segments, end to end, are the C2SP tlog-tiles entry bundles end to end: bundle N is entries 256 N to 256 N + 255.
The Merkle tree's files are beside them in the folder (`treefiles`) and are made from the segments, later and apart (`seal`).

What is true when we crash
- An append is one ``write`` of whole entries to a file opened with O_APPEND. A process that dies leaves all of it, or a prefix.
- A segment is synced before the next one is created, so only the last segment can be torn, also by a power cut.
- Opening reads the last segment and cuts it behind its last whole entry. The cut bytes are kept as a payload, and the caller gets
  them as `LogWriter.cut`, to put them on record.
- A payload is named only once it is complete, and is synced before the entries that refer to it.
- After a failed fdatasync Linux may call pages clean that never reached the disk (PostgreSQL's "fsyncgate" of 2018): retrying the
  sync alone would succeed for nothing. So everything not yet synced is written over itself first, then synced.

What this can't tell apart: a torn tail is recognised by its CRCs and lengths, and both can be forged. Somebody with write
access to the folder can shorten the log at an entry's end, rewrite its past with right CRCs, or damage the last segment so that
opening cuts it earlier (then the cut is on record with its bytes). Also a crash in ``batch`` mode within its window leaves no
trace of the entries it lost. The Merkle tree with heads that others have seen shows these; it is no part of this module.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .frames import whole_frames
from .payloads import PayloadStore, close, sync_folder
from .stored import Stored
from .wrapping import Encrypt

SEGMENT_BYTES = 64 * 1024 * 1024
"""A segment is closed above this: small enough that opening the log reads the last one in under a second."""


class LogUnavailable(Exception):
    """The log can't be written now: nothing may be forwarded until an append succeeds again. Says which step failed and why."""


class LogBusy(Exception):
    """Another process writes this log."""


@dataclass(frozen=True, slots=True)
class Syscalls:
    """What the writer asks of the kernel; tests put failing disks here, as no real one fails on command at each step."""

    write: Callable[[int, bytes], int] = os.write
    fdatasync: Callable[[int], None] = os.fdatasync
    ftruncate: Callable[[int, int], None] = os.ftruncate
    pwrite: Callable[[int, bytes, int], int] = os.pwrite


@dataclass(frozen=True, slots=True)
class Cut:
    """Bytes that were no whole entry when the log was opened."""

    segment: str
    offset: int
    payload: Stored


@dataclass(slots=True)
class _Head:
    """The end of the log at one moment."""

    position: int
    """Entries in the log."""
    size: int
    """Bytes of the last segment."""


class LogWriter:
    """Appends to the log of one folder; one at a time on a host.

    One thread appends, another may `sync`. All errors of the disk become `LogUnavailable`, and the writer stays closed until an
    append has first put the folder back into the state before the failure.
    """

    def __init__(
        self,
        folder: Path,
        segment_bytes: int = SEGMENT_BYTES,
        syscalls: Syscalls | None = None,
        encrypt: Encrypt | None = None,
    ) -> None:
        """Open the log, or make it. Raises LogBusy, and LogUnavailable for a folder that can't be read or written.

        encrypt: to those who may read payloads.
        """
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._syscalls = syscalls or Syscalls()
        self._syncing = threading.Lock()
        """Held while descriptors are synced, closed or put back in order."""
        self._torn = False
        """The last segment may hold bytes behind the head."""
        self._suspect = False
        """A sync failed: what is behind `_synced` may not be on disk though it reads well."""
        self._payloads = PayloadStore(folder, self._syscalls, encrypt)
        self.cut: Cut | None = None
        self._synced = _Head(0, 0)
        with contextlib.ExitStack() as undo:
            try:
                _make_folders(folder)
                self._lock = _lock(folder)
                undo.callback(os.close, self._lock)
                self._descriptor, self._head = self._open_last()
                undo.callback(os.close, self._descriptor)
            except OSError as error:
                raise LogUnavailable(f"open the log in {folder}: {error}") from error
            self.sync()
            undo.pop_all()

    @property
    def position(self) -> int:
        """How many entries the log holds; the index of the next one."""
        return self._head.position

    @property
    def synced_position(self) -> int:
        """How many of them survive a power cut."""
        return self._synced.position

    @property
    def available(self) -> bool:
        """Whether the last write and the last sync succeeded."""
        return not (self._torn or self._suspect)

    def append(self, frames: bytes, count: int) -> int:
        """Write `count` entries, each behind its length, with one write; all or none of them are in the log afterwards.

        Returns the position after them: they are durable once `synced_position` has reached it. Raises LogUnavailable.
        """
        if self._torn or self._suspect:
            self._restore()
        head = self._head
        if head.size >= self._segment_bytes:
            head = self._rotate()
        try:
            written = self._syscalls.write(self._descriptor, frames)
        except OSError as error:
            self._tear(f"write: {error}", error)
        if written != len(frames):
            self._tear(f"write: only {written} of {len(frames)} bytes fit")
        self._head = _Head(head.position + count, head.size + written)
        return head.position + count

    def store(self, payload: bytes) -> Stored:
        """Keep a payload, so that an entry can refer to it. Raises LogUnavailable."""
        try:
            reference = self._payloads.store(payload)
        except OSError as error:
            raise LogUnavailable(f"store a payload of {len(payload)} bytes: {error}") from error
        if self._payloads.crowded:
            self.sync()
        return reference

    @property
    def payloads(self) -> PayloadStore:
        """Where payloads are, for those who remove old ones."""
        return self._payloads

    def sync(self) -> int:
        """Make everything appended so far durable; returns `synced_position`. Raises LogUnavailable.

        Blocks for the disk (milliseconds): a loop runs this in a thread. Appends go on meanwhile and are part of the next sync.
        """
        with self._syncing:
            if self._suspect:
                self._rewrite_unsynced()
            self._sync_locked()
        return self._synced.position

    def close(self) -> None:
        """Sync, and let another writer have the log. The descriptors are closed even when the sync fails."""
        try:
            self.sync()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Close without a sync."""
        self._payloads.abandon()
        for descriptor in (self._descriptor, self._lock):
            close(descriptor)

    # Below: what happens rarely.

    def _open_last(self) -> tuple[int, _Head]:
        names = segment_names(self._folder)
        if not names:
            return _create_segment(self._folder, 0), _Head(0, 0)
        path = segment_path(self._folder, names[-1])
        data = path.read_bytes()
        end, count = whole_frames(data)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        if end < len(data):
            # A crash before the truncation: the bytes are cut again next time, and the payload is the same one.
            self.cut = Cut(path.name, end, self._payloads.store_cut(data[end:]))
            self._syscalls.ftruncate(descriptor, end)
            # A crash here: the log is whole and the cut not on record; the payload is.
        return descriptor, _Head(names[-1] + count, end)

    def _rotate(self) -> _Head:
        """Begin a new segment. Blocks for one sync: that keeps every segment but the last whole, whatever happens."""
        with self._syncing:
            self._sync_locked()
            position = self._head.position
            try:
                descriptor = _create_segment(self._folder, position)
            except OSError as error:
                # Nothing was written: the next append tries to rotate again.
                raise LogUnavailable(f"create a segment: {error}") from error
            before, self._descriptor = self._descriptor, descriptor
            self._head = _Head(position, 0)
            self._synced = _Head(position, 0)
            close(before)
        return self._head

    def _tear(self, what: str, cause: OSError | None = None) -> None:
        """A write failed: part of it may be in the file. Try to take that back at once, for readers; append insists on it."""
        self._torn = True
        with contextlib.suppress(LogUnavailable):
            self._truncate_to_head()
        raise LogUnavailable(what) from cause

    def _restore(self) -> None:
        """Put the last segment back to the head, and make sure of what an earlier sync left in doubt."""
        with self._syncing:
            self._truncate_to_head()
            if self._suspect:
                self._rewrite_unsynced()
                self._sync_locked()
        self._torn = False

    def _truncate_to_head(self) -> None:
        try:
            self._syscalls.ftruncate(self._descriptor, self._head.size)
        except OSError as error:
            raise LogUnavailable(f"take back a partial write: {error}") from error

    def _rewrite_unsynced(self) -> None:
        """Write what is not known to be on disk over itself, so that its pages are dirty again and a sync means something."""
        start, end = self._synced.size, self._head.size
        try:
            data = os.pread(self._descriptor, end - start, start)
            # O_APPEND makes Linux ignore pwrite's offset (pwrite(2), BUGS), so this needs a descriptor of its own.
            plain = os.open(segment_path(self._folder, segment_names(self._folder)[-1]), os.O_WRONLY | os.O_CLOEXEC)
            try:
                written = self._syscalls.pwrite(plain, data, start)
            finally:
                os.close(plain)
        except OSError as error:
            raise LogUnavailable(f"write again what a failed sync left in doubt: {error}") from error
        if len(data) != end - start or written != len(data):
            raise LogUnavailable("what a failed sync left in doubt can't be read back whole")

    def _sync_locked(self) -> None:
        # The head first: whatever an entry before it refers to is then among the payloads.
        head = self._head
        try:
            self._payloads.sync()
            if head.position != self._synced.position or self._suspect:
                self._syscalls.fdatasync(self._descriptor)
        except OSError as error:
            self._suspect = True
            raise LogUnavailable(f"sync: {error}") from error
        self._synced = head
        self._suspect = False


def segment_names(folder: Path) -> list[int]:
    """Indices of the first entries of all segments, ascending. Other files in the folder are not ours and are left alone."""
    return sorted(int(path.stem) for path in (folder / "entries").glob("*.seg") if len(path.stem) == 20 and path.stem.isdecimal())


def segment_path(folder: Path, first: int) -> Path:
    return folder / "entries" / f"{first:020d}.seg"


def read_segment(folder: Path, first: int, offset: int, size: int) -> bytes:
    """Up to `size` bytes of a segment from `offset`; empty when there are none or retention has removed the segment."""
    try:
        with segment_path(folder, first).open("rb", buffering=0) as file:
            return os.pread(file.fileno(), size, offset)
    except FileNotFoundError:
        return b""


def _make_folders(folder: Path) -> None:
    for path in (folder, folder / "entries", folder / "payloads"):
        _make_folder(path)


def _make_folder(path: Path) -> None:
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(path.parent)


def _create_segment(folder: Path, first: int) -> int:
    path = segment_path(folder, first)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    sync_folder(path.parent)
    return descriptor


def _lock(folder: Path) -> int:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise LogBusy(f"the log in {folder} is being written by process {holder}") from None
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
