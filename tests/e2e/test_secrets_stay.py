"""A secret is in the broker's memory, nowhere else: no other process, no file, no environment, no command line has it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import guard
import memory
import pytest
from servers import Server

# What the test looks for, never as one piece in its own sources, which daemons import.
FROM_FILE = "-".join(("kept", "in", "a", "file", "8f2c1e"))
FROM_ENVIRONMENT = "-".join(("kept", "in", "the", "environment", "77a0b9"))
FROM_COMMAND = "-".join(("kept", "by", "a", "command", "3d5e6a"))
WANTED = {"file": FROM_FILE.encode(), "environment": FROM_ENVIRONMENT.encode(), "command": FROM_COMMAND.encode()}
VARIABLE = "HOSTGUARD_TEST_SECRET"

CREDENTIALS = f"""
credential = "by-file"
[credentials.by-file]
user = "app"
secret = "file:{{folder}}/secrets/file"
[credentials.by-environment]
user = "app"
secret = "env:{VARIABLE}"
[credentials.by-command]
user = "app"
secret = "command:/usr/bin/base64 -d {{folder}}/secrets/coded"
"""


@pytest.fixture(scope="module")
def running(postgres15: Server) -> Iterator[guard.Guard]:
    """A guard whose daemon was given one secret in each way."""
    setup = guard.Setup(
        agents={"bot": guard.Agent(())},
        resources={"shop": f"{postgres15.host}:{postgres15.port}"},
        policies='@id("all") permit (principal, action, resource);',
        tags=CREDENTIALS,
        workers=1,
    )
    with pytest.MonkeyPatch.context() as patched, guard.prepared(setup) as prepared:
        patched.setenv(VARIABLE, FROM_ENVIRONMENT)
        prepared.config.write_text(prepared.config.read_text().replace("{folder}", str(prepared.folder)))
        secrets = prepared.folder / "secrets"
        secrets.mkdir(mode=0o700)
        (secrets / "file").write_text(FROM_FILE)
        coded = subprocess.run(["base64"], input=FROM_COMMAND.encode(), capture_output=True, check=True).stdout
        (secrets / "coded").write_bytes(coded)
        prepared.start()
        yield prepared


def test_a_secret_is_the_brokers_alone(running: guard.Guard) -> None:
    status = running.status()
    assert [(s["variant"], s["failure"]) for s in status["broker"]["secrets"]] == [
        ("by-file", ""),
        ("by-environment", ""),
        ("by-command", ""),
    ]
    assert running.process is not None
    supervisor, broker = running.process.pid, status["broker"]["pid"]
    everybody = memory.descendants(supervisor)
    assert {supervisor, broker, *running.workers()} <= set(everybody)
    assert len(everybody) == 4, "supervisor, worker, resolver, broker"
    assert memory.found_in(broker, WANTED) == set(WANTED), "or the search would find nothing anywhere"
    assert {pid: found for pid in everybody if pid != broker and (found := memory.found_in(pid, WANTED))} == {}
    for pid in everybody:
        for name in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{name}").read_bytes()
            assert not [word for word in WANTED.values() if word in text], (pid, name)


def test_the_daemons_children_can_not_reach_what_was_in_its_environment(running: guard.Guard) -> None:
    """The descriptor is the supervisor's and goes to the broker, which closes it."""
    assert running.process is not None
    supervisor = running.process.pid
    holders = [pid for pid in memory.descendants(supervisor) if _holds(pid)]
    assert holders == [supervisor]


def _holds(pid: int) -> bool:
    return any("hostguard-secrets" in os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())


def test_a_restart_in_place_keeps_what_was_in_the_environment(running: guard.Guard) -> None:
    assert running.process is not None
    before = running.status()["broker"]["pid"]
    result = running.cli("restart")
    assert result.returncode == 0, result.stderr
    status = running.status()
    assert status["broker"]["pid"] != before
    assert [secret["failure"] for secret in status["broker"]["secrets"]] == ["", "", ""]
    assert memory.found_in(running.process.pid, WANTED) == set()


def test_no_file_has_it_nor_what_the_daemon_says(running: guard.Guard) -> None:
    """State with the log, the daemon's own words, what the command line shows of it. The last test here: it ends the daemon."""
    running.stop()
    places = [path for path in running.folder.rglob("*") if path.is_file() and path.parent.name != "secrets"]
    assert any("log" in path.parts for path in places)
    assert [path for path in places if any(word in path.read_bytes() for word in WANTED.values())] == []
    assert not [line for line in running.lines if any(word.decode() in line for word in WANTED.values())]
    shown = running.cli("recordings", "list", "--json").stdout + running.cli("log", "verify").stdout
    assert not any(word.decode() in shown for word in WANTED.values())
