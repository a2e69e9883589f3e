"""Sealing: the entries so far put under a signed head of their Merkle tree.

Theory of operation. The segments are the log; everything here is made from them and could be made again. A seal takes the
entries that are durable, hashes those that are new, writes the tiles and entry bundles of C2SP tlog-tiles, and only then signs
and publishes the head over them. One seal runs at a time, beside the appends, and the appends never wait for it.

Invariants
- A head is signed over entries that a power cut can't take back, or two heads of ours could contradict each other.
- A head is published when all that proves it is durable under its name.
- The state in memory moves on only after the last step. A seal that failed is done again from the state before it, into new
  files: pages whose sync failed are not trusted (see `durable`).

Recovery takes the same steps: what the tiles lack is hashed from the segments again, and the result must be the published root.
If it isn't, somebody has changed the past: LogCorrupt, and nothing is signed any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .checkpoint import Checkpoint, open_checkpoint
from .note import BadNote, Signer
from .packing import LogCorrupt
from .raw import Cursor, leaf_hashes
from .tiles import HEIGHT, MAX_LEVELS, WIDTH, Edge, Tile, bundle_path, partial_tiles
from .treefiles import CHECKPOINT, TreeFiles, TreeSyscalls, read_file, read_tile

SLICE = 64
"""Entries that are hashed before others may have the interpreter: some 100 µs."""
MAX_ENTRIES = 64 * WIDTH
"""A seal's most; what is beyond it is sealed by the next one, so that an old log of any size is sealed in bounded memory."""
READ_BYTES = 128 * 1024


class SealFailed(Exception):
    """The tree's files can't be written now; the log itself goes on, and the next seal takes this one's entries too."""


@dataclass(slots=True)
class _Work:
    """One seal under way."""

    edge: Edge
    """Of the entries hashed so far."""
    until: int
    """How many entries the head will be over."""
    bundled: list[bytes]
    """The frames from the beginning of the first bundle that is not full, on."""
    tiles: list[tuple[Tile, bytes]] = field(default_factory=list)
    note: str = ""
    """The signed head."""


class Sealer:
    """Seals the log of one folder. The caller holds the log's lock; not for use from several threads at once."""

    def __init__(
        self,
        folder: Path,
        signer: Signer,
        sync: Callable[[], int],
        pause: Callable[[], None] = lambda: None,
        syscalls: TreeSyscalls | None = None,
    ) -> None:
        """Take up where the published head stands.

        sync: makes the log durable and returns how many entries are (`Log.sync`); raises what it raises.
        pause: called between slices of hashing, so that other threads get the interpreter.
        Raises LogCorrupt when the log is not what the head says, SealFailed when files can't be read or written.
        """
        self._folder = folder
        self._signer = signer
        self._sync = sync
        self._pause = pause
        self._files = TreeFiles(folder, syscalls)
        self._cursor: Cursor | None = None
        self._edge = Edge()
        self._bundled: list[bytes] = []
        """The frames of the bundle that is not full yet, while `_cursor` is behind them."""
        self.checkpoint = Checkpoint(signer.name, 0, self._edge.root())
        """The published head; of size 0 before the first."""
        try:
            self._recover()
        except OSError as error:
            raise SealFailed(f"read the log's tree: {error}") from error

    def seal(self) -> Checkpoint:
        """Put all durable entries under a published head and return it. Raises SealFailed, LogCorrupt, and what `sync` raises."""
        # What is appended from here on is the next seal's, or a busy log would never be done.
        durable = self._sync()
        while self._edge.size < durable:
            work = self._begin(durable)
            for step in STEPS:
                self._try(step, work)
        return self.checkpoint

    def _begin(self, until: int) -> _Work:
        return _Work(self._edge.copy(), until, [])

    def _try(self, step: Callable[[Sealer, _Work], None], work: _Work) -> None:
        try:
            step(self, work)
        except OSError as error:
            self._files.abandon()
            self._cursor = None
            raise SealFailed(f"{step.__name__.strip('_').replace('_', ' ')}: {error}") from error
        except LogCorrupt:
            self._cursor = None
            raise

    # The steps, in the order of `STEPS`.

    def _hash_entries(self, work: _Work) -> None:
        """Read what is new, and let the tree grow by it."""
        work.until = min(work.until, work.edge.size + MAX_ENTRIES)
        cursor = self._cursor or self._place_cursor()
        work.bundled = list(self._bundled)
        while cursor.position < work.until:
            found = cursor.read(work.until)
            if not found:
                raise LogCorrupt(f"entry {cursor.position}: the log ends before it, expected {work.until} entries")
            for at in range(0, len(found), SLICE):
                work.tiles += work.edge.extend(leaf_hashes(found[at : at + SLICE]))
                self._pause()
            work.bundled += found
        # A crash up to here: nothing was written.

    def _write_tiles(self, work: _Work) -> None:
        """Write the tiles and bundles that became full, and the partial ones of the new size."""
        first = self._edge.size // WIDTH
        for at in range(0, len(work.bundled), WIDTH):
            frames = work.bundled[at : at + WIDTH]
            self._files.write(bundle_path(first + at // WIDTH, len(frames)), b"".join(frames))
        # A partial tile that is the same as before is left alone: it is durable, and a new file of that name would not be yet.
        known = set(partial_tiles(self._edge.size))
        for tile, data in work.tiles + work.edge.partial():
            if tile not in known:
                self._files.write(tile.path, data)
        # A crash up to here: some tiles are there that no published head needs. The next seal writes them again.

    def _sync_tiles(self, work: _Work) -> None:
        self._files.sync()
        # A crash up to here: as before, and a power cut takes nothing of it.

    def _sign(self, work: _Work) -> None:
        """Sign the head. From here on it must never be contradicted: its entries are durable since before the first step."""
        work.note = str(self._head(work.edge).signed(self._signer))
        # A crash up to here: the signature is lost, and the next head is over at least the same entries.

    def _publish(self, work: _Work) -> None:
        self._files.replace(CHECKPOINT, work.note.encode())
        # A crash up to here: the old head or the new one is published, each with all its tiles. Opening takes either.

    def _discard_partials(self, work: _Work) -> None:
        """Remove what full tiles have replaced (C2SP tlog-tiles, Partial Tiles: "MAY delete")."""
        for tile in partial_tiles(self._edge.size):
            if work.edge.size >= (tile.index + 1) << HEIGHT * (tile.level + 1):
                self._files.remove_partials(tile.full.path)
                if tile.level == 0:
                    self._files.remove_partials(bundle_path(tile.index))
        # A crash up to here: some partial tiles stay beside their full ones, which does no harm.

    def _move_on(self, work: _Work) -> None:
        self._bundled = work.bundled[len(work.bundled) - work.edge.size % WIDTH :]
        self._edge, self.checkpoint = work.edge, self._head(work.edge)

    def _head(self, edge: Edge) -> Checkpoint:
        return Checkpoint(self._signer.name, edge.size, edge.root())

    # Below: recovery.

    def _place_cursor(self) -> Cursor:
        """Read the unfinished bundle's entries again; they must be those that were hashed."""
        cursor = Cursor(self._folder, self._edge.size // WIDTH * WIDTH, READ_BYTES)
        self._bundled = []
        while cursor.position < self._edge.size and (found := cursor.read(self._edge.size)):
            self._bundled += found
        if leaf_hashes(self._bundled) != self._edge.leaves():
            raise LogCorrupt(f"entries before {self._edge.size} are not those that were sealed")
        self._cursor = cursor
        return cursor

    def _recover(self) -> None:
        data = read_file(self._folder, CHECKPOINT)
        if data is None:
            return
        try:
            published, _ = open_checkpoint(data.decode("utf-8", "replace"), self._signer.verifier)
        except BadNote as error:
            raise LogCorrupt(f"the published checkpoint: {error}") from None
        durable = self._sync()
        if durable < published.size:
            raise LogCorrupt(f"the log has {durable} entries, expected {published.size}, which its checkpoint is over")
        edge = self._edge_from_tiles(published)
        if edge is None:
            self._rebuild(published)
        else:
            self._edge, self.checkpoint = edge, published
        self._discard_unpublished()
        self._place_cursor()

    def _discard_unpublished(self) -> None:
        """Remove the partial tiles of a seal that did not come to its end: after a power cut they may hold anything.

        Full tiles of such a seal are written again by the next one, which is over at least the same entries.
        """
        size = self._edge.size
        for level in range(MAX_LEVELS):
            first = (size >> HEIGHT * level) // WIDTH
            for index in range(first, first + (MAX_ENTRIES // WIDTH >> HEIGHT * level) + 2):
                names = [Tile(level, index, WIDTH).path, *([bundle_path(index)] if level == 0 else [])]
                width = (size >> HEIGHT * level) % WIDTH if index == first else 0
                for name in names:
                    self._files.remove_partials(name, wider_than=width)

    def _edge_from_tiles(self, published: Checkpoint) -> Edge | None:
        """The edge as the tiles have it; None unless it gives the published root."""
        widths = {tile.level: tile for tile in partial_tiles(published.size)}
        partial: list[list[bytes]] = []
        for level in range(max(widths, default=-1) + 1):
            hashes = read_tile(self._folder, widths[level]) if level in widths else []
            if hashes is None:
                return None
            partial.append(hashes)
        edge = Edge(published.size, partial)
        return edge if edge.root() == published.root else None

    def _rebuild(self, published: Checkpoint) -> None:
        """Make the tree again from the segments, from the first entry on."""
        self._edge, self._bundled, self._cursor = Edge(), [], None
        while self._edge.size < published.size:
            work = self._begin(published.size)
            for step in REBUILD:
                self._try(step, work)
        if self.checkpoint.root != published.root:
            raise LogCorrupt(
                f"entries before {published.size} are not those that were sealed: their root is {self.checkpoint.root.hex()}, "
                f"expected {published.root.hex()}"
            )


STEPS = (
    Sealer._hash_entries,
    Sealer._write_tiles,
    Sealer._sync_tiles,
    Sealer._sign,
    Sealer._publish,
    Sealer._discard_partials,
    Sealer._move_on,
)
"""A seal. Tests stop it after each step, as a crash does."""

REBUILD = tuple(step for step in STEPS if step not in (Sealer._sign, Sealer._publish))
"""The head that is published must come out of it."""
