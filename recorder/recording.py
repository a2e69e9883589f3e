"""The vocabulary of what happened on one flow, for showing.

All texts went through `visible`, except `Step.text`, which is the statement exactly as recorded. Offsets are microseconds since
the flow began, from the monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Facts:
    """Who opened the flow, and where it was going."""

    flow: int
    agent: str
    workload: str
    resource: str
    protocol: str
    source: str
    destination: str
    pid: int
    start_ticks: int
    uid: int
    user: str
    comm: str
    exe: str
    cmdline: tuple[str, ...]
    cgroup: str
    ancestors: tuple[str, ...]
    gone: bool
    refused: str
    """Why there was no conversation; empty for a flow that was let in."""
    details: tuple[tuple[str, str], ...] = ()
    """What else is known of it, as (name, value): ``name`` (that the agent asked for), ``exe_sha256``, ``container_name``, …"""


@dataclass(frozen=True, slots=True)
class Approved:
    """What became of a request for approval."""

    request: str
    mode: str
    asked_us: int
    decided_us: int | None
    """Offset of the end of the request; None while it is open."""
    verdict: str
    """``approved``, ``denied``, ``withdrawn``, ``expired``; empty while it is open."""
    user: str
    uid: int
    reason: str


@dataclass(frozen=True, slots=True)
class Result:
    """The beginning of one set of rows as the agent got it."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """Values as SQL literals."""
    tag: str
    """How it was completed (``SELECT 3``); empty when that is not among what was kept."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What of the rows was captured."""

    results: tuple[Result, ...]
    left_out: int
    """Bytes that the agent got and that were not kept."""
    unread: str
    """Why there is nothing to show although something was kept; else empty."""


@dataclass(frozen=True, slots=True)
class Replied:
    """What came back, by summary."""

    offset_us: int
    status: str
    tag: str
    rows: int
    bytes: int
    columns: tuple[str, ...]
    masked: tuple[str, ...]
    tags: tuple[str, ...]
    duration_us: int
    would_mask: tuple[str, ...] = ()
    """Of an observed workload: what would have been masked."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation, from the asking to its reply."""

    entry: int
    """Position of the operation in the log."""
    offset_us: int
    number: int
    form: str
    text: str
    """The statement exactly as recorded, not fit for a terminal; empty for one that was prepared out of sight."""
    lines: tuple[str, ...]
    """The statement, fit to be shown."""
    parameters: tuple[str, ...]
    verdict: str
    """The last decision: ``allow``, ``deny``, ``hold`` (open when the recording ends); empty when there was none."""
    held: bool
    """It was held at first."""
    reason: str
    hint: str
    policies: tuple[str, ...]
    accesses: tuple[tuple[str, str], ...]
    approval: Approved | None
    withdrawn: str
    """Why the client gave it up; empty if it did not."""
    reply: Replied | None
    """None when there was none, or the recording ends before it."""
    rows: Rows | None
    """None when they were not captured."""
    would: str = ""
    """The workload was only observed: what the verdict would have been; `verdict` is ``allow``. Else empty."""


@dataclass(frozen=True, slots=True)
class Event:
    """Anything else that happened."""

    entry: int
    """Position in the log."""
    offset_us: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything on record about one flow, in order of time."""

    facts: Facts
    start_ns: int
    """Wall time of the beginning."""
    end_ns: int | None
    """None for a flow that is open, or whose daemon was killed."""
    close_reason: str
    fault: str
    items: tuple[Step | Event, ...]
    client_bytes: int = 0
    """Bytes that came from the client, once the flow has ended."""
    server_bytes: int = 0
