"""The flows in the log, a line each, by one pass over it.

There is no index beside the log that could disagree with it. The pass decodes only the entries that a summary is made of, and
keeps no more flows than are asked for, or are open.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .entry import Approval, Decision, Entry, FlowClose, FlowOpen, FlowRefused, Opaque, Reply, Session
from .exchanges import text_of
from .filters import Filters, label, masked, touches, user_of
from .packing import restore
from .reader import Reader
from .stored import Stored
from .visible import visible

_KINDS = (Decision, FlowClose, FlowOpen, FlowRefused, Opaque)
_USER_KINDS = (Session, Approval)
REFUSED = "refused"
"""The verdict of a connection that never became a conversation."""


@dataclass(frozen=True, slots=True)
class Summary:
    """One flow, in short. Texts are fit to be shown."""

    flow: int
    agent: str
    workload: str
    resource: str
    destination: str
    pid: int
    comm: str
    start_ns: int
    end_ns: int | None
    """None for a flow that is open, or whose daemon was killed."""
    decisions: dict[str, int] = field(default_factory=dict)
    """Verdict, or ``would-deny``, ``would-hold``, to how many decisions; a held operation counts once more when it is decided."""
    refused: str = ""
    unread: str = ""
    """Why it, or the rest of it, passed unread: its workload was only observed."""


@dataclass(slots=True)
class _Flow:
    opened: FlowOpen
    end_ns: int | None = None
    verdicts: Counter[str] = field(default_factory=Counter)
    seen: set[str] = field(default_factory=set)
    """Names of the filters that an entry has matched."""
    unread: str = ""


def summaries(reader: Reader, filters: Filters) -> list[Summary]:
    """The flows that match, in the order in which they began. Reads all that there is; raises LogCorrupt as the reader does."""
    flows: dict[int, _Flow] = {}
    for _, entry in reader.entries(_kinds(filters)):
        match entry:
            case FlowOpen():
                if _wanted_at_start(entry, filters):
                    flows[entry.flow] = _opened(entry)
                    _forget_old(flows, filters)
            case FlowClose() if flow := flows.get(entry.flow):
                flow.end_ns = entry.wall_ns
            case Opaque() if flow := flows.get(entry.flow):
                flow.unread = text_of(entry.reason)
            case Decision() | Session() | Approval() | Reply() if flow := flows.get(entry.flow):
                if isinstance(entry, Decision):
                    flow.verdicts[label(entry)] += 1
                flow.seen |= _matched(restore(entry, reader.payload), filters)
    found = [_summary(flow) for flow in flows.values() if _wanted(flow, filters)]
    return found if filters.limit is None else found[max(0, len(found) - filters.limit) :]


def _kinds(filters: Filters) -> tuple[type[Entry], ...]:
    kinds: tuple[type[Entry], ...] = _KINDS
    if filters.user is not None:
        kinds += _USER_KINDS
    return (*kinds, Reply) if filters.tag is not None else kinds


def _matched(entry: Entry, filters: Filters) -> set[str]:
    """Names of the filters that the entry is what they ask for."""
    match entry:
        case Session() | Approval() if filters.user is not None and user_of(entry) == filters.user:
            return {"user"}
        case Decision() if filters.table is not None and touches(entry, filters.table):
            return {"table"}
        case Reply() if filters.tag is not None and masked(entry, filters.tag):
            return {"tag"}
    return set()


def _opened(entry: FlowOpen) -> _Flow:
    if isinstance(entry, FlowRefused):
        return _Flow(entry, entry.wall_ns, Counter({REFUSED: 1}))
    return _Flow(entry)


def _wanted_at_start(entry: FlowOpen, filters: Filters) -> bool:
    return (
        filters.agent in (None, entry.agent)
        and filters.resource in (None, entry.resource)
        and (filters.until_ns is None or entry.wall_ns < filters.until_ns)
    )


def _wanted(flow: _Flow, filters: Filters) -> bool:
    return (
        (filters.verdict is None or flow.verdicts[filters.verdict] > 0)
        and (filters.since_ns is None or flow.end_ns is None or flow.end_ns >= filters.since_ns)
        and all(getattr(filters, name) is None or name in flow.seen for name in ("user", "table", "tag"))
    )


def _forget_old(flows: dict[int, _Flow], filters: Filters) -> None:
    """When every flow kept so far is sure to match, those beyond the limit can go at once."""
    if filters.limit is not None and not filters.about_operations:
        while len(flows) > filters.limit:
            del flows[next(iter(flows))]


def _summary(flow: _Flow) -> Summary:
    opened = flow.opened
    reason = opened.reason if isinstance(opened, FlowRefused) else ""
    return Summary(
        flow=opened.flow,
        agent=visible(opened.agent),
        workload=visible(opened.workload),
        resource=visible(opened.resource),
        destination=visible(opened.destination),
        pid=opened.pid,
        comm=visible(opened.comm),
        start_ns=opened.wall_ns,
        end_ns=flow.end_ns,
        decisions={visible(verdict): count for verdict, count in flow.verdicts.items() if verdict != REFUSED},
        refused="a reason too long for the entry" if isinstance(reason, Stored) else visible(reason),
        unread=visible(flow.unread),
    )
