"""Payloads beside the log: each value that has no place in an entry is a file of its own.

    payloads/ab/<sha256 in hex><end>    see `wrapping` for what is hashed, and what the ends of names mean

A payload appears under its name by a rename, complete, and is synced before the entries that refer to it. A crash may leave a
payload to which no entry refers, or a ``.partial`` that nobody reads; neither does harm.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol

from .stored import Stored
from .wrapping import COMPRESSED, ENCRYPTED, PLAIN, Decrypt, Encrypt, file_hash, file_name, unwrap, wrap

_NAME = re.compile("[0-9a-f]{64}(" + "|".join(map(re.escape, (PLAIN, COMPRESSED, ENCRYPTED))) + ")")
MAX_UNSYNCED = 64
"""Payloads whose file is kept open until the next sync; beyond it they are synced at once."""
MAX_KNOWN = 8192
"""Values stored by this process that are recognised when they come again: a prepared statement comes with each execution.
More than one append can store, since retention spares what is known."""
MAX_WRAPPING_BYTES = 1 << 20
"""A file that is longer than its value by more (and a 64th) was not made by `wrap`: headers take some hundred bytes a key."""


class Disk(Protocol):
    """What the store asks of the kernel."""

    @property
    def write(self) -> Callable[[int, bytes], int]: ...

    @property
    def fdatasync(self) -> Callable[[int], None]: ...

    @property
    def pwrite(self) -> Callable[[int, bytes, int], int]: ...


@dataclass(frozen=True, slots=True)
class _Unsynced:
    descriptor: int
    folder: Path
    size: int
    digest: bytes
    """SHA-256 of the file."""


class PayloadStore:
    """Writes the payloads of one log. One thread stores and watches, others may `sync` and `remove`; two syncs at a time are the
    caller's mistake.

    encrypt: to the keys of those who may read what is stored; None for values that stay readable.
    """

    def __init__(self, folder: Path, disk: Disk, encrypt: Encrypt | None = None) -> None:
        self._folder = folder
        self._disk = disk
        self._encrypt = encrypt
        self._unsynced: list[_Unsynced] = []
        """The appender adds at the end, a sync takes from the front: without a lock, so that a large statement doesn't wait for a
        sync that is under way."""
        self._known: dict[bytes, Stored] = {}
        """References by the value's hash. In memory only: on disk the hashes would tell what was encrypted."""
        self._names = threading.Lock()
        """Held while a name is taken into use, or removed."""
        self._used: set[str] | None = None
        """Names taken into use since `watch`; None while nothing is to be removed."""
        self._suspect = False
        """A sync failed: what is unsynced may not be on disk though it reads well."""

    @property
    def crowded(self) -> bool:
        """Whether it is time for a sync."""
        return len(self._unsynced) > MAX_UNSYNCED

    def store(self, value: bytes) -> Stored:
        """Keep a value; durable after `sync`. Raises OSError.

        A value that comes again is not stored again, unless an earlier process encrypted it.
        """
        key = sha256(value).digest()
        known = self._known.get(key)
        if known is not None and self._intact(known):
            return known
        reference, data = wrap(value, self._encrypt)
        self._keep(reference, data)
        if len(self._known) >= MAX_KNOWN:
            # The oldest: what was stored a moment ago may have no entry yet, and `watch` goes by these.
            del self._known[next(iter(self._known))]
        self._known[key] = reference
        return reference

    def store_cut(self, data: bytes) -> Stored:
        """Keep bytes that were cut from the log as they are: what belongs to entries is in the clear. Raises OSError."""
        reference = Stored(len(data), sha256(data).digest())
        self._keep(reference, data)
        return reference

    def watch(self) -> None:
        """Retention is about to ask which payloads nothing refers to: those known, and those taken into use from now on, stay."""
        with self._names:
            self._used = set(map(file_name, self._known.values()))

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove payloads, but none that was taken into use since `watch`, which ends with this. Raises OSError.

        One that was only known is forgotten: it goes the next time.
        """
        spared = set()
        try:
            for path in paths:
                with self._names:
                    if self._used is None or path.name not in self._used:
                        path.unlink(missing_ok=True)
                    else:
                        spared.add(path.name)
        finally:
            self._used = None
            for key, reference in list(self._known.items()):
                if file_name(reference) in spared:
                    self._known.pop(key, None)

    def sync(self) -> None:
        """Make all that was stored durable: first what the files hold, then their names. Raises OSError; call it again then."""
        if self._suspect:
            # After a failed fdatasync Linux may call pages clean that never reached the disk: dirty them again.
            for unsynced in list(self._unsynced):
                self._rewrite(unsynced)
            self._suspect = False
        try:
            while self._unsynced:
                unsynced = self._unsynced[0]
                self._disk.fdatasync(unsynced.descriptor)
                sync_folder(unsynced.folder)
                sync_folder(unsynced.folder.parent)
                del self._unsynced[0]
                close(unsynced.descriptor)
        except OSError:
            self._suspect = True
            raise

    def abandon(self) -> None:
        """Close without a sync."""
        while self._unsynced:
            close(self._unsynced.pop().descriptor)

    def _intact(self, reference: Stored) -> bool:
        data = _read_or_none(payload_path(self._folder, reference))
        return data is not None and sha256(data).digest() == file_hash(reference)

    def _keep(self, reference: Stored, data: bytes) -> None:
        path = payload_path(self._folder, reference)
        with self._names:
            if self._used is not None:
                self._used.add(path.name)
            if self._intact(reference):
                # Of an earlier process, which may have been killed before its sync.
                descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            else:
                descriptor = self._write(path, data)
        self._unsynced.append(_Unsynced(descriptor, path.parent, len(data), file_hash(reference)))

    def _write(self, path: Path, data: bytes) -> int:
        """Returns the descriptor, still to be synced, as are the folders: that would hold up the appender for milliseconds."""
        path.parent.mkdir(mode=0o700, exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if self._disk.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # A crash before the rename leaves a .partial that nobody refers to.
            partial.rename(path)
        except OSError:
            close(descriptor)
            partial.unlink(missing_ok=True)
            raise
        return descriptor

    def _rewrite(self, unsynced: _Unsynced) -> None:
        data = os.pread(unsynced.descriptor, unsynced.size, 0)
        if sha256(data).digest() != unsynced.digest or self._disk.pwrite(unsynced.descriptor, data, 0) != len(data):
            raise OSError(errno.EIO, "a payload that a failed sync left in doubt can't be written again")


def payload_path(folder: Path, reference: Stored) -> Path:
    name = file_name(reference)
    return folder / "payloads" / name[:2] / name


def payload_paths(folder: Path) -> list[Path]:
    """All payloads that are there, by name."""
    return sorted(path for path in (folder / "payloads").glob("??/*") if _NAME.fullmatch(path.name))


def read_payload(folder: Path, reference: Stored, decrypt: Decrypt) -> bytes | None:
    """A payload's value; None when it is not there, not what was stored, or there is no key for it."""
    data = _read_or_none(payload_path(folder, reference), reference.length + reference.length // 64 + MAX_WRAPPING_BYTES)
    return None if data is None else unwrap(reference, data, decrypt)


def sync_folder(path: Path) -> None:
    """A file's name is durable only when its folder is synced (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def close(descriptor: int) -> None:
    """Close what was synced, or is given up. An error tells nothing then, and the number is free all the same (close(2))."""
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _read_or_none(path: Path, limit: int = -1) -> bytes | None:
    """The file; None when it is not there, or longer than `limit`."""
    try:
        with path.open("rb", buffering=0) as file:
            return file.readall() if limit < 0 or os.fstat(file.fileno()).st_size <= limit else None
    except FileNotFoundError:
        return None
