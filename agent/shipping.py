"""Copies the sealed log to an S3 bucket, whole pieces at a time, each verified on arrival.

Keys below the prefix
    entries/<first>.seg/<offset>   bytes of a segment from `offset` on; end to end they are the segment
    payloads/ab/<sha256>…          as in the log's folder, compressed or encrypted as it is there
    tile/…                         as in the log's folder, when asked for: then the bucket is a C2SP tlog-tiles log
    handover/<index>               as in the log's folder: proofs of changes of the log's key
    witness/<name>                 the newest head that a witness has
    checkpoints/<size>             every signed head that was the newest when a pass began
    checkpoint                     the newest

Only entries under a signed checkpoint go out, and the checkpoint goes last: who finds it in the bucket finds all that it speaks
of.

What is true when we crash: an object is in the bucket whole or not at all. The ledger is written after the object was verified,
so a piece that is not in the ledger may be there already; then it is found by its checksum and not sent again. A lost ledger
costs one look at each object. Nothing here ever deletes: retention is another's affair, and asks the ledger how far the
bucket has come (`arrived`).
"""

from __future__ import annotations

import sqlite3
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from ..recorder.checkpoint import open_checkpoint
from ..recorder.durable import segment_names, segment_path
from ..recorder.frames import frames
from ..recorder.note import BadNote, Verifier
from ..recorder.payloads import payload_paths
from ..recorder.treefiles import CHECKPOINT, read_file, tree_file_paths
from .failures import Failure

PART_BYTES = 32 * 1024 * 1024
"""Of a segment, in one object: what is held in memory at once."""
MAX_CHECKPOINT_BYTES = 64 * 1024


class Store(Protocol):
    """Where objects go. Every method raises Failure when the store can't do it."""

    def put(self, key: str, data: bytes, checksum: str) -> None:
        """Store an object and make sure that it arrived as it was sent."""
        ...

    def checksum(self, key: str) -> str | None:
        """Base64 of the SHA-256 of the object there; None for none."""
        ...

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys that begin so, with their bytes."""
        ...


class Ledger:
    """What has arrived, remembered beside the log; a cache of the bucket that may be deleted."""

    def __init__(self, path: Path) -> None:
        """Raises sqlite3.Error."""
        self._connection = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._connection.execute("CREATE TABLE IF NOT EXISTS arrived (key TEXT PRIMARY KEY, sha256 TEXT, bytes INTEGER)")
        self._connection.execute("CREATE TABLE IF NOT EXISTS reached (size INTEGER, place TEXT)")
        self._connection.execute("CREATE TABLE IF NOT EXISTS tried (at REAL, failure TEXT)")

    def checksum(self, key: str) -> str | None:
        """Of the object that arrived last under the key."""
        row = self._connection.execute("SELECT sha256 FROM arrived WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Objects whose keys begin so, with their bytes."""
        rows = self._connection.execute("SELECT key, bytes FROM arrived WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return dict(rows.fetchall())

    def note(self, key: str, checksum: str, size: int) -> None:
        self._connection.execute("INSERT OR REPLACE INTO arrived VALUES (?, ?, ?)", (key, checksum, size))

    def begin(self, place: str) -> None:
        """Forget everything when it was about another place."""
        row = self._connection.execute("SELECT place FROM reached").fetchone()
        if row is None or row[0] != place:
            self._connection.execute("DELETE FROM arrived")
            self._connection.execute("DELETE FROM reached")
            self._connection.execute("INSERT INTO reached VALUES (0, ?)", (place,))

    @property
    def reached(self) -> int:
        """All entries before this one are in the bucket, with the checkpoint that covers them."""
        row = self._connection.execute("SELECT size FROM reached").fetchone()
        return int(row[0]) if row else 0

    def reach(self, size: int) -> None:
        self._connection.execute("UPDATE reached SET size = ?", (size,))

    def try_ended(self, at: float, failure: str = "") -> None:
        """Remember how the newest pass went: when it ended, seconds since 1970, and why it failed if it did."""
        self._connection.execute("DELETE FROM tried")
        self._connection.execute("INSERT INTO tried VALUES (?, ?)", (at, failure))

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Arrived:
    """How far a bucket has come, by the ledger."""

    reached: int = 0
    """All entries before this one have arrived and were verified there."""
    tried_at: float = 0.0
    """When the newest pass ended, seconds since 1970; 0 for never."""
    failure: str = ""
    """Why that pass failed; empty when it did not."""


def arrived(path: Path, place: str) -> Arrived:
    """What the ledger at `path` says of this place; nothing when it is about another, or not there. Raises sqlite3.Error."""
    if not path.exists():
        return Arrived()
    with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT size FROM reached WHERE place = ?", (place,)).fetchone()
        # A ledger of an earlier version has no such table until the next pass.
        known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'tried'").fetchone()
        tried = connection.execute("SELECT at, failure FROM tried").fetchone() if row and known else None
    at, failure = tried or (0.0, "")
    return Arrived(int(row[0]) if row else 0, float(at), str(failure))


@dataclass(slots=True)
class Shipped:
    """What one pass did."""

    objects: int = 0
    bytes: int = 0
    known: int = 0
    """Objects that were in the bucket already though the ledger did not know."""
    size: int = 0
    """Entries under the checkpoint that is in the bucket now."""
    missed: int = 0
    """Entries that retention removed from the host before they were shipped."""


class Shipper:
    """Brings one log's folder to one store."""

    def __init__(self, folder: Path, verifier: Verifier, store: Store, ledger: Ledger, *, tiles: bool) -> None:
        self._folder = folder
        self._verifier = verifier
        self._store = store
        self._ledger = ledger
        self._tiles = tiles

    def run(self) -> Shipped:
        """One pass: everything under the newest checkpoint that is not in the store yet. Raises Failure; what arrived stays."""
        done = Shipped()
        head = read_file(self._folder, CHECKPOINT)
        if head is None:
            return done
        try:
            checkpoint, _ = open_checkpoint(head[:MAX_CHECKPOINT_BYTES].decode(), self._verifier)
        except (BadNote, UnicodeDecodeError) as error:
            raise Failure(f"the log's checkpoint is not shipped, because it is not good: {error}") from None
        done.missed = max(0, min(segment_names(self._folder), default=0) - self._ledger.reached)
        for key, data in self._pieces(checkpoint.size):
            self._send(key, data, done)
        self._send(f"checkpoints/{checkpoint.size:020d}", head, done)
        self._send(CHECKPOINT, head, done)
        self._ledger.reach(checkpoint.size)
        done.size = checkpoint.size
        return done

    def _pieces(self, size: int) -> Iterator[tuple[str, bytes]]:
        """Everything but checkpoints; payloads before the entries that refer to them."""
        for path in payload_paths(self._folder):
            key = str(path.relative_to(self._folder))
            if self._ledger.checksum(key) is None and (payload := _read(path)) is not None:
                yield key, payload
        names = segment_names(self._folder)
        for first, following in zip(names, [*names[1:], None], strict=True):
            yield from self._segment(first, following, size)
        others = tree_file_paths(self._folder) if self._tiles else []
        for part in ("witness", "handover"):
            others += [str(path.relative_to(self._folder)) for path in sorted((self._folder / part).glob("*")) if path.is_file()]
        for key in others:
            # A tile never changes; a partial one may be gone, since a fuller one took its place.
            known = key.startswith("tile/") and self._ledger.checksum(key) is not None
            if not known and (data := read_file(self._folder, key)) is not None:
                yield key, data

    def _segment(self, first: int, following: int | None, size: int) -> Iterator[tuple[str, bytes]]:
        """What of a segment is under the checkpoint and not in the store."""
        if first >= size:
            return
        prefix = f"entries/{first:020d}.seg/"
        start = _end(self._ledger.sizes(prefix))
        if start == 0:
            start = _end(self._store.sizes(prefix))
        path = segment_path(self._folder, first)
        whole = following is not None and following <= size
        try:
            end = path.stat().st_size if whole else _offset(path.read_bytes(), size - first)
        except FileNotFoundError:
            return  # Retention removed it meanwhile.
        with path.open("rb") as file:
            file.seek(start)
            while start < end:
                data = file.read(min(PART_BYTES, end - start))
                yield f"{prefix}{start:020d}", data
                start += len(data)

    def _send(self, key: str, data: bytes, done: Shipped) -> None:
        checksum = b64encode(sha256(data).digest()).decode()
        if self._ledger.checksum(key) == checksum:
            return
        if self._store.checksum(key) == checksum:
            done.known += 1
        else:
            self._store.put(key, data, checksum)
            done.objects += 1
            done.bytes += len(data)
        self._ledger.note(key, checksum, len(data))


def _end(parts: dict[str, int]) -> int:
    """Up to which byte of the segment these parts reach without a gap."""
    end = 0
    for key, size in sorted(parts.items()):
        offset = int(key.rpartition("/")[2])
        if offset > end:
            break
        end = max(end, offset + size)
    return end


def _offset(segment: bytes, entries: int) -> int:
    """Where in the segment its first so many entries end. Raises Failure when it has fewer."""
    end = 0
    for number, (_, end) in enumerate(frames(segment), 1):
        if number == entries:
            return end
    raise Failure(f"the log ends before its checkpoint: {entries} entries expected in the last segment")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
