"""Proofs about the log, made from its tiles.

A proof of one entry is a text of C2SP tlog-proof (https://c2sp.org/tlog-proof) whose ``extra`` is the entry itself, so that the
file is self-contained: the leaf hash is SHA-256 of a zero byte with those bytes after it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .carried import carried
from .checkpoint import Checkpoint, open_checkpoint
from .frames import LENGTH_BYTES
from .note import BadNote, Verifier, decode_base64
from .raw import Cursor
from .tiles import tile_of_node
from .tree import (
    HASH_BYTES,
    Range,
    check_inclusion,
    consistency_ranges,
    inclusion_ranges,
    joined,
    leaf_hash,
    perfect_subtrees,
    root_of,
)
from .treefiles import read_tile

HEADER = "c2sp.org/tlog-proof@v1"


class TileMissing(Exception):
    """A tile that the proof needs is not there; the message names it."""


def hashes_of(folder: Path, ranges: Iterable[Range], size: int) -> list[bytes]:
    """The hashes of these subtrees of the tree of `size`, from its tiles. Raises TileMissing."""
    return [joined([_node(folder, *node, size) for node in perfect_subtrees(*found)]) for found in ranges]


def _node(folder: Path, level: int, index: int, size: int) -> bytes:
    tile, begin, end = tile_of_node(level, index, size)
    hashes = read_tile(folder, tile)
    if hashes is None:
        raise TileMissing(f"{tile.path} is not there, or too short")
    return root_of(hashes[begin:end])


def consistency_proof(folder: Path, old: int, new: int) -> list[bytes]:
    """What shows that the tree of `new` entries goes on from that of `old`. Raises TileMissing."""
    return hashes_of(folder, consistency_ranges(old, new), new)


def root_at(folder: Path, size: int) -> bytes:
    """The root over the first `size` entries (at least one). Raises TileMissing."""
    return hashes_of(folder, [(0, size)], size)[0]


def prove(folder: Path, index: int, checkpoint: Checkpoint, note: str) -> str:
    """The proof file of entry `index` under the checkpoint, of which `note` is the signed text.

    Raises ValueError for an entry that it isn't over, TileMissing, LogCorrupt when the entry itself can't be read.
    """
    if not 0 <= index < checkpoint.size:
        raise ValueError(f"entry {index} is not under a checkpoint yet: the newest is over {checkpoint.size} entries")
    entry = _entry(folder, index)
    hashes = hashes_of(folder, inclusion_ranges(index, checkpoint.size), checkpoint.size)
    # What can't be checked by whoever gets it must not leave the house.
    check_inclusion(leaf_hash(entry), index, checkpoint.size, hashes, checkpoint.root)
    lines = [HEADER, f"extra {_base64(entry)}", f"index {index}", *map(_base64, hashes), "", note]
    return "\n".join(lines)


def _entry(folder: Path, index: int) -> bytes:
    for one in carried(folder):
        if one.index == index:
            return one.data
    (frame,) = Cursor(folder, index).read(index + 1)
    return frame[LENGTH_BYTES:]


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof file shows."""

    index: int
    entry: bytes
    checkpoint: Checkpoint
    note: str
    """The checkpoint as signed, for its cosignatures."""


def check_proof(text: str, verifier: Verifier) -> Proven:
    """Check a proof file that has its entry in it, under the log's key. Raises BadNote, BadProof."""
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != HEADER or len(lines) < 3 or not lines[1].startswith("extra ") or not lines[2].startswith("index "):
        raise BadNote(f"no proof of one of our entries: expected {HEADER}, extra, index")
    number = lines[2].removeprefix("index ")
    if not (number.isascii() and number.isdecimal()) or number != str(int(number[:20])):
        raise BadNote(f"the index is no number: {number[:40]!r}")
    entry = decode_base64(lines[1].removeprefix("extra "))
    hashes = [decode_base64(line) for line in lines[3:]]
    if any(len(found) != HASH_BYTES for found in hashes):
        raise BadNote("a hash of the proof has a wrong length")
    checkpoint, _ = open_checkpoint(note, verifier)
    check_inclusion(leaf_hash(entry), int(number), checkpoint.size, hashes, checkpoint.root)
    return Proven(int(number), entry, checkpoint, note)


def extra_of(text: str) -> bytes:
    """The entry in a proof file, not checked. Raises BadNote."""
    lines = text.split("\n", 2)
    if len(lines) < 3 or not lines[1].startswith("extra "):
        raise BadNote(f"no proof of one of our entries: expected {HEADER}, extra, index")
    return decode_base64(lines[1].removeprefix("extra "))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
