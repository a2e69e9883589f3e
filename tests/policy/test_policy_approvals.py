"""Requests for approval: whoever decides them, in whatever order things happen, an approval is used once at most."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from hostguard.policy.approvals import RequestBook, Times
from hostguard.policy.decide import Decider, FlowPolicy, Policy
from hostguard.policy.document import load
from hostguard.policy.requests import (
    TRANSITIONS,
    AlreadyDecided,
    BookFull,
    Event,
    NotAllowed,
    Request,
    RequestError,
    State,
    UnknownRequest,
    operation_digest,
)
from hostguard.protocols.events import Operation, OperationKind, Session, Verdict

Make = Callable[..., Policy]
SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "app", search_path=("pg_catalog", "public"))
DELETE = Operation(1, OperationKind.QUERY, "DELETE FROM public.notes WHERE id = 1", SESSION)
# The shop's catalog stays unknown here; without tags nothing has to be hidden, so nothing closes for that.
DOCUMENT = msgspec.structs.replace(load(SHOP), tags={})


@pytest.fixture
def flow() -> FlowPolicy:
    return Decider(Policy(DOCUMENT)).open("support-bot", "shop")


@pytest.fixture
def book() -> RequestBook:
    return RequestBook(Times(300), max_held=3, seed=b"test", max_over=2)


def held(book: RequestBook, flow: FlowPolicy, operation: Operation = DELETE, now: float = 0) -> Request:
    return book.file(flow, operation, flow.decide(operation), {"pid": 7}, now)


def test_a_request_tells_everything_that_a_user_needs(book: RequestBook, flow: FlowPolicy) -> None:
    operation = msgspec.structs.replace(DELETE, text="DELETE FROM public.notes WHERE id = $1", parameters=(b"1",))
    request = held(book, flow, operation, now=5)
    assert request.id.startswith("R-")
    assert len(request.id) == 6
    assert (request.agent, request.owner, request.resource) == ("support-bot", "alice", "shop")
    assert (request.text, request.parameters) == (operation.text, (b"1",))
    assert request.session["database"] == "shop"
    assert request.accesses == ("delete on shop/shop/public/notes",)
    assert request.policies == ("support deletes rows it names, with a DBA's approval",)
    assert request.helped_by == ("group dba",)
    assert request.summary == "deletes the rows of public.notes that match its conditions"
    assert (request.filed_at, request.expires_at, request.process) == (5, 305, {"pid": 7})
    assert [r.id for r in book.pending()] == [request.id]


def test_a_held_execute_shows_what_it_would_run(book: RequestBook, flow: FlowPolicy) -> None:
    flow.decide(msgspec.structs.replace(DELETE, text="PREPARE p AS DELETE FROM public.notes WHERE id = 1"))
    execute = msgspec.structs.replace(DELETE, text="EXECUTE p")
    request = held(book, flow, execute)
    assert request.prepared == ("DELETE FROM public.notes WHERE id = 1",)
    assert request.summary == "runs the prepared statement p; deletes the rows of public.notes that match its conditions"
    assert request.digest != operation_digest("support-bot", "shop", execute)


def test_an_approved_request_is_used_once(book: RequestBook, flow: FlowPolicy) -> None:
    request = held(book, flow)
    approved = book.decide(request.id, "bob", ("dba",), True, "fine", request.digest, now=1)
    assert (approved.state, approved.decided_by, approved.rules) == (State.APPROVED, "bob", ("dba approves",))
    approval = book.use(request.id, request.digest, 2)
    assert flow.decide(DELETE, approval).decision.verdict is Verdict.ALLOW
    with pytest.raises(AlreadyDecided, match=rf"{request.id} is used: it can't use any more"):
        book.use(request.id, request.digest, 2)


def test_a_denied_request_stays_denied(book: RequestBook, flow: FlowPolicy) -> None:
    request = held(book, flow)
    assert book.decide(request.id, "bob", ("dba",), False, "no", now=1).state is State.DENIED
    with pytest.raises(AlreadyDecided, match=rf"{request.id} is denied by bob already\."):
        book.decide(request.id, "bob", ("dba",), True, now=1)
    with pytest.raises(AlreadyDecided):
        book.use(request.id, request.digest, 1)


@pytest.mark.parametrize(
    ("user", "groups", "expected"),
    [
        ("carol", ("fraud-team",), "carol may not decide {id}: no policy permits it; group dba may."),
        ("alice", ("dba",), 'alice may not decide {id}: forbidden by "four eyes", "hostguard: four eyes".'),
        ("bob", (), "bob may not decide {id}: no policy permits it; group dba may."),
    ],
)
def test_who_may_not_decide_is_told_why(
    book: RequestBook, flow: FlowPolicy, user: str, groups: tuple[str, ...], expected: str
) -> None:
    request = held(book, flow)
    for approve in (True, False):
        with pytest.raises(NotAllowed) as caught:
            book.decide(request.id, user, groups, approve, now=1)
        assert str(caught.value) == expected.format(id=request.id)
    assert book.get(request.id).state is State.PENDING


def test_what_was_shown_is_what_is_approved(book: RequestBook, flow: FlowPolicy) -> None:
    request = held(book, flow)
    with pytest.raises(NotAllowed, match="is not the operation that was shown"):
        book.decide(request.id, "bob", ("dba",), True, digest="00", now=1)
    book.decide(request.id, "bob", ("dba",), True, digest=request.digest, now=1)
    with pytest.raises(NotAllowed, match="was approved for another operation"):
        book.use(
            request.id, operation_digest("support-bot", "shop", msgspec.structs.replace(DELETE, text="DELETE FROM notes")), 1
        )


@pytest.mark.parametrize(
    "other",
    [
        {"text": "DELETE FROM public.notes WHERE id = 2"},
        {"parameters": (b"2",)},
        {"parameters": (None,)},
        {"formats": (1,)},
        {"types": (23,)},
        {"session": msgspec.structs.replace(SESSION, database="mall")},
        {"session": msgspec.structs.replace(SESSION, user="admin")},
        {"session": msgspec.structs.replace(SESSION, search_path=("pg_catalog", "other"))},
        {"session": msgspec.structs.replace(SESSION, search_path=None)},
        {"session": msgspec.structs.replace(SESSION, standard_conforming_strings=False)},
    ],
)
def test_any_other_operation_has_another_digest(other: dict[str, object]) -> None:
    mine = operation_digest("support-bot", "shop", msgspec.structs.replace(DELETE, id=9))
    assert mine == operation_digest("support-bot", "shop", DELETE)
    assert mine != operation_digest("support-bot", "shop", msgspec.structs.replace(DELETE, **other))
    assert mine != operation_digest("fraud-bot", "shop", DELETE)
    assert mine != operation_digest("support-bot", "mall", DELETE)
    assert mine != operation_digest("support-bot", "shop", DELETE, ("SELECT 1",))


def test_a_request_expires_on_time_whether_or_not_anyone_ticks(book: RequestBook, flow: FlowPolicy) -> None:
    first, second, third = held(book, flow, now=0), held(book, flow, now=10), held(book, flow, now=20)
    assert [request.id for request in book.expire(300)] == [first.id]
    with pytest.raises(AlreadyDecided, match="is expired already"):
        book.decide(second.id, "bob", ("dba",), True, now=310)
    book.decide(third.id, "bob", ("dba",), True, now=319)
    # The clock was started anew by the approval.
    with pytest.raises(AlreadyDecided, match="is expired: it can't use any more"):
        book.use(third.id, third.digest, 619)


def test_a_withdrawn_request_can_t_be_approved(book: RequestBook, flow: FlowPolicy) -> None:
    request = held(book, flow)
    assert book.withdraw(request.id, "the client cancelled").reason == "the client cancelled"
    with pytest.raises(AlreadyDecided, match="is withdrawn already"):
        book.decide(request.id, "bob", ("dba",), True, now=1)


def test_several_approvals_collect(with_rules: Make) -> None:
    cedar = """@id("two of them") permit (principal in Role::"support", action == Action::"truncate", resource)
    when { context has approval && context.approval.count >= 2 };"""
    users = {**DOCUMENT.users, "dora": DOCUMENT.users["bob"]}
    decider = Decider(with_rules(cedar, tags={}, users=users))
    flow, book = decider.open("support-bot", "shop"), RequestBook(Times(300), max_held=1, seed=b"")
    request = held(book, flow, msgspec.structs.replace(DELETE, text="TRUNCATE public.notes"))
    pending = book.decide(request.id, "bob", ("dba",), True, now=1)
    assert (pending.state, pending.approved_by) == (State.PENDING, ("bob",))
    with pytest.raises(AlreadyDecided, match=r"bob has approved .* already"):
        book.decide(request.id, "bob", ("dba",), True, now=1)
    assert book.decide(request.id, "dora", ("dba",), True, now=1).state is State.APPROVED
    assert book.use(request.id, request.digest, 1).by == {"bob", "dora"}


def test_an_approval_under_a_policy_that_no_longer_wants_it_is_refused(with_rules: Make) -> None:
    decider = Decider(with_rules(tags={}))
    flow, book = decider.open("support-bot", "shop"), RequestBook(Times(300), max_held=1, seed=b"")
    request = held(book, flow)
    decider.reload(with_rules('@id("freeze") forbid (principal, action in Action::"write", resource);', tags={}))
    with pytest.raises(NotAllowed, match='not permitted any more, with or without approval: "freeze" forbids delete'):
        book.decide(request.id, "bob", ("dba",), True, now=1)


def test_the_book_is_bounded_and_forgets_what_is_over(book: RequestBook, flow: FlowPolicy) -> None:
    requests = [held(book, flow) for _ in range(3)]
    with pytest.raises(BookFull):
        held(book, flow)
    for request in requests:
        book.withdraw(request.id, "")
    assert [request.id for request in book.requests()] == [request.id for request in requests[1:]]
    with pytest.raises(UnknownRequest):
        book.get(requests[0].id)
    long = msgspec.structs.replace(DELETE, text=(DELETE.text or "") + " " * 10_000, parameters=(b"x",))
    over = book.withdraw(held(book, flow, long).id, "")
    assert (len(over.text), over.parameters) == (4096, ())


def test_ids_differ_from_start_to_start(flow: FlowPolicy) -> None:
    ids = {held(RequestBook(Times(1), max_held=1, seed=bytes([seed])), flow).id for seed in range(20)}
    assert len(ids) == 20


def test_every_state_but_the_last_ones_has_a_way_out() -> None:
    assert {state for state, _ in TRANSITIONS} == {State.PENDING, State.APPROVED}
    assert {state for (state, event), target in TRANSITIONS.items() if event is Event.USE} == {State.APPROVED}


class Requests(RuleBasedStateMachine):
    """Users, clients and the clock in any order; the model is what the records say."""

    live = Bundle("live")

    def __init__(self) -> None:
        super().__init__()
        self.decider = Decider(Policy(DOCUMENT))
        self.flow = self.decider.open("support-bot", "shop")
        self.book = RequestBook(Times(10), max_held=4, seed=b"", max_over=100)
        self.now = 0.0
        self.approved: set[str] = set()
        self.used: list[str] = []
        self.digests: dict[str, str] = {}

    @rule(target=live)
    def file(self) -> str:
        try:
            request = held(self.book, self.flow, now=self.now)
        except BookFull:
            assert sum(r.state in (State.PENDING, State.APPROVED) for r in self.book.requests()) == 4
            return "R-0000"
        self.digests[request.id] = request.digest
        return request.id

    @rule(name=live, user=st.sampled_from(["bob", "alice", "carol"]), approve=st.booleans())
    def decide(self, name: str, user: str, approve: bool) -> None:
        before = self.book.get(name).state if name in self.digests else None
        try:
            request = self.book.decide(name, user, ("dba",) if user != "carol" else (), approve, now=self.now)
        except RequestError:
            return
        assert before is State.PENDING
        assert user == "bob"
        assert request.expires_at > self.now
        if approve:
            self.approved.add(name)

    @rule(name=live, right=st.booleans())
    def use(self, name: str, right: bool) -> None:
        try:
            self.book.use(name, self.digests.get(name, "") if right else "0" * 64, self.now)
        except RequestError:
            return
        assert right
        self.used.append(name)

    @rule(name=consumes(live))
    def withdraw(self, name: str) -> None:
        try:
            self.book.withdraw(name, "gone")
        except RequestError:
            return
        assert name not in self.used

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        for request in self.book.expire(self.now):
            assert request.expires_at <= self.now
            assert request.id not in self.used

    @invariant()
    def no_approval_is_used_twice_and_none_unapproved(self) -> None:
        assert len(self.used) == len(set(self.used))
        assert set(self.used) <= self.approved

    @invariant()
    def the_book_says_so_too(self) -> None:
        assert {r.id for r in self.book.requests() if r.state is State.USED} == set(self.used)


Requests.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
test_approvals_in_any_order = Requests.TestCase
