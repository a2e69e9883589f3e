"""Every call of the control API takes a right, as the UNIX users that would call try it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import guard
import pytest
from aiohttp import web
from click.testing import CliRunner
from granted import as_user
from servers import Server

from hostguard.agent.cli.main import main
from hostguard.agent.client import Client
from hostguard.agent.control import Control
from hostguard.agent.refusals import ALONE
from hostguard.agent.replaying import Replaying
from hostguard.agent.routes import OPEN, Routes
from hostguard.agent.verifier.calls import Calls
from hostguard.agent.web.calls import SignIns
from hostguard.policy.rules import actions
from hostguard.recorder import entry
from hostguard.recorder.reader import Reader

FREE, PART, MUTE, NOBODY, BLIND = "lp", "news", "games", "man", "uucp"
"""System users that every Debian has: may everything; sees agent one alone; may nothing; is no user; may all of what it sees."""
HIDDEN = "zanzibar"
"""An agent, and what its workloads' names have in them: a word that nothing else has."""
POLICY = f"""
@id("reads") permit (principal in Role::"worker", action in Action::"read", resource);
@id("truncates by ticket") @hold("ticket")
permit (principal in Role::"worker", action == Action::"truncate", resource)
when {{ context has approval && context.approval.count >= 1 }};
@id("free approves")
permit (principal in Group::"all", action in [Action::"approve", Action::"issue"], resource);
@id("free operates") permit (principal in Group::"all", action in [Action::"operate", Action::"replay"], resource);
@id("part replays one") permit (principal == User::"part", action == Action::"replay", resource == Agent::"one")
when {{ context.resource == "pg" && !context.payloads }};
@id("part does not see it") forbid (principal == User::"part", action == Action::"look", resource == Agent::"{HIDDEN}");
@id("blind") forbid (principal == User::"blind", action, resource == Agent::"{HIDDEN}");
@id("blind says nothing") forbid (principal == User::"blind", action in [Action::"approve", Action::"issue"], resource)
when {{ resource.agent == Agent::"{HIDDEN}" }};
@id("mute") forbid (principal == User::"mute", action in [Action::"look", Action::"operate", Action::"replay"], resource);
"""
USERS = f"""
[users.free]
unix = ["{FREE}"]
groups = ["all"]
[users.blind]
unix = ["{BLIND}"]
groups = ["all"]
[users.part]
unix = ["{PART}"]
[users.mute]
unix = ["{MUTE}"]
"""
TABLES = f"""
[workloads.{HIDDEN}-watched]
user = ["65432"]
agent = "{HIDDEN}"
mode = "observe"
[budgets.few]
agents = ["{HIDDEN}"]
window_s = 3600
operations = 1000
"""
LONG = "SELECT n, 'a long statement lies beside the log' FROM t WHERE n = 1"
RUN = f"""
import psycopg
with psycopg.connect("", autocommit=True) as connection:
    connection.execute({LONG!r}).fetchall()
    try:
        connection.execute("TRUNCATE t")
    except psycopg.Error as error:
        print(error)
"""
CALLS = """
import http.client, json, socket, sys
for method, where, body in json.load(sys.stdin):
    connection = http.client.HTTPConnection("hostguard")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(1.0 if where.endswith("/watch") else 100.0)
    connection.sock.connect(sys.argv[1])
    connection.request(method, where, None if body is None else json.dumps(body))
    answer, text = connection.getresponse(), b""
    try:
        while line := answer.readline():
            text += line
    except TimeoutError:
        pass
    print(json.dumps([answer.status, int(answer.headers.get("Hostguard-Left-Out", "0")), text.decode()]))
"""
WANTED = {"agent": "one", "resource": "pg", "database": "d", "statement": "TRUNCATE t", "uses": 2, "until": 9e9}
TOKEN = {"agent": "one", "issuer": "corp", "cgroup": "/nowhere", "token_file": "/nowhere"}
HALT = {"agent": "one", "reason": ""}
ROUTES: dict[tuple[str, str], tuple[str, Any, int, int]] = {
    ("GET", "/v1/status"): ("/v1/status", None, 200, 403),
    ("GET", "/metrics"): ("/metrics", None, 200, 403),
    ("GET", "/v1/duties"): ("/v1/duties", None, 200, 403),
    ("GET", "/v1/requests"): ("/v1/requests", None, 200, 200),
    ("GET", "/v1/requests/watch"): ("/v1/requests/watch", None, 200, 200),
    ("GET", "/v1/requests/{id}"): ("/v1/requests/REQUEST", None, 200, 404),
    ("POST", "/v1/requests/{id}/{answer}"): ("/v1/requests/REQUEST/approve", {"digest": "0"}, 403, 404),
    ("POST", "/v1/requests/{id}/withdraw"): ("/v1/requests/REQUEST/withdraw", {}, 200, 404),
    ("POST", "/v1/stop"): ("/v1/stop", HALT, 200, 403),
    ("POST", "/v1/resume"): ("/v1/resume", HALT, 200, 403),
    ("GET", "/v1/grants"): ("/v1/grants", None, 200, 200),
    ("POST", "/v1/grants"): ("/v1/grants", WANTED, 200, 403),
    ("GET", "/v1/grants/{id}"): ("/v1/grants/GRANT", None, 200, 404),
    ("POST", "/v1/grants/{id}/endorse"): ("/v1/grants/GRANT/endorse", {}, 409, 404),
    ("POST", "/v1/grants/{id}/revoke"): ("/v1/grants/GRANT/revoke", {}, 200, 404),
    ("GET", "/v1/identity"): ("/v1/identity?pid=PID", None, 200, 200),
    ("POST", "/v1/identity/follow"): ("/v1/identity/follow", TOKEN, 200, 403),
    ("POST", "/v1/identity/revoke"): ("/v1/identity/revoke", {"agent": "one", "issuer": None}, 200, 403),
    ("GET", "/v1/recordings"): ("/v1/recordings", None, 200, 403),
    ("GET", "/v1/recordings/search"): ("/v1/recordings/search?text=long", None, 200, 403),
    ("GET", "/v1/recordings/{flow}"): ("/v1/recordings/FLOW?payloads=1", None, 200, 403),
    ("POST", "/v1/restart"): ("/v1/restart", {}, 200, 403),
}
"""A call of each, what it is answered to who may, and to who may not."""
NAMING = [route for route, (_, body, _, _) in ROUTES.items() if body and "agent" in body]
"""Calls that say whom they are about by name."""
SIGN_IN = {("GET", "/v1/who"), ("POST", "/v1/sign-in"), ("POST", "/v1/sign-in/{handle}"), ("POST", "/v1/sign-out")}

Answer = tuple[int, int, str]
"""Status, rows left out, body."""


@pytest.fixture(scope="module")
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard with two agents, each of which has done something, and holds a ticket."""
    setup = guard.Setup(
        agents={"one": guard.Agent(("worker",)), HIDDEN: guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=USERS,
        tables=TABLES,
        log="payload_above_bytes = 40",
    )
    with (
        guard.guarding(setup) as started,
        postgres18.database("rights", "CREATE TABLE t (n int); INSERT INTO t VALUES (1)") as name,
    ):
        for agent in ("one", HIDDEN):
            # On its stdin: a command line is on record as well.
            said = started.run(agent, [sys.executable, "-"], postgres18.environment(name), RUN)
            assert "waits for approval" in said.stdout, said
        yield started
        assert "Traceback" not in "".join(started.lines)


def calls(running: guard.Guard, user: str, *wanted: tuple[str, str, Any]) -> list[Answer]:
    """What these calls are answered, made by a process of a UNIX user."""
    ability = "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"
    person = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", *ability]
    command = [*person, sys.executable, "-I", "-S", "-c", CALLS, str(running.folder / "run" / "control.sock")]
    made = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd="/", input=json.dumps(wanted))
    assert made.returncode == 0, made.stderr
    return [(status, left_out, text) for status, left_out, text in map(json.loads, made.stdout.splitlines())]


def shown(running: guard.Guard, *words: str) -> Any:
    """What ``hostguard recordings`` tells root; in this process, where that is not what is tested."""
    result = CliRunner().invoke(main, ["recordings", *words, "--json", "--config", str(running.config)])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def entries(running: guard.Guard, kind: type[entry.Entry]) -> list[Any]:
    return [one for _, one in Reader(running.folder / "state" / "log").entries((kind,))]


def things(running: guard.Guard, agent: str = "one") -> dict[str, str]:
    """What the calls are about, all of it this agent's: a ticket, a grant, a flow, a process."""
    api = Client(running.folder / "run" / "control.sock")
    request = next(each for each in api.get("/v1/requests") if each["agent"] == agent)
    (issued,) = calls(running, FREE, ("POST", "/v1/grants", {**WANTED, "agent": agent}))
    flow = next(each for each in shown(running, "list") if each["agent"] == agent)
    process = running.begin(agent, ["sleep", "300"], {})
    while Path(f"/proc/{process.pid}/comm").read_text() != "sleep\n":
        assert process.poll() is None
        time.sleep(0.05)
    found = {"REQUEST": request["id"], "GRANT": json.loads(issued[2])["id"], "FLOW": flow["flow"], "PID": process.pid}
    return {name: str(value) for name, value in found.items()}


def of(names: dict[str, str], routes: Sequence[tuple[str, str]]) -> list[tuple[str, str, Any]]:
    """The calls of the table, about these."""
    return [
        (method, re.sub("REQUEST|GRANT|FLOW|PID", lambda word: names[word[0]], where), body)
        for (method, _), (where, body, _, _) in ((route, ROUTES[route]) for route in routes)
    ]


def naming(names: dict[str, str], agent: str) -> list[tuple[str, str, Any]]:
    """The calls that say whom they are about, of this agent."""
    return [(method, where, {**body, "agent": agent}) for method, where, body in of(names, NAMING)]


def registered() -> tuple[Routes, web.UrlDispatcher]:
    """All calls as the daemon answers to them. What they would do is not there: none is made here."""
    nothing: Any = SimpleNamespace(granting=None)
    control = Control(
        status=nothing,
        holds=nothing,
        halt=nothing,
        history=nothing,
        is_guarded=nothing,
        metrics=nothing,
        restart=nothing,
        sign_ins=SignIns(None),
        rights=nothing,
    )
    control.more += [Calls(nothing).add, Replaying("", nothing, nothing).add]
    router = web.UrlDispatcher()
    return control.answer_to(router), router


def test_every_route_names_its_right_and_is_tried() -> None:
    routes, router = registered()
    found = {(route.method, route.resource.canonical) for route in router.routes() if route.resource is not None}
    assert len(found) == len(router.routes())
    assert found == set(routes.rights), "a route was put on the router without a right"
    assert {route for route, right in routes.rights.items() if right.action == OPEN} == SIGN_IN
    taken = {route: right for route, right in routes.rights.items() if route not in SIGN_IN}
    assert set(taken) == set(ROUTES), "a route that no test of this module tries"
    assert {right.action for right in taken.values()} == {"look", "operate", "approve", "issue", "replay"} & actions()


def test_who_may_nothing_gets_nothing(running: guard.Guard) -> None:
    names = things(running)
    routes = list(ROUTES)
    answers = dict(zip(routes, calls(running, MUTE, *of(names, routes)), strict=True))
    assert {route: answer[0] for route, answer in answers.items()} == {route: ROUTES[route][3] for route in routes}
    for method, path in (("GET", "/v1/requests"), ("GET", "/v1/requests/watch")):
        assert answers[method, path][1:] == (2, "[]" if path == "/v1/requests" else ""), "two tickets, of which none is told"
    assert answers["GET", "/v1/grants"][1:] == (1, "[]")
    assert "you may not look" in answers["GET", "/v1/identity"][2]
    # What is not to be seen is not told apart from what is not there.
    unknown = calls(running, MUTE, ("GET", "/v1/requests/R-0000", None), ("GET", "/v1/grants/G-00000", None))
    for (status, _, text), seen, name in zip(unknown, ("REQUEST", "GRANT"), ("R-0000", "G-00000"), strict=True):
        hidden = answers["GET", f"/v1/{seen.lower()}s/{{id}}"]
        assert (status, text.replace(name, names[seen])) == (hidden[0], hidden[2])
    forbidden = answers["POST", "/v1/restart"][2]
    assert "mute may not restart the daemon: forbidden by mute" in forbidden, forbidden
    assert [status for status, _, _ in calls(running, NOBODY, *of(names, routes))] == [403] * len(routes)
    refused = [one for one in entries(running, entry.Replayed) if one.user in ("mute", "")]
    assert [(one.user, one.uid > 0, one.count) for one in refused] == [("mute", True, 1)] * 3 + [("", True, 1)] * 3
    assert all("may not replay any recording" in one.refused for one in refused[:3])
    assert all("is no user of hostguard" in one.refused for one in refused[3:])


def test_a_list_says_how_much_is_left_out(running: guard.Guard) -> None:
    shown, watched, status = calls(
        running, PART, ("GET", "/v1/requests", None), ("GET", "/v1/requests/watch", None), ("GET", "/v1/status", None)
    )
    assert (shown[1], {each["agent"] for each in json.loads(shown[2])}) == (1, {"one"})
    assert {json.loads(line)["agent"] for line in watched[2].splitlines() if line} == {"one"}
    assert {each["agent"] for each in json.loads(status[2])["workloads"]} == {"one"}
    assert status[1] >= 1
    said = as_user(running, PART, "requests", "list")
    assert "1 more is left out" in said, said


def test_recordings_are_shown_as_far_as_policy_says_and_on_record_first(running: guard.Guard) -> None:
    flows = {each["agent"]: str(each["flow"]) for each in shown(running, "list")}
    before = len(entries(running, entry.Replayed))
    listed, searched, one, whole, two, none = calls(
        running,
        PART,
        ("GET", "/v1/recordings?verdict=hold&since=1h", None),
        ("GET", "/v1/recordings/search?text=TRUNCATE", None),
        ("GET", f"/v1/recordings/{flows['one']}", None),
        ("GET", f"/v1/recordings/{flows['one']}?payloads=1", None),
        ("GET", f"/v1/recordings/{flows[HIDDEN]}", None),
        ("GET", "/v1/recordings/999999", None),
    )
    assert ([each["agent"] for each in json.loads(listed[2])], listed[1]) == (["one"], 1)
    assert (json.loads(searched[2])["found"], searched[1]) == ([], 2), "a search looks into payloads"
    assert "TRUNCATE t" in one[2]
    assert "beside the log" not in one[2]
    assert (whole[0], "--no-payloads" in whole[2]) == (403, True), whole
    assert two[0] == none[0] == 404
    assert two[2].replace(flows[HIDDEN], "999999") == none[2]
    found = entries(running, entry.Replayed)[before:]
    assert [(each.user, each.recording, each.agents, each.count, each.payloads, bool(each.refused)) for each in found] == [
        ("part", 0, ("one",), 1, False, False),
        ("part", 0, (), 0, True, False),
        ("part", int(flows["one"]), ("one",), 1, False, False),
        ("part", int(flows["one"]), (), 1, True, True),
        ("part", int(flows[HIDDEN]), (HIDDEN,), 1, False, True),
    ]
    assert "part may not replay flow" in found[-1].refused
    assert found[0].filters == (("since", "1h"), ("verdict", "hold"))
    assert found[0].policies == ("part replays one",)
    assert found[0].uid > 0
    for where, status in (("?limit=0", 400), ("?what=1", 400), ("?since=never", 400), ("?agent=%00", 400), ("/x", 404)):
        assert calls(running, FREE, ("GET", f"/v1/recordings{where}", None))[0][0] == status, where


def test_who_asks_again_and_again_fills_no_log(running: guard.Guard) -> None:
    before = len(entries(running, entry.Replayed))
    answers = calls(running, MUTE, *[("GET", "/v1/recordings", None)] * 30)
    assert {status for status, _, _ in answers} == {403}
    assert len(entries(running, entry.Replayed)) - before <= ALONE


def test_an_agent_out_of_sight_is_named_nowhere_and_is_as_one_that_is_not_there(running: guard.Guard) -> None:
    hidden, absent = things(running, HIDDEN), {"REQUEST": "R-0000", "GRANT": "G-00000", "FLOW": "999999", "PID": "999999999"}
    routes = [route for route in ROUTES if route != ("POST", "/v1/restart")]
    tried = [*of(hidden, routes), *of(absent, routes), *naming(hidden, HIDDEN), *naming(hidden, "atlantis")]
    stopped, status = calls(running, FREE, ("POST", "/v1/stop", {**HALT, "agent": HIDDEN}), ("GET", "/v1/status", None))
    facts = json.loads(status[2])
    told = {name: HIDDEN in json.dumps(facts[name]) for name in ("problems", "observed", "workloads", "stops", "budgets")}
    assert (stopped[0], all(told.values())) == (200, True), told
    try:
        answers = {user: calls(running, user, *tried) for user in (PART, MUTE, BLIND)}
    finally:
        calls(running, FREE, ("POST", "/v1/resume", {**HALT, "agent": HIDDEN}))
    for user, found in answers.items():
        count = len(routes)
        about, nothing, named, unknown = (
            found[:count],
            found[count : 2 * count],
            found[2 * count :][: -len(NAMING)],
            found[-len(NAMING) :],
        )
        assert [route for route, answer in zip(routes, about, strict=True) if HIDDEN in answer[2]] == [], user
        for route, (code, _, text), missing in zip(routes, about, nothing, strict=True):
            for name in re.findall("REQUEST|GRANT|FLOW", ROUTES[route][0]):
                assert (code, text.replace(hidden[name], absent[name])) == missing[::2], (user, route)
                assert code in (403, 404), (user, route)
        assert [(code, text.replace(HIDDEN, "atlantis")) for code, _, text in named] == [each[::2] for each in unknown], user
        assert {code for code, _, _ in named} <= {403, 404}, user


def test_the_command_line_asks_the_daemon(running: guard.Guard) -> None:
    (flow,) = (str(each["flow"]) for each in shown(running, "list") if each["agent"] == "one")
    for words in (("list",), ("search", "TRUNCATE"), ("show", flow), ("show", flow, "--no-payloads")):
        by_file, by_daemon = (shown(running, *words, *more) for more in ((), ("--daemon",)))
        if words[0] == "search":
            assert by_daemon.pop("fresh_to") >= by_file.pop("fresh_to")
        assert by_file == by_daemon, words
    assert "TRUNCATE t" in as_user(running, PART, "recordings", "replay", flow, "--daemon", "--no-payloads", "--speed", "1000")
    assert "no policy permits" in as_user(running, MUTE, "recordings", "list", "--daemon")
    refused = CliRunner().invoke(
        main, ["recordings", "show", flow, "--daemon", "--identity", "/nowhere", "--config", str(running.config)]
    )
    assert (refused.exit_code, "the daemon opens no payloads" in refused.output) == (1, True)


def test_who_may_everything_may_and_is_on_record(running: guard.Guard) -> None:
    names = things(running)
    routes = list(ROUTES)
    answers = dict(zip(routes, calls(running, FREE, *of(names, routes)), strict=True))
    assert {route: answer[0] for route, answer in answers.items()} == {route: ROUTES[route][2] for route in routes}, answers
    assert "you may not look" not in answers["GET", "/v1/identity"][2]
    revoked = entries(running, entry.GrantRevoked)[-1]
    assert (revoked.grant, revoked.user, revoked.provider) == (names["GRANT"], "free", "")
    assert json.loads(answers["POST", "/v1/restart"][2])["refused"] == ""
    until = time.monotonic() + 60
    while len(entries(running, entry.DaemonStart)) < 2:
        assert time.monotonic() < until
        time.sleep(0.1)
    assert Client(running.folder / "run" / "control.sock").get("/v1/status", timeout_s=60)["state"] == "guarding"
    stopped = entries(running, entry.DaemonStop)[-1]
    assert (stopped.reason, stopped.user, stopped.policies) == ("restart", "free", ("free operates",))
