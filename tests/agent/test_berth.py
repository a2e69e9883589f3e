"""A worker that says what it may not say is ended, whatever it says."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostguard.agent import hold_messages, messages, wording
from hostguard.agent.approving import open_holds
from hostguard.agent.berth import Berth
from hostguard.agent.broker.messages import Answered
from hostguard.agent.budgets import Budgets
from hostguard.agent.cancels import Cancels
from hostguard.agent.desk import Desk
from hostguard.agent.dialling import Dialler
from hostguard.agent.faults import Faults
from hostguard.agent.flows import OpenFlow
from hostguard.agent.history import History
from hostguard.agent.ledger import Ledger
from hostguard.agent.logins import Logins
from hostguard.agent.messages import BadMessage, encode, from_worker
from hostguard.agent.paths import Paths
from hostguard.agent.records import Records
from hostguard.agent.restraint import STEPS, Restraint
from hostguard.agent.sandbox.cage import Applied
from hostguard.agent.stops import Stops
from hostguard.agent.store import Store
from hostguard.agent.wording import Message
from hostguard.identity.paths import Pattern
from hostguard.identity.process import Process
from hostguard.identity.users import Users
from hostguard.identity.workload import WorkloadRule
from hostguard.kernel.layouts import Origin
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.policy.sections import Limits
from hostguard.protocols.events import Operation, OperationKind, Session
from hostguard.recorder.drain import Drain
from hostguard.recorder.entry import FlowOpen
from hostguard.recorder.log import Log

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "shop", search_path=("pg_catalog", "public"))
DONE = (12).to_bytes(4, "big")
REPORT = messages.Report(0, 1, 2, 3, (0,) * messages.LATENCIES, 0, "", ())


def hold(flow: int, operation: int = 1, text: str = "DELETE FROM orders WHERE id = 1") -> hold_messages.Hold:
    return hold_messages.Hold(
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
        self.heard: list[Message] = []

    def broadcast(self, message: Message, but: Berth | None = None) -> None:
        self.heard.append(message)


class Everyone:
    """The part of a broker that workers' wishes reach; what it is asked goes on record."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, bytes, bool]] = []

    async def log_in(self, flow: int, variant: str, request: bytes, binding: bytes, *, begins: bool) -> Answered:
        self.asked.append((flow, variant, request, begins))
        return Answered(flow, b"p", request == DONE)

    async def refused(self, flow: int) -> bool:
        return True

    def forget(self, flow: int) -> None:
        self.asked.append((flow, "", b"", False))


class Scene:
    """A worker that has one flow, with the supervisor's real desk behind it; what is said to it goes nowhere."""

    def __init__(self, folder: Path) -> None:
        ticks = itertools.count(1)
        self.log = Log(folder, lambda: (next(ticks), next(ticks)))
        self.drain = Drain(self.log)
        decider = Decider(Policy(load(SHOP)))
        self.records, self.faults, self.crew = Records(self.log), Faults(), Everybody()
        thread = ThreadPoolExecutor(1)
        store = Store(thread, thread.submit(Ledger.open, folder / "restraint.sqlite", STEPS).result())
        restraint = Restraint(Stops(store), History(store, decider), Budgets(store, decider, 1))
        document = msgspec.structs.replace(load(SHOP), limits=Limits(max_held=2))
        paths, self._undo = Paths(folder.parent, folder, folder), AsyncExitStack()
        self.holds = open_holds(
            document, paths, self.records, Users(()), decider, restraint.history, self.faults, None, self._undo, taken_over=False
        )
        self.broker = Everyone()
        logins = Logins(self.broker, decider, tuple)  # type: ignore[arg-type]
        dialler = Dialler(lambda _cookie, _family: None)
        cancels = Cancels(self.records, dialler, logins)
        desk = Desk(self.crew, self.holds, cancels, logins, self.faults, dialler, restraint)  # type: ignore[arg-type]
        self.berth = Berth("worker-1", self.drain, desk.handle, 1 << 20)
        number = self.berth.open_flow(FlowOpen(agent="support-bot", workload="support-bot", resource="shop"))
        origin = Origin("127.0.0.1", 40000, "127.0.0.1", 1, False, 1, 1, 0, 0, "psql", 1, 1, 1, 1, 1, 1, 1)
        rule = WorkloadRule("support-bot", "support-bot", Pattern("x"))
        self.flow = OpenFlow(number, origin, Process(1, 1, 0, 0, "psql"), rule, "shop", self.berth)
        self.berth.flows[number] = self.flow

    def say(self, *said: Message) -> str:
        """Why the worker was ended; empty while it lives."""
        for message in said:
            self.berth.heard(encode(message))
        return self.berth.end_reason

    def close(self) -> None:
        self.drain.close()
        self.log.close()
        asyncio.get_running_loop().create_task(self._undo.aclose())


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
        assert scene.say(hold_messages.Withdraw(flow, 1, "the agent left"), messages.Fault(flow, "client", "nonsense")) == ""
        assert scene.holds.pending == 0
        assert scene.faults.counts["client"] == 1
        assert scene.say(messages.Closed(flow)) == ""
        assert scene.berth.flows == {}

    played(tmp_path, play)


def _dialled(flow: OpenFlow) -> OpenFlow:
    flow.dialled = True
    return flow


def log_in(flow: int, request: bytes = b"\0\0\0\x0a") -> messages.Authenticate:
    return messages.Authenticate(flow, request, b"")


def asks(tmp_path: Path, play: Callable[[Scene], Any]) -> tuple[str, list[tuple[int, str, bytes, bool]]]:
    """Let a worker play whose flow has a credential; why it was ended, and what came to the broker."""

    async def run() -> tuple[str, list[tuple[int, str, bytes, bool]]]:
        scene = Scene(tmp_path / "log")
        try:
            scene.flow.variant, scene.flow.credential, scene.flow.dialled = "shop-app/agents/support-bot", "shop-app", True
            for step in play(scene):
                scene.say(step)
                for _ in range(3):
                    await asyncio.sleep(0)
            return scene.berth.end_reason, scene.broker.asked
        finally:
            scene.close()

    return asyncio.run(run())


def test_a_login_is_of_the_flows_own_credential_and_begins_once(tmp_path: Path) -> None:
    ended, asked = asks(tmp_path, lambda scene: [log_in(scene.flow.id), log_in(scene.flow.id, DONE)])
    assert ended == ""
    assert [(variant, begins) for _, variant, _, begins in asked] == [
        ("shop-app/agents/support-bot", True),
        ("shop-app/agents/support-bot", False),
    ]


def test_a_flow_whose_secret_turned_out_to_be_another_may_dial_and_log_in_once_more(tmp_path: Path) -> None:
    def play(scene: Scene) -> Iterator[Message]:
        yield log_in(scene.flow.id, DONE)
        yield messages.CredentialRefused(scene.flow.id, "28P01")
        assert not scene.flow.dialled
        scene.flow.dialled = True
        yield log_in(scene.flow.id, DONE)
        yield messages.CredentialRefused(scene.flow.id, "28P01")

    ended, asked = asks(tmp_path, play)
    assert "refused, which was not made" in ended
    assert [begins for _, _, _, begins in asked] == [True, True]


def test_the_broker_forgets_a_flow_that_has_ended(tmp_path: Path) -> None:
    ended, asked = asks(tmp_path, lambda scene: [log_in(scene.flow.id), messages.Closed(scene.flow.id)])
    assert ended == ""
    assert asked[-1] == (asked[0][0], "", b"", False)


def test_the_broker_forgets_a_flow_whose_login_it_made_alone(tmp_path: Path) -> None:
    def play(scene: Scene) -> Iterator[Message]:
        scene.flow.carried = True
        yield messages.Closed(scene.flow.id)

    ended, asked = asks(tmp_path, play)
    assert ended == ""
    assert asked == [(asked[0][0], "", b"", False)]


HOSTILE: dict[str, Callable[[Scene], list[Message]]] = {
    "a login of another's flow": lambda scene: [log_in(scene.flow.id + 1)],
    "a login of a flow without a credential": lambda scene: [log_in(_dialled(_another(scene)).id)],
    "a second login": lambda scene: [log_in(scene.flow.id, DONE), log_in(scene.flow.id)],
    "more of a login than one takes": lambda scene: [log_in(scene.flow.id)] * 5,
    "a refusal of what was not said": lambda scene: [messages.CredentialRefused(scene.flow.id, "28P01")],
    "two refusals": lambda scene: [log_in(scene.flow.id, DONE), *[messages.CredentialRefused(scene.flow.id, "28P01")] * 2],
    "a code that is none": lambda scene: [log_in(scene.flow.id, DONE), messages.CredentialRefused(scene.flow.id, "28p\n")],
    "an endless request": lambda scene: [log_in(scene.flow.id, bytes(1 << 17))],
    "an endless binding": lambda scene: [messages.Authenticate(scene.flow.id, b"", bytes(65))],
    "what the supervisor says": lambda scene: [messages.Authenticated(scene.flow.id, b"", True)],
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_worker_gets_no_more_than_one_login_for_its_flow(tmp_path: Path, what: str) -> None:
    ended, asked = asks(tmp_path, HOSTILE[what])
    assert ended != ""
    assert {variant for _, variant, _, _ in asked} <= {"shop-app/agents/support-bot"}
    assert len([variant for _, variant, _, _ in asked if variant]) <= 4


def test_two_requests_at_a_time_end_a_worker(tmp_path: Path) -> None:
    async def run() -> str:
        scene = Scene(tmp_path / "log")
        try:
            scene.flow.variant, scene.flow.dialled = "shop-app", True
            return scene.say(log_in(scene.flow.id), log_in(scene.flow.id))
        finally:
            scene.close()

    assert "while one was being answered" in asyncio.run(run())


def test_no_login_before_the_server_was_dialled(tmp_path: Path) -> None:
    def play(scene: Scene) -> list[Message]:
        scene.flow.dialled = False
        return [log_in(scene.flow.id)]

    ended, asked = asks(tmp_path, play)
    assert ("was not dialled" in ended, asked) == (True, [])


BAD: dict[str, Callable[[int], list[Message]]] = {
    "a flow that it does not have": lambda flow: [messages.Dial(flow + 1)],
    "a flow that has ended": lambda flow: [messages.Closed(flow), messages.Closed(flow)],
    "an answer to no question": lambda _: [msgspec.structs.replace(REPORT, number=7)],
    "two held operations": lambda flow: [hold(flow, 1), hold(flow, 2)],
    "a cancel that is none": lambda flow: [messages.Cancel(flow, b"12345678", b"SELECT 1")],
    "a cancel with words behind it": lambda flow: [messages.Cancel(flow, b"12345678", b"HEADERXX12345678 and more")],
    "two cancels": lambda flow: [messages.Cancel(flow, b"k2345678", b"HEADERXXk2345678")] * 2,
    "a fault that nobody has": lambda flow: [messages.Fault(flow, "nobody", "")],
    "an endless reason": lambda flow: [hold_messages.Withdraw(flow, 1, "x" * (wording.MAX_TEXT + 1))],
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
    def play(scene: Scene) -> list[Message]:
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
    assert isinstance(found, Message)


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
    assert isinstance(found, Message)
