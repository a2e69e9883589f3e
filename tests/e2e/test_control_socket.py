"""Who may use the control socket, tried as the UNIX users and processes that would."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import guard
import pytest
from e2e.talk import guarded
from servers import Server

# System users that every Debian has, so that the test has to make none.
ALICE, BOB, CAROL, STRANGER = "games", "lp", "news", "man"
POLICY = """
@id("reads")
permit (principal in Role::"worker", action in Action::"read", resource);
@id("deletes with an approval")
permit (principal in Role::"worker", action == Action::"delete", resource)
when { context has approval && context.approval.count >= 1 };
@id("users approve")
permit (principal in Group::"approvers", action == Action::"approve", resource);
@id("four eyes")
forbid (principal, action == Action::"approve", resource) when { principal == resource.owner };
"""
USERS = f"""
[users.alicia]
unix = ["{ALICE}"]
groups = ["approvers"]
[users.bert]
unix = ["{BOB}"]
groups = ["approvers"]
[users.carol]
unix = ["{CAROL}"]
"""
SCRIPT = "CREATE TABLE t (n int, s text); INSERT INTO t VALUES (1, ''), (2, '')"
TRICKY = "DELETE FROM t /* \x1b[2K\u202e\u200b */ WHERE n = 1"


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard whose agent's owner has a UNIX user of his own, as have an approver and somebody who is neither."""
    setup = guard.Setup(
        agents={"worker": guard.Agent(("worker",), owner="alicia")},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=USERS,
    )
    with guard.guarding(setup) as started:
        yield started
        assert "Traceback" not in "".join(started.lines)


def as_user(running: guard.Guard, user: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``hostguard ARGUMENTS`` by a UNIX user, who may read every file here because the interpreter may lie in root's home."""
    ability = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    person = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *ability]
    command: Sequence[str | Path] = [*person, guard.HOSTGUARD, *arguments, "--config", running.config]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 1, result.stdout + result.stderr
    assert [word for word in words if word not in result.stderr] == [], result.stderr
    assert "Traceback" not in result.stderr


class Held:
    """An agent with one held statement."""

    def __init__(self, running: guard.Guard, server: Server, database: str, text: str) -> None:
        command = [guard.HOSTGUARD, "requests", "watch", "--json", "--config", str(running.config)]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        code = f"import psycopg\nprint(psycopg.connect('', autocommit=True).execute({text!r}).statusmessage)"
        self.process = running.begin("worker", [sys.executable, "-c", code], server.environment(database))
        assert watch.stdout is not None
        self.id = str(json.loads(watch.stdout.readline())["id"])
        watch.kill()
        watch.communicate()


def test_four_eyes_are_kept_by_unix_user(running: guard.Guard, postgres18: Server) -> None:
    with postgres18.database("control", SCRIPT) as database:
        held = Held(running, postgres18, database, "DELETE FROM t WHERE n = 1")
        assert_refused(as_user(running, STRANGER, "requests", "approve", held.id), "no user of hostguard")
        assert_refused(as_user(running, STRANGER, "requests", "list"), "no user of hostguard")
        assert_refused(as_user(running, STRANGER, "status"), "no user of hostguard")
        assert_refused(as_user(running, ALICE, "requests", "approve", held.id), "alicia")
        assert_refused(as_user(running, CAROL, "requests", "approve", held.id), "carol")
        assert as_user(running, ALICE, "requests", "list").returncode == 0
        assert [request["state"] for request in running.ask("requests", "list")] == ["pending"]
        with postgres18.connect(database) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
        approved = as_user(running, BOB, "requests", "approve", held.id)
        assert approved.returncode == 0, approved.stderr
        assert held.process.communicate(timeout=60) == ("DELETE 1\n", "")


def test_an_agent_can_not_use_it_even_as_root(running: guard.Guard, postgres18: Server) -> None:
    with postgres18.database("control", SCRIPT) as database:
        held = Held(running, postgres18, database, "DELETE FROM t WHERE n = 2")
        for arguments in (("status",), ("requests", "list"), ("requests", "approve", held.id), ("requests", "deny", held.id)):
            result = running.run("worker", [guard.HOSTGUARD, *arguments, "--config", running.config], {})
            assert_refused(result, "guarded")
        # A child that moved itself into another cgroup below would still be an agent; one that asks by hand is no better off.
        code = f"""
import http.client, socket
connection = http.client.HTTPConnection("hostguard")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("{running.folder}/run/control.sock")
connection.request("POST", "/v1/requests/{held.id}/approve", "{{}}")
print(connection.getresponse().status)
"""
        assert running.run("worker", [sys.executable, "-c", code], {}).stdout == "403\n"
        assert [request["state"] for request in running.ask("requests", "list")] == ["pending"]
        assert running.cli("requests", "deny", held.id).returncode == 1, "root is no approver unless the configuration says so"
        assert as_user(running, BOB, "requests", "deny", held.id).returncode == 0
        assert held.process.wait(60) == 1


def test_a_request_can_not_mislead_the_eye(running: guard.Guard, postgres18: Server) -> None:
    with postgres18.database("control", SCRIPT) as database:
        held = Held(running, postgres18, database, TRICKY)
        for arguments in (("show", held.id), ("show", held.id, "--json"), ("list",), ("list", "--json")):
            shown = running.cli("requests", *arguments)
            assert shown.returncode == 0, shown.stderr
            assert [char for char in shown.stdout if not char.isprintable() and char != "\n"] == []
        shown = running.cli("requests", "show", held.id)
        assert "⟦ESC⟧[2K⟦U+202E⟧⟦U+200B⟧" in shown.stdout
        assert as_user(running, BOB, "requests", "deny", held.id).returncode == 0
        held.process.wait(60)
    with postgres18.database("control", SCRIPT) as database, guarded(running, "worker", postgres18, database) as talk:
        assert talk("SELECT count(*) FROM t") == ["2"]
