"""A worker that says what it may not say is ended, whatever it says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostguard.agent import messages
from hostguard.agent.berth import Berth
from hostguard.agent.cancels import Cancels
from hostguard.agent.desk import Desk
from hostguard.agent.dialling import Dialler
from hostguard.agent.faults import Faults
from hostguard.agent.flows import OpenFlow
from hostguard.agent.holds import Holds
from hostguard.agent.messages import BadMessage, encode, from_worker
from hostguard.agent.records import Records
from hostguard.agent.sandbox.cage import Applied
from hostguard.identity.paths import Pattern
from hostguard.identity.process import Process
from hostguard.identity.users import Users
from hostguard.identity.workload import WorkloadRule
from hostguard.kernel.layouts import Origin
from hostguard.policy.approvals import RequestBook
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.protocols.events import Operation, OperationKind, Session
from hostguard.recorder.drain import Drain
from hostguard.recorder.entry import FlowOpen
from hostguard.recorder.log import Log

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "shop", search_path=("pg_catalog", "public"))
REPORT = messages.Report(0, 1, 2, 3, (0,) * messages.LATENCIES, 0, "", ())


def hold(flow: int, operation: int = 1, text: str = "DELETE FROM orders WHERE id = 1") -> messages.Hold:
    return messages.Hold(
        flow=flow,
        operation=Operation(operation, OperationKind.QUERY, text, SESSION),
        accesses=(("delete", "shop/shop/public/orders"),),
        flags=(),
        policies=("p",),
        helped_by=("group dba",),
        needs=("delete",),
        summary="deletes",
        depends=(),
    )


class Everybody:
    """The part of a `Crew` that hears of catalogs."""

    def __init__(self) -> None:
        self.heard: list[messages.Message] = []

    def broadcast(self, message: messages.Message, but: Berth | None = None) -> None:
        self.heard.append(message)


class Scene:
    """A worker that has one flow, with the supervisor's real desk behind it; what is said to it goes nowhere."""

    def __init__(self, folder: Path) -> None:
        ticks = itertools.count(1)
        self.log = Log(folder, lambda: (next(ticks), next(ticks)))
        self.drain = Drain(self.log)
        decider = Decider(Policy(load(SHOP)))
        self.records, self.faults, self.crew = Records(self.log), Faults(), Everybody()
        book = RequestBook(timeout_s=300, max_held=2, seed=b"test")
        self.holds = Holds(book, self.records, Users(()), decider)
        dialler = Dialler(lambda _cookie, _family: None)
        desk = Desk(self.crew, self.holds, Cancels(self.records, dialler), self.faults, dialler)  # type: ignore[arg-type]
        self.berth = Berth("worker-1", self.drain, desk.handle, 1 << 20)
        number = self.berth.open_flow(FlowOpen(agent="support-bot", workload="support-bot", resource="shop"))
        origin = Origin("127.0.0.1", 40000, "127.0.0.1", 1, False, 1, 1, 0, 0, "psql", 1, 1, 1, 1, 1, 1, 1)
        rule = WorkloadRule("support-bot", "support-bot", Pattern("x"))
        self.flow = OpenFlow(number, origin, Process(1, 1, 0, 0, "psql"), rule, "shop", self.berth)
        self.berth.flows[number] = self.flow

    def say(self, *said: messages.Message) -> str:
        """Why the worker was ended; empty while it lives."""
        for message in said:
            self.berth.heard(encode(message))
        return self.berth.end_reason

    def close(self) -> None:
        self.drain.close()
        self.log.close()


def played(tmp_path: Path, play: Callable[[Scene], Any]) -> Any:
    async def run() -> Any:
        scene = Scene(tmp_path / "log")
        try:
            return play(scene)
        finally:
            scene.close()

    return asyncio.run(run())


def test_what_a_worker_may_say(tmp_path: Path) -> None:
    def play(scene: Scene) -> None:
        flow = scene.flow.id
        assert scene.say(messages.Ready(Applied(65534, True, 7)), messages.CancelKey(flow, b"12345678"), hold(flow)) == ""
        assert scene.holds.pending == 1
        assert scene.say(messages.Withdraw(flow, 1, "the agent left"), messages.Fault(flow, "client", "nonsense")) == ""
        assert scene.holds.pending == 0
        assert scene.faults.counts["client"] == 1
        assert scene.say(messages.Closed(flow)) == ""
        assert scene.berth.flows == {}

    played(tmp_path, play)


BAD: dict[str, Callable[[int], list[messages.Message]]] = {
    "a flow that it does not have": lambda flow: [messages.Dial(flow + 1)],
    "a flow that has ended": lambda flow: [messages.Closed(flow), messages.Closed(flow)],
    "an answer to no question": lambda _: [msgspec.structs.replace(REPORT, number=7)],
    "two held operations": lambda flow: [hold(flow, 1), hold(flow, 2)],
    "a cancel that is none": lambda flow: [messages.Cancel(flow, b"12345678", b"SELECT 1")],
    "a cancel with words behind it": lambda flow: [messages.Cancel(flow, b"12345678", b"HEADERXX12345678 and more")],
    "two cancels": lambda flow: [messages.Cancel(flow, b"k2345678", b"HEADERXXk2345678")] * 2,
    "a fault that nobody has": lambda flow: [messages.Fault(flow, "nobody", "")],
    "an endless reason": lambda flow: [messages.Withdraw(flow, 1, "x" * (messages.MAX_TEXT + 1))],
    "an endless key": lambda flow: [messages.CancelKey(flow, bytes(2000))],
    "what the supervisor says": lambda flow: [messages.End(flow, "")],
    "a negative count": lambda _: [msgspec.structs.replace(REPORT, allowed=-1)],
}


@pytest.mark.parametrize("what", BAD)
def test_what_it_may_not_say(tmp_path: Path, what: str) -> None:
    def play(scene: Scene) -> str:
        assert scene.berth.end_reason == ""
        return scene.say(*BAD[what](scene.flow.id))

    assert played(tmp_path, play) != ""


def test_a_worker_that_was_ended_is_not_heard_any_more(tmp_path: Path) -> None:
    def play(scene: Scene) -> None:
        assert "no message" in scene.say(messages.End(1, ""))
        scene.say(hold(scene.flow.id))
        assert scene.holds.pending == 0

    played(tmp_path, play)


def test_holds_are_bounded(tmp_path: Path) -> None:
    """The book takes two: a third flow's is refused, and the worker lives."""

    def play(scene: Scene) -> None:
        for number in range(3):
            flow = scene.flow if number == 0 else _another(scene)
            assert scene.say(hold(flow.id)) == ""
        assert scene.holds.pending == 2

    played(tmp_path, play)


def _another(scene: Scene) -> OpenFlow:
    number = scene.berth.open_flow(FlowOpen(agent="support-bot", workload="support-bot", resource="shop"))
    old = scene.flow
    flow = OpenFlow(number, old.origin, old.process, old.rule, old.resource, scene.berth)
    scene.berth.flows[number] = flow
    return flow


def test_catalog_changes_are_passed_on_but_not_more_often_than_may_be(tmp_path: Path) -> None:
    def play(scene: Scene) -> list[messages.Message]:
        for _ in range(100):
            scene.say(messages.CatalogChanged("shop", "shop", True))
        return scene.crew.heard

    assert played(tmp_path, play) == [messages.CatalogChanged("shop", "shop", True)]


@given(st.binary(max_size=300))
@settings(max_examples=300)
def test_bytes_are_a_message_or_bad(data: bytes) -> None:
    try:
        found = from_worker(data)
    except BadMessage:
        return
    assert isinstance(found, messages.Message)


@given(st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_a_damaged_message_is_a_message_or_bad(data: st.DataObject) -> None:
    whole = encode(
        data.draw(st.sampled_from([hold(3), REPORT, messages.Fault(3, "client", "x"), messages.Cancel(1, b"k", b"r")]))
    )
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:at] + data.draw(st.binary(max_size=4)) + whole[at + data.draw(st.integers(0, 4)) :]
    try:
        found = from_worker(damaged)
    except BadMessage:
        return
    assert isinstance(found, messages.Message)
