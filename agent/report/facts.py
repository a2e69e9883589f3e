"""The vocabulary of a report.

Texts went through `recorder.visible`. `entry` is always a position in the log: `hostguard recordings show` has the flow,
`hostguard log prove` proves the entry. Times are nanoseconds since 1970 UTC.
"""

from __future__ import annotations

import msgspec


class PolicyFacts(msgspec.Struct, frozen=True):
    """One Cedar policy that concerns the agent."""

    id: str
    effect: str
    """``permit`` or ``forbid``."""
    place: str
    """``file:line``."""
    text: str


class Did(msgspec.Struct):
    """How often one action on one object was asked for, and what became of it."""

    action: str
    object: str
    allowed: int = 0
    approved: int = 0
    """Held, then allowed."""
    denied: int = 0
    undecided: int = 0
    """Withdrawn, or still held."""
    first_entry: int = 0
    last_entry: int = 0


class Statement(msgspec.Struct, frozen=True):
    """One operation that policy did not simply allow."""

    entry: int
    flow: int
    operation: int
    wall_ns: int
    resource: str
    database_user: str
    text: str
    outcome: str
    """``denied``, ``approved``, ``withdrawn``, ``expired``, ``open``."""
    reason: str
    policies: tuple[str, ...]
    request: str = ""
    """Id of the request for approval; empty when it was not held."""


class Answered(msgspec.Struct, frozen=True):
    """One user's answer to one request: the evidence for segregation of duties."""

    entry: int
    """Of the answer."""
    asked_entry: int
    """Of the operation."""
    wall_ns: int
    request: str
    verdict: str
    agent: str
    owner: str
    """Who answers for the agent that asked, by today's configuration; empty when it is not in there."""
    user: str
    uid: int
    same_person: bool
    """The owner decided about the own agent's request."""
    waited_ns: int
    reason: str


class MaskedColumn(msgspec.Struct):
    """One column that was masked in replies."""

    column: str
    replies: int = 0
    first_entry: int = 0
    last_entry: int = 0


class Refusal(msgspec.Struct, frozen=True):
    """One connection that did not become a conversation."""

    entry: int
    wall_ns: int
    destination: str
    process: str
    reason: str


class AgentReport(msgspec.Struct):
    """One agent over the period."""

    agent: str
    """Empty for processes that are no agent's."""
    owner: str
    """Empty when today's configuration has no such agent."""
    roles: tuple[str, ...] = ()
    workloads: tuple[str, ...] = ()
    policies: list[PolicyFacts] = []
    flows: int = 0
    operations: int = 0
    did: list[Did] = []
    denied: list[Statement] = []
    held: list[Statement] = []
    masked: list[MaskedColumn] = []
    tags: dict[str, int] = {}
    """Tag to how many replies had values of it masked."""
    refused: list[Refusal] = []


class Loaded(msgspec.Struct, frozen=True):
    """A configuration that came into force, or was refused."""

    entry: int
    wall_ns: int
    epoch: int
    accepted: bool
    user: str
    files: tuple[tuple[str, str], ...]
    """(path, SHA-256)."""


class Report(msgspec.Struct):
    """Everything."""

    host: str
    made_ns: int
    since_ns: int
    until_ns: int
    config: str
    """The configuration file that owners, roles and policies are from: today's."""
    entries: int
    """The log was read up to, not including, this one."""
    agents: list[AgentReport] = []
    answers: list[Answered] = []
    policy_loads: list[Loaded] = []
    """In the period, and the one before it that was in force when it began."""
