"""``hostguard install`` into a folder: what it writes, what it leaves alone, what systemd says, that all of it goes again."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
from guard import HOSTGUARD
from unit_cage import settings

from hostguard.agent.install import manifest
from hostguard.agent.install.parts import CONFIG, STATE, UNIT, parts
from hostguard.agent.install.place import install
from hostguard.agent.install.remove import remove
from hostguard.kernel.confine import KEPT_CAPABILITIES
from hostguard.policy.document import load
from hostguard.policy.sections import SEEN_FAMILIES

PROGRAM = "/usr/local/bin/hostguard"
MOST_EXPOSED = 3.8
"""Of 10, as `systemd-analyze security` (252) counts; most of what is left is what guarding a host takes."""


def cli(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HOSTGUARD, *arguments], capture_output=True, text=True, timeout=60, check=False)


def files(root: Path) -> dict[str, int]:
    """Path to mode of all that is there."""
    return {f"/{path.relative_to(root)}": stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*")}


def in_root(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An image in which nothing is yet."""
    folder = tmp_path / "image"
    folder.mkdir()
    return folder


def test_each_file_is_listed_and_a_second_run_changes_nothing(root: Path) -> None:
    first = cli("install", "--root", root)
    assert first.returncode == 0, first.stderr
    said = {line.split(maxsplit=1)[1] for line in first.stdout.splitlines()}
    assert said == set(files(root)) - {manifest.PATH}
    before = files(root)
    assert {line.split()[0] for line in cli("install", "--root", root).stdout.splitlines()} == {"same"}
    assert files(root) == before
    assert before[STATE] == 0o700
    assert before[f"{CONFIG}/hostguard.toml"] == 0o640


def test_a_dry_run_says_the_same_and_does_nothing(root: Path) -> None:
    dry = cli("install", "--root", root, "--dry-run")
    assert files(root) == {}
    assert dry.stdout == cli("install", "--root", root).stdout + "nothing was done\n"
    before = files(root)
    removed = cli("uninstall", "--root", root, "--purge", "--dry-run")
    assert files(root) == before
    assert removed.stdout == cli("uninstall", "--root", root, "--purge").stdout + "nothing was done\n"


def test_a_configuration_that_is_there_is_never_touched(root: Path) -> None:
    place = in_root(root, f"{CONFIG}/hostguard.toml")
    place.parent.mkdir(parents=True)
    place.write_text("# mine\n")
    steps = {step.subject: step for step in install(root, PROGRAM, dry_run=False)}
    assert place.read_text() == "# mine\n"
    assert steps[f"{CONFIG}/hostguard.toml"].action == "keep"
    remove(root, purge=False, dry_run=False)
    assert place.read_text() == "# mine\n"


def test_an_edited_unit_stays_with_a_remark(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    unit = in_root(root, UNIT)
    unit.write_text(unit.read_text() + "# edited\n")
    steps = {step.subject: step for step in install(root, "/elsewhere/hostguard", dry_run=False)}
    assert (steps[UNIT].action, "edited" in steps[UNIT].remark) == ("keep", True)
    assert {step.subject: step.action for step in remove(root, purge=False, dry_run=False)}[UNIT] == "keep"
    assert unit.read_text().endswith("# edited\n")


def test_an_older_unit_is_updated(root: Path) -> None:
    install(root, "/old/hostguard", dry_run=False)
    steps = {step.subject: step.action for step in install(root, PROGRAM, dry_run=False)}
    assert {subject for subject, action in steps.items() if action != "same"} == {UNIT}
    assert settings(in_root(root, UNIT))["ExecStart"] == [f"{PROGRAM} daemon"]


def test_uninstall_leaves_configuration_and_state_and_purge_leaves_nothing(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    (in_root(root, STATE) / "log").mkdir()
    remove(root, purge=False, dry_run=False)
    left = {path for path in files(root) if not in_root(root, path).is_dir() or path == f"{STATE}/log"}
    assert left == {f"{CONFIG}/hostguard.toml", f"{CONFIG}/policies/start.cedar", f"{STATE}/log"}
    install(root, PROGRAM, dry_run=False)
    remove(root, purge=True, dry_run=False)
    assert set(files(root)) == {"/etc", "/var", "/var/lib"}, "the first installation made them, but forgot it by its uninstall"


def test_what_others_put_into_our_folders_stays(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    theirs = in_root(root, "/usr/local/lib/systemd/system/other.service")
    theirs.write_text("[Service]\n")
    remove(root, purge=True, dry_run=False)
    assert {path for path in files(root) if not in_root(root, path).is_dir()} == {"/usr/local/lib/systemd/system/other.service"}


def test_a_link_out_of_the_image_is_not_followed(root: Path, tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (root / "usr").mkdir()
    (root / "usr/local").symlink_to(host)
    result = cli("install", "--root", root)
    assert result.returncode == 1
    assert f"leads out of {root}, to {host}" in result.stderr
    assert list(host.iterdir()) == []


def test_a_broken_manifest_is_told(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    in_root(root, manifest.PATH).write_text(json.dumps({"filez": {}}))
    result = cli("uninstall", "--root", root)
    assert result.returncode == 1
    assert "installed.json is not what hostguard wrote" in result.stderr


def test_the_first_configuration_has_no_mistakes_also_when_its_examples_are_taken_in(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    assert load(in_root(root, f"{CONFIG}/hostguard.toml")).workloads == {}
    for name, mark in (("hostguard.toml", "#"), ("policies/start.cedar", "//")):
        place = in_root(root, f"{CONFIG}/{name}")
        head, sign, examples = re.split(r"( to begin\.\n|To begin with:\n)", place.read_text())
        place.write_text(head + sign + re.sub(rf"^{mark} ?", "", examples, flags=re.MULTILINE))
    document = load(in_root(root, f"{CONFIG}/hostguard.toml"))
    assert list(document.workloads) == ["support-bot"]
    assert len(document.sources) == 2


def test_systemd_takes_the_units_and_finds_little_exposed(tmp_path: Path) -> None:
    program = tmp_path / "hostguard"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = tmp_path / "hostguard.service"
    texts = {part.path: part.text for part in parts(str(program))}
    unit.write_text(texts[UNIT])
    agent = tmp_path / "bot.service"
    agent.write_text(f"[Service]\nExecStart={program}\nUser=daemon\n" + texts["/usr/local/share/hostguard/agent.conf"])
    checked = subprocess.run(["systemd-analyze", "verify", "--man=no", unit, agent], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    rated = subprocess.run(["systemd-analyze", "security", "--offline=yes", unit], capture_output=True, text=True, check=True)
    exposure = re.search(r"exposure level for hostguard.service: ([\d.]+)", rated.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= MOST_EXPOSED


def test_systemd_makes_the_user_and_the_folders_in_an_image(root: Path) -> None:
    install(root, PROGRAM, dry_run=False)
    for tool in (["systemd-sysusers"], ["systemd-tmpfiles", "--create"]):
        subprocess.run([*tool, f"--root={root}"], check=True, capture_output=True)
    assert re.search(
        r"^hostguard:!?x?:\d+:\d+:hostguard workers:/:/usr/sbin/nologin$", in_root(root, "/etc/passwd").read_text(), re.M
    )
    assert stat.S_IMODE(in_root(root, "/run/hostguard").stat().st_mode) == 0o755
    assert stat.S_IMODE(in_root(root, STATE).stat().st_mode) == 0o700


def test_an_agents_unit_is_confined_as_exec_confines(tmp_path: Path) -> None:
    snippet = tmp_path / "agent.conf"
    snippet.write_text(next(part.text for part in parts(PROGRAM) if part.path.endswith("agent.conf")))
    found = settings(snippet)
    assert found["CapabilityBoundingSet"] == [" ".join(KEPT_CAPABILITIES)]
    assert found["RestrictAddressFamilies"] == [" ".join(f"AF_{name.upper()}" for name in SEEN_FAMILIES)]
    assert found["SystemCallFilter"] == ["~io_uring_setup:ENOSYS io_uring_enter:ENOSYS io_uring_register:ENOSYS"]
