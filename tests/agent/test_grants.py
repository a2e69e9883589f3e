"""Grants in the supervisor: a use is spent once whatever happens in between; long requests cost no more than short ones."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import holding
import msgspec
import pytest

from hostguard.agent.granting import Wanted
from hostguard.agent.grants import SCHEMA, Grants
from hostguard.agent.hold_messages import Approved, Filed, Granted, Refuse
from hostguard.agent.ledger import Ledger
from hostguard.agent.waiting import By
from hostguard.policy.approval_sections import Approvals
from hostguard.policy.decide import Policy
from hostguard.policy.grants import Grant
from hostguard.policy.requests import AlreadyDecided, BookFull, NotAllowed
from hostguard.policy.rules import Source
from hostguard.policy.web_sections import User
from hostguard.recorder import entry

DELETE, TRUNCATE = "DELETE FROM public.notes WHERE id = 1", "TRUNCATE public.notes"
UPDATE = "UPDATE public.notes SET text = 'x' WHERE id = 1"
DYING = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import holding
from hostguard.agent import granting
from hostguard.agent.hold_messages import Granted
from hostguard.agent.granting import Wanted
where = sys.argv[2]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
house = holding.House(Path(sys.argv[1]))
if where == "before it is counted":
    house.holds.granting.grants.use = die
elif where == "before it is on record":
    house.records.note = lambda flow, *entries: die() if flow else True
elif where == "before the worker is told":
    said = holding.Worker.say
    holding.Worker.say = lambda self, message, passed=None: die() if isinstance(message, Granted) else said(self, message)
elif where == "while it is committed":
    house.holds.granting.grants._ledger._connection.set_trace_callback(lambda text: die() if text == "COMMIT" else None)
print(house.ask("DELETE FROM public.notes WHERE id = 1"), flush=True)
"""


@pytest.fixture
def house(tmp_path: Path) -> Any:
    with holding.House(tmp_path) as made:
        yield made


def issue(house: holding.House, statement: str = DELETE, user: str = "bob", **terms: Any) -> Grant:
    wanted = Wanted(
        agent=holding.AGENT, resource=holding.RESOURCE, database="shop", statement=statement,
        **{"uses": 1, "until": house.now + 100, **terms},
    )  # fmt: skip
    return house.holds.granting.issue(wanted, By(user, holding.UIDS[user]), lambda: [holding.AGENT])


@pytest.mark.parametrize(
    ("where", "left"),
    [
        ("before it is counted", 3),
        ("while it is committed", 3),
        ("before it is on record", 2),
        ("before the worker is told", 2),
        ("nowhere", 2),
    ],
)
def test_a_kill_at_the_worst_place_loses_a_use_and_adds_none(tmp_path: Path, where: str, left: int) -> None:
    with holding.House(tmp_path) as house:
        grant = issue(house, uses=3)
        began = house.now
    command: list[str | Path] = [sys.executable, "-c", DYING, tmp_path, where, Path(holding.__file__).parent]
    died = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert ("Granted" in died.stdout, died.returncode) == ((True, 0) if where == "nowhere" else (False, -signal.SIGKILL)), died
    grants = Grants(Ledger.open(tmp_path / "grants.sqlite", SCHEMA), 10)
    assert grants.get(grant.id).left == left
    spent = [grants.use(grant.id, began) for _ in range(left + 1)]
    assert spent == [*range(left - 1, -1, -1), None]


def test_what_waits_for_a_worker_ends_when_it_is_cancelled(house: holding.House) -> None:
    """It asks no more, files nothing, and spends nothing; as if the worker were still to answer, it would go on to the next."""
    waits = house.hold(DELETE)
    (filed,) = house.worker(waits).said
    assert isinstance(filed, Filed)
    answer = house.begin(filed.request)
    grants = [issue(house), issue(house)]
    tries = house.hold(DELETE)
    house.crash()
    assert answer.cancelled()
    assert [len(house.worker(flow).asked) for flow in (waits, tries)] == [1, 1]
    assert house.worker(tries).said == []
    assert [house.holds.granting.grants.get(grant.id).left for grant in grants] == [1, 1]


def test_a_grant_outlives_the_request_that_it_came_with(house: holding.House) -> None:
    """The next daemon knows nothing of a request that waited; what it came to stays good."""
    (filed,) = house.worker(house.hold(DELETE)).said
    assert isinstance(filed, Filed)
    house.answer(filed.request, uses=3, until=house.now + 1000)
    house.crash()
    assert [type(house.ask(DELETE)) for _ in range(3)] == [Granted, Granted, Filed]
    assert not house.faults.latest


def test_a_use_that_can_not_be_put_on_record_releases_nothing(house: holding.House) -> None:
    grant = issue(house, uses=2)
    house.records.full = True
    assert isinstance(house.ask(DELETE), Filed)
    house.records.full = False
    assert house.holds.granting.grants.get(grant.id).left == 1
    assert isinstance(house.ask(DELETE), Granted)
    kinds = [type(each) for each in house.records.entries]
    assert kinds == [entry.GrantIssued, entry.GrantUsed]


def test_a_store_that_can_not_be_written_releases_nothing(house: holding.House, monkeypatch: pytest.MonkeyPatch) -> None:
    issue(house, uses=2)
    monkeypatch.setattr("hostguard.agent.ledger.BUSY_S", 0.05)
    connection = house.holds.granting.grants._ledger._connection
    connection.execute("PRAGMA query_only = ON")
    assert isinstance(house.ask(DELETE), Filed)
    assert "readonly" in house.faults.latest[-1]["reason"]
    connection.execute("PRAGMA query_only = OFF")
    assert isinstance(house.ask(DELETE), Granted)


def test_one_who_may_not_approve_any_more_stands_for_nothing(house: holding.House) -> None:
    issue(house, uses=5)
    assert isinstance(house.ask(DELETE), Granted)
    document = holding.document()
    document.users["bob"] = User(groups=())
    house.decider.reload(Policy(document))
    assert isinstance(house.ask(DELETE), Filed)


def test_an_owner_neither_issues_nor_approves(house: holding.House) -> None:
    with pytest.raises(NotAllowed, match=r'alice may not issue this grant .* forbidden by "hostguard: four eyes"'):
        issue(house, user="alice")
    filed = house.ask(DELETE)
    with pytest.raises(NotAllowed, match='forbidden by "hostguard: four eyes"'):
        house.answer(filed.request, "alice")


def test_where_its_users_signed_in_is_on_record(house: holding.House) -> None:
    wanted = Wanted(
        agent=holding.AGENT, resource=holding.RESOURCE, database="shop", statement=DELETE, uses=1, until=house.now + 100
    )  # fmt: skip
    granting = house.holds.granting
    grant = granting.issue(wanted, By("bob", -1, "corp"), lambda: [holding.AGENT])
    granting.endorse(grant.id, By("bert", -1, "lab"))
    granting.revoke(grant.id, By("bob", -1, "corp"), "")
    kinds = entry.GrantIssued, entry.GrantRevoked
    found = [each for each in house.records.entries if isinstance(each, kinds)]
    assert [(each.user, each.uid, each.provider) for each in found] == [
        ("bob", -1, "corp"),
        ("bert", -1, "lab"),
        ("bob", -1, "corp"),
    ]


def test_a_grant_that_does_not_suffice_is_not_spent(house: holding.House) -> None:
    grant = issue(house, UPDATE, uses=2)
    filed = house.ask(UPDATE)
    assert isinstance(filed, Filed)
    assert house.holds.granting.grants.get(grant.id).left == 2
    house.holds.granting.endorse(grant.id, By("bert", 0))
    granted = house.ask(UPDATE)
    assert isinstance(granted, Granted)
    assert granted.by == ("bert", "bob")


def test_no_more_grants_than_may_be_open(tmp_path: Path) -> None:
    with holding.House(tmp_path, Approvals(max_grants=2)) as house:
        issue(house)
        issue(house, uses=1, until=house.now + 5)
        with pytest.raises(BookFull, match="2 grants are open already"):
            issue(house)
        house.now += 6
        issue(house)


def test_a_ticket_of_two_takes_two_and_is_used_once(tmp_path: Path) -> None:
    with holding.House(tmp_path, Approvals(mode="ticket", ticket_s=200, use_s=50)) as house:
        filed = house.ask(UPDATE)
        house.now += 150
        assert house.answer(filed.request, "bob")["state"] == "pending"
        # The yes has started its clock anew; a crash changes nothing.
        house.now += 150
        house.crash()
        assert house.answer(filed.request, "bert")["state"] == "approved"
        house.crash()
        house.now += 49
        granted = house.ask(UPDATE)
        assert isinstance(granted, Granted)
        assert granted.by == ("bert", "bob")
        assert house.holds.show(filed.request)["state"] == "used"
        assert isinstance(house.ask(UPDATE), Filed)
        verdicts = [each.verdict for each in house.records.entries if isinstance(each, entry.Approval)]
        assert verdicts == ["collected", "approved"]


def test_an_approved_ticket_that_nobody_uses_lapses(house: holding.House) -> None:
    filed = house.ask(TRUNCATE)
    house.answer(filed.request)
    house.now += 51
    house.holds._tick(house.now)
    assert house.holds.show(filed.request)["note"] == "Nobody ran it in time."
    again = house.ask(TRUNCATE)
    assert again.request != filed.request


def test_a_ticket_whose_approval_no_longer_suffices_is_asked_about_again(house: holding.House) -> None:
    filed = house.ask(TRUNCATE)
    house.answer(filed.request)
    document = holding.document()
    document.users["bob"] = User(groups=())
    house.decider.reload(Policy(document))
    again = house.ask(TRUNCATE)
    assert (again.request, again.refusal) == (
        filed.request,
        f"request {filed.request} was approved by bob, which does not suffice any more; it waits for more approvals",
    )
    assert house.holds.granting.grants.list(house.now, everything=False) == []
    assert house.answer(filed.request, "bert")["state"] == "approved"
    granted = house.ask(TRUNCATE)
    assert isinstance(granted, Granted)
    assert granted.by == ("bert",)


def test_a_yes_that_can_not_be_kept_was_not_given(house: holding.House) -> None:
    filed = house.ask(TRUNCATE)
    house.records.full = True
    with pytest.raises(NotAllowed, match="can't be put on record"):
        house.answer(filed.request)
    house.records.full = False
    assert house.holds.show(filed.request)["state"] == "pending"
    assert isinstance(house.ask(TRUNCATE), Filed)
    house.answer(filed.request)
    with pytest.raises(AlreadyDecided):
        house.answer(filed.request)
    assert isinstance(house.ask(TRUNCATE), Granted)


def test_a_request_escalates_and_only_then_may_others_answer(tmp_path: Path) -> None:
    rule = """@id("later") permit (principal in Group::"juniors", action == Action::"approve", resource)
        when { context.escalation >= 2 };"""
    with holding.House(tmp_path, Approvals(timeout_s=1000, escalate_s=(60, 120))) as house:
        told: list[tuple[str, int]] = []
        house.holds.announcer.tell = lambda event, facts: told.append((event, facts["escalation"]))  # type: ignore[assignment, method-assign]
        document = holding.document(approvals=house.document.approvals)
        document.users["carol"] = User(groups=("juniors",))
        sources = (*document.sources, Source("more.cedar", rule))
        house.decider.reload(Policy(msgspec.structs.replace(document, sources=sources)))
        filed = house.ask(DELETE)
        assert "group juniors (once it has escalated)" in house.holds.show(filed.request)["approvers"]
        for seconds, events in ((59, []), (2, [("escalated", 1)]), (30, []), (30, [("escalated", 2)]), (100, [])):
            house.now += seconds
            told.clear()
            house.holds._tick(house.now)
            assert told == events
            if seconds == 2:
                with pytest.raises(NotAllowed, match="carol may not decide"):
                    house.answer(filed.request, "carol")
        assert house.answer(filed.request, "carol")["state"] == "used"
        assert isinstance(house.worker(house.flows[1]).said[-1], Approved)


def test_a_yes_starts_the_clock_anew(house: holding.House) -> None:
    filed = house.ask(UPDATE)
    house.now += 90
    house.answer(filed.request, "bob")
    house.now += 90
    house.holds._tick(house.now)
    assert house.holds.show(filed.request)["state"] == "pending"
    house.now += 11
    house.holds._tick(house.now)
    refused = house.worker(house.flows[1]).said[-1]
    assert isinstance(refused, Refuse)
    assert refused.reason == f"request {filed.request} was not decided within 100 s"


def test_a_thousand_requests_take_a_bounded_piece_of_memory_each_and_are_listed_at_once(tmp_path: Path) -> None:
    """However long their statements are: 64 KiB here, of each."""
    padding = "x" * (1 << 16)
    with holding.House(tmp_path) as house:
        for number in range(10):
            house.hold(f"DELETE FROM public.notes WHERE id = {number} AND text <> '{padding}'")
        tracemalloc.start()
        before = tracemalloc.take_snapshot()
        for number in range(990):
            house.hold(f"DELETE FROM public.notes WHERE id = {number} AND text <> '{padding}'", 2)
            house._operations.clear()
            house._policies.clear()
        after = tracemalloc.take_snapshot()
        tracemalloc.stop()
        grown = sum(
            stat.size_diff for stat in after.compare_to(before, "filename") if "/tests/" not in stat.traceback[0].filename
        )
        began = time.perf_counter()
        listed = house.holds.list(everything=False)
        took_s = time.perf_counter() - began
        assert len(listed) == 1000
        last = house.holds.show(listed[-1]["id"])
        assert last["statement"].endswith(f"{padding}'")
        print(f"{grown / 990:.0f} bytes each, listed in {took_s:.3f} s")
        assert grown / 990 < 32 * 1024
        assert took_s < 1
        refused = house.ask(DELETE)
        assert refused.refusal.startswith("1000 operations wait for an approval already")
