"""``hostguard doctor``: that it sees what is wrong, and that the documentation prints what it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from guard import HOSTGUARD

from hostguard.agent import checks
from hostguard.agent.authority.stores import JAVA_STORE, stores
from hostguard.agent.install import host, manifest
from hostguard.agent.install.parts import UNIT
from hostguard.agent.install.place import digest, install
from hostguard.kernel.features import Feature

INSTALL = Path(__file__).resolve().parent.parent.parent / "docs" / "install.md"
LINE = re.compile(r"^([✓✗!]) (.{24}) (.*)$", re.MULTILINE)
OF_THE_HOST = {"kernel", "cgroup2", "libbpf", "lockdown", "BPF LSM", "io_uring", "IPv6", "second loader", "Landlock", "names"}
OF_THE_HOST |= {"trust: Java", "trust: Node"}
"""What these lines tell is different on each good host."""


def lines(text: str) -> list[tuple[str, str, str]]:
    """Mark, name, detail of each line."""
    return [(mark, name.rstrip(), detail) for mark, name, detail in LINE.findall(text)]


def test_the_documentation_shows_what_a_good_host_prints() -> None:
    page = INSTALL.read_text(encoding="utf-8")
    documented = lines(page[page.index("$ hostguard doctor\n") :].partition("\n```")[0])
    printed = lines(subprocess.run([HOSTGUARD, "doctor"], capture_output=True, text=True, timeout=60, check=False).stdout)
    assert [name for _, name, _ in documented] == [name for _, name, _ in printed]
    assert {mark for mark, _, _ in documented} == {"✓"}
    good = {name: detail for mark, name, detail in printed if mark == "✓" and name not in OF_THE_HOST}
    assert {name: detail for _, name, detail in documented if name in good and name != "state"} | {"state": good["state"]} == good


def test_what_is_not_well_has_a_remedy_and_what_is_well_has_none(tmp_path: Path) -> None:
    for feature in checks.checks(tmp_path / "hostguard.toml"):
        assert bool(feature.remedy) is not feature.ok, feature


def of(name: str, config: Path) -> Feature:
    return next(feature for feature in checks.checks(config) if feature.name == name)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A configuration whose state lies in the test's folder."""
    tmp_path.chmod(0o755)
    path = tmp_path / "hostguard.toml"
    path.write_text(f'[daemon]\nstate_dir = "{tmp_path}/state"\n')
    path.chmod(0o640)
    return path


def test_each_store_that_is_not_the_systems_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JDK that was unpacked somewhere brings a store of its own."""
    home = tmp_path / "jdk"
    for place in ("bin/java", "lib/security/cacerts"):
        (home / place).parent.mkdir(parents=True)
        (home / place).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(home / "bin"))
    found = {feature.name: feature for feature in stores()}
    assert (found["trust: Java"].ok, found["trust: Java"].required) == (False, False)
    assert "keytool -importcert" in found["trust: Java"].remedy
    (home / "lib/security/cacerts").unlink()
    (home / "lib/security/cacerts").symlink_to(JAVA_STORE)
    assert next(feature for feature in stores() if feature.name == "trust: Java").ok
    assert found["trust: Node"].detail == "no node here"


def test_the_remedy_mends_a_log_that_others_can_read(config: Path) -> None:
    state = config.parent / "state"
    assert of("state", config).ok
    state.mkdir(mode=0o755)
    found = of("state", config)
    assert (found.ok, found.required) == (False, True)
    subprocess.run(found.remedy, shell=True, check=True)
    assert of("state", config).ok


def test_the_remedy_mends_a_configuration_that_others_can_write(config: Path) -> None:
    assert of("configuration", config).ok
    config.chmod(0o662)
    found = of("configuration", config)
    assert (found.ok, found.required) == (False, True)
    assert str(config) in found.detail
    subprocess.run(found.remedy, shell=True, check=True)
    assert of("configuration", config).ok


def test_a_configuration_with_mistakes_is_told_as_such(config: Path) -> None:
    config.write_text("[daemon]\nstate_dir = 1\n")
    found = of("state", config)
    assert not found.ok
    assert "daemon.state_dir" in found.detail


def test_an_old_unit_and_an_edited_one_are_told_apart(tmp_path: Path) -> None:
    assert checks.unit(tmp_path).detail == f"{UNIT}: No such file or directory"
    install(tmp_path, "/bin/hostguard", dry_run=False)
    assert checks.unit(tmp_path).ok
    place, kept = tmp_path / UNIT.lstrip("/"), tmp_path / manifest.PATH.lstrip("/")
    place.write_text("old")
    assert checks.unit(tmp_path).detail == f"{UNIT} was edited"
    installed = manifest.read(tmp_path)
    installed.files[UNIT], installed.version = digest(b"old"), "0.0.1"
    kept.write_bytes(manifest.encode(installed))
    assert checks.unit(tmp_path).detail == f"{UNIT} is of hostguard 0.0.1"


def test_a_host_without_libseccomp_can_not_confine(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    found = of("seccomp", config)
    assert (found.ok, found.required, found.remedy) == (False, True, "apt-get install libseccomp2")


def test_where_systemd_does_not_run_it_is_said(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "SYSTEMD_RUNS", tmp_path / "none")
    assert not of("systemd", config).ok
    monkeypatch.setattr(host, "SYSTEMD_RUNS", tmp_path)
    assert of("systemd", config).ok
