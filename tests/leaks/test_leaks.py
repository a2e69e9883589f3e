"""Whatever an agent without `reveal` asks for, no secret comes back; without a guard nearly everything does.

The scripts are in leaking/*.sql. Each runs on two databases that differ in nothing but the secrets: what comes back must
hold no secret in any of the usual encodings (`sight`), and must be the same for both, since what differs answers a question about
a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import guard
import pytest
from leaks import replies, sight, vault
from leaks.replies import Reply
from leaks.scripts import Script, read
from servers import Server

# The first test of a server runs all its scripts.
pytestmark = pytest.mark.timeout(600)
SCRIPTS = sorted(read("leaking"), key=lambda script: "inference" in script.words)


class Seen(NamedTuple):
    """What came back for one script, twin by twin."""

    direct: tuple[Reply, ...]
    guarded: tuple[Reply, ...]


Everything = dict[str, Seen]


def see(server: Server, scripts: Sequence[Script]) -> Everything:
    """All scripts, one after the other, first guarded, since what gets through directly changes the database."""
    with vault.twins(server), guard.guarding(vault.setup(server)) as running:
        guarded = [replies.guarded(running, server, twin, scripts) for twin in vault.TWINS]
        direct = [replies.direct(server, twin, scripts) for twin in vault.TWINS]
    columns = zip(zip(*direct, strict=True), zip(*guarded, strict=True), strict=True)
    return {script.place: Seen(*both) for script, both in zip(scripts, columns, strict=True)}


@pytest.fixture(scope="module")
def everything18(postgres18: Server) -> Everything:
    """What came back for every script on PostgreSQL 18."""
    return see(postgres18, [script for script in SCRIPTS if script.runs_on(18)])


@pytest.fixture(scope="module")
def everything15(postgres15: Server) -> Everything:
    """The same on PostgreSQL 15 for scripts that run nowhere else."""
    return see(postgres15, [script for script in SCRIPTS if "15" in script.words])


@pytest.fixture(scope="module")
def everything15soak(postgres15: Server) -> Everything:
    """The same on PostgreSQL 15 for all scripts."""
    return see(postgres15, [script for script in SCRIPTS if script.runs_on(15)])


def cases() -> Iterator[object]:
    """(fixture, script) with what is wrong today."""
    for script in SCRIPTS:
        marks = [pytest.mark.xfail(reason=script.today)] if script.today else []
        name = script.place[:90]
        if script.runs_on(18):
            yield pytest.param("everything18", script, marks=marks, id=f"18-{name}")
        if "15" in script.words:
            yield pytest.param("everything15", script, marks=marks, id=f"15-{name}")
        elif script.runs_on(15):
            yield pytest.param("everything15soak", script, marks=[*marks, pytest.mark.soak], id=f"15-{name}")


def test_the_suite_is_there() -> None:
    assert len(SCRIPTS) >= 605
    assert len({script.place for script in SCRIPTS}) == len(SCRIPTS)
    assert {script.place.split(":")[0] for script in SCRIPTS} == {
        "alias",
        "expression",
        "encoding",
        "aggregate",
        "json_xml",
        "view",
        "function",
        "copy",
        "error",
        "notice",
        "cursor",
        "prepared",
        "binary",
        "returning",
        "stash",
        "catalog",
        "inference",
        "constraint",
        "channel",
        "odd",
        "unasked",
        "filled",
    }


@pytest.mark.parametrize(("where", "script"), list(cases()))
def test_no_secret_comes_back(request: pytest.FixtureRequest, where: str, script: Script) -> None:
    reply = request.getfixturevalue(where)[script.place]
    one, other = reply.guarded
    assert sight.seen(one, "twin_a") == set(), one.lines()
    assert sight.seen(other, "twin_b") == set(), other.lines()
    assert one.told() == other.told(), (one.lines(), other.lines())


@pytest.mark.parametrize("where", ["everything18", "everything15", pytest.param("everything15soak", marks=pytest.mark.soak)])
def test_without_a_guard_every_script_tells_a_secret(request: pytest.FixtureRequest, where: str) -> None:
    """A script that shows nothing directly would prove nothing."""
    everything: Everything = request.getfixturevalue(where)
    silent = [
        script.place for script in SCRIPTS if script.place in everything and not tells(script, everything[script.place].direct)
    ]
    assert silent == []


def tells(script: Script, direct: tuple[Reply, ...]) -> bool:
    """Whether the twins differ, and the secret can be read unless it is one that is only inferred."""
    one, other = direct
    readable = "inference" in script.words or sight.seen(one, "twin_a") != set()
    return readable and one.told() != other.told()
