"""Auditors' keys in the age format: payloads are encrypted to recipients, opened with identities.

age v1 (https://age-encryption.org/v1, C2SP age.md), binary, by the Rust implementation (`pyrage`); what is encrypted here opens
with ``age --decrypt`` or ``rage``. This host holds recipients only, which are public: who has root on it can delete payloads, not
read them. There is no signature in age: that a payload is the one that was recorded follows from its hash in the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pyrage

_SECRET_KEY = "AGE-SECRET-KEY-1"
_AGE_FILE = (b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----")
"""How a passphrase-protected identity file begins."""
_SSH_KEY = b"-----BEGIN "
MAX_IDENTITY_BYTES = 1 << 20
"""An identity file is some hundred bytes; somebody who names the wrong file should hear so soon."""


class BadKey(ValueError):
    """A text or file that is no key; the message says why, and never has a secret in it."""


def recipient_fault(text: str) -> str:
    """What is wrong with a recipient; empty when it is one."""
    try:
        _recipient(text)
    except BadKey as error:
        return str(error)
    return ""


def _recipient(text: str) -> pyrage.x25519.Recipient | pyrage.ssh.Recipient:
    if text.startswith(_SECRET_KEY):
        raise BadKey("this is a secret key; here belongs the public one, which begins with age1: `age-keygen -y` shows it")
    try:
        if text.startswith("ssh-"):
            return pyrage.ssh.Recipient.from_str(text)
        return pyrage.x25519.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        raise BadKey(f"no age recipient (age1…, or an SSH key ssh-ed25519 … or ssh-rsa …): {error}") from None


class Recipients:
    """The keys that payloads are encrypted to; each of them opens all."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Raises BadKey."""
        self._keys = [_recipient(text) for text in texts]

    def __len__(self) -> int:
        return len(self._keys)

    def encrypt(self, data: bytes) -> bytes:
        """An age file. About 70 µs a key; no two results are the same."""
        return bytes(pyrage.encrypt(data, self._keys))


class Identities:
    """The secret keys of somebody who may read payloads."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """Read identity files: those of ``age-keygen``, or SSH keys without a passphrase. Raises BadKey, naming the file."""
        self._keys = [key for path in paths for key in _identities(path)]

    def __len__(self) -> int:
        return len(self._keys)

    def decrypt(self, data: bytes) -> bytes | None:
        """What is in an age file; None when none of these keys opens it, or it is damaged."""
        try:
            return bytes(pyrage.decrypt(data, self._keys))
        except pyrage.DecryptError:
            return None


def _identities(path: Path) -> list[pyrage.x25519.Identity | pyrage.ssh.Identity]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_IDENTITY_BYTES)
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from None
    if data.startswith(_AGE_FILE):
        raise BadKey(f"{path}: it is protected by a passphrase; decrypt it first with `age --decrypt`")
    try:
        if data.startswith(_SSH_KEY):
            return [pyrage.ssh.Identity.from_buffer(data)]
        lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
        keys = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except pyrage.IdentityError as error:
        raise BadKey(f"{path}: no age identity, nor an SSH key without a passphrase: {error}") from None
    if not keys:
        raise BadKey(f"{path}: there is no identity in it")
    return list(keys)
