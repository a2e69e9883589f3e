"""The payload store: what is on disk, who can read it, and what a crash or a forger makes of it."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
import zstandard
from auditor import Auditor, log_for, texts
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_log import SIGNER, SealedLog

from hostguard.identity.auditors import Recipients
from hostguard.recorder.entry import Operation
from hostguard.recorder.findings import Report
from hostguard.recorder.packing import frame
from hostguard.recorder.payloads import payload_path, payload_paths, read_payload
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored
from hostguard.recorder.verify import verify
from hostguard.recorder.wrapping import unwrap, wrap

TEXT = "SELECT 'of a statement that is long enough' " * 2000


@pytest.fixture
def auditor(tmp_path: Path) -> Auditor:
    return Auditor(tmp_path)


def no_key(_: bytes) -> bytes | None:
    return None


# What is on disk.


def test_a_payload_is_compressed_named_by_its_file_and_stored_once(tmp_path: Path) -> None:
    log = log_for(tmp_path)
    for number in range(3):
        log.append(0, Operation(number, "query", TEXT))
    log.close()
    again = log_for(tmp_path)
    again.append(0, Operation(4, "query", TEXT))
    again.close()
    (path,) = payload_paths(tmp_path)
    data = path.read_bytes()
    assert path.name == sha256(data).hexdigest() + ".zst"
    assert len(data) < len(TEXT) / 50
    assert msgspec.msgpack.decode(zstandard.decompress(data)) == TEXT
    assert texts(tmp_path) == [TEXT] * 4


def test_an_encrypted_payload_opens_for_each_auditor_and_for_nobody_else(tmp_path: Path) -> None:
    first, second, stranger = (Auditor(tmp_path) for _ in range(3))
    folder = tmp_path / "log"
    log = log_for(folder, first, second)
    log.append(0, Operation(1, "query", TEXT))
    log.append(0, Operation(2, "query", TEXT))
    log.close()
    assert texts(folder, first.decrypt) == texts(folder, second.decrypt) == [TEXT] * 2
    for decrypt in (None, stranger.decrypt):
        reader = Reader(folder, decrypt=decrypt)
        references = [entry.text for _, entry in reader.entries() if isinstance(entry, Operation)]
        assert [reader.payload(one) for one in references if isinstance(one, Stored)] == [None, None]
        assert len(reader.unopened) == 1
    (path,) = payload_paths(folder)
    assert path.name == sha256(path.read_bytes()).hexdigest() + ".zst.age"


def test_age_and_zstd_open_what_we_store_and_we_open_what_age_makes(tmp_path: Path, auditor: Auditor) -> None:
    log = log_for(tmp_path / "log", auditor)
    log.append(0, Operation(1, "query", TEXT))
    log.close()
    (path,) = payload_paths(tmp_path / "log")
    frame_of = subprocess.run(["age", "--decrypt", "-i", auditor.file, path], capture_output=True, check=True).stdout
    value = subprocess.run(["zstd", "-d", "-c"], input=frame_of, capture_output=True, check=True).stdout
    assert msgspec.msgpack.decode(value) == TEXT
    made = subprocess.run(["age", "-r", auditor.recipient], input=b"hello", capture_output=True, check=True).stdout
    assert auditor.decrypt(made) == b"hello"


def test_a_short_value_can_not_be_guessed_from_what_is_on_disk(tmp_path: Path, auditor: Auditor) -> None:
    """Somebody who reads the whole folder, and knows that the value is one of few, learns nothing by hashing."""
    folder = tmp_path / "log"
    guess = "SELECT 4711"
    log = log_for(folder, auditor, above=0)
    log.append(0, Operation(1, "query", guess))
    log.append(0, Operation(2, "query", "SELECT 1"), Operation(3, "query", guess))
    log.close()
    assert texts(folder, auditor.decrypt) == [guess, "SELECT 1", guess]
    value = msgspec.msgpack.encode(guess)
    frames = (value, zstandard.ZstdCompressor(level=3).compress(value), zstandard.ZstdCompressor(level=1).compress(value))
    known = [guess.encode(), *(sha256(each).digest() for each in frames), *(sha256(each).hexdigest().encode() for each in frames)]
    for path in folder.rglob("*"):
        data = path.name.encode() + (path.read_bytes() if path.is_file() else b"")
        assert not any(each in data for each in known), path
    # The same words in the clear would be found by this search.
    log_for(tmp_path / "clear", above=0).append(0, Operation(1, "query", guess))
    assert any(known[2] in path.read_bytes() for path in (tmp_path / "clear" / "entries").iterdir())


@pytest.mark.parametrize(("above", "stored"), [(0, (True, True)), (40, (True, False)), (65_535, (False, False))])
def test_words_above_the_bound_are_payloads(tmp_path: Path, above: int, stored: tuple[bool, bool]) -> None:
    log = log_for(tmp_path, above=above)
    log.append(0, Operation(1, "execute", "x" * 41, statement="s", parameters=(b"y" * 30,), formats=(0,), types=(25,)))
    log.append(0, Operation(2, "query", "", parameters=()), Operation(3, "execute", None))
    log.close()
    first, empty, unseen = [entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, Operation)]
    assert (isinstance(first.text, Stored), isinstance(first.parameters, Stored)) == stored
    assert (first.statement, first.formats, first.types) == ("s", (0,), (25,))
    assert (empty.text, empty.parameters, unseen.text) == ("", (), None)


# Logs of before.


def plain_log(folder: Path) -> Path:
    """A log as it was written before payloads were compressed."""

    def store(value: bytes) -> Stored:
        digest = sha256(value)
        path = folder / "payloads" / digest.hexdigest()[:2] / digest.hexdigest()
        path.parent.mkdir(parents=True)
        path.write_bytes(value)
        return Stored(len(value), digest.digest())

    sealed = SealedLog(folder)
    sealed.log._writer.append(frame(Operation(1, "query", TEXT), store), 1)
    sealed.seal().close()
    return folder


def test_a_log_with_plain_payloads_reads_verifies_and_goes_on(tmp_path: Path, auditor: Auditor) -> None:
    folder = plain_log(tmp_path / "log")
    assert b"encrypted" not in b"".join(path.read_bytes() for path in (folder / "entries").iterdir())
    log = log_for(folder, auditor)
    log.append(0, Operation(2, "query", TEXT))
    log.close()
    assert texts(folder, auditor.decrypt) == [TEXT, TEXT]
    report = checked(folder, auditor.decrypt)
    assert (report.findings, report.payloads, report.encrypted, report.opened) == ([], 2, 1, 1)
    (old,) = [path for path in payload_paths(folder) if not path.suffix]
    old.write_bytes(old.read_bytes()[:-1])
    assert [finding.place for finding in checked(folder).findings] == [str(old.relative_to(folder))]


# Verification.


def checked(folder: Path, decrypt: Callable[[bytes], bytes | None] = no_key) -> Report:
    return verify(folder, SIGNER.verifier, decrypt=decrypt)


def encrypted_log(folder: Path, auditor: Auditor) -> Path:
    sealed = SealedLog(folder, encrypt=Recipients([auditor.recipient]).encrypt)
    sealed.fill(300).seal().close()
    return folder


def test_without_a_key_every_byte_is_checked_and_with_one_the_values(tmp_path: Path, auditor: Auditor) -> None:
    folder = encrypted_log(tmp_path / "log", auditor)
    report = checked(folder)
    assert (report.findings, report.payloads, report.encrypted, report.opened) == ([], 3, 3, 0)
    report = checked(folder, auditor.decrypt)
    assert (report.findings, report.payloads, report.encrypted, report.opened) == ([], 3, 3, 3)
    assert checked(folder, Auditor(tmp_path).decrypt).opened == 0


def test_every_change_to_an_encrypted_payload_is_found_without_a_key(tmp_path: Path, auditor: Auditor) -> None:
    folder = encrypted_log(tmp_path / "log", auditor)
    path, other, _ = payload_paths(folder)
    whole = path.read_bytes()
    chance = random.Random(7)
    # Also what the auditor's key would open: root can encrypt to it as well.
    forged = Recipients([auditor.recipient]).encrypt(b"forged")
    changed = [whole[:-1], whole + b"x", b"", other.read_bytes(), forged]
    for at in (0, 30, *(chance.randrange(len(whole)) for _ in range(20))):
        changed.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for data in changed:
        path.write_bytes(data)
        assert [finding.place for finding in checked(folder).findings] == [str(path.relative_to(folder))]
    path.unlink()
    (finding,) = checked(folder).findings
    assert "is not there" in finding.problem


def test_a_value_that_is_not_the_one_hashed_is_found_with_the_key(tmp_path: Path, auditor: Auditor) -> None:
    """A daemon that lies when it writes: the file is the one named, the value not the one hashed."""
    encrypt = Recipients([auditor.recipient]).encrypt

    def lying(data: bytes) -> bytes:
        return encrypt(data[:40] + zstandard.compress(b"x" * 66_003))

    sealed = SealedLog(tmp_path / "log", encrypt=lying)
    sealed.log.append(0, Operation(1, "query", "y" * 66_000))
    sealed.seal().close()
    assert checked(tmp_path / "log").findings == []
    (finding,) = checked(tmp_path / "log", auditor.decrypt).findings
    assert (finding.place, "not what it has the hash of" in finding.problem) == ("entry 1", True)


# Forgers.


def test_a_decompression_bomb_is_not_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(1 << 28))
    assert len(bomb) < 20_000
    for length in (0, 5, 1 << 20):
        reference = Stored(length, sha256(bytes(length)).digest(), sha256(bomb).digest())
        made = peak_bytes(lambda reference=reference: unwrap(reference, bomb, no_key))  # type: ignore[misc]
        assert made < (1 << 25), f"{made} bytes for a value of {length}"


def peak_bytes(work: Callable[[], object]) -> int:
    """How much more memory the process had at its peak, of a process of its own."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        import resource

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert work() is None
        os.write(writing, str((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return int(text)


def test_a_file_that_is_far_too_long_is_not_even_read(tmp_path: Path) -> None:
    log = log_for(tmp_path)
    reference = log.store(b"x" * 1000)
    log.close()
    path = payload_path(tmp_path, reference)
    os.truncate(path, 1 << 40)  # Sparse.
    assert read_payload(tmp_path, reference, no_key) is None
    os.truncate(path, 0)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.binary(max_size=100), st.integers(0, 300), st.booleans(), st.integers(-5, 1 << 70))
def test_no_bytes_make_a_reader_stumble(value: bytes, junk: bytes, at: int, encrypted: bool, length: int) -> None:
    reference, data = wrap(value, bytes if encrypted else None)
    assert unwrap(reference, data, bytes) == value
    forged = data[:at] + junk + data[at:]
    named = msgspec.structs.replace(reference, file=sha256(forged).digest())
    assert unwrap(named, forged, bytes) in (value, None)
    cut = data[: at % len(data)]
    assert unwrap(msgspec.structs.replace(reference, file=sha256(cut).digest()), cut, bytes) in (value, None)
    other = msgspec.structs.replace(reference, length=length)
    assert unwrap(other, data, bytes) == (value if length == len(value) else None)
