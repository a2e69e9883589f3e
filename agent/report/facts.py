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
    observed: int = 0
    """Ran only because its workload was observed."""
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
    """Who answered for the agent that asked, by the configuration of then; empty when it is not in there."""
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


class Would(msgspec.Struct):
    """What would not simply have been allowed, had the workload not been observed: one reason of policy, with all that it met."""

    outcome: str
    """``deny`` or ``hold``."""
    policies: tuple[str, ...]
    """That would have decided so; empty where none permits it."""
    reason: str
    example: str
    """The first statement."""
    operations: int = 0
    first_entry: int = 0
    last_entry: int = 0


class Unread(msgspec.Struct, frozen=True):
    """A connection that passed unread, because its workload was only observed."""

    entry: int
    wall_ns: int
    destination: str
    process: str
    reason: str


class Refusal(msgspec.Struct, frozen=True):
    """One connection that did not become a conversation."""

    entry: int
    wall_ns: int
    destination: str
    process: str
    reason: str


class Stance(msgspec.Struct, frozen=True):
    """What one configuration said of an agent."""

    entry: int
    """The ``policy.load`` that put it in force; -1 for none."""
    wall_ns: int
    """When that was."""
    owner: str
    roles: tuple[str, ...]
    workloads: tuple[str, ...]
    policies: tuple[PolicyFacts, ...]

    def says_as(self, other: Stance) -> bool:
        """Whether nothing changed for the agent."""
        ours, theirs = ((each.owner, each.roles, each.workloads, each.policies) for each in (self, other))
        return ours == theirs


class AgentReport(msgspec.Struct):
    """One agent over the period."""

    agent: str
    """Empty for processes that are no agent's."""
    owner: str = ""
    """By the last of `stances`; empty when there is none."""
    stances: list[Stance] = []
    """What it was and could do, in order: one for each time that this changed. None when no configuration had such an agent."""
    flows: int = 0
    operations: int = 0
    did: list[Did] = []
    denied: list[Statement] = []
    held: list[Statement] = []
    masked: list[MaskedColumn] = []
    tags: dict[str, int] = {}
    """Tag to how many replies had values of it masked."""
    refused: list[Refusal] = []
    would: list[Would] = []
    """Of its observed workloads, the most frequent first."""
    would_mask: list[MaskedColumn] = []
    unread: list[Unread] = []


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
    """The configuration file, by its name today."""
    entries: int
    """The log was read up to, not including, this one."""
    gaps: list[str] = []
    """Where owners, roles and policies are not those of then but today's, and why."""
    agents: list[AgentReport] = []
    answers: list[Answered] = []
    policy_loads: list[Loaded] = []
    """In the period, and the one before it that was in force when it began."""
