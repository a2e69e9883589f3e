"""The tree's files in the log's folder, so written that a crash leaves each one whole or absent.

    checkpoint                      the newest signed head
    tile/<L>/<N>[.p/<W>]            hashes (C2SP tlog-tiles)
    tile/entries/<N>[.p/<W>]        entries 256 N and following, as they stand in the segments
    witness/<name>                  the newest head that this witness has, with its cosignature if it gives one

A file appears under its name by a rename, complete. It is durable after the next `TreeFiles.sync`. Everything below ``tile/`` can
be computed from the segments again; nothing there is ever changed, only partial tiles go once their full one is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .tiles import Tile
from .tree import HASH_BYTES

CHECKPOINT = "checkpoint"
FRESH = ".new"


@dataclass(frozen=True, slots=True)
class TreeSyscalls:
    """What `TreeFiles` asks of the kernel; tests put failing disks here."""

    write: Callable[[int, memoryview], int] = os.write
    fsync: Callable[[int], None] = os.fsync
    rename: Callable[[Path, Path], None] = os.rename


class TreeFiles:
    """Writes files below one log's folder. Raises OSError; what failed is tried again with new files, new pages."""

    def __init__(self, folder: Path, syscalls: TreeSyscalls | None = None) -> None:
        self._folder = folder
        self._syscalls = syscalls or TreeSyscalls()
        self._unsynced: list[int] = []
        """Descriptors of files that are not durable yet."""
        self._folders: set[Path] = set()
        """Folders that have names which are not durable yet."""

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole; durable after `sync`."""
        self._publish(self._write_fresh(path, data))

    def replace(self, path: str, data: bytes) -> None:
        """Write a file that may be there already; under its name is the old one or the new one, durable on return."""
        fresh = self._write_fresh(path, data)
        # A crash up to here leaves the old file. The sync must come before the rename, or the name could lead to nothing.
        self.sync()
        self._publish(fresh)
        # A crash here leaves the old file or the new one; a power cut may still bring the old one back.
        self.sync()

    def _write_fresh(self, path: str, data: bytes) -> Path:
        target = self._folder / path
        self._make_folder(target.parent)
        fresh = target.with_name(target.name + FRESH)
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._unsynced.append(descriptor)
        rest = memoryview(data)
        while rest:
            rest = rest[self._syscalls.write(descriptor, rest) :]
        # A crash before the rename leaves a .new file, which no reader looks at; the next write replaces it.
        return fresh

    def _publish(self, fresh: Path) -> None:
        self._syscalls.rename(fresh, fresh.with_name(fresh.name.removesuffix(FRESH)))
        self._folders.add(fresh.parent)

    def sync(self) -> None:
        """Make everything written so far durable: first what the files hold, then their names."""
        try:
            for descriptor in self._unsynced:
                self._syscalls.fsync(descriptor)
            for folder in sorted(self._folders):
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    self._syscalls.fsync(descriptor)
                finally:
                    os.close(descriptor)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Forget what was written and not synced."""
        # Off the list first: a number is closed once, whatever close says, since the next open may be given it (close(2)).
        descriptors, self._unsynced, self._folders = self._unsynced, [], set()
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _make_folder(self, path: Path) -> None:
        if not path.is_dir():
            self._make_folder(path.parent)
            path.mkdir(mode=0o700, exist_ok=True)
            self._folders.add(path.parent)

    def remove_partials(self, full: str, wider_than: int = 0) -> None:
        """Remove the partial tiles or bundles of the full one at this path, as far as they are wider."""
        folder = self._folder / f"{full}.p"
        if not folder.is_dir():
            return
        for path in folder.iterdir():
            width = path.name.removesuffix(FRESH)
            if width.isdecimal() and int(width) > wider_than:
                path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def read_file(folder: Path, path: str) -> bytes | None:
    """A file's bytes; None when it is not there."""
    try:
        return (folder / path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_tile(folder: Path, tile: Tile) -> list[bytes] | None:
    """The hashes of a tile, from its file or one that took its place: a wider one, the full one. None when none is there."""
    for path in (tile.full.path, tile.path, *_wider(folder, tile)):
        data = read_file(folder, path)
        if data is not None and len(data) >= tile.width * HASH_BYTES:
            return [data[at : at + HASH_BYTES] for at in range(0, tile.width * HASH_BYTES, HASH_BYTES)]
    return None


def _wider(folder: Path, tile: Tile) -> Iterator[str]:
    for path in (folder / f"{tile.full.path}.p").glob("*"):
        if path.name.isdecimal() and int(path.name) > tile.width:
            yield str(path.relative_to(folder))


def tree_file_paths(folder: Path) -> list[str]:
    """Paths of all files below ``tile/``, relative to the folder; those that a crash left half written are not counted."""
    # os.walk passes over a folder that a seal removes meanwhile.
    found = (os.path.join(place, name) for place, _, names in os.walk(folder / "tile") for name in names)
    return sorted(os.path.relpath(path, folder) for path in found if not path.endswith(FRESH))
