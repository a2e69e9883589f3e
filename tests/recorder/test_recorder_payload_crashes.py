"""Payloads when syncs fail, processes are killed, and retention works beside the writer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from auditor import Auditor, log_for, texts
from sealed_log import SealedLog, ticking

from hostguard.identity.auditors import Recipients
from hostguard.recorder.durable import LogUnavailable, Syscalls
from hostguard.recorder.entry import Operation
from hostguard.recorder.log import Log
from hostguard.recorder.payloads import PayloadStore, payload_path, payload_paths, read_payload
from hostguard.recorder.retention import Rule, plan, remove

TEXT = "SELECT 'of a statement that is long enough' " * 2000


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


# Crashes.


class Calls:
    """A disk that counts, and fails to sync when told to."""

    def __init__(self) -> None:
        self.synced: list[str] = []
        self.rewritten: list[bytes] = []
        self.broken = False

    def syscalls(self) -> Syscalls:
        return Syscalls(fdatasync=self._fdatasync, pwrite=self._pwrite)

    def _fdatasync(self, descriptor: int) -> None:
        if self.broken:
            raise OSError(5, "Input/output error")
        self.synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        os.fdatasync(descriptor)

    def _pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        self.rewritten.append(data)
        return os.pwrite(descriptor, data, offset)


def test_after_a_failed_sync_payloads_are_written_again_before_the_next(tmp_path: Path, auditor: Auditor) -> None:
    disk = Calls()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls(), encrypt=Recipients([auditor.recipient]).encrypt)
    log.append(0, Operation(1, "query", TEXT))
    disk.broken = True
    with pytest.raises(LogUnavailable):
        log.sync()
    disk.broken = False
    log.sync()
    (path,) = payload_paths(tmp_path)
    assert path.read_bytes() in disk.rewritten
    assert str(path) in disk.synced
    log.close()


def test_a_payload_in_doubt_that_reads_otherwise_keeps_the_log_closed(tmp_path: Path) -> None:
    """The pages that a failed sync called clean were dropped, and the disk gives something else."""
    disk = Calls()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    log.append(0, Operation(1, "query", TEXT))
    disk.broken = True
    with pytest.raises(LogUnavailable):
        log.sync()
    disk.broken = False
    (path,) = payload_paths(tmp_path)
    with path.open("r+b") as file:
        file.write(bytes(100))
    with pytest.raises(LogUnavailable, match="can't be written again"):
        log.sync()
    log._writer.abandon()


def test_a_payload_of_a_killed_process_is_synced_by_the_next_that_refers_to_it(tmp_path: Path) -> None:
    killed = log_for(tmp_path)
    killed.append(0, Operation(1, "query", TEXT))
    killed._writer.abandon()
    disk = Calls()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    log.append(0, Operation(2, "query", TEXT))
    log.sync()
    assert str(payload_paths(tmp_path)[0]) in disk.synced
    log.close()


def test_a_damaged_encrypted_payload_is_stored_anew_when_the_value_comes_again(tmp_path: Path, auditor: Auditor) -> None:
    store = PayloadStore(tmp_path, Syscalls(), Recipients([auditor.recipient]).encrypt)
    (tmp_path / "payloads").mkdir()
    first = store.store(b"value")
    assert store.store(b"value") == first
    payload_path(tmp_path, first).write_bytes(b"damaged")
    second = store.store(b"value")
    assert second != first
    assert read_payload(tmp_path, second, auditor.decrypt) == b"value"
    store.sync()


# Retention.


def test_encrypted_payloads_go_with_the_entries_that_name_them(tmp_path: Path, auditor: Auditor) -> None:
    sealed = SealedLog(tmp_path / "log", encrypt=Recipients([auditor.recipient]).encrypt)
    sealed.fill(900).seal()
    before = payload_paths(sealed.folder)
    found = plan(sealed.folder, Rule(keep_ns=10**14), sealed.sealer.checkpoint.size, ticking()[0] + 10**15)
    assert found is not None
    remove(found, sealed.log.payloads)
    assert 0 < len(found.payloads) == len(before) - len(payload_paths(sealed.folder)) < len(before)
    sealed.close()
    assert len(texts(sealed.folder, auditor.decrypt)) == len(payload_paths(sealed.folder))


@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("moment", ["before the plan", "after the plan", "after the removal"])
def test_a_value_that_comes_again_while_retention_works_is_not_lost(
    tmp_path: Path, auditor: Auditor, encrypted: bool, moment: str
) -> None:
    sealed = SealedLog(tmp_path / "log", encrypt=Recipients([auditor.recipient]).encrypt if encrypted else None)
    words = "x" * 66_000
    sealed.log.append(0, Operation(1, "query", words))
    sealed.fill(900).seal()
    if not encrypted:
        sealed.log.payloads._known.clear()  # As after a restart: the file is found, not remembered.
    sealed.log.payloads.watch()

    def again(now: str) -> None:
        if now == moment:
            sealed.log.append(0, Operation(2, "query", words))

    again("before the plan")
    found = plan(sealed.folder, Rule(keep_ns=10**14), sealed.sealer.checkpoint.size, ticking()[0] + 10**15)
    assert found is not None
    again("after the plan")
    remove(found, sealed.log.payloads)
    again("after the removal")
    sealed.close()
    assert texts(sealed.folder, auditor.decrypt)[-1] == words
