"""Agents that an issuer must vouch for, before a real database: who is let in, as what, until when."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import guard
import pytest
from granted import as_user
from guard import Guard
from identities import ASK, SELECT, Place, control, ended, environment, revoke, tokens, verifier, wait_for, write
from issuer_server import IssuerServer, serving
from issuing import published, rsa
from servers import Server

from hostguard.kernel import cgroups
from hostguard.recorder import entry
from hostguard.recorder.reader import Reader

WITHIN_S = 1.0
"""What has ended ends the agent's connections in this time."""
POLICIES = """
@id("support reads") permit (principal in Role::"support", action, resource);
@id("one subject reads") permit (principal == Agent::"runner", action, resource)
when { principal.claims has subject && principal.claims.subject == "runner-reader" };
@id("the claims forbid") forbid (principal is Agent, action, resource)
when { principal.claims has subject && principal.claims.subject == "runner-writer" };
@id("plain") permit (principal == Agent::"plain", action, resource);
@id("blind") forbid (principal == User::"blind", action == Action::"look", resource == Agent::"clerk");
"""
BLIND = "games"
"""A system user that every Debian has."""
TABLES = """
[users.blind]
unix = ["{blind}"]
[agents.clerk.identity.corp]
subject = "clerk"
token_file = "{folder}/clerk.token"
[agents.runner.identity.corp]
subject = "runner*"
[agents.once.identity.single]
subject = "once"
[issuers.corp]
issuer = "{url}"
audiences = ["hostguard"]
refresh_s = 2
keep_s = 4000
{rules}
[issuers.single]
issuer = "{url}"
audiences = ["hostguard"]
once = true
{single_rules}
"""
RULE = """
[[issuers.{name}.roles]]
claim = "groups"
contains = "support"
role = "support"
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[IssuerServer]:
    with serving() as running:
        yield running


@pytest.fixture(scope="module")
def running(postgres18: Server, issuer: IssuerServer) -> Iterator[Guard]:
    agents = {name: guard.Agent(()) for name in ("clerk", "runner", "once", "plain")}
    setup = guard.Setup(
        agents=agents,
        resources={"shop": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICIES,
        tables=TABLES.replace("{url}", issuer.url)
        .replace("{blind}", BLIND)
        .replace("{rules}", RULE.format(name="corp"))
        .replace("{single_rules}", RULE.format(name="single")),
        workers=1,
    )
    with guard.prepared(setup) as prepared:
        prepared.config.write_text(prepared.config.read_text().replace("{folder}", str(prepared.folder)))
        write(prepared.folder / "clerk.token", issuer.token(sub="clerk", groups=["support"]))
        prepared.start()
        yield prepared


Places = Callable[[str], Place]


@pytest.fixture
def place(running: Guard, postgres18: Server) -> Iterator[Places]:
    """Makes places in workloads; they go with what still runs in them."""
    made: list[Place] = []

    def make(workload: str) -> Place:
        made.append(Place(running, workload, postgres18))
        return made[-1]

    yield make
    for each in made:
        cgroups.remove(each.cgroup)


def test_a_token_in_a_file_gives_its_roles(running: Guard, place: Places, issuer: IssuerServer) -> None:
    clerk, token = place("clerk"), running.folder / "clerk.token"
    assert [each["roles"] for each in tokens(running, "clerk")] == [["support"]]
    assert clerk.ask() == "42"
    assert clerk.ask("CREATE TABLE t ()") == "the last operation didn't produce records (command status: CREATE TABLE)"
    write(token, issuer.token(sub="clerk"))
    wait_for(lambda: tokens(running, "clerk")[0]["roles"] == [])
    assert "no policy permits" in clerk.ask("DROP TABLE t")
    write(token, issuer.token(sub="clerk", groups=["other", "support"]))
    wait_for(lambda: tokens(running, "clerk")[0]["roles"] == ["support"])
    clerk.ask("DROP TABLE t")


def test_who_may_not_look_at_an_agent_sees_nothing_of_its_tokens(running: Guard) -> None:
    assert "clerk" in {each["agent"] for each in control(running).get("/v1/identity")["tokens"]}
    shown = as_user(running, BLIND, "identity", "list")
    assert "left out, of agents that you may not look at" in shown
    assert "clerk" not in shown


def test_policies_see_issuer_and_subject(place: Places, issuer: IssuerServer) -> None:
    reader, writer = place("runner"), place("runner")
    assert reader.follow(issuer.token(sub="runner-reader")) == writer.follow(issuer.token(sub="runner-writer")) == ""
    assert reader.ask("SELECT count(*) FROM pg_class").isdecimal()
    assert "the claims forbid" in writer.ask("SELECT count(*) FROM pg_class")


def test_nobody_without_a_token(place: Places) -> None:
    refused = place("runner").ask()
    assert "nobody vouches for agent runner: it takes a token of issuer corp, and no token of its was presented" in refused
    assert place("plain").ask() == "42"


def test_a_token_is_for_one_tree_of_processes(running: Guard, place: Places, issuer: IssuerServer) -> None:
    mine, others = place("runner"), place("runner")
    assert mine.follow(issuer.token(sub="runner-7", groups=["support"])) == ""
    process = mine.hold()
    shown = control(running).get(f"/v1/identity?pid={process.pid}")["process"]
    assert (shown["subject"], shown["roles"], shown["missing"]) == ("runner-7", ["support"], "")
    assert "nobody vouches for agent runner" in others.ask()
    assert mine.ask() == "42"
    # A rotation ends nothing; other claims do.
    mine.write(issuer.token(sub="runner-7", groups=["support"]))
    time.sleep(1)
    assert process.poll() is None
    began = time.time()
    mine.write(issuer.token(sub="runner-7"))
    at, words = ended(process)
    assert "no longer what it was" in words
    assert at - began < WITHIN_S


def test_expiry_ends_connections(place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    assert mine.follow(issuer.token(sub="runner-8", groups=["support"])) == ""
    process = mine.hold()
    expires_at = time.time() + 2
    mine.write(issuer.token(2, sub="runner-8", groups=["support"]))
    at, words = ended(process)
    assert "it has expired" in words
    assert -0.2 < at - expires_at < WITHIN_S
    assert "it has expired" in mine.ask()
    # The next one lets it in again.
    mine.write(issuer.token(sub="runner-8", groups=["support"]))
    wait_for(lambda: mine.ask() == "42")


def test_a_file_that_is_taken_away_ends_connections(place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    assert mine.follow(issuer.token(sub="runner-9", groups=["support"])) == ""
    process = mine.hold()
    began = time.time()
    mine.token.unlink()
    at, words = ended(process)
    assert "No such file" in words
    assert at - began < WITHIN_S


def test_a_revoked_token_never_counts_again(running: Guard, place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    token = issuer.token(sub="runner-10", groups=["support"])
    assert mine.follow(token) == ""
    process = mine.hold()
    began = time.time()
    assert revoke(running, "runner") > 0
    at, words = ended(process)
    assert "it was revoked" in words
    assert at - began < WITHIN_S
    assert mine.follow(token) == place("runner").follow(token) == "it was revoked"
    assert running.cli("identity", "revoke", "runner").returncode == 1
    ends = Reader(running.folder / "state" / "log").entries((entry.IdentityEnded,))
    last = [each for _, each in ends if isinstance(each, entry.IdentityEnded) and each.user][-1]
    assert (last.agent, last.user, last.uid, last.policies) == ("runner", "bob", 0, ("hostguard: root operates",))


def test_a_process_presents_its_own(running: Guard, place: Places, issuer: IssuerServer) -> None:
    mine, token = place("runner"), issuer.token(sub="runner-1", groups=["support"])
    assert mine.present(b"corp\n" + token) == ""
    assert mine.ask() == "42"
    # Nobody else can do anything with it: not the same agent elsewhere, nor another agent that has stolen it.
    assert "nobody vouches" in place("runner").ask()
    assert 'it is about "runner-1"' in place("clerk").present(b"\n" + token)
    assert "takes no token" in place("plain").present(b"\n" + token)
    assert "is no agent's" in running.cli("identity", "present", text=token.decode()).stderr
    assert "nobody else" in mine.present(b"single\n" + token)
    assert "expected the issuer's name" in mine.present(token)


def test_a_token_for_one_bearer(place: Places, issuer: IssuerServer) -> None:
    token, first = issuer.token(sub="once"), place("once")
    assert first.present(b"\n" + token) == first.present(b"\n" + token) == ""
    assert "it was used before, by another" in place("once").present(b"\n" + token)


def test_what_is_not_verified_is_refused_and_says_why(place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    bad = {
        "signature": issuer.token(sub="runner-1", key=rsa("k1")),
        "publishes no key": issuer.token(sub="runner-1", key=rsa("k2")),
        "it is for": issuer.token(sub="runner-1", aud="others"),
        "expired": issuer.token(-1, sub="runner-1"),
        "not about this agent": issuer.token(sub="clerk"),
        "no signed token": b"x" * 7_000,
        "is longer than": b"x" * 70_000,
    }
    for words, token in bad.items():
        assert words in mine.follow(token)
    assert "was refused: the token is longer than" in mine.ask()


def test_exec_shows_who_it_is(running: Guard, postgres18: Server, issuer: IssuerServer) -> None:
    token = running.folder / "exec.token"
    write(token, issuer.token(sub="runner-11", groups=["support"]))
    options = ["--workload", "runner", "--identity-token-file", str(token), "--config", str(running.config)]
    command = [guard.HOSTGUARD, "exec", *options, "--", sys.executable, "-c", ASK, SELECT]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment(postgres18)}, check=False)
    assert done.stdout == "42\n", done.stderr
    write(token, issuer.token(sub="clerk"))
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment(postgres18)}, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "so nothing was run" in done.stderr


def test_a_key_that_is_withdrawn_ends_what_it_signed(place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    assert mine.follow(issuer.token(sub="runner-2", groups=["support"])) == ""
    process = mine.hold()
    issuer.key = rsa("k9")
    issuer.served = published(issuer.key)
    _, words = ended(process)
    assert "withdrawn the key" in words


def test_an_issuer_that_is_down_widens_nothing(running: Guard, place: Places, issuer: IssuerServer) -> None:
    mine = place("runner")
    assert mine.follow(issuer.token(sub="runner-3", groups=["support"])) == ""
    process = mine.hold()
    issuer.down = True
    try:
        wait_for(lambda: "can't be fetched" in " ".join(running.status()["problems"]))
        assert "publishes no key" in place("runner").follow(issuer.token(sub="runner-3", key=rsa("x")))
        assert process.poll() is None
    finally:
        issuer.down = False
    wait_for(lambda: "can't be fetched" not in " ".join(running.status()["problems"]), 25)


@pytest.mark.timeout(400)
def test_a_restart_keeps_what_is_verified(running: Guard, place: Places, issuer: IssuerServer) -> None:
    followed, presented = place("runner"), place("once")
    assert followed.follow(issuer.token(sub="runner-4", groups=["support"])) == ""
    token = issuer.token(sub="once", groups=["support"])
    assert presented.present(b"\n" + token) == ""
    # Not those of other tests' places: a cgroup that is gone is noticed at any time.
    mine = {followed.cgroup.name, presented.cgroup.name}

    def digests() -> set[str]:
        return {each["digest"] for each in control(running).get("/v1/identity")["tokens"] if Path(each["cgroup"]).name in mine}

    process, before = followed.hold(), digests()
    assert len(before) == 2
    pid = control(running).get("/v1/identity")["pid"]
    assert control(running).post("/v1/restart", {}, 120)["refused"] == ""
    wait_for(lambda: verifier(running) not in (0, pid), 120)
    assert digests() == before
    assert process.poll() is None
    assert presented.ask() == "42"
    assert "it was used before, by another" in place("once").present(b"\n" + token)
    followed.write(issuer.token(1, sub="runner-4", groups=["support"]))
    _, words = ended(process)
    assert "it has expired" in words


@pytest.mark.timeout(400)
def test_a_crash_forgets_no_revocation_and_no_use(running: Guard, place: Places, issuer: IssuerServer) -> None:
    followed, presented = place("runner"), place("once")
    revoked, used = issuer.token(sub="runner-5", groups=["support"]), issuer.token(sub="once")
    assert followed.follow(revoked) == ""
    assert presented.present(b"\n" + used) == ""
    assert revoke(running, "runner") > 0
    running.kill()
    assert running.launch().wait(180)
    assert followed.follow(revoked) == "it was revoked"
    assert "it was used before, by another" in place("once").present(b"\n" + used)
    assert "nobody vouches" in presented.ask()
    followed.write(issuer.token(sub="runner-5", groups=["support"]))
    wait_for(lambda: followed.ask() == "42")


def test_what_is_on_record(running: Guard) -> None:
    """Run last: who was verified, what was refused, what ended; a token nowhere."""
    log = b"".join(path.read_bytes() for path in sorted((running.folder / "state" / "log").rglob("*")) if path.is_file())
    for kind in (b"identity.verified", b"identity.refused", b"identity.ended"):
        assert kind in log
    assert b"eyJ" not in log
    assert "eyJ" not in "".join(running.lines)
