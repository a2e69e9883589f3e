"""The Merkle tree against RFC 6962, C2SP's worked numbers and code that nobody here wrote."""

from __future__ import annotations

import base64
from hashlib import sha256
from types import SimpleNamespace

import pymerkle  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymerkle.core import _consistency_path_layout  # type: ignore[import-untyped]
from sigstore._internal.merkle import verify_merkle_inclusion
from sigstore._internal.rekor.checkpoint import SignedCheckpoint

from hostguard.recorder.checkpoint import Checkpoint, cosignature_time, cosigned_message, open_checkpoint, parse_checkpoint
from hostguard.recorder.note import COSIGNATURE, BadNote, Signature, Signer, Verifier, parse_note, parse_signer, parse_verifier
from hostguard.recorder.tiles import Edge, Tile, bundle_path, parse_path, partial_tiles, tile_of_node
from hostguard.recorder.tree import (
    EMPTY_ROOT,
    BadProof,
    check_consistency,
    check_inclusion,
    consistency_ranges,
    inclusion_ranges,
    joined,
    leaf_hash,
    node_hash,
    perfect_subtrees,
    root_of,
)

# RFC 6962 has no vectors of its own; these are those of Google's Certificate Transparency code, which every implementation
# carries (certificate-transparency-go, merkletree/merkle_tree_test.go): the inputs, and the roots over the first 1 to 8 of them.
INPUTS = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def leaves(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


def naive_root(hashes: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if len(hashes) <= 1:
        return hashes[0] if hashes else sha256(b"").digest()
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return sha256(b"\x01" + naive_root(hashes[:k]) + naive_root(hashes[k:])).digest()


def naive_path(m: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, PATH."""
    if len(hashes) == 1:
        return []
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m < k:
        return [*naive_path(m, hashes[:k]), naive_root(hashes[k:])]
    return [*naive_path(m - k, hashes[k:]), naive_root(hashes[:k])]


def naive_subproof(m: int, hashes: list[bytes], known: bool) -> list[bytes]:
    """RFC 6962 §2.1.2, SUBPROOF."""
    if m == len(hashes):
        return [] if known else [naive_root(hashes)]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    if m <= k:
        return [*naive_subproof(m, hashes[:k], known), naive_root(hashes[k:])]
    return [*naive_subproof(m - k, hashes[k:], False), naive_root(hashes[:k])]


def proof(hashes: list[bytes], ranges: list[tuple[int, int]]) -> list[bytes]:
    return [root_of(hashes[begin:end]) for begin, end in ranges]


def test_the_roots_are_those_of_certificate_transparency() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    for size, root in enumerate(ROOTS, 1):
        assert root_of([leaf_hash(data) for data in INPUTS[:size]]).hex() == root


SIZES = st.integers(1, 600)


@given(SIZES, st.data())
def test_inclusion_proofs_are_those_of_the_rfc(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    root = naive_root(hashes)
    assert root_of(hashes) == root
    found = proof(hashes, inclusion_ranges(index, size))
    assert found == naive_path(index, hashes)
    check_inclusion(hashes[index], index, size, found, root)
    wrong = data.draw(st.integers(0, size))
    if wrong != index:
        with pytest.raises(BadProof):
            check_inclusion(hashes[index], wrong, size, found, root)
    with pytest.raises(BadProof):
        check_inclusion(hashes[index], index, size, [*found, root], root)
    if found:
        at = data.draw(st.integers(0, len(found) - 1))
        with pytest.raises(BadProof):
            check_inclusion(hashes[index], index, size, [*found[:at], leaf_hash(b"x"), *found[at + 1 :]], root)


@given(SIZES, st.data())
def test_consistency_proofs_are_those_of_the_rfc(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(0, new))
    hashes = leaves(new)
    old_root, new_root = naive_root(hashes[:old]), naive_root(hashes)
    found = proof(hashes, consistency_ranges(old, new))
    assert found == ([] if old == 0 else naive_subproof(old, hashes, True))
    check_consistency(old, old_root, new, new_root, found)
    other = naive_root([*hashes[:-1], leaf_hash(b"another past")])
    if old:
        with pytest.raises(BadProof):
            check_consistency(old, old_root, new, other, found)
    with pytest.raises(BadProof):
        check_consistency(old, leaf_hash(b"another past"), new, new_root, found)
    with pytest.raises(BadProof):
        check_consistency(old, old_root, new, new_root, [*found, new_root])
    if old != new:
        with pytest.raises(BadProof):
            check_consistency(new, new_root, old, old_root, found)


@given(SIZES, st.data())
def test_pymerkle_agrees_on_roots_and_proofs(size: int, data: st.DataObject) -> None:
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for number in range(size):
        tree.append_entry(b"%d" % number)
    hashes = leaves(size)
    root = tree.get_root()
    assert root_of(hashes) == root
    index = data.draw(st.integers(0, size - 1))
    theirs = tree.prove_inclusion(index + 1)
    assert theirs.path == [hashes[index], *proof(hashes, inclusion_ranges(index, size))]
    theirs.path = [hashes[index], *proof(hashes, inclusion_ranges(index, size))]
    pymerkle.verify_inclusion(hashes[index], root, theirs, index=index + 1, size=size)
    old = data.draw(st.integers(1, size))
    rule, subset, _ = _consistency_path_layout(old, size)
    consistency = tree.prove_consistency(old, size)
    assert (consistency.rule, consistency.subset) == (rule, subset)
    pymerkle.verify_consistency(root_of(hashes[:old]), root, consistency)
    # Theirs names every perfect subtree; ours (the RFC's) joins those at the right and leaves out what the verifier has.
    assert set(proof(hashes, consistency_ranges(old, size))) <= _all_nodes(hashes)


def _all_nodes(hashes: list[bytes]) -> set[bytes]:
    found = set(hashes)
    level = hashes
    while len(level) > 1:
        above = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        level = above + ([level[-1]] if len(level) % 2 else [])
        found |= set(level)
    return found


@given(SIZES, st.data())
def test_sigstore_accepts_our_inclusion_proofs(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    hashes = leaves(size)
    inclusion = SimpleNamespace(
        log_index=index,
        tree_size=size,
        hashes=proof(hashes, inclusion_ranges(index, size)),
        root_hash=root_of(hashes),
    )
    entry = SimpleNamespace(_inner=SimpleNamespace(inclusion_proof=inclusion, canonicalized_body=b"%d" % index))
    verify_merkle_inclusion(entry)  # type: ignore[arg-type]


def test_the_paths_are_those_of_the_specification() -> None:
    """C2SP tlog-tiles: "index 1234067 will be encoded as x001/x234/067"; the trees of 70,000 and of 256 entries."""
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(3, 0, 17).path == "tile/3/000.p/17"
    assert bundle_path(999) == "tile/entries/999"
    assert bundle_path(1000, 1) == "tile/entries/x001/000.p/1"
    assert partial_tiles(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert partial_tiles(256) == [Tile(1, 0, 1)]
    assert partial_tiles(0) == []


@given(st.integers(0, 7), st.integers(0, 1 << 50), st.integers(1, 256))
def test_a_path_reads_back(level: int, index: int, width: int) -> None:
    tile = Tile(level, index, width)
    assert parse_path(tile.path) == (tile, index, width)
    assert parse_path(bundle_path(index, width)) == (None, index, width)


@pytest.mark.parametrize(
    "path",
    ["tile/0/1", "tile/00/001", "tile/0/x000/001", "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/01", "tile/a/001", "x"],
)
def test_another_path_is_no_tile(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        parse_path(path)


def test_a_tree_of_70000_has_the_tiles_of_the_specification() -> None:
    edge = Edge()
    hashes = leaves(70_000)
    full = edge.extend(hashes)
    assert sum(tile.level == 0 for tile, _ in full) == 273
    assert [tile for tile, _ in full if tile.level == 1] == [Tile(1, 0, 256)]
    assert [tile for tile, _ in edge.partial()] == partial_tiles(70_000)
    assert edge.root() == root_of(hashes)
    assert dict(full)[Tile(1, 0, 256)][:32] == root_of(hashes[:256])


@given(st.lists(st.integers(0, 700), max_size=6))
def test_an_edge_grows_in_any_steps_to_the_same_tree(steps: list[int]) -> None:
    hashes = leaves(sum(steps))
    edge, done = Edge(), 0
    tiles: dict[Tile, bytes] = {}
    for step in steps:
        tiles.update(edge.extend(hashes[done : done + step]))
        done += step
        edge = edge.copy()
        assert edge.root() == root_of(hashes[:done])
    tiles.update(edge.partial())
    for begin, end in [(0, done)] if done else []:
        nodes = [tile_of_node(level, index, done) for level, index in perfect_subtrees(begin, end)]
        parts = [root_of([tiles[tile][at * 32 : at * 32 + 32] for at in range(first, last)]) for tile, first, last in nodes]
        assert joined(parts) == edge.root()


EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE_NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


def test_the_example_of_signed_note_verifies() -> None:
    """C2SP signed-note, Example."""
    verifier = parse_verifier(EXAMPLE_KEY)
    assert str(verifier) == EXAMPLE_KEY
    note = parse_note(EXAMPLE_NOTE)
    verifier.check(note)
    assert str(note) == EXAMPLE_NOTE
    with pytest.raises(BadNote, match="wrong"):
        verifier.check(parse_note(EXAMPLE_NOTE.replace("example message", "example massage")))
    with pytest.raises(BadNote, match="not signed by"):
        parse_verifier(str(Signer("example.com/foo", bytes(32)).verifier)).check(note)


def test_the_example_of_tlog_checkpoint_parses() -> None:
    """C2SP tlog-checkpoint, the first example."""
    note = parse_note(
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    )
    found = parse_checkpoint(note)
    assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20852163)
    assert base64.b64encode(found.root) == b"CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="
    assert note.signatures[0].key_id.hex() == "033de0ae"


SIGNER = Signer("example.com/log", b"s" * 32)


def test_a_key_reads_back_and_does_not_show_itself() -> None:
    assert parse_signer(str(SIGNER)) == SIGNER
    assert base64.b64encode(b"s" * 32).decode()[:8] not in repr(SIGNER)
    with pytest.raises(BadNote):
        parse_signer(str(SIGNER)[:-4] + "AAAA")
    with pytest.raises(BadNote):
        parse_verifier(str(SIGNER))


def test_a_checkpoint_reads_back_for_us_and_for_sigstore() -> None:
    checkpoint = Checkpoint("example.com/log", 7, leaf_hash(b""))
    text = str(checkpoint.signed(SIGNER))
    assert open_checkpoint(text, SIGNER.verifier)[0] == checkpoint
    theirs = SignedCheckpoint.from_text(text)
    assert (theirs.checkpoint.origin, theirs.checkpoint.log_size) == ("example.com/log", 7)
    assert theirs.checkpoint.log_hash == checkpoint.root.hex()
    assert theirs.signed_note.signatures[0].sig_hash == SIGNER.verifier.key_id


def flipped(data: str) -> st.SearchStrategy[str]:
    """The text with one character another one, cut, or repeated."""
    at = st.integers(0, len(data) - 1)
    other = st.characters(codec="utf-8")
    return st.one_of(
        st.tuples(at, other).map(lambda pair: data[: pair[0]] + pair[1] + data[pair[0] + 1 :]),
        at.map(lambda number: data[:number] + data[number + 1 :]),
        at.map(lambda number: data[:number]),
        at.map(lambda number: data[: number + 1] + data[number:]),
    )


GOOD = str(Checkpoint("example.com/log", 70_000, leaf_hash(b"")).signed(SIGNER))


@given(flipped(GOOD))
def test_a_checkpoint_with_any_change_is_refused(data: str) -> None:
    if data != GOOD:
        with pytest.raises(BadNote):
            open_checkpoint(data, SIGNER.verifier)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("example.com/log\n07\n" + base64.b64encode(bytes(32)).decode() + "\n", "size"),
        ("example.com/log\n-7\n" + base64.b64encode(bytes(32)).decode() + "\n", "size"),
        ("example.com/log\n²\n" + base64.b64encode(bytes(32)).decode() + "\n", "size"),
        ("example.com/log\n7\nAAAA\n", "root has 3 bytes"),
        ("example.com/log\n7\n!\n", "base64"),
        ("example.com/log\n7\n", "expected an origin"),
        ("example.com/other\n7\n" + base64.b64encode(bytes(32)).decode() + "\n", "not of"),
    ],
)
def test_a_signed_text_that_is_no_checkpoint_is_refused(text: str, problem: str) -> None:
    with pytest.raises(BadNote, match=problem):
        open_checkpoint(str(SIGNER.sign(text)), SIGNER.verifier)


def test_a_cosignature_counts_with_its_time_only_when_it_is_right() -> None:
    witness = Signer("witness.example/w1", b"w" * 32)
    key = Verifier(witness.name, COSIGNATURE, witness.verifier.public)
    note = Checkpoint("example.com/log", 7, leaf_hash(b"")).signed(SIGNER)
    assert cosignature_time(key, note) is None
    signature = witness.sign(cosigned_message(note.text, 1679315147).decode()).signatures[0].data
    for time_s, right in ((1679315147, True), (1679315148, False)):
        line = Signature(key.name, key.key_id, time_s.to_bytes(8) + signature)
        cosigned = type(note)(note.text, (*note.signatures, line))
        if right:
            assert cosignature_time(key, cosigned) == time_s
            assert cosignature_time(key, parse_note(str(cosigned))) == time_s
        else:
            with pytest.raises(BadNote, match="wrong"):
                cosignature_time(key, cosigned)
