"""The Merkle tree of RFC 6962 over entries: hashes, proofs, their checks.

Pure functions of their arguments. A proof is first a list of ranges of entries (`inclusion_ranges`, `consistency_ranges`): the
subtrees whose hashes make it up. Who has the tree turns the ranges into hashes; who checks needs the hashes only.

RFC 6962 §2.1, in its words (D is the list of entries, k the largest power of two smaller than n):

    MTH({})   = SHA-256()
    MTH({d0}) = SHA-256(0x00 || d0)
    MTH(D[n]) = SHA-256(0x01 || MTH(D[0:k]) || MTH(D[k:n]))
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()

Range = tuple[int, int]
"""Entries from the first number on, up to but without the second."""


class BadProof(Exception):
    """A proof does not show what it was given for; the message says what is wrong with it."""


# A copy of a begun hash costs a third less than a new one: OpenSSL 3.0 looks the algorithm up by its name each time.
_begun_leaf = sha256(b"\x00").copy
_begun_node = sha256(b"\x01").copy


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry, as a leaf. O(len(entry))."""
    hashed = _begun_leaf()
    hashed.update(entry)
    return hashed.digest()


def leaf_hashes_of(entries: Sequence[bytes]) -> list[bytes]:
    """The hash of each entry: `leaf_hash` written out, since calling it would cost as much again as what it does."""
    found = []
    for entry in entries:
        hashed = _begun_leaf()
        hashed.update(entry)
        found.append(hashed.digest())
    return found


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    hashed = _begun_node()
    hashed.update(left + right)
    return hashed.digest()


def root_of(hashes: Sequence[bytes]) -> bytes:
    """The root over subtrees of equal height, of which the last may be smaller than the others: leaves, or nodes of one level.

    Pairs from the left, with an odd one carried up, give RFC 6962's split at the largest power of two.
    """
    if not hashes:
        return EMPTY_ROOT
    level = list(hashes)
    while len(level) > 1:
        paired = []
        for left, right in zip(level[::2], level[1::2], strict=False):
            # `node_hash`, written out for the same reason.
            hashed = _begun_node()
            hashed.update(left + right)
            paired.append(hashed.digest())
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def perfect_subtrees(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """The perfect subtrees that the range is made of, from the left: (level, index in the level); their sizes only decrease.

    The range must be a subtree of some tree, as those of the proofs are: `begin` is a multiple of a power of two >= the length.
    """
    while begin < end:
        level = (end - begin).bit_length() - 1
        yield level, begin >> level
        begin += 1 << level


def joined(hashes: Sequence[bytes]) -> bytes:
    """The hash of the range whose perfect subtrees (`perfect_subtrees`) have these hashes."""
    *others, result = hashes
    for left in reversed(others):
        result = node_hash(left, result)
    return result


def inclusion_ranges(index: int, size: int) -> list[Range]:
    """The subtrees that prove entry `index` in a tree of `size`, from the leaf up (RFC 6962 §2.1.1, PATH)."""
    begin, end, found = 0, size, []
    while end - begin > 1:
        split = begin + _split(end - begin)
        if index < split:
            found.append((split, end))
            end = split
        else:
            found.append((begin, split))
            begin = split
    return found[::-1]


def consistency_ranges(old: int, new: int) -> list[Range]:
    """The subtrees that prove the tree of `old` entries to be the beginning of that of `new` (RFC 6962 §2.1.2, PROOF)."""
    if old == 0:
        return []
    begin, end, found, known = 0, new, [], True
    while old != end:
        split = begin + _split(end - begin)
        if old <= split:
            found.append((split, end))
            end = split
        else:
            found.append((begin, split))
            begin, known = split, False
    # SUBPROOF's flag: the verifier has the old root, unless the walk has left the left edge.
    if not known:
        found.append((begin, end))
    return found[::-1]


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf is entry `index` of the tree with that size and root (RFC 9162 §2.1.3.2). Raises BadProof."""
    if not 0 <= index < size:
        raise BadProof(f"entry {index} is not in a tree of {size} entries")
    ranges = inclusion_ranges(index, size)
    if len(proof) != len(ranges):
        raise BadProof(f"the proof has {len(proof)} hashes where {len(ranges)} belong")
    result = leaf
    for (begin, _), sibling in zip(ranges, proof, strict=True):
        result = node_hash(result, sibling) if begin > index else node_hash(sibling, result)
    if result != root:
        raise BadProof(f"the proof leads to the root {result.hex()}, expected {root.hex()}")


def check_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the old tree is the beginning of the new one (RFC 9162 §2.1.4.2). Raises BadProof."""
    if old > new:
        raise BadProof(f"the tree has {new} entries, fewer than the {old} before")
    if old == 0 or old == new:
        if proof or (old == new and old_root != new_root) or (old == 0 and old_root != EMPTY_ROOT):
            raise BadProof(f"the roots at {old} entries differ, or a proof came where none belongs")
        return
    found_old, found_new = _two_roots(old, new, old_root, list(proof))
    if found_old != old_root:
        raise BadProof(f"the proof leads to the old root {found_old.hex()}, expected {old_root.hex()}")
    if found_new != new_root:
        raise BadProof(f"the proof leads to the new root {found_new.hex()}, expected {new_root.hex()}")


def _two_roots(old: int, new: int, old_root: bytes, proof: list[bytes]) -> tuple[bytes, bytes]:
    """The steps of RFC 9162 §2.1.4.2, by its names: fn, sn, fr, sr."""
    if old & (old - 1) == 0:
        proof.insert(0, old_root)
    if not proof:
        raise BadProof("the proof is empty")
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = proof[0]
    for c in proof[1:]:
        if sn == 0:
            raise BadProof("the proof has too many hashes")
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while fn and not fn & 1:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise BadProof("the proof has too few hashes")
    return fr, sr


def _split(count: int) -> int:
    """The largest power of two smaller than `count`."""
    return 1 << (count - 1).bit_length() - 1
