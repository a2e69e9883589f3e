"""The gate's order: nothing is admitted that is not on record, and what can't be recorded is refused."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostguard.agent.flow import Flow, Tally
from hostguard.agent.gate import LOG_REFUSAL, MAX_NOTES, Gate
from hostguard.policy.decide import Decider, FlowPolicy, Policy
from hostguard.policy.document import load
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict
from hostguard.recorder import entry
from hostguard.recorder.durable import Syscalls
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "shop", search_path=("pg_catalog", "public"))


class Disk:
    """A disk that can be full."""

    def __init__(self) -> None:
        self.full = False
        self._write = Syscalls().write

    def write(self, fd: int, data: bytes) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self._write(fd, data)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def log(tmp_path: Path, disk: Disk) -> Iterator[Log]:
    ticks = itertools.count(1)
    made = Log(tmp_path / "log", lambda: (next(ticks), next(ticks)), syscalls=Syscalls(write=disk.write))
    yield made
    made.close()


@pytest.fixture
def flow(log: Log) -> Flow:
    number = log.open_flow(entry.FlowOpen(agent="support-bot", workload="support-bot", resource="shop"))
    return Flow(number, "support-bot", "support-bot", "shop")


@pytest.fixture
def policy() -> FlowPolicy:
    decider = Decider(Policy(load(SHOP)))
    rows = [("relation", "16400", "public", "orders", "r"), ("column", "16400", "1", "id", "")]
    decider.set_catalog("shop", "shop", Catalog.from_rows(rows))
    return decider.open("support-bot", "shop")


def query(text: str, number: int = 1, kind: OperationKind = OperationKind.QUERY) -> Operation:
    return Operation(number, kind, text, SESSION)


def kinds(log: Log, folder: Path) -> list[str]:
    log.sync()
    return [type(found).__name__ for _, found in Reader(folder).entries()]


def test_an_admitted_operation_is_on_record_with_its_decision(log: Log, tmp_path: Path, flow: Flow, policy: FlowPolicy) -> None:
    gate = Gate(log, Tally())
    operation = query("SELECT 1")
    judgement = gate.judge(policy, flow, operation)
    assert gate.admit(flow, operation, judgement, judgement.decision).verdict is Verdict.ALLOW
    assert kinds(log, tmp_path / "log")[-2:] == ["Operation", "Decision"]


def test_what_the_log_can_not_take_is_refused_until_it_can(log: Log, disk: Disk, flow: Flow, policy: FlowPolicy) -> None:
    gate = Gate(log, Tally())
    operation = query("SELECT 1")
    judgement = gate.judge(policy, flow, operation)
    disk.full = True
    refused = gate.admit(flow, operation, judgement, judgement.decision)
    assert (refused.verdict, refused.refusal) == (Verdict.DENY, LOG_REFUSAL)
    assert "No space left" in refused.reason
    assert gate.failure
    disk.full = False
    assert gate.admit(flow, operation, judgement, judgement.decision).verdict is Verdict.ALLOW
    assert gate.failure == ""


def test_notes_go_out_before_the_next_record_of_their_flow(log: Log, tmp_path: Path, flow: Flow) -> None:
    gate = Gate(log, Tally())
    gate.note(flow, entry.Reply(operation=1, status="ok"))
    assert "Reply" not in kinds(log, tmp_path / "log")
    gate.record(flow, entry.Session(database="shop", user="shop"))
    assert kinds(log, tmp_path / "log")[-2:] == ["Reply", "Session"]


def test_notes_never_pile_up(log: Log, tmp_path: Path, flow: Flow) -> None:
    gate = Gate(log, Tally())
    for number in range(MAX_NOTES):
        gate.note(flow, entry.Reply(operation=number, status="ok"))
    assert kinds(log, tmp_path / "log").count("Reply") == MAX_NOTES
    gate.note(flow, entry.Reply(operation=0, status="ok"))
    gate.flush()
    assert kinds(log, tmp_path / "log").count("Reply") == MAX_NOTES + 1


def test_a_prepare_that_would_be_held_counts_as_allowed(log: Log, flow: Flow, policy: FlowPolicy) -> None:
    tally = Tally()
    gate = Gate(log, tally)
    text = "DELETE FROM orders WHERE id = 1"
    assert gate.judge(policy, flow, query(text, kind=OperationKind.PREPARE)).decision.verdict is Verdict.HOLD
    assert (tally.allowed, tally.held) == (1, 0)
    gate.judge(policy, flow, query(text, 2, OperationKind.EXECUTE))
    assert (tally.allowed, tally.held) == (1, 1)
