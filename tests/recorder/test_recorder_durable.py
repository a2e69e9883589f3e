"""What a crash, a full disk or a failing one leaves of the log."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from hostguard.recorder.durable import LogBusy, LogUnavailable, LogWriter, Syscalls
from hostguard.recorder.entry import Cancel, FlowOpen, LogCut, LogResumed, Operation
from hostguard.recorder.log import Log
from hostguard.recorder.packing import frame
from hostguard.recorder.payloads import payload_path
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored

NOISE = os.urandom(50_000).hex()
"""What compresses to half its size and no further."""


def ticking() -> tuple[int, int]:
    return (1_700_000_000_000_000_000, 5_000_000_000)


def framed(number: int) -> bytes:
    def store(payload: bytes) -> object:
        raise AssertionError(payload)

    return frame(Cancel(number), store)  # type: ignore[arg-type]


def targets(folder: Path) -> list[int]:
    """What the log holds: the numbers of its `Cancel` entries."""
    return [entry.target for _, entry in Reader(folder).entries() if isinstance(entry, Cancel)]


def only_segment(folder: Path) -> Path:
    (path,) = (folder / "entries").glob("*.seg")
    return path


class Disk:
    """A disk that fails on command, once or until told otherwise."""

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self.persisted = 0
        """How many bytes a failing write leaves in the file all the same."""
        self.error = errno.EIO
        self.rewritten = b""

    def syscalls(self) -> Syscalls:
        return Syscalls(self._write, self._fdatasync, self._ftruncate, self._pwrite)

    def _pwrite(self, descriptor: int, data: bytes, offset: int) -> int:
        if "pwrite" in self.broken:
            raise OSError(self.error, os.strerror(self.error))
        self.rewritten = data
        return os.pwrite(descriptor, data, offset)

    def _write(self, descriptor: int, data: bytes) -> int:
        if "write" not in self.broken:
            return os.write(descriptor, data)
        os.write(descriptor, data[: self.persisted])
        raise OSError(self.error, os.strerror(self.error))

    def _fdatasync(self, descriptor: int) -> None:
        if "fdatasync" in self.broken:
            raise OSError(self.error, os.strerror(self.error))
        os.fdatasync(descriptor)

    def _ftruncate(self, descriptor: int, size: int) -> None:
        if "ftruncate" in self.broken:
            raise OSError(self.error, os.strerror(self.error))
        os.ftruncate(descriptor, size)


def test_an_append_returns_the_position_that_a_sync_makes_durable(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    assert writer.append(framed(1) + framed(2), 2) == 2
    assert writer.synced_position == 0
    assert writer.sync() == 2
    assert writer.synced_position == 2
    writer.close()


def test_a_second_writer_is_told_who_holds_the_log(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path)
    with pytest.raises(LogBusy, match=f"process {os.getpid()}"):
        LogWriter(tmp_path)
    writer.close()
    LogWriter(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_unavailable_and_leaves_no_lock(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LogUnavailable, match=r"Not a directory|File exists"):
        LogWriter(tmp_path / "file" / "log")


def test_a_failed_opening_releases_the_lock(tmp_path: Path) -> None:
    disk = Disk()
    log = Log(tmp_path, ticking)
    log.close()
    disk.broken = {"fdatasync"}
    with pytest.raises(LogUnavailable):
        Log(tmp_path, ticking, syscalls=disk.syscalls())
    Log(tmp_path, ticking).close()


def test_the_log_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", ticking)
    log.store(b"secret")
    log.close()
    paths = [tmp_path / "log", *(tmp_path / "log").rglob("*")]
    assert len(paths) >= 6
    assert [path for path in paths if path.stat().st_mode & 0o077] == []


def test_a_log_cut_at_every_byte_of_its_last_append_keeps_every_complete_entry(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    log.append(0, Cancel(1))
    before = only_segment(tmp_path).stat().st_size
    log.append(0, Cancel(2), Cancel(3))
    log.close()
    whole = only_segment(tmp_path).read_bytes()
    between = before + (len(whole) - before) // 2
    for size in range(before, len(whole) + 1):
        only_segment(tmp_path).write_bytes(whole[:size])
        Log(tmp_path, ticking).close()
        expected = [1] + [2] * (size >= between) + [3] * (size == len(whole))
        assert targets(tmp_path) == expected, size
        cuts = [entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, LogCut)]
        torn = whole[max(edge for edge in (before, between, len(whole)) if edge <= size) : size]
        assert [(cut.length, cut.sha256) for cut in cuts] == ([(len(torn), sha256(torn).digest())] if torn else [])
        assert not torn or payload_path(tmp_path, Stored(cuts[0].length, cuts[0].sha256)).read_bytes() == torn


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(bytes(1), id="one zero"),
        pytest.param(bytes(2), id="an empty frame"),
        pytest.param(bytes(5000), id="zeros"),
        pytest.param(b"\x00\x05hello", id="text"),
        pytest.param(b"\xff" * 70000, id="ones"),
        pytest.param(os.urandom(300), id="garbage"),
        pytest.param(framed(9)[:-1] + b"\x00", id="a wrong CRC"),
        pytest.param(b"\x00\x2a" + bytes(42), id="zeros with a length"),
    ],
)
def test_a_tail_that_is_no_entry_is_cut_and_kept_apart(tmp_path: Path, tail: bytes) -> None:
    log = Log(tmp_path, ticking)
    log.append(0, Cancel(1))
    log.close()
    size = only_segment(tmp_path).stat().st_size
    with only_segment(tmp_path).open("ab") as file:
        file.write(tail)
    log = Log(tmp_path, ticking)
    log.append(0, Cancel(2))
    log.close()
    assert targets(tmp_path) == [1, 2]
    (cut,) = (entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, LogCut))
    assert (cut.segment, cut.offset, cut.length) == (only_segment(tmp_path).name, size, len(tail))
    assert payload_path(tmp_path, Stored(cut.length, cut.sha256)).read_bytes() == tail


def test_segments_rotate_and_each_is_named_by_its_first_entry(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking, segment_bytes=500)
    for number in range(100):
        log.append(0, Cancel(number))
    assert log.synced_position > 80, "all but the last segment is synced without being asked"
    log.close()
    names = sorted(int(path.stem) for path in (tmp_path / "entries").iterdir())
    assert len(names) > 10
    assert [index for index, _ in Reader(tmp_path).entries()] == list(range(101))
    for name in names:
        assert next(Reader(tmp_path, name).entries())[0] == name
    log = Log(tmp_path, ticking, segment_bytes=500)
    assert log.append(0, Cancel(100)) == 102
    log.close()
    assert targets(tmp_path) == list(range(101))


def test_a_segment_created_just_before_a_crash_is_used(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    log.append(0, Cancel(1))
    log.close()
    (tmp_path / "entries" / f"{2:020d}.seg").touch()
    log = Log(tmp_path, ticking)
    assert log.append(0, Cancel(2)) == 3
    log.close()
    assert targets(tmp_path) == [1, 2]


@pytest.mark.parametrize("persisted", [0, 1, 30, 75, 80])
def test_a_failed_write_is_taken_back_before_the_next_append(tmp_path: Path, persisted: int) -> None:
    """75 bytes hold the first entry of the two: it must not stay either, since its append failed."""
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    log.append(0, Cancel(1))
    disk.broken, disk.persisted = {"write", "ftruncate"}, persisted
    with pytest.raises(LogUnavailable, match=r"write: .*Input/output"):
        log.append(0, Cancel(2), Cancel(3))
    assert not log.available
    disk.broken = {"ftruncate"}
    with pytest.raises(LogUnavailable, match="take back"):
        log.append(0, Cancel(4))
    assert not log.available
    disk.broken = set()
    log.append(0, Cancel(5))
    assert log.available
    log.close()
    assert targets(tmp_path) == [1, 5]
    (resumed,) = (entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, LogResumed))
    assert resumed.failures == 2
    assert "Input/output" in resumed.error


def test_a_failed_write_leaves_nothing_behind_for_readers(tmp_path: Path) -> None:
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    log.append(0, Cancel(1))
    disk.broken, disk.persisted = {"write"}, 80
    with pytest.raises(LogUnavailable):
        log.append(0, Cancel(2), Cancel(3))
    assert targets(tmp_path) == [1]
    log.close()


def test_a_flow_that_could_not_be_put_on_record_gets_no_number(tmp_path: Path) -> None:
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    disk.broken = {"write"}
    with pytest.raises(LogUnavailable):
        log.open_flow(FlowOpen("a", "w", "r"))
    assert log.open_flows == 0
    disk.broken = set()
    flow = log.open_flow(FlowOpen("a", "w", "r"))
    assert [entry.flow for _, entry in Reader(tmp_path, flow).entries()] == [flow]
    log.close()


def test_after_a_failed_sync_nothing_counts_as_durable_until_it_was_written_again(tmp_path: Path) -> None:
    """The failed sync may have dropped the pages: the bytes must be written anew, or the next sync succeeds for nothing."""
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    log.append(0, Cancel(1))
    log.sync()
    durable = log.synced_position
    size = only_segment(tmp_path).stat().st_size
    log.append(0, Cancel(2))
    disk.broken = {"fdatasync"}
    with pytest.raises(LogUnavailable, match="sync"):
        log.sync()
    for broken, step in (("fdatasync", "sync"), ("pwrite", "write again")):
        disk.broken = {broken}
        with pytest.raises(LogUnavailable, match=step):
            log.append(0, Cancel(3))
        assert log.synced_position == durable
        assert not log.available
    disk.broken, disk.rewritten = set(), b""
    in_doubt = only_segment(tmp_path).read_bytes()[size:]
    log.append(0, Cancel(4))
    assert log.available
    assert log.synced_position == durable + 1, "the entry in doubt is settled before anything follows it"
    assert disk.rewritten == in_doubt
    log.close()
    assert targets(tmp_path) == [1, 2, 4]


def test_a_sync_settles_what_an_earlier_one_left_in_doubt(tmp_path: Path) -> None:
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    position = log.append(0, Cancel(1))
    disk.broken = {"fdatasync"}
    with pytest.raises(LogUnavailable):
        log.sync()
    disk.broken = set()
    size = only_segment(tmp_path).stat().st_size
    assert log.sync() == position
    assert log.available
    assert len(disk.rewritten) == size
    log.close()


def test_a_payload_that_does_not_fit_leaves_no_name_and_no_entry(tmp_path: Path) -> None:
    disk = Disk()
    log = Log(tmp_path, ticking, syscalls=disk.syscalls())
    disk.broken, disk.persisted = {"write"}, 1000
    with pytest.raises(LogUnavailable, match="payload"):
        log.append(0, Operation(1, "query", NOISE))
    assert [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()] == []
    disk.broken = set()
    log.append(0, Operation(1, "query", NOISE))
    log.close()
    assert len([path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]) == 1


def test_a_damaged_payload_is_replaced_when_it_is_stored_again(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    reference = log.store(b"payload")
    path = payload_path(tmp_path, reference)
    path.write_bytes(b"PAYLOAD")
    assert Reader(tmp_path).payload(reference) is None
    log.store(b"payload")
    assert Reader(tmp_path).payload(reference) == b"payload"
    log.close()


def test_many_payloads_between_syncs_hold_few_descriptors(tmp_path: Path) -> None:
    log = Log(tmp_path, ticking)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(200):
        log.store(b"payload %d" % number)
        assert len(os.listdir("/proc/self/fd")) <= before + 65
    log.sync()
    assert len(os.listdir("/proc/self/fd")) == before
    log.close()


def in_child(body: Callable[[], None]) -> int:
    """Run `body` in a forked process; its wait status."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            body()
            status = 0
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def test_a_real_short_write_is_taken_back(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes the kernel itself write only a part: no stand-in for the disk is involved."""

    def body() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        log = Log(tmp_path, ticking)
        log.append(0, Cancel(1))
        size = only_segment(tmp_path).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, resource.RLIM_INFINITY))
        with pytest.raises(LogUnavailable, match="only 100 of"):
            log.append(0, Cancel(2), Cancel(3))
        assert only_segment(tmp_path).stat().st_size == size
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        log.append(0, Cancel(4))
        log.close()

    assert in_child(body) == 0
    assert targets(tmp_path) == [1, 4]


def append_until_refused(log: Log) -> int:
    """How many appends of two entries succeeded."""
    for number in range(10_000):
        try:
            log.append(0, Cancel(number), Cancel(number))
        except LogUnavailable:
            return number
    raise AssertionError("the disk never filled")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small tmpfs")
def test_a_full_disk_refuses_appends_until_there_is_room(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "hostguard-test", small], check=True)
    try:
        ballast = small / "ballast"
        ballast.write_bytes(bytes(16384))
        log = Log(small / "log", ticking)
        stored = append_until_refused(log)
        for _ in range(3):
            with pytest.raises(LogUnavailable):
                log.append(0, Cancel(-1), Operation(1, "query", "x" * 2000))
        ballast.unlink()
        log.append(0, Cancel(77_777))
        assert log.available
        log.close()
        assert targets(small / "log") == [number for number in range(stored) for _ in (0, 1)] + [77_777]
    finally:
        subprocess.run(["umount", small], check=True)
