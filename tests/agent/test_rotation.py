"""The log's key is changed: whoever has the old one comes to the new one, wherever the change broke off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from sealed_log import ticking

from hostguard.agent import rotation
from hostguard.agent.cli.main import main
from hostguard.agent.failures import Failure
from hostguard.agent.paths import Paths
from hostguard.agent.rotation import finish, keys, rotate
from hostguard.recorder.entry import Cancel, DaemonStart
from hostguard.recorder.findings import Report
from hostguard.recorder.handover import KEY_DETAIL, keys_of
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer, Verifier
from hostguard.recorder.seal import Sealer
from hostguard.recorder.treefiles import TreeFiles
from hostguard.recorder.verify import verify


class Stop(Exception):
    """The process died here."""


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    found = Paths(tmp_path / "state", tmp_path / "run", tmp_path / "pins")
    found.make()
    daemon(found)
    return found


@contextmanager
def opened(paths: Paths) -> Iterator[Log]:
    log = Log(paths.log, ticking)
    try:
        yield log
    finally:
        log.close()


def daemon(paths: Paths, entries: int = 30) -> None:
    """What a daemon does with its key, from start to stop."""
    with opened(paths) as log:
        finish(paths)
        signer = paths.log_signer()
        sealer = Sealer(paths.log, signer, log.sync)
        log.append(0, DaemonStart(version="0", pid=1, details=((KEY_DETAIL, str(signer.verifier)),)))
        for number in range(entries):
            log.append(0, Cancel(number))
        sealer.seal()


def whole(paths: Paths, verifier: Verifier) -> Report:
    report = verify(paths.log, verifier)
    assert report.findings == []
    assert report.sealed == report.entries
    return report


def change(paths: Paths) -> tuple[Verifier, Verifier]:
    with opened(paths) as log:
        return rotate(paths, log)


def test_the_old_key_leads_to_the_new_one_and_back(paths: Paths) -> None:
    secret = paths.key.read_bytes()
    old, new = change(paths)
    assert (old.name, old != new) == (new.name, True)
    assert paths.log_verifier() == new
    assert secret not in b"".join(path.read_bytes() for path in paths.state.rglob("*") if path.is_file())
    daemon(paths)
    for trusted in (old, new):
        assert whole(paths, trusted).keys == (str(old), str(new))
    _, third = change(paths)
    daemon(paths)
    for trusted in (old, new, third):
        report = whole(paths, trusted)
        assert report.keys == (str(old), str(new), str(third))
        assert len(report.handed_over) == 2
    assert not paths.next_key.exists()


@pytest.mark.parametrize("goes_on", [False, True], ids=["again at once", "a daemon in between"])
@pytest.mark.parametrize("steps", range(len(rotation.STEPS) + 1))
def test_a_rotation_that_broke_off_is_completed(paths: Paths, monkeypatch: pytest.MonkeyPatch, steps: int, goes_on: bool) -> None:
    first = paths.log_verifier()

    def die(_: object) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(rotation, "STEPS", (*rotation.STEPS[:steps], die))
        with pytest.raises(Stop):
            change(paths)
    whole_before = verify(paths.log, first)
    assert whole_before.findings == []
    if goes_on:
        daemon(paths)
        whole(paths, first)
    change(paths)
    daemon(paths)
    report = whole(paths, first)
    assert report.keys[0] == str(first)
    assert report.keys[-1] == str(paths.log_verifier())
    assert not paths.next_key.exists()


@pytest.mark.parametrize("emptied", [False, True])
def test_the_new_key_is_in_force_before_the_old_one_is_gone(paths: Paths, monkeypatch: pytest.MonkeyPatch, emptied: bool) -> None:
    """Killed after the hand-over: the file of the old key is still there, or has nothing in it."""
    old = paths.log_verifier()
    with monkeypatch.context() as patch:
        patch.setattr(rotation, "finish", lambda _: None)
        _, new = change(paths)
    if emptied:
        paths.key.write_bytes(bytes(100))
    assert paths.next_key.exists()
    assert paths.log_verifier() == new
    daemon(paths)
    assert not paths.next_key.exists()
    assert whole(paths, old).keys == (str(old), str(new))


def test_a_key_that_changed_without_a_record_is_found(paths: Paths) -> None:
    """Root puts another key in place and signs with it."""
    old = paths.log_verifier()
    other = Signer(old.name, b"o" * 32)
    paths.key.write_text(str(other))
    with opened(paths) as log:
        (paths.log / "checkpoint").unlink()
        shutil.rmtree(paths.log / "tile")
        Sealer(paths.log, other, log.sync).seal()
    assert "not signed by" in verify(paths.log, old).findings[0].problem
    (finding,) = verify(paths.log, other.verifier).findings
    assert "no hand-over leads to" in finding.problem
    assert (finding.expected, finding.found) == (str(other.verifier), str(old))


def test_a_hand_over_that_is_gone_or_forged_is_found(paths: Paths) -> None:
    old, new = change(paths)
    daemon(paths)
    (proof,) = (paths.log / "handover").iterdir()
    text = proof.read_text()
    proof.unlink()
    assert verify(paths.log, old).findings != []
    assert any("its hand-over is not there" in found.problem for found in verify(paths.log, new).findings)
    for at in range(0, len(text), 41):
        changed = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        proof.write_text(changed)
        assert verify(paths.log, old).findings != [], at
    proof.rename(proof.with_name("0" * 20))
    assert verify(paths.log, old).findings != []


@pytest.mark.parametrize("dropped", [0, 1], ids=["the old one's", "the new one's"])
def test_a_hand_over_needs_both_signatures(paths: Paths, dropped: int) -> None:
    old, new = change(paths)
    (proof,) = (paths.log / "handover").iterdir()
    head, blank, signatures = proof.read_text().rpartition("\n\n")
    lines = signatures.splitlines(keepends=True)
    assert len(lines) == 2
    del lines[dropped]
    TreeFiles(paths.log).replace(f"handover/{proof.name}", f"{head}{blank}{''.join(lines)}".encode())
    for trusted in (old, new):
        (finding,) = verify(paths.log, trusted).findings
        assert "not signed by" in finding.problem


def test_what_the_old_key_signed_for_a_witness_still_counts(paths: Paths) -> None:
    before = (paths.log / "checkpoint").read_text()
    old, _ = change(paths)
    daemon(paths)
    assert keys(paths).open(before).size == 32
    assert keys_of(paths.log, old).open((paths.log / "checkpoint").read_text()).size > 32


def configuration(paths: Paths, tmp_path: Path) -> Path:
    file = tmp_path / "hostguard.toml"
    (tmp_path / "p.cedar").write_text("")
    file.write_text(f'[daemon]\nstate_dir = "{paths.state}"\nrun_dir = "{paths.run}"\n[policy]\nfiles = ["p.cedar"]\n')
    return file


def test_the_command_says_the_new_key_and_verify_says_the_way_there(paths: Paths, tmp_path: Path) -> None:
    file = configuration(paths, tmp_path)
    old = paths.log_verifier()
    result = CliRunner().invoke(main, ["log", "rotate-key", "--json", "--config", str(file)])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["old"] == str(old)
    assert told["key"] == str(paths.log_verifier())
    shown = CliRunner().invoke(main, ["log", "verify", "--folder", str(paths.log), "--key", str(old)])
    assert shown.exit_code == 0, shown.output
    assert f"{old.key_id.hex()} handed over to {paths.log_verifier().key_id.hex()} at entry 32" in shown.output


def test_the_command_refuses_while_a_daemon_writes(paths: Paths, tmp_path: Path) -> None:
    file = configuration(paths, tmp_path)
    old = paths.log_verifier()
    with opened(paths):
        result = CliRunner().invoke(main, ["log", "rotate-key", "--config", str(file)])
    assert result.exit_code == 1
    assert "stop the daemon first" in result.output
    assert paths.log_verifier() == old


def test_a_disk_that_fails_leaves_the_old_key(paths: Paths) -> None:
    old = paths.log_verifier()
    (paths.log / "handover").write_text("in the way")
    with pytest.raises(Failure, match="the old one is in force"):
        change(paths)
    assert paths.log_verifier() == old
    (paths.log / "handover").unlink()
    assert change(paths)[0] == old
