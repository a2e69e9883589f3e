"""Duties kept apart: by whom, on what, for how long; with nothing lost and nobody racing past."""

from __future__ import annotations

import asyncio
import itertools
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.agent.history import COARSE_S, Deed, History, Refusal
from hostguard.agent.restraint import STEPS
from hostguard.agent.store import Store
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import of_texts
from hostguard.policy.duties import ANY, shown

CONFIGURATION = """
[users.ann]
[resources.x]
protocol = "postgres"
addresses = ["127.0.0.1:1"]
[duties.create]
actions = ["insert"]
objects = ["x/y/p/payees"]
key = "iban"
[duties.pay]
actions = ["update"]
objects = ["x/y/p/payments"]
key = "iban"
[exclusions.rule]
duties = ["create", "pay"]
"""
KINDS = {
    "owner always": 'scope = "owner"',
    "agent always": 'scope = "agent"',
    "owner object": 'scope = "owner"\nwithin = "object"',
    "owner window": 'scope = "owner"\nwithin = "window"\nwindow_s = 100',
}
NOW = 1_000_000.0


def deed(duty: str, thing: str = "=1", *, agent: str = "bot", users: tuple[str, ...] = ("ann",), at: float = NOW) -> Deed:
    return Deed(agent, users, ((duty, thing),), 5, 6, at)


async def opened(path: Path, kind: str) -> History:
    decider = Decider(Policy(of_texts("hostguard.toml", CONFIGURATION + KINDS[kind], [])))
    return History(await Store.open(path, STEPS), decider)


def played(folder: Path, kind: str, *deeds: Deed) -> list[str]:
    """What was refused, by its beginning; empty for what went on."""

    async def play() -> list[str]:
        history = await opened(folder / "restraint.sqlite", kind)
        found = [await history.exercise(each) for each in deeds]
        return [each.reason if each is not None else "" for each in found]

    return asyncio.run(play())


@pytest.mark.parametrize(
    ("kind", "first", "second", "refused"),
    [
        ("owner always", deed("create"), deed("pay"), True),
        ("owner always", deed("create"), deed("create"), False),
        ("owner always", deed("create"), deed("pay", "=2", agent="other", at=NOW + 1e9), True),
        ("owner always", deed("create"), deed("pay", users=("ben",)), False),
        ("owner always", deed("create"), deed("pay", users=("ben", "ann")), True),
        ("owner always", deed("create", users=("ben", "ann")), deed("pay", users=("cid", "ann")), True),
        ("agent always", deed("create"), deed("pay", users=("ben",)), True),
        ("agent always", deed("create"), deed("pay", agent="other"), False),
        ("owner object", deed("create"), deed("pay"), True),
        ("owner object", deed("create"), deed("pay", "=2"), False),
        ("owner object", deed("create"), deed("pay", ANY), True),
        ("owner object", deed("create", ANY), deed("pay", "=2"), True),
        ("owner window", deed("create"), deed("pay", at=NOW + 99), True),
        ("owner window", deed("create"), deed("pay", at=NOW + 100 + COARSE_S), False),
    ],
)
def test_what_is_kept_apart(tmp_path: Path, kind: str, first: Deed, second: Deed, refused: bool) -> None:
    one, other = played(tmp_path, kind, first, second)
    assert one == ""
    assert bool(other) == refused, other
    if refused:
        who = "agent bot" if kind.startswith("agent") else "user ann"
        assert other.startswith('exclusion "rule" keeps "pay" apart')
        assert f'{who} has taken part in "create" on' in other


def test_one_operation_can_not_be_both(tmp_path: Path) -> None:
    (said,) = played(tmp_path, "owner object", Deed("bot", ("ann",), (("create", "=1"), ("pay", ANY)), 1, 1, NOW))
    assert 'this very operation is "pay" as well' in said


def test_what_was_refused_is_not_on_record_and_what_went_on_is_after_a_kill(tmp_path: Path) -> None:
    assert played(tmp_path, "owner always", deed("create")) == [""]
    # Not closed: as after a kill. A refused deed leaves the doer free for what he may do.
    again = played(
        tmp_path, "owner always", deed("pay"), deed("create"), deed("pay", users=("ben",)), deed("create", users=("ben",))
    )
    assert [bool(each) for each in again] == [True, False, False, True]


def test_of_two_that_race_one_wins(tmp_path: Path) -> None:
    async def play() -> list[Refusal | None]:
        history = await opened(tmp_path / "restraint.sqlite", "owner always")
        racing = [history.exercise(deed(duty, f"={n}", agent=f"{n}")) for n in range(20) for duty in ("create", "pay")]
        return list(await asyncio.gather(*racing))

    done = asyncio.run(play())
    assert {index % 2 for index, refusal in enumerate(done) if refusal is None} == {0}


def test_an_unknown_duty_is_refused(tmp_path: Path) -> None:
    assert "no duty" in played(tmp_path, "owner always", deed("pays"))[0]


def test_an_approver_hears_before_he_approves(tmp_path: Path) -> None:
    async def play() -> tuple[str, str]:
        history = await opened(tmp_path / "restraint.sqlite", "owner object")
        await history.exercise(deed("create", at=time.time()))
        return await history.objection("ann", [("pay", "=1")]), await history.objection("ann", [("pay", "=2")])

    same, other = asyncio.run(play())
    assert "user ann has taken part" in same
    assert other == ""


DEEDS = st.tuples(
    st.sampled_from(["create", "pay"]),
    st.sampled_from(["=1", "=2", ANY]),
    st.sampled_from(["one", "two"]),
    st.sampled_from([("ann",), ("ben",), ("ben", "ann"), ("cid", "ben")]),
    st.integers(0, 250),
)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(DEEDS, max_size=12))
def test_no_two_that_went_on_break_the_rule(
    tmp_path_factory: pytest.TempPathFactory, kind: str, rows: list[tuple[str, str, str, tuple[str, ...], int]]
) -> None:
    deeds = [
        Deed(agent, users, ((duty, thing),), 1, 1, NOW + at)
        for duty, thing, agent, users, at in sorted(rows, key=lambda row: row[4])
    ]
    said = played(tmp_path_factory.mktemp("history"), kind, *deeds)
    done = [each for each, refusal in zip(deeds, said, strict=True) if not refusal]
    for one, other in itertools.combinations(done, 2):
        shared = {one.agent} & {other.agent} if kind.startswith("agent") else set(one.users) & set(other.users)
        (duty, thing), (second, its) = one.items[0], other.items[0]
        together = thing == its or ANY in (thing, its) if kind.endswith("object") else True
        if kind.endswith("window"):
            together = other.at - one.at < 100
        assert not (shared and duty != second and together), (one, other)


def test_objects_are_shown_as_people_know_them() -> None:
    assert shown("=de1") == "the key de1"
    assert shown("@x/y/p/payees") == "x/y/p/payees"
    assert shown("#" + "ab" * 32) == "the key with hash abababababababab"
    assert shown(ANY) == "an object that can't be told"
    assert len(shown("=" + "x" * 200)) < 70
