"""``hostguard log`` on a copy of a log's folder, with nothing but the public key: what an auditor has."""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sealed_log import SIGNER, SealedLog

from hostguard.agent.cli.main import main
from hostguard.recorder.entry import Cancel
from hostguard.recorder.note import COSIGNATURE, Signer, Verifier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    SealedLog(tmp_path / "log").fill(299).seal().fill(7).close()
    return tmp_path / "log"


def log(command: str, *arguments: str | Path, folder: Path | None = None, key: str = str(SIGNER.verifier)) -> Result:
    where = [] if folder is None else ["--folder", str(folder)]
    return CliRunner().invoke(main, ["log", command, *map(str, arguments), *where, "--key", key])


def test_verify_says_what_is_proven_and_what_is_not(folder: Path) -> None:
    result = log("verify", folder=folder)
    assert result.exit_code == 0
    assert "300 entries are exactly those that were sealed, by example.com/log" in result.output
    assert "7 entries at the end are not sealed yet" in result.output
    assert "no witness has seen any of it" in result.output
    facts = json.loads(log("verify", "--json", folder=folder).stdout)
    assert (facts["verified"], facts["sealed"], facts["entries"], facts["findings"]) == (True, 300, 307, [])


def test_verify_names_the_entry_with_what_was_expected_and_found(folder: Path) -> None:
    segment = min((folder / "entries").iterdir())
    data = bytearray(segment.read_bytes())
    data[40] ^= 1
    segment.write_bytes(data)
    result = log("verify", folder=folder)
    assert result.exit_code == 1
    assert "entry 0:" in result.output
    assert "expected" in result.output
    assert "found" in result.output
    facts = json.loads(log("verify", "--json", folder=folder).stdout)
    assert not facts["verified"]
    assert facts["findings"][0]["place"] == "entry 0"


def test_verify_goes_on_from_a_remembered_checkpoint_and_refuses_another_past(folder: Path, tmp_path: Path) -> None:
    remembered = tmp_path / "remembered"
    remembered.write_text(log("checkpoint", folder=folder).stdout)
    SealedLog(folder).fill(400).seal().close()
    result = log("verify", "--from", remembered, folder=folder)
    assert result.exit_code == 0
    assert "those before entry 256 by the remembered checkpoint" in result.output
    other = SealedLog(tmp_path / "other")
    other.log.append(0, Cancel(12345))
    other.fill(500).seal().close()
    assert log("verify", "--from", remembered, folder=tmp_path / "other").exit_code == 1
    assert log("verify", "--from", remembered, "--whole", folder=tmp_path / "other").exit_code == 1
    assert log("verify", "--from", remembered, "--whole", folder=folder).exit_code == 0
    remembered.write_text("nonsense")
    assert log("verify", "--from", remembered, folder=folder).exit_code == 1


def test_a_proof_is_checked_by_a_few_lines_of_anybody(folder: Path) -> None:
    """By the words of docs/recordings.md and RFC 9162 §2.1.3.2, without a line of ours."""
    text = log("prove", "77", folder=folder).stdout
    head, note = text.split("\n\n", 1)
    _, extra, number, *lines = head.split("\n")
    index, size = int(number.split()[1]), int(note.split("\n")[1])
    hashed = sha256(b"\0" + base64.b64decode(extra.split()[1])).digest()
    fn, sn = index, size - 1
    for line in lines:
        sibling = base64.b64decode(line)
        if fn & 1 or fn == sn:
            hashed = sha256(b"\1" + sibling + hashed).digest()
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            hashed = sha256(b"\1" + hashed + sibling).digest()
        fn, sn = fn >> 1, sn >> 1
    assert sn == 0
    assert base64.b64encode(hashed).decode() == note.split("\n")[2]


def test_a_proof_is_checked_with_the_key_alone(folder: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    proof.write_text(log("prove", "77", folder=folder).stdout)
    result = log("check-proof", proof)
    assert result.exit_code == 0
    assert "entry 77 of the 300" in result.output
    assert "target: 77" in result.output
    assert json.loads(log("check-proof", proof, "--json").stdout)["fields"]["target"] == 77
    proof.write_text(proof.read_text().replace("index 77", "index 78"))
    assert log("check-proof", proof).exit_code == 1
    assert log("check-proof", tmp_path / "none").exit_code == 1


@pytest.mark.parametrize(
    ("key", "code"), [("nonsense", 2), (str(Signer("example.com/log", b"t" * 32).verifier), 1), (str(SIGNER.verifier), 0)]
)
def test_another_key_checks_nothing(folder: Path, key: str, code: int) -> None:
    assert log("verify", folder=folder, key=key).exit_code == code
    assert log("checkpoint", folder=folder, key=key).exit_code == code


def test_an_entry_that_is_not_sealed_has_no_proof_yet(folder: Path) -> None:
    result = log("prove", "303", folder=folder)
    assert result.exit_code == 1
    assert "not under a checkpoint yet" in result.output


def test_a_witness_s_file_that_was_changed_is_a_finding_among_others(folder: Path) -> None:
    """The rest is checked all the same, with what the other witnesses have."""
    (folder / "witness").mkdir()
    (folder / "witness" / "w1").write_text("nonsense")
    (folder / "witness" / "w2").write_text((folder / "checkpoint").read_text())
    (folder / "tile" / "0" / "000").unlink()
    result = log("verify", "--json", folder=folder)
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert [finding["place"] for finding in facts["findings"]] == ["tile/0/000", "witness/w1"]
    assert [one["name"] for one in facts["witnesses"]] == ["w2"]
    shown = log("verify", folder=folder)
    assert "witness/w1: what is kept of a witness is not right" in shown.output
    assert log("prove", "290", folder=folder).exit_code == 0


def test_a_log_without_a_checkpoint_says_so(tmp_path: Path) -> None:
    SealedLog(tmp_path).close()
    result = log("checkpoint", folder=tmp_path)
    assert result.exit_code == 1
    assert "nothing is sealed yet" in result.output


def test_a_cosigning_key_is_no_key_of_a_log(folder: Path) -> None:
    key = str(Verifier("example.com/log", COSIGNATURE, SIGNER.verifier.public))
    assert log("verify", folder=folder, key=key).exit_code == 1
