"""What happened on one flow, put together from its entries."""

from __future__ import annotations

from collections.abc import Iterable

from .captured import results
from .entry import (
    Approval,
    Cancel,
    Captured,
    Decision,
    Encrypted,
    Entry,
    Fault,
    FlowOpen,
    FlowRefused,
    Opaque,
    Operation,
    Pairs,
    ProbeFailed,
    Reply,
    Request,
    Session,
    Text,
    Texts,
    Unknown,
)
from .exchanges import Exchange, History, history, lost
from .packing import Fetch, tag_of
from .parameters import render
from .reader import Record
from .recording import Approved, Event, Facts, Recording, Replied, Rows, Step
from .stored import Stored
from .visible import visible, visible_lines


def recording(number: int, records: Iterable[Record], fetch: Fetch) -> Recording:
    """Build the recording of flow `number` from its entries, in order, as `Reader.flow` gives them.

    An operation whose later entries are missing (a crash, an open flow) is shown as far as it goes. Raises NoSuchFlow.
    """
    return replayed(history(number, records, fetch))


def replayed(found: History) -> Recording:
    """The recording of a flow whose entries were put together already."""
    opened, closed = found.opened, found.closed
    return Recording(
        facts=_facts(opened),
        start_ns=opened.wall_ns,
        end_ns=closed.wall_ns if closed else opened.wall_ns if isinstance(opened, FlowRefused) else None,
        close_reason=_shown(closed.reason) if closed else "",
        fault=closed.fault if closed else "",
        client_bytes=closed.client_bytes if closed else 0,
        server_bytes=closed.server_bytes if closed else 0,
        items=tuple(
            _step(item, opened.mono_ns) if isinstance(item, Exchange) else _event(item, opened.mono_ns) for item in found.items
        ),
    )


def _step(parts: Exchange, start_ns: int) -> Step:
    operation = parts.operation
    decision = parts.decision or Decision(operation.operation, "")
    text = operation.text if isinstance(operation.text, str) else ""
    lines = (lost(operation.text),) if isinstance(operation.text, Stored) else visible_lines(text)
    return Step(
        entry=parts.index,
        offset_us=_offset_us(operation, start_ns),
        number=operation.operation,
        form=visible(operation.form),
        text=text,
        lines=lines,
        parameters=_parameters(operation),
        verdict=visible(decision.verdict),
        would=visible(decision.would),
        held=parts.held,
        reason=_shown(decision.reason),
        hint=_shown(decision.hint),
        policies=_all_shown(decision.policies),
        accesses=_pairs_shown(decision.accesses),
        approval=_approved(parts.request, parts.approvals[-1][1] if parts.approvals else None, start_ns),
        withdrawn=_shown(parts.withdrawn.reason) if parts.withdrawn else "",
        reply=_replied(parts.reply, start_ns) if parts.reply else None,
        rows=_rows(parts.captured) if parts.captured else None,
    )


def _parameters(operation: Operation) -> tuple[str, ...]:
    if isinstance(operation.parameters, Stored):
        return (lost(operation.parameters),)
    formats = () if isinstance(operation.formats, Stored) else operation.formats
    types = () if isinstance(operation.types, Stored) else operation.types
    return render(operation.parameters, formats, types)


def _approved(request: Request | None, approval: Approval | None, start_ns: int) -> Approved | None:
    if request is None:
        return None
    return Approved(
        request=visible(request.request),
        mode=visible(request.mode),
        asked_us=_offset_us(request, start_ns),
        decided_us=_offset_us(approval, start_ns) if approval else None,
        verdict=visible(approval.verdict) if approval else "",
        user=visible(approval.user) if approval else "",
        uid=approval.uid if approval else -1,
        reason=_shown(approval.reason if approval else request.reason),
    )


def _replied(reply: Reply, start_ns: int) -> Replied:
    return Replied(
        offset_us=_offset_us(reply, start_ns),
        status=visible(reply.status),
        tag=_shown(reply.tag),
        rows=reply.rows,
        bytes=reply.bytes,
        columns=_all_shown(reply.columns),
        masked=_all_shown(reply.masked),
        tags=_all_shown(reply.tags),
        would_mask=_all_shown(reply.would_mask),
        duration_us=reply.duration_us,
    )


def _rows(captured: Captured) -> Rows:
    if isinstance(captured.messages, Stored):
        return Rows((), captured.left_out, lost(captured.messages))
    return Rows(results(captured.messages), captured.left_out, "")


def _facts(opened: FlowOpen) -> Facts:
    return Facts(
        flow=opened.flow,
        agent=visible(opened.agent),
        workload=visible(opened.workload),
        resource=visible(opened.resource),
        protocol=visible(opened.protocol),
        source=visible(opened.source),
        destination=visible(opened.destination),
        pid=opened.pid,
        start_ticks=opened.start_ticks,
        uid=opened.uid,
        user=visible(opened.user),
        comm=visible(opened.comm),
        exe=_shown(opened.exe),
        cmdline=_all_shown(opened.cmdline),
        cgroup=_shown(opened.cgroup),
        ancestors=_all_shown(opened.ancestors),
        gone=opened.gone,
        refused=_shown(opened.reason) if isinstance(opened, FlowRefused) else "",
        details=tuple(_pairs_shown(opened.details)),
    )


def _event(record: Record, start_ns: int) -> Event:
    index, entry = record
    match entry:
        case Session():
            pairs = " ".join(f"{name}={value}" for name, value in _pairs_shown(entry.parameters))
            by = f" by credential {_shown(entry.credential)}" if entry.credential else ""
            text = f"{_shown(entry.user)} to database {_shown(entry.database)}{by}" + (f" ({pairs})" if pairs else "")
        case Encrypted():
            text = _encrypted(entry)
        case Cancel():
            text = f"cancel what flow {entry.target} runs" if entry.target else "cancel with a key that no flow holds"
        case ProbeFailed():
            text = f"{visible(entry.probe)}: {_shown(entry.error)}"
        case Opaque():
            text = f"passes unread, the workload is only observed: {_shown(entry.reason)}"
        case Fault():
            text = f"{visible(entry.where)}: {_shown(entry.error)}"
        case Unknown():
            why = "a kind of entry that this version doesn't know"
            return Event(index, _unknown_offset_us(entry, start_ns), visible(entry.kind), why)
        case _:
            text = visible(repr(entry))
    return Event(index, _offset_us(entry, start_ns), tag_of(type(entry)), text)


def _encrypted(entry: Encrypted) -> str:
    """``TLSv1.3 TLS_AES_256_GCM_SHA384 with the server, verify-full for db.internal, certificate 3f…``."""
    how = " ".join(filter(None, (_shown(entry.version), _shown(entry.cipher))))
    with_whom = "with the server" if entry.side == "server" else "with the agent"
    name = _shown(entry.name)
    mode = " ".join(filter(None, (_shown(entry.mode), f"for {name}" if name else "")))
    certificate = f"certificate {visible(entry.certificate)}" if entry.certificate else ""
    return ", ".join(filter(None, (f"{how} {with_whom}", mode, certificate)))


def _offset_us(entry: Entry, start_ns: int) -> int:
    return (entry.mono_ns - start_ns) // 1000


def _unknown_offset_us(entry: Unknown, start_ns: int) -> int:
    mono_ns = entry.fields.get("mono_ns")
    return (mono_ns - start_ns) // 1000 if isinstance(mono_ns, int) else 0


def _shown(text: Text) -> str:
    return lost(text) if isinstance(text, Stored) else visible(text)


def _all_shown(texts: Texts) -> tuple[str, ...]:
    return (lost(texts),) if isinstance(texts, Stored) else tuple(map(visible, texts))


def _pairs_shown(pairs: Pairs) -> tuple[tuple[str, str], ...]:
    return (("", lost(pairs)),) if isinstance(pairs, Stored) else tuple((visible(a), visible(b)) for a, b in pairs)
