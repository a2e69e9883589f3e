"""From the log to what happened, by a real log on disk."""

from __future__ import annotations

import itertools
from pathlib import Path

import msgspec
import pytest

from hostguard.recorder.entry import (
    Approval,
    Cancel,
    DaemonStart,
    Decision,
    Entry,
    Fault,
    FlowClose,
    FlowOpen,
    FlowRefused,
    Operation,
    PolicyLoad,
    ProbeFailed,
    Reply,
    Request,
    Session,
    Withdrawn,
)
from hostguard.recorder.exchanges import NoSuchFlow
from hostguard.recorder.filters import Filters
from hostguard.recorder.log import Log
from hostguard.recorder.payloads import payload_paths
from hostguard.recorder.reader import Reader
from hostguard.recorder.recording import Event, Recording, Step
from hostguard.recorder.replay import recording
from hostguard.recorder.summaries import summaries

START_NS = 1_700_000_000_000_000_000


def log_in(folder: Path) -> Log:
    """A log whose clock advances by a millisecond at each append."""
    ticks = itertools.count()

    def clock() -> tuple[int, int]:
        tick = next(ticks) * 1_000_000
        return START_NS + tick, 5_000 + tick

    return Log(folder, clock)


def opened(agent: str = "shop-bot", resource: str = "shop") -> FlowOpen:
    return FlowOpen(agent, "bots", resource, "postgres", "127.0.0.1:4711", "127.0.0.1:5432", 42, 9, 1001, 1001, "bot", "python3")


def replayed(folder: Path, flow: int) -> Recording:
    reader = Reader(folder, flow)
    return recording(flow, reader.flow(flow), reader.payload)


def steps(found: Recording) -> list[Step]:
    return [item for item in found.items if isinstance(item, Step)]


def test_a_held_operation_is_told_from_the_asking_to_its_reply(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(opened())
    other = log.open_flow(opened("other"))
    log.append(flow, Session("shop", "bot", (("application_name", "x\x1b"),)))
    log.append(other, Operation(1, "query", "SELECT other"), Decision(1, "allow"))
    log.append(
        flow,
        Operation(1, "execute", "DELETE FROM orders\nWHERE id = $1", "s", (b"\0\0\0\x07",), (1,), (23,)),
        Decision(1, "hold", "needs an approval", "ask", ("p1",), (("delete", "shop.public.orders"),), 3, "r1"),
        Request("r1", 1, b"d" * 32, "wait", ("dba",)),
    )
    log.append(flow, Approval("r1", "approved", "alice", 1000, 1, "fine"))
    log.append(flow, Decision(1, "allow", "approved by alice", policies=("p1",), accesses=(("delete", "shop.public.orders"),)))
    log.append(flow, Reply(1, "ok", "DELETE 1", 1, 0, ("id",), ("email",), 812))
    log.append(flow, FlowClose("client left", client_bytes=10, server_bytes=20))
    log.close()

    found = replayed(tmp_path, flow)
    assert (found.facts.agent, found.facts.pid, found.facts.user, found.facts.refused) == ("shop-bot", 42, "bot", "")
    assert (found.start_ns, found.end_ns, found.close_reason, found.fault) == (
        START_NS + 10**6,
        START_NS + 9 * 10**6,
        "client left",
        "",
    )
    session, step = found.items
    assert session == Event(3, 2000, "session", "bot to database shop (application_name=x⟦ESC⟧)")
    assert isinstance(step, Step)
    assert (step.offset_us, step.number, step.form, step.verdict, step.held) == (4000, 1, "execute", "allow", True)
    assert step.text == "DELETE FROM orders\nWHERE id = $1"
    assert step.lines == ("DELETE FROM orders", "WHERE id = $1")
    assert step.parameters == ("7",)
    assert (step.reason, step.policies, step.accesses) == ("approved by alice", ("p1",), (("delete", "shop.public.orders"),))
    assert step.approval is not None
    assert (step.approval.request, step.approval.asked_us, step.approval.decided_us) == ("r1", 4000, 5000)
    assert (step.approval.verdict, step.approval.user, step.approval.uid, step.approval.reason) == (
        "approved",
        "alice",
        1000,
        "fine",
    )
    assert step.reply is not None
    assert (step.reply.offset_us, step.reply.tag, step.reply.masked, step.reply.duration_us) == (
        7000,
        "DELETE 1",
        ("email",),
        812,
    )
    assert msgspec.json.decode(msgspec.json.encode(found))["items"][1]["parameters"] == ["7"]


def test_an_approval_after_the_end_of_its_flow_belongs_to_the_recording(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(opened())
    log.append(flow, Operation(1, "query", "DELETE"), Decision(1, "hold"), Request("r1", 1, b"", "ticket"))
    log.append(flow, FlowClose("client left"))
    assert log.open_flows == 0
    log.append(flow, Approval("r1", "denied", "alice", 1000, 1))
    log.close()
    (step,) = steps(replayed(tmp_path, flow))
    assert step.approval is not None
    assert (step.verdict, step.approval.verdict, step.approval.user) == ("hold", "denied", "alice")


def test_a_recording_that_breaks_off_is_shown_as_far_as_it_goes(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(opened())
    log.append(flow, Operation(1, "query", "one"), Decision(1, "allow"))
    log.append(flow, Operation(2, "query", "two"), Decision(2, "hold"), Request("r", 2, b""))
    log.append(flow, Withdrawn(2, "the client cancelled"))
    log.append(flow, Operation(3, "prepare", None))
    log.close()
    found = replayed(tmp_path, flow)
    assert found.end_ns is None
    one, two, three = steps(found)
    assert (one.verdict, one.reply) == ("allow", None)
    assert (two.verdict, two.withdrawn) == ("hold", "the client cancelled")
    assert two.approval is not None
    assert (two.approval.decided_us, two.approval.verdict, two.approval.user, two.approval.uid) == (None, "", "", -1)
    assert (three.verdict, three.text, three.lines) == ("", "", ("",))


def test_other_happenings_are_events_in_their_place(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(opened())
    rest: tuple[Entry, ...] = (
        Cancel(9),
        Cancel(0),
        ProbeFailed("search_path", "time-out"),
        Fault("loop", "Boom\x1b"),
        Reply(77, "lost"),
    )
    log.append(flow, *rest)
    log.close()
    found = replayed(tmp_path, flow)
    assert [item.kind for item in found.items if isinstance(item, Event)] == [
        "cancel",
        "cancel",
        "probe.failed",
        "fault",
        "reply",
    ]
    texts = [item.text for item in found.items if isinstance(item, Event)]
    assert texts[:4] == [
        "cancel what flow 9 runs",
        "cancel with a key that no flow holds",
        "search_path: time-out",
        "loop: Boom⟦ESC⟧",
    ]
    assert "lost" in texts[4]


def test_long_statements_come_back_whole_and_lost_ones_say_so(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(opened())
    text = "SELECT '" + "x" * 200_000 + "'"
    log.append(flow, Operation(1, "query", text, parameters=(b"y" * 100_000, None)), Decision(1, "allow", "r" * 70_000))
    log.close()
    (step,) = steps(replayed(tmp_path, flow))
    assert step.text == text
    assert step.parameters == (f"'{'y' * 100_000}'", "NULL")
    for path in [path for path in (tmp_path / "payloads").rglob("*") if path.is_file()]:
        path.write_bytes(b"forged")
    (step,) = steps(replayed(tmp_path, flow))
    assert step.text == ""
    for shown in (*step.lines, *step.parameters, step.reason):
        assert "not to be had: payload" in shown
    assert step.reason.split()[-1].rstrip("⟧") in {path.name.partition(".")[0] for path in payload_paths(tmp_path)}


def test_a_refused_connection_is_a_recording_of_its_own(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    flow = log.open_flow(FlowRefused("?", "?", "?", reason="no record of this connection", gone=True))
    assert log.open_flows == 0
    log.close()
    found = replayed(tmp_path, flow)
    assert (found.facts.refused, found.facts.gone, found.items) == ("no record of this connection", True, ())
    assert found.end_ns == found.start_ns


def test_what_is_no_flow_is_said_to_be_none(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.append(0, DaemonStart("1", 1))
    flow = log.open_flow(opened())
    log.close()
    for number in (0, 1, flow + 1, 10**30, -1):
        with pytest.raises(NoSuchFlow, match=f"no flow {number}"):
            replayed(tmp_path, number)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Flows 1 to 5: a (allow, closed), b (deny, open), a on another resource (held, closed), refused c, a (nothing, open)."""
    log = log_in(tmp_path)
    numbers = [log.open_flow(opened("a")), log.open_flow(opened("b"))]
    log.append(numbers[0], Operation(1, "query", "x"), Decision(1, "allow"), Operation(2, "query", "x"), Decision(2, "allow"))
    log.append(numbers[1], Operation(1, "query", "x"), Decision(1, "deny"))
    log.append(numbers[0], FlowClose("done"))
    log.append(0, PolicyLoad(1, True))
    numbers.append(log.open_flow(opened("a", "other")))
    log.append(numbers[2], Operation(1, "query", "x"), Decision(1, "hold"), Decision(1, "allow"))
    log.append(numbers[2], FlowClose("done"))
    log.open_flow(FlowRefused("c", "w", "shop", reason="unknown\x1b"))
    log.open_flow(opened("a"))
    log.close()
    return tmp_path


def millisecond(number: int) -> int:
    return START_NS + number * 10**6


@pytest.mark.parametrize(
    ("filters", "agents"),
    [
        (Filters(), "a b a c a"),
        (Filters(limit=2), "c a"),
        (Filters(limit=0), ""),
        (Filters(limit=9), "a b a c a"),
        (Filters(agent="a"), "a a a"),
        (Filters(agent="a", limit=1), "a"),
        (Filters(resource="other"), "a"),
        (Filters(verdict="allow"), "a a"),
        (Filters(verdict="deny"), "b"),
        (Filters(verdict="hold"), "a"),
        (Filters(verdict="refused"), "c"),
        (Filters(verdict="allow", limit=1), "a"),
        (Filters(since_ns=millisecond(6)), "b a c a"),
        (Filters(since_ns=millisecond(9)), "b a c a"),
        (Filters(since_ns=millisecond(10)), "b c a"),
        (Filters(until_ns=millisecond(2)), "a"),
        (Filters(since_ns=millisecond(10), limit=2), "c a"),
        (Filters(agent="nobody"), ""),
    ],
)
def test_flows_are_listed_as_asked(listed: Path, filters: Filters, agents: str) -> None:
    assert " ".join(summary.agent for summary in summaries(Reader(listed), filters)) == agents


def test_a_summary_counts_decisions_and_says_how_it_ended(listed: Path) -> None:
    found = summaries(Reader(listed), Filters())
    assert [summary.decisions for summary in found] == [{"allow": 2}, {"deny": 1}, {"hold": 1, "allow": 1}, {}, {}]
    assert [summary.refused for summary in found] == ["", "", "", "unknown⟦ESC⟧", ""]
    assert [summary.end_ns is None for summary in found] == [False, True, False, False, True]
    assert (found[0].start_ns, found[0].end_ns) == (millisecond(1), millisecond(5))
    assert (found[0].flow, found[0].pid, found[0].comm) == (1, 42, "python3")


def test_a_flow_that_turns_out_not_to_match_pushes_no_other_out_of_the_limit(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    log.open_flow(opened("a"))
    log.open_flow(opened("b"))
    short = log.open_flow(opened("short"))
    log.append(short, FlowClose("done"))
    log.close()
    found = summaries(Reader(tmp_path), Filters(since_ns=millisecond(5), limit=2))
    assert [summary.agent for summary in found] == ["a", "b"]
