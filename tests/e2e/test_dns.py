"""Names end to end: guarded programs ask through libc and dig, a real name server answers, a real database is reached by name."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import guard
import pytest
from name_server import NameServer, name_server
from servers import Server

POLICIES = """
@id("support reads") permit (principal in Role::"support", action in Action::"read", resource in Resource::"shop");
@id("support looks at the web")
permit (principal in Role::"support", action == Action::"resolve", resource in Domain::"web.example");
"""
LOOK_UP = """
import json, socket, sys
def look(name, family):
    try:
        return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)})
    except socket.gaierror as error:
        return error.strerror
print(json.dumps({name: look(name, socket.AF_UNSPEC) for name in sys.argv[1:]}))
"""
STATEMENT = """
import sys, psycopg
host, port, text = sys.argv[1:]
try:
    with psycopg.connect(host=host, port=port, user="postgres", dbname="postgres") as connection:
        print("rows", connection.execute(text).fetchall())
except psycopg.Error as error:
    print("error", error)
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A guard whose only resource is known by its name."""

    guard: guard.Guard
    names: NameServer
    server: Server

    def run(self, program: str, *arguments: str, agent: str = "support") -> str:
        result = self.guard.run(agent, [sys.executable, "-c", program, *arguments], {"RES_OPTIONS": "attempts:1"})
        assert result.returncode == 0, result.stderr
        return result.stdout

    def look_up(self, *names: str, agent: str = "support") -> dict[str, list[str] | str]:
        found: dict[str, list[str] | str] = json.loads(self.run(LOOK_UP, *names, agent=agent))
        return found

    def digs(self, *questions: str) -> list[str]:
        """What dig prints for each of the questions."""
        script = "; echo ----; ".join(f"dig +tries=1 +time=5 {question}" for question in questions)
        return self.guard.run("support", ["sh", "-c", script], {}).stdout.split("----\n")


@contextmanager
def shop(server: Server, more: str = "") -> Iterator[Shop]:
    with name_server(["txt-record=web.example,hello"], ttl_s=1) as names:
        names.set_hosts({"db.example": [server.host], "web.example": ["127.8.8.8", "fd00::8"], "big.web.example": _many()})
        setup = guard.Setup(
            agents={"support": guard.Agent(("support",)), "stranger": guard.Agent()},
            resources={"shop": f"db.example:{server.port}"},
            policies=POLICIES,
            tags=f'[dns]\nupstreams = ["{names.address}"]\ntimeout_ms = 500\n{more}',
        )
        with guard.guarding(setup) as running:
            yield Shop(running, names, server)


def _many() -> list[str]:
    return [f"127.7.0.{n}" for n in range(1, 121)]


@pytest.fixture(scope="module")
def here(postgres18: Server) -> Iterator[Shop]:
    with shop(postgres18) as running:
        yield running


def test_libc_gets_addresses_of_permitted_names_and_a_refusal_of_others(here: Shop) -> None:
    found = here.look_up("db.example", "web.example", "exfiltrated.example", "nothing.web.example")
    assert found["db.example"] == [here.server.host]
    assert found["web.example"] == ["127.8.8.8", "fd00::8"]
    assert found["exfiltrated.example"] in ("Temporary failure in name resolution", "Non-recoverable failure in name resolution")
    assert found["nothing.web.example"] == "Name or service not known"
    assert "exfiltrated" not in here.names.log()


def test_dig_sees_the_refusal_with_its_policy_from_whichever_server_it_asks(here: Shop) -> None:
    ways = [f"@{server} {transport}" for server in ("192.0.2.53", "2001:db8::53") for transport in ("+notcp", "+tcp")]
    told = here.digs(*(f"{way} exfiltrated.example" for way in ways), *(f"{way} +short web.example" for way in ways))
    for way, text in zip(ways, told[: len(ways)], strict=True):
        assert "status: REFUSED" in text, text
        assert "no policy permits resolve on exfiltrated.example (A) for agent support" in text
        # The reply seems to come from where the question went.
        assert f"SERVER: {way.split()[0][1:]}#53" in text
    assert told[len(ways) :] == ["127.8.8.8\n"] * len(ways)


def test_a_large_answer_comes_by_tcp_when_it_does_not_fit(here: Shop) -> None:
    for text in here.digs(*(f"@192.0.2.53 +short {o} big.web.example" for o in ("+bufsize=512", "+noedns", "+bufsize=4096"))):
        assert sorted(text.split()) == sorted(_many())


def test_a_database_is_reached_by_its_name_and_the_flow_says_so(here: Shop) -> None:
    assert "rows [(True,)]" in here.run(STATEMENT, "db.example", str(here.server.port), "SELECT count(*) > 0 FROM pg_class")
    (flow,) = [f for f in here.guard.ask("recordings", "list") if f["resource"] == "shop"][-1:]
    shown = here.guard.ask("recordings", "show", str(flow["flow"]))
    assert ["name", "db.example"] in shown["facts"]["details"]


def test_questions_are_on_record_with_their_process(here: Shop) -> None:
    here.look_up("web.example")
    asked = here.guard.ask("names", "list", "--name", "web.example", "--agent", "support")
    assert {each["type"] for each in asked} >= {"A", "AAAA"}
    last = asked[-1]
    assert (last["verdict"], last["status"], last["policies"]) == ("allow", "NOERROR", ["support looks at the web"])
    assert last["comm"].startswith("python")
    assert last["server"].endswith(":53")
    here.look_up("nothing.example", agent="stranger")
    denied = here.guard.ask("names", "list", "--verdict", "deny", "--agent", "stranger")
    assert denied[-1]["name"] == "nothing.example"
    assert "no policy permits" in here.guard.cli("names", "list", "--agent", "stranger").stdout


def test_status_shows_the_resolver_and_what_it_refused(here: Shop) -> None:
    here.digs("@192.0.2.53 " + ".".join(["0123456789abcdef" * 3] * 3) + ".web.example")
    facts = here.guard.ask("status")
    assert facts["state"] == "guarding"
    assert facts["names"]["upstreams"] == [here.names.address]
    assert facts["names"]["questions"]["denied"] > 0
    (alarm,) = [a for a in facts["names"]["alarms"] if "coded_name" in a["flags"]]
    assert (alarm["agent"], alarm["domain"]) == ("support", "web.example")
    shown = here.guard.cli("status").stdout
    assert "looked like a tunnel" in shown


def test_the_resolver_is_nobody_and_another_takes_over_when_it_is_killed(here: Shop) -> None:
    before = here.guard.ask("status")["names"]
    status = Path(f"/proc/{before['pid']}/status").read_text()
    assert "CapEff:\t0000000000000000" in status
    assert "CapBnd:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Uid:\t0" not in status
    for _ in range(3):
        os.kill(here.guard.ask_degraded()["names"]["pid"], signal.SIGKILL)
        # Asked while there is none: it waits in the socket for the next.
        assert here.look_up("web.example")["web.example"] == ["127.8.8.8", "fd00::8"]
    after = here.guard.ask_degraded()["names"]
    assert after["ended"] == before["ended"] + 3
    assert after["pid"] != before["pid"]


PARTNERS = """
@id("partner is open") permit (principal, action, resource in Resource::"partner");
@id("shop is looked at") permit (principal, action == Action::"select", resource in Resource::"shop");
"""


@contextmanager
def partners(server: Server, partner_at: str) -> Iterator[tuple[guard.Guard, NameServer]]:
    """A guard with two resources on one port, each known by name; the partner's name is somebody else's to answer for."""
    with name_server(ttl_s=1) as names:
        names.set_hosts({"db.example": [server.host], "partner.example": [partner_at]})
        setup = guard.Setup(
            agents={"support": guard.Agent()},
            resources={"shop": f"db.example:{server.port}", "partner": f"partner.example:{server.port}"},
            policies=PARTNERS,
            durability="strict",
            tags=f'[dns]\nupstreams = ["{names.address}"]\n',
        )
        with guard.prepared(setup) as running:
            running.start(degraded=True)
            yield running, names


def test_a_partners_name_that_comes_to_lead_to_the_shop_is_judged_as_the_shop(postgres18: Server) -> None:
    with partners(postgres18, "127.0.0.66") as (running, names):
        names.set_hosts({"db.example": [postgres18.host], "partner.example": [postgres18.host]})
        arguments = ["partner.example", str(postgres18.port), "CREATE TABLE loot (x int)"]
        said = running.run("support", [sys.executable, "-c", STATEMENT, *arguments], {})
        assert "no policy permits create on shop/postgres/public/loot" in said.stdout, said
        flow = running.ask("recordings", "list")[-1]
        assert flow["resource"] == "shop"
        assert ["name", "partner.example"] in running.ask("recordings", "show", str(flow["flow"]))["facts"]["details"]


def test_an_address_to_which_two_resources_names_lead_is_refused_in_words(postgres18: Server) -> None:
    with partners(postgres18, postgres18.host) as (running, _):
        said = running.run("support", [sys.executable, "-c", STATEMENT, "partner.example", str(postgres18.port), "SELECT 1"], {})
        assert "which is several resources' at once" in said.stdout, said
        problems = running.ask_degraded()["problems"]
        assert any("which is several resources' at once" in problem for problem in problems)
