"""Checkpoints: signed statements of how many entries the log has, with the root over them.

https://c2sp.org/tlog-checkpoint: the note's text is the origin, the size, the root in base64, a line each.
https://c2sp.org/tlog-cosignature: what a witness adds, with the time at which it had seen no larger tree.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from .note import COSIGNATURE, BadNote, Note, Signature, Signer, Verifier, decode_base64, parse_note
from .tree import HASH_BYTES

TIMESTAMP_BYTES = 8


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One head of the tree."""

    origin: str
    size: int
    """Entries."""
    root: bytes

    def text(self) -> str:
        """The note's text."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, *signers: Signer) -> Note:
        """As a note signed by the log's key; by two of them when one hands over to the other."""
        return Note(self.text(), tuple(line for signer in signers for line in signer.sign(self.text()).signatures))


def parse_checkpoint(note: Note) -> Checkpoint:
    """What the note says; who signed it is the caller's to check. Raises BadNote."""
    lines = note.text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines):
        raise BadNote("no checkpoint: expected an origin, a size, a root, a line each")
    origin, size, root = lines[:3]
    if not (size.isascii() and size.isdecimal()) or size != str(int(size[:20])):
        raise BadNote(f"the checkpoint's size is no number: {size[:40]!r}")
    digest = decode_base64(root)
    if len(digest) != HASH_BYTES:
        raise BadNote(f"the checkpoint's root has {len(digest)} bytes instead of {HASH_BYTES}")
    return Checkpoint(origin, int(size), digest)


def open_checkpoint(data: str, verifier: Verifier) -> tuple[Checkpoint, Note]:
    """The checkpoint in `data`, signed by the log's key `verifier`, whose name is its origin. Raises BadNote."""
    note = parse_note(data)
    verifier.check(note)
    checkpoint = parse_checkpoint(note)
    if checkpoint.origin != verifier.name:
        raise BadNote(f"the checkpoint is of the log {checkpoint.origin!r}, not of {verifier.name!r}")
    return checkpoint, note


def cosignature_time(verifier: Verifier, note: Note) -> int | None:
    """When the witness vouched for the checkpoint, seconds since 1970; None when it did not. Raises BadNote for a wrong one."""
    times = [_time_of(verifier, note.text, signature) for signature in verifier.of(note)]
    return max(times, default=None)


def _time_of(verifier: Verifier, text: str, signature: Signature) -> int:
    if verifier.kind != COSIGNATURE:
        raise BadNote(f"{verifier.name} has no witness key")
    time_s = int.from_bytes(signature.data[:TIMESTAMP_BYTES])
    if time_s == 0 or not verifier.verifies(cosigned_message(text, time_s), signature.data[TIMESTAMP_BYTES:]):
        raise BadNote(f"the cosignature of {verifier.name} is wrong")
    return time_s


def cosigned_message(text: str, time_s: int) -> bytes:
    """What a witness signs (tlog-cosignature, Ed25519 signed message)."""
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
