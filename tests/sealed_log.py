"""Sealed logs for tests: one that was filled, its seal, and what a verification says of it."""

from __future__ import annotations

from pathlib import Path

from hostguard.recorder.entry import Cancel, Operation
from hostguard.recorder.findings import Report
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.seal import Sealer
from hostguard.recorder.treefiles import TreeSyscalls
from hostguard.recorder.verify import verify
from hostguard.recorder.wrapping import Encrypt

SIGNER = Signer("example.com/log", b"s" * 32)


def ticking() -> tuple[int, int]:
    return (1_700_000_000_000_000_000, 5_000_000_000)


class SealedLog:
    """A log with its sealer."""

    def __init__(
        self,
        folder: Path,
        segment_bytes: int = 20_000,
        syscalls: TreeSyscalls | None = None,
        encrypt: Encrypt | None = None,
    ) -> None:
        self.folder = folder
        self.log = Log(folder, ticking, segment_bytes=segment_bytes, encrypt=encrypt)
        try:
            self.sealer = Sealer(folder, SIGNER, self.log.sync, syscalls=syscalls)
        except BaseException:
            self.log.close()
            raise

    def fill(self, count: int) -> SealedLog:
        """Append entries, one with a payload among each hundred."""
        for _ in range(count):
            number = self.log.position
            self.log.append(0, Operation(number, "query", f"{number}" + "x" * 66_000) if number % 100 == 50 else Cancel(number))
        return self

    def seal(self) -> SealedLog:
        self.sealer.seal()
        return self

    def close(self) -> None:
        self.log.close()


def verified(folder: Path) -> Report:
    """What the verifier says."""
    return verify(folder, SIGNER.verifier)


def assert_whole(folder: Path) -> Report:
    """The log verifies."""
    report = verified(folder)
    assert report.findings == []
    return report
