"""Signed notes of C2SP: a text with signature lines, by named keys.

https://c2sp.org/signed-note, Ed25519 signatures (type 0x01); https://c2sp.org/tlog-cosignature, Ed25519 cosignatures (type 0x04).
A verifier key is written ``<name>+<key id in hex>+<base64>``; a signer's key as the Go note package writes it, with
``PRIVATE+KEY+`` in front, the seed instead of the public key.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 0x01
COSIGNATURE = 0x04
"""A timestamped cosignature of a checkpoint, with Ed25519."""
PRIVATE = "PRIVATE+KEY+"
MAX_SIGNATURES = 100
"""C2SP signed-note: "Verifiers SHOULD apply a maximum limit", of at least 16."""
_DASH = "\N{EM DASH} "
_NAME = re.compile(r"[^\s+]+\Z")


class BadNote(Exception):
    """A note, key or signature that is malformed or not by whom it should be; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line."""

    name: str
    key_id: bytes
    data: bytes
    """The signature without the key id."""

    def line(self) -> str:
        """As it stands in a note, with its newline."""
        return f"{_DASH}{self.name} {base64.b64encode(self.key_id + self.data).decode()}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text and who signed it; nothing is checked yet."""

    text: str
    """With its final newline."""
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(signature.line() for signature in self.signatures)


def parse_note(data: str) -> Note:
    """The note in `data`. Raises BadNote."""
    if any(char < " " and char != "\n" for char in data):
        raise BadNote("the note has control characters")
    text, blank, lines = data.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise BadNote("the note has no blank line before its signatures, or ends without a newline")
    return Note(text + "\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Signature lines, as a note ends and as a witness answers. Raises BadNote."""
    found = tuple(_signature(line) for line in lines.removesuffix("\n").split("\n"))
    if len(found) > MAX_SIGNATURES:
        raise BadNote(f"the note has more than {MAX_SIGNATURES} signatures")
    return found


def _signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not _NAME.match(name):
        raise BadNote(f"this is no signature line: {line[:80]!r}")
    data = decode_base64(encoded)
    if len(data) < 5:
        raise BadNote(f"the signature of {name} is too short")
    return Signature(name, data[:4], data[4:])


def decode_base64(text: str) -> bytes:
    """Strict base64 (RFC 4648 §4). Raises BadNote."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadNote(f"not base64: {text[:80]!r}: {error}") from None
    # Bits that no byte needs could differ between two texts of the same bytes: one text only is right.
    if base64.b64encode(data).decode() != text:
        raise BadNote(f"not canonical base64: {text[:80]!r}")
    return data


@dataclass(frozen=True, slots=True)
class Verifier:
    """A key that checks signatures."""

    name: str
    kind: int
    """`ED25519` or `COSIGNATURE`."""
    public: bytes
    """32 bytes (RFC 8032)."""

    @property
    def key_id(self) -> bytes:
        """``SHA-256(key name || 0x0A || signature type || public key)[:4]``."""
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(bytes([self.kind]) + self.public).decode()}"

    def of(self, note: Note) -> list[Signature]:
        """This key's signatures on the note: by name and id, not checked."""
        return [found for found in note.signatures if found.name == self.name and found.key_id == self.key_id]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether the Ed25519 signature is right."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except InvalidSignature:
            return False
        return True

    def check(self, note: Note) -> None:
        """Check that this key (`ED25519`) signed the note. Raises BadNote."""
        found = self.of(note)
        if not found:
            raise BadNote(f"not signed by {self.name}+{self.key_id.hex()}")
        if not all(self.verifies(note.text.encode(), signature.data) for signature in found):
            raise BadNote(f"the signature of {self.name} is wrong")


def parse_verifier(text: str) -> Verifier:
    """The verifier key in `text`. Raises BadNote."""
    # "+" is also a letter of base64: the name has none, so the first two are the separators.
    name, _, rest = text.strip().partition("+")
    key_id, _, encoded = rest.partition("+")
    data = decode_base64(encoded)
    if not _NAME.match(name) or len(data) != 33 or data[0] not in (ED25519, COSIGNATURE):
        raise BadNote("no verifier key: expected <name>+<key id>+<base64 of an Ed25519 key>")
    verifier = Verifier(name, data[0], data[1:])
    if verifier.key_id.hex() != key_id:
        raise BadNote(f"the key id of {name} is {verifier.key_id.hex()}, not {key_id[:16]}")
    return verifier


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that signs notes (`ED25519`)."""

    name: str
    seed: bytes
    """32 bytes, secret."""

    @property
    def verifier(self) -> Verifier:
        """The public half."""
        public = Ed25519PrivateKey.from_private_bytes(self.seed).public_key().public_bytes_raw()
        return Verifier(self.name, ED25519, public)

    def __str__(self) -> str:
        key = base64.b64encode(bytes([ED25519]) + self.seed).decode()
        return f"{PRIVATE}{self.name}+{self.verifier.key_id.hex()}+{key}"

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"

    def sign(self, text: str) -> Note:
        """The text as a note signed by this key only."""
        data = Ed25519PrivateKey.from_private_bytes(self.seed).sign(text.encode())
        return Note(text, (Signature(self.name, self.verifier.key_id, data),))


def parse_signer(text: str) -> Signer:
    """The signer key in `text`. Raises BadNote, whose message has nothing of the key."""
    name, _, rest = text.strip().removeprefix(PRIVATE).partition("+")
    key_id, _, encoded = rest.partition("+")
    try:
        data = decode_base64(encoded)
    except BadNote:
        data = b""
    if not text.startswith(PRIVATE) or not _NAME.match(name) or len(data) != 33 or data[0] != ED25519:
        raise BadNote("no signer key: expected PRIVATE+KEY+<name>+<key id>+<base64>")
    signer = Signer(name, data[1:])
    if signer.verifier.key_id.hex() != key_id:
        raise BadNote(f"the key id of {name} does not fit its key")
    return signer
