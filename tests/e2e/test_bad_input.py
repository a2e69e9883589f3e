"""What can't work is refused with an error that names the place, and leaves nothing half attached."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import guard
import pytest

from hostguard.kernel import cgroups

SETUP = guard.Setup(
    agents={"one": guard.Agent(("worker",))},
    resources={"pg": "127.0.0.1:5999"},
    policies='@id("reads") permit (principal in Role::"worker", action in Action::"read", resource);\n',
)


@pytest.fixture
def idle() -> Iterator[guard.Guard]:
    """A guard whose daemon does not run, with a configuration to spoil."""
    with guard.prepared(SETUP) as prepared:
        yield prepared


def daemon(spoilt: guard.Guard, *before: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the daemon, which is expected to end by itself."""
    command = [*before, guard.HOSTGUARD, "daemon", "--config", spoilt.config]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1, f"{path} holds {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def assert_nothing_is_left(spoilt: guard.Guard) -> None:
    assert not spoilt.pins.exists()
    assert [path for path in spoilt.cgroup.iterdir() if path.is_dir()] == []
    assert not (spoilt.folder / "run" / "control.sock").exists()


def assert_says(result: subprocess.CompletedProcess[str], exit_code: int, *words: str) -> None:
    assert result.returncode == exit_code, result.stdout + result.stderr
    assert result.stdout == ""
    assert [word for word in words if word not in result.stderr] == [], result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("hostguard.toml", "state_dir", "state_dri", ("hostguard.toml", "daemon", "state_dri")),
        ("hostguard.toml", "timeout_s = 60", 'timeout_s = "soon"', ("hostguard.toml", "approvals", "timeout_s")),
        ("hostguard.toml", "[log]", "[log", ("hostguard.toml:9: ",)),
        ("hostguard.toml", 'owner = "alice"', 'owner = "nobody-we-know"', ("hostguard.toml", "agents.one", "nobody-we-know")),
        ("hostguard.toml", 'agent = "one"', 'agent = "two"', ("hostguard.toml", "workloads.one", "two")),
        ("hostguard.toml", '["127.0.0.1:5999"]', '["127.0.0.1:port"]', ("hostguard.toml", "resources.pg", "127.0.0.1:port")),
        ("policies.cedar", "permit (", "permit principal (", ("policies.cedar", "1")),
        ("policies.cedar", 'Action::"read"', 'Action::"raed"', ("policies.cedar", "raed")),
        ("policies.cedar", '@id("reads") ', "", ("policies.cedar", "@id")),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    idle: guard.Guard, file: str, old: str, new: str, words: tuple[str, ...]
) -> None:
    replace(idle.folder / file, old, new)
    assert_says(daemon(idle), 2, *words)
    assert_nothing_is_left(idle)


def test_all_mistakes_are_told_in_one_run(idle: guard.Guard) -> None:
    replace(idle.config, "state_dir", "state_dri")
    replace(idle.config, 'agent = "one"', 'agent = "two"')
    replace(idle.folder / "policies.cedar", 'Action::"read"', 'Action::"raed"')
    assert_says(daemon(idle), 2, "state_dri", "two", "raed")
    assert_nothing_is_left(idle)


def test_a_missing_file_is_named(idle: guard.Guard) -> None:
    idle.config.unlink()
    assert_says(daemon(idle), 2, "hostguard.toml")
    assert_nothing_is_left(idle)


def test_two_resources_at_one_address_are_refused(idle: guard.Guard) -> None:
    text = idle.config.read_text() + '[resources.again]\nprotocol = "postgres"\naddresses = ["127.0.0.1:5999"]\n'
    idle.config.write_text(text)
    result = daemon(idle)
    assert result.returncode in (1, 2)
    assert_says(result, result.returncode, "hostguard.toml", "127.0.0.1:5999", "again")
    assert_nothing_is_left(idle)


@pytest.fixture(scope="module")
def running() -> Iterator[guard.Guard]:
    """Another daemon."""
    with guard.guarding(SETUP) as started:
        yield started


@pytest.mark.parametrize("taken", ["state_dir", "pin_dir", "run_dir"])
def test_what_another_daemon_uses_is_refused(idle: guard.Guard, running: guard.Guard, taken: str) -> None:
    """The log, the hooks and the control socket have one daemon each; the one that runs goes on."""
    folders: dict[str, Callable[[guard.Guard], str]] = {
        "state_dir": lambda one: f"{one.folder}/state",
        "pin_dir": lambda one: str(one.pins),
        "run_dir": lambda one: f"{one.folder}/run",
    }
    replace(idle.config, f'"{folders[taken](idle)}"', f'"{folders[taken](running)}"')
    assert_says(daemon(idle), 1, folders[taken](running))
    assert running.is_guarding()
    assert_nothing_is_left(idle)


def test_a_workload_outside_the_attach_point_is_refused(idle: guard.Guard) -> None:
    below = idle.cgroup.relative_to(cgroups.mount_point())
    replace(idle.config, f'"{below}/one"', f'"{below}-elsewhere/one"')
    result = daemon(idle)
    assert result.returncode in (1, 2)
    assert_says(result, result.returncode, f"{below}-elsewhere/one", "attach")
    assert_nothing_is_left(idle)
    assert not (cgroups.mount_point() / f"{below}-elsewhere").exists()


def test_an_attach_point_that_is_no_cgroup_is_refused(idle: guard.Guard) -> None:
    elsewhere = idle.folder / "not-a-cgroup"
    elsewhere.mkdir()
    replace(idle.config, f'attach = "{idle.cgroup}"', f'attach = "{elsewhere}"')
    assert_says(daemon(idle), 1, str(elsewhere), "cgroup")
    assert_nothing_is_left(idle)


def test_a_host_without_cgroup2_is_refused(idle: guard.Guard) -> None:
    """In a mount namespace of its own, with the hierarchy unmounted."""
    without = ["unshare", "--mount", "sh", "-c", 'umount --lazy "$0" && exec "$@"', str(cgroups.mount_point())]
    assert_says(daemon(idle, *without), 1, "cgroup2")
    assert_nothing_is_left(idle)


def test_who_is_not_root_is_told_so(idle: guard.Guard) -> None:
    """As nobody, who may read every file here because the interpreter itself may lie in root's home."""
    ability = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *ability]
    assert_says(daemon(idle, *nobody), 1, "root")
    assert_nothing_is_left(idle)


def test_the_same_configuration_works_unspoilt(idle: guard.Guard) -> None:
    """The cases above fail for their own reason only."""
    idle.start()
    assert idle.is_guarding()
    assert idle.stop() == 0
