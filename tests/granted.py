"""A guard's grants and requests, asked for on its control socket."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

import guard

from hostguard.agent.client import Client

POLICY = """
@id("reads") permit (principal, action in Action::"read", resource);
@id("functions") permit (principal, action == Action::"call", resource);
@id("deletes with an approval")
permit (principal in Role::"worker", action in [Action::"delete", Action::"insert"], resource)
when { context has approval && context.approval.count >= 1 && !context.flags.contains("no_where") };
@id("updates take two")
permit (principal in Role::"worker", action == Action::"update", resource)
when { context has approval && context.approval.count >= 2 };
@id("truncates by ticket") @hold("ticket")
permit (principal in Role::"worker", action == Action::"truncate", resource)
when { context has approval && context.approval.count >= 1 };
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
@id("dba grants a little")
permit (principal in Group::"dba", action == Action::"issue", resource) when { context.uses <= 50 && context.seconds <= 86400 };
@id("juniors approve what has waited")
permit (principal in Group::"juniors", action == Action::"approve", resource) when { context.escalation >= 1 };
"""
BERT, CAROL, STRANGER = "lp", "news", "games"
"""System users that every Debian has, so that the test has to make none."""
USERS = f"""
[users.bert]
unix = ["{BERT}"]
groups = ["dba"]
[users.dora]
unix = ["{STRANGER}"]
[users.carol]
unix = ["{CAROL}"]
groups = ["juniors"]
"""
SCRIPT = "CREATE TABLE t (n int, s text); INSERT INTO t SELECT n, '' FROM generate_series(1, 20) n"
PLACE = {"agent": "worker", "resource": "pg", "database": "granted"}
OPTIONS = [part for name, value in PLACE.items() for part in (f"--{name}", value)]


def api(running: guard.Guard) -> Client:
    """The control socket, as root, who is bob: a command each would take a second of a processor."""
    return Client(running.folder / "run" / "control.sock")


def issued(running: guard.Guard, statement: str, uses: int = 1, **terms: Any) -> dict[str, Any]:
    wanted = {**PLACE, "statement": statement, "uses": uses, "until": time.time() + 3600, **terms}
    grant: dict[str, Any] = api(running).post("/v1/grants", wanted)
    return grant


def shown(running: guard.Guard, grant: dict[str, Any]) -> dict[str, Any]:
    """How it stands now."""
    found: dict[str, Any] = api(running).get(f"/v1/grants/{grant['id']}")
    return found


def revoke(running: guard.Guard, grant: dict[str, Any], reason: str = "") -> dict[str, Any]:
    revoked: dict[str, Any] = api(running).post(f"/v1/grants/{grant['id']}/revoke", {"reason": reason})
    return revoked


def answer(running: guard.Guard, what: str, request: dict[str, Any], **said: Any) -> dict[str, Any]:
    """Approve, deny or withdraw a request, as bob."""
    answered: dict[str, Any] = api(running).post(f"/v1/requests/{request['id']}/{what}", said)
    return answered


def requests(running: guard.Guard) -> list[dict[str, Any]]:
    """Those that wait."""
    return list(api(running).get("/v1/requests"))


def pending(running: guard.Guard, count: int = 1) -> list[dict[str, Any]]:
    """The requests that wait, once there are so many."""
    until = time.monotonic() + 60
    while len(found := requests(running)) < count:
        assert time.monotonic() < until, found
        time.sleep(0.02)
    assert len(found) == count
    return found


def refused(running: guard.Guard, asked: Callable[[], list[str]]) -> None:
    """What was asked is held; it is denied, and its agent told so."""
    (request,) = pending(running)
    answer(running, "deny", request)
    assert asked()[0].startswith(f"42501 ERROR:  bob denied request {request['id']}")


def as_user(running: guard.Guard, user: str, *arguments: str) -> str:
    """What ``hostguard ARGUMENTS`` tells a UNIX user, output with errors."""
    ability = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    person = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *ability]
    command = [*person, guard.HOSTGUARD, *arguments, "--config", str(running.config)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd="/")
    return result.stdout + result.stderr
