"""Somebody with an age key of their own, and logs that they can read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pyrage
from sealed_log import ticking

from hostguard.identity.auditors import Identities, Recipients
from hostguard.recorder.entry import Operation
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored


class Auditor:
    """Somebody with a key of their own."""

    def __init__(self, folder: Path) -> None:
        key = pyrage.x25519.Identity.generate()
        self.recipient = str(key.to_public())
        self.file = folder / f"{self.recipient}.key"
        self.file.write_text(f"# public key: {self.recipient}\n{key}\n")
        self.decrypt = Identities([self.file]).decrypt


def log_for(folder: Path, *auditors: Auditor, above: int = 65_535) -> Log:
    encrypt = Recipients(one.recipient for one in auditors).encrypt if auditors else None
    return Log(folder, ticking, encrypt=encrypt, payload_above=above)


def texts(folder: Path, decrypt: Callable[[bytes], bytes | None] | None = None) -> list[object]:
    """The texts of the operations, whole where that can be had."""
    reader = Reader(folder, decrypt=decrypt)
    found: list[object] = []
    for _, entry in reader.entries((Operation,)):
        assert isinstance(entry, Operation)
        value = reader.payload(entry.text) if isinstance(entry.text, Stored) else None
        found.append(entry.text if value is None else msgspec.msgpack.decode(value))
    return found
