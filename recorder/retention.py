"""Retention: the oldest segments go, with what only they refer to; the tree keeps every hash.

Only whole segments go, only those sealed in full bundles, never the last. With them go the entry bundles that hold nothing else,
with the payloads to which no later entry refers. Tiles stay: every proof about what is left, every checkpoint ever signed, can
still be checked, and of what is gone its leaf hashes remain. Removed entries without which later ones can't be understood are
kept as well (`carried`), with their payloads.

Order (the caller keeps it; the log's one writer is its): `PayloadStore.watch`, since an entry may come to refer to an old payload
while this goes on; `plan`; append `LogRemoved`, sync, seal; `remove`. A crash before the record leaves everything. A crash after
it leaves files that the record allows to be gone: the segments are the last to go, in order, so the next plan finds them and what
belongs to them again.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from .carried import CARRIED, Carried, Needed, carried, to_bytes
from .durable import segment_names, segment_path
from .entry import Entry, LogCut, LogRemoved
from .frames import LENGTH_BYTES
from .packing import unpack
from .payloads import PayloadStore, payload_path, payload_paths
from .raw import Cursor
from .stored import Stored
from .tiles import WIDTH, bundle_path
from .treefiles import TreeFiles

PAYLOAD_KEY = b"\xa6sha256"
"""In the bytes of every entry that refers to a payload: the key of its hash, as msgpack."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is kept; 0 for no bound."""

    keep_ns: int = 0
    """Nanoseconds for which an entry is kept at least."""
    keep_bytes: int = 0
    """Bytes of segments and payloads above which the oldest go."""

    def __str__(self) -> str:
        days = f"keep {self.keep_ns / 86_400e9:g} days" if self.keep_ns else ""
        return ", ".join(filter(None, (days, f"keep {self.keep_bytes} bytes" if self.keep_bytes else "")))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the rule lets go now."""

    folder: Path
    before: int
    """Entries before this one."""
    carried: tuple[Carried, ...]
    """Those of them that stay because later ones need them."""
    segments: tuple[Path, ...]
    """Oldest first."""
    payloads: tuple[Path, ...]
    bundles: tuple[Path, ...]

    @property
    def bytes(self) -> int:
        """Of all the files."""
        return sum(path.stat().st_size for path in (*self.segments, *self.payloads, *self.bundles) if path.exists())

    def record(self, rule: Rule) -> LogRemoved:
        """What is to be on record before it is carried out."""
        carried_hash = sha256(to_bytes(self.carried)).digest()
        return LogRemoved(self.before, len(self.segments), len(self.payloads), self.bytes, str(rule), carried_hash)


def plan(folder: Path, rule: Rule, sealed: int, now_ns: int, pause: Callable[[], None] = lambda: None) -> Plan | None:
    """What goes by the rule from a log of which the first `sealed` entries are sealed, at wall time `now_ns`; None for nothing.

    Reads what is kept once, if anything goes, to learn which payloads it refers to. Raises LogCorrupt, OSError.
    """
    names = segment_names(folder)
    # A segment's entries end where the next one begins; that one's first entry is younger than all of them.
    gone = 0
    excess = _size(folder) - rule.keep_bytes if rule.keep_bytes else 0
    for name, following in itertools.pairwise(names):
        too_old = rule.keep_ns and _wall_ns(folder, following) < now_ns - rule.keep_ns
        # The sealer needs the entries of the bundle that is not full yet.
        if following > sealed // WIDTH * WIDTH or not (too_old or excess > 0):
            break
        excess -= segment_path(folder, name).stat().st_size
        gone += 1
    if not gone:
        return None
    before = names[gone]
    needed = _needed(folder, names[0], before, pause)
    # Also those go to which nothing ever referred, or nothing did when an earlier removal had to spare them.
    payloads = set(payload_paths(folder))
    payloads -= {payload_path(folder, reference) for one in needed for reference in references(unpack(one.data))}
    payloads -= {payload_path(folder, reference) for reference in _payloads(folder, before, pause)}
    bundles = (folder / bundle_path(number) for number in range(names[0] // WIDTH, before // WIDTH))
    return Plan(
        folder,
        before,
        needed,
        tuple(segment_path(folder, name) for name in names[:gone]),
        tuple(sorted(payloads)),
        tuple(path for path in bundles if path.exists()),
    )


def remove(found: Plan, payloads: PayloadStore) -> None:
    """Remove the files of a plan that is on record. Raises OSError; then the next plan has the rest."""
    TreeFiles(found.folder).replace(CARRIED, to_bytes(found.carried))
    # A crash here: all is there still, and what is carried over twice is read once.
    payloads.remove(found.payloads)
    for path in found.bundles:
        path.unlink(missing_ok=True)
    # A crash up to here: the segments are all there, and refer to payloads that are gone; the record says so.
    for path in found.segments:
        path.unlink(missing_ok=True)


def references(entry: Entry | object) -> list[Stored]:
    """The payloads that an entry refers to: those moved out of it, and the one of a cut."""
    cut = [Stored(entry.length, entry.sha256)] if isinstance(entry, LogCut) else []
    return cut + [value for value in _fields(entry) if isinstance(value, Stored)]


def _fields(entry: Entry | object) -> list[object]:
    return [getattr(entry, name) for name in entry.__struct_fields__] if isinstance(entry, msgspec.Struct) else []


def _needed(folder: Path, begin: int, end: int, pause: Callable[[], None]) -> tuple[Carried, ...]:
    """Which entries before `end` those from there on need."""
    needed = Needed(one for one in carried(folder) if one.index < begin)
    for index, frame in _frames(folder, begin, end, pause):
        needed.take(index, frame)
    return needed.all()


def _payloads(folder: Path, begin: int, pause: Callable[[], None]) -> set[Stored]:
    found: set[Stored] = set()
    for _, frame in _frames(folder, begin, 1 << 63, pause):
        if PAYLOAD_KEY in frame:
            found.update(references(unpack(frame[LENGTH_BYTES:])))
    return found


def _frames(folder: Path, begin: int, end: int, pause: Callable[[], None]) -> Iterator[tuple[int, bytes]]:
    cursor = Cursor(folder, begin)
    while found := cursor.read(end):
        yield from enumerate(found, cursor.position - len(found))
        pause()


def _wall_ns(folder: Path, index: int) -> int:
    frames = Cursor(folder, index).read(index + 1)
    entry = unpack(frames[0][LENGTH_BYTES:]) if frames else None
    # A segment that has just begun, or an entry of a later version, is young.
    return entry.wall_ns if isinstance(entry, Entry) else 1 << 63


def _size(folder: Path) -> int:
    files = (path for part in ("entries", "payloads") for path in (folder / part).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file())
