"""Verification of a log: everything in its folder checked against its signed heads.

One pass over the entries computes the whole tree again, so that nothing is believed because a tile says so. In passing every
tile and bundle is compared with what the entries give, the root is compared with the published head and with any other head that
the caller brings (one remembered, those that witnesses have), and every payload with the hash that its entry has of it.

What was sealed and then removed by retention is known by its hashes only: they come from the tiles of level 0, and the root says
whether they are right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from .carried import check_carried
from .checkpoint import Checkpoint, open_checkpoint
from .durable import segment_names
from .entry import DaemonStart, LogKey, LogRemoved
from .findings import Finding, Head, Report
from .frames import LENGTH_BYTES
from .handover import Keys, keys_of
from .note import BadNote, Verifier
from .packing import LogCorrupt, is_whole, kind_of, tag_of, unpack
from .payload_check import check_payloads
from .payloads import payload_path
from .raw import Cursor, leaf_hashes
from .retention import PAYLOAD_KEY, references
from .stored import Stored
from .tiles import HEIGHT, WIDTH, Edge, Tile, bundle_path, parse_path, partial_tiles
from .tree import HASH_BYTES
from .treefiles import CHECKPOINT, read_file, read_tile, tree_file_paths
from .wrapping import Decrypt, file_name

MAX_FINDINGS = 20
"""After so many there is nothing more to learn."""
END = 1 << 63
_TOLD = tuple(tag_of(kind).encode() for kind in (LogRemoved, LogKey, DaemonStart))
"""Kinds of entries that say something about the log itself."""


class _TooMany(Exception):
    """`MAX_FINDINGS` was reached."""


def verify(
    folder: Path,
    verifier: Verifier,
    heads: Iterable[Head] = (),
    start: Checkpoint | None = None,
    progress: Callable[[int], None] = lambda _: None,
    decrypt: Decrypt = lambda _: None,
) -> Report:
    """Check the log in `folder`, whose key is `verifier`; entries keep coming meanwhile without harm.

    verifier: any key that signed it: hand-overs on record lead from it to the one that signs now.
    heads: other heads that the log must agree with, signatures checked.
    start: a remembered head, signature checked; entries before it are not read, the tiles must lead to it.
    progress: told how many entries are done.
    decrypt: opens encrypted payloads; those that it doesn't are checked by the hash of their file only.
    """
    beginning = segment_names(folder)[:1]
    heads = list(heads)
    try:
        keys = keys_of(folder, verifier)
    except BadNote as error:
        return Report(verifier.name, findings=[Finding("the log's key", str(error))])
    heads += [Head(f"the hand-over of the key at entry {each.index}", each.checkpoint) for each in keys.handovers]
    report = _Verification(folder, keys, heads, start, progress, decrypt).run()
    if report.findings and segment_names(folder)[:1] != beginning:
        # Retention removed segments under our hands.
        report = _Verification(folder, keys, heads, start, progress, decrypt).run()
    return report


class _Verification:
    """One pass."""

    def __init__(
        self,
        folder: Path,
        keys: Keys,
        heads: list[Head],
        start: Checkpoint | None,
        progress: Callable[[int], None],
        decrypt: Decrypt,
    ) -> None:
        self._folder = folder
        self._keys = keys
        self._decrypt = decrypt
        self._progress = progress
        self._report = Report(
            keys.current.name,
            keys=tuple(map(str, keys.all)),
            handed_over=tuple(each.index for each in keys.handovers),
        )
        self._edge = Edge()
        self._heads = heads + ([Head("the remembered checkpoint", start)] if start else [])
        self._start = start.size if start else 0
        self._head = self._published(keys.current)
        self._partials: dict[tuple[int, int], list[int]] = {}
        """Widths of the partial tiles that are there, by level (-1 for bundles) and index; those to be checked yet."""
        self._full: set[tuple[int, int]] = set()
        """The full ones."""
        self._payloads: dict[Stored, int] = {}
        """Payloads that entries refer to, with the index of the first."""
        self._allowed = 0
        """Retention was allowed to remove entries before this one, by the newest record."""
        self._carried: set[bytes] = set()
        """By the records: what the file of entries that were carried over may have as its hash."""

    def run(self) -> Report:
        report = self._report
        try:
            self._list_files()
            self._begin()
            for first, frames, leaves in self._bundles():
                self._take(first, frames, leaves)
                self._progress(report.entries)
            self._finish()
        except _TooMany:
            pass
        except LogCorrupt as error:
            report.findings.append(Finding("the segments", str(error)))
        return report

    def _fault(self, place: str, problem: str, expected: str = "", found: str = "") -> None:
        self._report.findings.append(Finding(place, problem, expected, found))
        if len(self._report.findings) >= MAX_FINDINGS:
            raise _TooMany

    # Before the pass.

    def _published(self, verifier: Verifier) -> Checkpoint:
        data = read_file(self._folder, CHECKPOINT)
        none = Checkpoint(verifier.name, 0, Edge().root())
        if data is None:
            if (self._folder / "tile").is_dir():
                self._report.findings.append(Finding(CHECKPOINT, "there are tiles, but no checkpoint over them"))
            return none
        try:
            found, _ = open_checkpoint(data.decode("utf-8", "replace"), verifier)
        except BadNote as error:
            self._report.findings.append(Finding(CHECKPOINT, str(error)))
            return none
        self._report.sealed, self._report.root = found.size, found.root
        return found

    def _list_files(self) -> None:
        """Which tree files are to be checked: those that the published head is over. Others are of a seal under way."""
        for path in tree_file_paths(self._folder):
            try:
                tile, index, width = parse_path(path)
            except ValueError as error:
                self._fault(path, str(error))
                continue
            level = tile.level if tile else -1
            if index * WIDTH + width > self._head.size >> HEIGHT * max(0, level):
                continue
            if width == WIDTH:
                self._full.add((level, index))
            else:
                self._partials.setdefault((level, index), []).append(width)

    def _begin(self) -> None:
        """Take the tree up where the entries are to be read from: at the last whole bundle before the remembered head."""
        size = self._start // WIDTH * WIDTH
        partial: list[list[bytes]] = []
        for level in range(max((tile.level for tile in partial_tiles(size)), default=-1) + 1):
            wanted = [tile for tile in partial_tiles(size) if tile.level == level]
            hashes = read_tile(self._folder, wanted[0]) if wanted else []
            if hashes is None:
                raise LogCorrupt(f"{wanted[0].path} is not there, or too short")
            partial.append(hashes)
        self._edge = Edge(size, partial)
        self._report.begun_at = self._report.entries = size
        if size:
            self._compare_roots(size)
        for level, index in [*self._full, *self._partials]:
            if (index + 1) * WIDTH << HEIGHT * max(0, level) <= size:
                self._full.discard((level, index))
                self._partials.pop((level, index), None)

    # The pass.

    def _bundles(self) -> Iterator[tuple[int, list[bytes], list[bytes]]]:
        """The entries bundle by bundle: index of the first, their frames, the leaf hashes of all that belong to the bundle.

        Of removed entries there are the leaf hashes only. The last bundle may be short.
        """
        names = segment_names(self._folder)
        self._report.removed = kept = min(names, default=self._head.size)
        size = self._edge.size
        while size + WIDTH <= kept:
            yield size, [], self._removed_leaves(size, WIDTH)
            size += WIDTH
        before = self._removed_leaves(size, kept - size) if kept > size else []
        if not names:
            if before:
                yield size, [], before
            return
        cursor = Cursor(self._folder, max(kept, size))
        pending: list[bytes] = []
        while found := cursor.read(END):
            pending += found
            at = 0
            while at + (wanted := WIDTH - len(before)) <= len(pending):
                found = pending[at : at + wanted]
                at += wanted
                yield size, found, before + leaf_hashes(found)
                size, before = size + WIDTH, []
            pending = pending[at:]
        self._report.torn = len(cursor.rest())
        if pending or before:
            yield size, pending, before + leaf_hashes(pending)

    def _removed_leaves(self, first: int, count: int) -> list[bytes]:
        hashes = read_tile(self._folder, Tile(0, first // WIDTH, min(count, WIDTH)))
        if hashes is None:
            raise LogCorrupt(f"entry {first}: its segment is not there, nor its hash in {Tile(0, first // WIDTH, WIDTH).path}")
        return hashes[:count]

    def _take(self, first: int, frames: list[bytes], leaves: list[bytes]) -> None:
        """One bundle: compare its files, let the tree grow by it, stop at each size that somebody has a head of."""
        self._compare_tile(0, first // WIDTH, b"".join(leaves))
        if len(frames) == len(leaves):
            self._compare_bundle(first // WIDTH, frames)
        else:
            self._compare_bundle_end(first // WIDTH, frames, len(leaves) - len(frames))
        done = 0
        stops = sorted({head.checkpoint.size - first for head in self._all_heads()} & set(range(1, len(leaves) + 1)))
        for stop in [*stops, len(leaves)]:
            for tile, data in self._edge.extend(leaves[done:stop]):
                if tile.level:
                    self._compare_tile(tile.level, tile.index, data)
            done = stop
            if stop in stops:
                self._compare_roots(first + stop)
        self._report.entries = first + len(leaves)
        self._look_at(first + len(leaves) - len(frames), frames)

    def _all_heads(self) -> list[Head]:
        return [Head("the published checkpoint", self._head), *self._heads]

    def _compare_roots(self, size: int) -> None:
        root = self._edge.root()
        for head in self._all_heads():
            if head.checkpoint.size == size and head.checkpoint.root != root:
                expected = head.checkpoint.root.hex()
                self._fault(f"entries before {size}", f"they are not those of {head.whose}: another root", expected, root.hex())
        if size == self._head.size:
            for tile, data in self._edge.partial():
                self._compare_tile(tile.level, tile.index, data)

    def _compare_tile(self, level: int, index: int, data: bytes) -> None:
        for width in self._widths(level, index, len(data) // HASH_BYTES):
            tile = Tile(level, index, width)
            sealed = self._read(tile.path, tile.full.path, width * HASH_BYTES)
            given = data[: width * HASH_BYTES]
            if sealed != given:
                at = next((n for n in range(width) if _hash(sealed, n) != _hash(given, n)), width)
                place = f"entry {index * WIDTH + at}" if level == 0 and at < width else tile.path
                problem = f"hash {at} of {tile.path} is another than the entries give"
                self._fault(place, problem, _hash(sealed, at).hex(), _hash(given, at).hex())
        wanted = min(WIDTH, (self._head.size >> HEIGHT * level) - index * WIDTH)
        if len(data) // HASH_BYTES >= wanted > 0 and read_tile(self._folder, Tile(level, index, wanted)) is None:
            self._fault(Tile(level, index, wanted).path, "it is not there")

    def _compare_bundle(self, index: int, frames: list[bytes]) -> None:
        for width in self._widths(-1, index, len(frames)):
            path, expected = bundle_path(index, width), b"".join(frames[:width])
            if self._read(path, bundle_path(index), len(expected)) != expected:
                self._fault(path, "its bytes are not those of the entries")
        wanted = min(WIDTH, self._head.size - index * WIDTH)
        if len(frames) >= wanted > 0 and not any(
            (self._folder / bundle_path(index, width)).is_file() for width in (WIDTH, wanted)
        ):
            self._fault(bundle_path(index, wanted), "it is not there")

    def _read(self, path: str, full: str, size: int) -> bytes:
        """A tile or bundle; the beginning of the full one if a seal has replaced it since the files were listed."""
        data = read_file(self._folder, path)
        return (read_file(self._folder, full) or b"")[:size] if data is None else data

    def _compare_bundle_end(self, index: int, frames: list[bytes], removed: int) -> None:
        """A bundle of which the first entries were removed: what is left of them there can't be read back, what follows can."""
        for width in self._widths(-1, index, removed + len(frames)):
            path = bundle_path(index, width)
            if not self._read(path, path, 0).endswith(b"".join(frames[: max(0, width - removed)])):
                self._fault(path, "its bytes are not those of the entries")

    def _widths(self, level: int, index: int, available: int) -> list[int]:
        """Widths of the files of a tile that can be checked now; they are off the list then."""
        there = self._partials.get((level, index), [])
        now = [width for width in there if width <= available]
        if now:
            self._partials[level, index] = [width for width in there if width > available]
        if available == WIDTH and (level, index) in self._full:
            self._full.discard((level, index))
            now.append(WIDTH)
        return now

    def _look_at(self, first: int, frames: list[bytes]) -> None:
        """What else entries say: payloads they refer to, removals on record. Those not sealed yet have their CRCs only."""
        joined = b"".join(frames)
        if first + len(frames) <= self._head.size and PAYLOAD_KEY not in joined and not any(tag in joined for tag in _TOLD):
            return
        for index, frame in enumerate(frames, first):
            data = frame[LENGTH_BYTES:]
            if index >= self._head.size and not is_whole(data):
                self._fault(f"entry {index}", "its CRC is wrong, and it is not sealed yet")
            elif PAYLOAD_KEY in data or kind_of(data) in _TOLD:
                entry = unpack(data)
                if isinstance(entry, LogRemoved):
                    self._note_removal(entry)
                elif isinstance(entry, LogKey | DaemonStart):
                    if objection := self._keys.objection(index, entry):
                        self._fault(f"entry {index}", *objection)
                else:
                    for reference in references(entry):
                        self._payloads.setdefault(reference, index)

    def _note_removal(self, entry: LogRemoved) -> None:
        self._allowed = entry.before
        if entry.before >= self._report.removed > 0:
            self._carried.add(entry.carried)
        self._report.payloads_removed += entry.payloads

    # After the pass.

    def _finish(self) -> None:
        report = self._report
        if report.entries < self._head.size:
            self._fault(f"entry {report.entries}", "the log ends before it", f"{self._head.size} sealed entries", "none")
        for head in self._heads:
            if head.checkpoint.size > report.entries:
                has = f"{head.checkpoint.size} entries"
                self._fault(f"entry {report.entries}", f"the log ends before it, but {head.whose} has", has, "none")
        if report.removed > max(self._allowed, report.begun_at):
            self._fault("entry 0", "entries are gone without a record of their removal", f"{self._allowed}", f"{report.removed}")
        for (level, index), widths in self._partials.items():
            for width in widths:
                path = bundle_path(index, width) if level < 0 else Tile(level, index, width).path
                self._fault(path, "no entries are there for it")
        for level, index in sorted(self._full):
            self._fault(bundle_path(index) if level < 0 else Tile(level, index, WIDTH).path, "no entries are there for it")
        self._check_carried()
        check_payloads(self._folder, self._payloads, self._allowed, self._decrypt, report, self._fault)

    def _check_carried(self) -> None:
        for one in check_carried(self._folder, self._carried, self._fault):
            self._report.carried += 1
            for reference in references(unpack(one.data)):
                self._payloads.setdefault(reference, one.index)
                if not payload_path(self._folder, reference).is_file():
                    self._fault(
                        f"entry {one.index}", f"its payload {file_name(reference)} is not there, though it was carried over"
                    )


def _hash(data: bytes, number: int) -> bytes:
    return data[number * HASH_BYTES : (number + 1) * HASH_BYTES]
