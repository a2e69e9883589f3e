"""What `hostguard ca` does to a system's trust store, in an image: files of ours and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostguard.agent.authority.bundle import certificates, combined, write
from hostguard.agent.authority.own import renew
from hostguard.agent.authority.system import trust
from hostguard.agent.authority.variables import FOLDER, VARIABLES, variables
from hostguard.agent.failures import Failure

ONE, TWO, SYSTEMS = (
    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n",
    b"-----BEGIN CERTIFICATE-----\nCCCC\n-----END CERTIFICATE-----\n",
)
NEXT = ONE.replace(b"AAAA", b"DDDD")
read = Path.read_bytes


@pytest.fixture(params=["/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors", "/etc/pki/trust/anchors"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where an image of each family of systems has its authorities, with one that is somebody else's."""
    found = tmp_path / str(request.param).lstrip("/")
    found.mkdir(parents=True)
    (found / "company.crt").write_bytes(ONE)
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.iterdir())


def test_both_are_trusted_while_one_takes_over_and_nobody_elses_is_touched(folder: Path, tmp_path: Path) -> None:
    trust(tmp_path, {1: ONE}, dry_run=False)
    assert names(folder) == ["company", "hostguard-1"]
    trust(tmp_path, {1: ONE, 2: TWO}, dry_run=False)
    assert names(folder) == ["company", "hostguard-1", "hostguard-2"]
    assert {step.action for step in trust(tmp_path, {1: ONE, 2: TWO}, dry_run=False)} == {"same"}
    trust(tmp_path, {2: TWO}, dry_run=False)
    assert names(folder) == ["company", "hostguard-2"]
    trust(tmp_path, {}, dry_run=False)
    assert names(folder) == ["company"]


def test_a_dry_run_says_the_same_and_does_nothing(folder: Path, tmp_path: Path) -> None:
    said = trust(tmp_path, {1: ONE}, dry_run=True)
    assert names(folder) == ["company"]
    assert said == trust(tmp_path, {1: ONE}, dry_run=False)


def test_a_link_out_of_the_image_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "host" / "share" / "ca-certificates").mkdir(parents=True)
    image = tmp_path / "image"
    (image / "usr").mkdir(parents=True)
    (image / "usr" / "local").symlink_to(tmp_path / "host")
    with pytest.raises(Failure, match="leads out of"):
        trust(image, {1: ONE}, dry_run=False)


def test_a_system_without_a_known_store_is_left_alone(tmp_path: Path) -> None:
    assert trust(tmp_path, {1: ONE}, dry_run=False) == []


def test_a_bundle_has_each_once_and_is_written_only_when_it_changes(tmp_path: Path) -> None:
    place = tmp_path / "bundle.pem"
    text = combined(ONE + b"# a remark\n" + TWO, [TWO])
    assert list(certificates(text)) == [*certificates(ONE), *certificates(TWO)]
    assert (write(place, text), write(place, text), write(place, ONE)) == (True, False, True)
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.pem"]


def test_without_a_bundle_no_variable_is_set(tmp_path: Path) -> None:
    """Never ours alone: a program keeps whom it trusted."""
    (tmp_path / "authorities.pem").write_bytes(ONE)
    assert variables(tmp_path / "bundle.pem", tmp_path / "authorities.pem", {}) == {}
    assert variables(tmp_path / "authorities.pem", tmp_path / "nothing.pem", {}) == {}


@pytest.fixture
def told(tmp_path: Path) -> tuple[Path, Path]:
    """What the daemon writes: the bundle, with a root of the system's, and our authorities alone."""
    bundle, authorities = tmp_path / "bundle.pem", tmp_path / "authorities.pem"
    bundle.write_bytes(SYSTEMS + ONE)
    authorities.write_bytes(ONE)
    return bundle, authorities


def test_all_variables_name_the_bundle_unless_they_name_others(tmp_path: Path, told: tuple[Path, Path]) -> None:
    """Who trusts a few of its own trusts us beside them, and none of the system's: it did not."""
    own, whole = tmp_path / "own.pem", tmp_path / "whole.pem"
    own.write_bytes(TWO)
    whole.write_bytes(TWO + ONE)
    found = variables(*told, {"SSL_CERT_FILE": str(own), "CURL_CA_BUNDLE": str(whole)})
    assert found["CURL_CA_BUNDLE"] == str(whole)
    assert certificates(Path(found["SSL_CERT_FILE"]).read_bytes()).keys() == certificates(ONE + TWO).keys()
    others = {name: value for name, value in found.items() if name not in ("SSL_CERT_FILE", "CURL_CA_BUNDLE")}
    assert others == {name: str(told[0]) for name in VARIABLES if name not in ("SSL_CERT_FILE", "CURL_CA_BUNDLE")}


def test_libpq_is_told_only_where_it_was_told_before(tmp_path: Path, told: tuple[Path, Path]) -> None:
    """With a root file it verifies where it did not: a server that it took would be turned away."""
    own = tmp_path / "own.pem"
    own.write_bytes(TWO)
    assert "PGSSLROOTCERT" not in variables(*told, {})
    assert variables(*told, {"PGSSLROOTCERT": "system"})["PGSSLROOTCERT"] == "system"
    found = variables(*told, {"PGSSLROOTCERT": str(own)})["PGSSLROOTCERT"]
    assert certificates(Path(found).read_bytes()).keys() == certificates(ONE + TWO).keys()


def test_who_has_roots_of_its_own_is_told_of_the_next_authority(
    tmp_path: Path, told: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program reads its file again for each connection: it has both authorities while one takes over, then the next alone."""
    bundle, authorities = told
    own = tmp_path / "own.pem"
    own.write_bytes(TWO)
    place = Path(variables(*told, {"SSL_CERT_FILE": str(own)})["SSL_CERT_FILE"])
    renew(bundle.with_name(FOLDER), ONE + NEXT)
    assert certificates(place.read_bytes()).keys() == certificates(ONE + TWO + NEXT).keys()
    renew(bundle.with_name(FOLDER), NEXT)
    assert certificates(place.read_bytes()).keys() == certificates(TWO + NEXT).keys()
    # The authority changes while a program starts: the daemon finds its roots, or it finds the authority.
    steps = iter([ONE, ONE, NEXT, NEXT, NEXT])
    monkeypatch.setattr(Path, "read_bytes", lambda path: next(steps) if path == authorities else read(path))
    assert Path(variables(*told, {"SSL_CERT_FILE": str(own)})["SSL_CERT_FILE"]) == place
    assert certificates(place.read_bytes()).keys() == certificates(TWO + NEXT).keys()
