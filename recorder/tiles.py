"""The geometry of C2SP tlog-tiles: which hashes stand in which file.

Index to path, size to partial width, and the right edge of a growing tree, which is its partial tiles. No I/O.
https://c2sp.org/tlog-tiles, Merkle Tree; Partial Tiles; Log entries.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .tree import EMPTY_ROOT, root_of

WIDTH = 256
"""Hashes in a full tile, entries in a full bundle."""
_PATH = re.compile(r"tile/(?P<level>entries|\d{1,2})/(?P<number>(x\d{3}/)*\d{3})(\.p/(?P<width>\d{1,3}))?")
HEIGHT = 8
"""Levels of the tree that one level of tiles spans: 2**8 = 256."""

MAX_LEVELS = 8
"""Levels of tiles that a log of fewer than 2**64 entries has."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile of hashes; partial below `WIDTH`."""

    level: int
    index: int
    width: int

    @property
    def path(self) -> str:
        """``tile/<L>/<N>[.p/<W>]``, relative to the log's folder."""
        return f"tile/{self.level}/{_numbered(self.index, self.width)}"

    @property
    def full(self) -> Tile:
        """The tile that this one becomes."""
        return Tile(self.level, self.index, WIDTH)


def bundle_path(index: int, width: int = WIDTH) -> str:
    """``tile/entries/<N>[.p/<W>]``: entries 256 N and following, `width` of them."""
    return f"tile/entries/{_numbered(index, width)}"


def parse_path(path: str) -> tuple[Tile | None, int, int]:
    """What a path below ``tile/`` names: the tile, or None for a bundle; the index; the width. Raises ValueError for another."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise ValueError(f"{path} is no tile's path")
    index = int(found["number"].replace("x", "").replace("/", ""))
    width = int(found["width"] or WIDTH)
    tile = None if found["level"] == "entries" else Tile(int(found["level"]), index, width)
    if not width or path != (bundle_path(index, width) if tile is None else tile.path):
        raise ValueError(f"{path} is not how the path of a tile is written")
    return tile, index, width


def _numbered(index: int, width: int) -> str:
    """``<N>``: "zero-padded 3-digit path elements. All but the last path element MUST begin with an `x`"."""
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *parents, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    path = "".join(f"x{part}/" for part in parents) + last
    return path if width == WIDTH else f"{path}.p/{width}"


def partial_tiles(size: int) -> list[Tile]:
    """The partial tiles of a tree: "The partial tile at level l for a tree of size s has floor(s / 256**l) mod 256 entries."""
    return [tile for tile in _last_tiles(size) if tile.width]


def _last_tiles(size: int) -> Iterator[Tile]:
    for level in itertools.count():
        hashes = size >> HEIGHT * level
        if not hashes:
            return
        yield Tile(level, hashes // WIDTH, hashes % WIDTH)


def tile_of_node(level: int, index: int, size: int) -> tuple[Tile, int, int]:
    """Where the hash of a perfect subtree (tree level, index in it) comes from in a tree of `size`.

    Returns the tile, and from where to where its hashes are to be joined (`root_of`): a power of two of them.
    """
    tile_level, rest = divmod(level, HEIGHT)
    first = index << rest
    number, offset = divmod(first, WIDTH)
    width = min(WIDTH, (size >> HEIGHT * tile_level) - number * WIDTH)
    return Tile(tile_level, number, width), offset, offset + (1 << rest)


class Edge:
    """The right edge of a growing tree: for each level of tiles, the hashes of the one that is not full."""

    def __init__(self, size: int = 0, partial: Sequence[Sequence[bytes]] = ()) -> None:
        """The edge of a tree of `size`; `partial` has the hashes of its last tile at each level, from level 0 up."""
        self.size = size
        self._levels = [list(hashes) for hashes in partial]
        wanted = [tile.width for tile in _last_tiles(size)]
        if [len(hashes) for hashes in self._levels] != wanted:
            raise ValueError(f"the edge of {size} entries has tiles of width {wanted}")

    def copy(self) -> Edge:
        """Another one that grows by itself."""
        return Edge(self.size, self._levels)

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[Tile, bytes]]:
        """Append leaf hashes; returns the tiles that became full, each with its bytes, lower levels first."""
        done: list[tuple[Tile, bytes]] = []
        at = 0
        while at < len(leaves):
            room = WIDTH - self.size % WIDTH
            chunk = leaves[at : at + room]
            at += room
            self._level(0).extend(chunk)
            self.size += len(chunk)
            if len(chunk) == room:
                self._close_tile(0, done)
        return done

    def _close_tile(self, level: int, done: list[tuple[Tile, bytes]]) -> None:
        hashes = self._levels[level]
        done.append((Tile(level, (self.size >> HEIGHT * (level + 1)) - 1, WIDTH), b"".join(hashes)))
        above = self._level(level + 1)
        above.append(root_of(hashes))
        hashes.clear()
        if len(above) == WIDTH:
            self._close_tile(level + 1, done)

    def _level(self, level: int) -> list[bytes]:
        if level == len(self._levels):
            self._levels.append([])
        return self._levels[level]

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The tiles that are not full, each with its bytes."""
        return [(tile, b"".join(self._levels[tile.level])) for tile in partial_tiles(self.size)]

    def leaves(self) -> list[bytes]:
        """The leaf hashes of the last tile at level 0."""
        return list(self._levels[0]) if self._levels else []

    def root(self) -> bytes:
        """The root of the tree as it is. O(width of the partial tiles)."""
        rest: list[bytes] = []
        for hashes in self._levels:
            if hashes or rest:
                # The smaller subtree at the right is the last of this level, as RFC 6962 splits at a power of two.
                rest = [root_of([*hashes, *rest])]
        return rest[0] if rest else EMPTY_ROOT
