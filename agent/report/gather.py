"""Makes a report of the log, by one pass over it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ...policy.decide import Policy
from ...recorder.entry import DaemonStart, FlowRefused, PolicyLoad
from ...recorder.exchanges import ENDS, Exchange, History, histories, text_of
from ...recorder.reader import Reader, Record
from ...recorder.stored import Stored
from ...recorder.visible import visible
from .facts import (
    AgentReport,
    Answered,
    Did,
    Loaded,
    MaskedColumn,
    PolicyFacts,
    Refusal,
    Report,
    Stance,
    Statement,
    Unread,
    Would,
)
from .in_force import Configuration, InForce


@dataclass(slots=True)
class _Tables:
    """One agent's counters while the log goes by."""

    report: AgentReport
    did: dict[tuple[str, str], Did] = field(default_factory=dict)
    masked: dict[str, MaskedColumn] = field(default_factory=dict)
    would_mask: dict[str, MaskedColumn] = field(default_factory=dict)
    would: dict[tuple[str, tuple[str, ...], str], Would] = field(default_factory=dict)


def gather(policy: Policy, reader: Reader, since_ns: int, until_ns: int, made_ns: int) -> Report:
    """The report on operations asked for, and connections refused, in [since, until). Raises LogCorrupt."""
    gathering = _Gathering(InForce(policy, reader.payload), since_ns, until_ns)
    for found in histories(gathering.listen(reader.entries()), reader.payload):
        gathering.flow(found)
    gathering.finish()
    agents = [tables.report for _, tables in sorted(gathering.tables.items())]
    for name, tables in gathering.tables.items():
        tables.report.did = [did for _, did in sorted(tables.did.items())]
        tables.report.masked = [column for _, column in sorted(tables.masked.items())]
        tables.report.would_mask = [column for _, column in sorted(tables.would_mask.items())]
        tables.report.would = sorted(tables.would.values(), key=lambda would: (-would.operations, would.first_entry))
        assert tables.report.agent == name
    return Report(
        host=gathering.host,
        made_ns=made_ns,
        since_ns=since_ns,
        until_ns=until_ns,
        config=policy.document.file,
        entries=reader.position,
        gaps=gathering.in_force.gaps,
        agents=agents,
        answers=sorted(gathering.answers, key=lambda answer: answer.entry),
        policy_loads=gathering.loads,
    )


class _Gathering:
    """What is found so far."""

    def __init__(self, in_force: InForce, since_ns: int, until_ns: int) -> None:
        self.in_force = in_force
        self._since_ns = since_ns
        self._until_ns = until_ns
        self.host = ""
        self.loads: list[Loaded] = []
        self.answers: list[Answered] = []
        self.tables: dict[str, _Tables] = {}

    def listen(self, records: Iterable[Record]) -> Iterator[Record]:
        """Note what belongs to no flow as it goes by."""
        for index, entry in records:
            if isinstance(entry, DaemonStart) and not isinstance(entry.details, Stored):
                self.host = visible(dict(entry.details).get("host", self.host))
            elif isinstance(entry, PolicyLoad) and entry.wall_ns < self._until_ns:
                if entry.wall_ns < self._since_ns and entry.accepted:
                    self.loads.clear()
                    self.in_force.forget()
                self.loads.append(_loaded(index, entry))
                if entry.accepted:
                    self.in_force.add(index, entry)
            yield index, entry

    def flow(self, found: History) -> None:
        """Add one flow, as far as it is of the period."""
        tables = self._of(visible(found.opened.agent))
        if self._in_period(found.opened.wall_ns):
            if isinstance(found.opened, FlowRefused):
                tables.report.refused.append(_refusal(found))
                return
            tables.report.flows += 1
            if found.unread:
                tables.report.unread.append(_unread(found))
        for exchange in found.exchanges:
            if self._in_period(exchange.operation.wall_ns):
                self._operation(tables, found, exchange)
            self._answers(found.opened.agent, exchange)

    def _in_period(self, wall_ns: int) -> bool:
        return self._since_ns <= wall_ns < self._until_ns

    def _operation(self, tables: _Tables, found: History, exchange: Exchange) -> None:
        report, outcome = tables.report, outcome_of(exchange)
        report.operations += 1
        if outcome.startswith("would"):
            _would(tables, exchange)
        elif outcome != "allowed":
            statement = _statement(found, exchange, outcome)
            (report.held if exchange.held else report.denied).append(statement)
        for action, path in dict.fromkeys(exchange.accesses()):
            key = visible(action), visible(path)
            did = tables.did.setdefault(key, Did(*key, first_entry=exchange.index))
            did.last_entry = exchange.index
            name = outcome if outcome in ("allowed", "approved", "denied") else "undecided"
            if outcome.startswith("would"):
                name = "observed"
            setattr(did, name, getattr(did, name) + 1)
        self._masked(tables, exchange)

    def _masked(self, tables: _Tables, exchange: Exchange) -> None:
        reply = exchange.reply
        if reply is None:
            return
        for names, columns in ((reply.masked, tables.masked), (reply.would_mask, tables.would_mask)):
            for name in () if isinstance(names, Stored) else map(visible, dict.fromkeys(names)):
                column = columns.setdefault(name, MaskedColumn(name, first_entry=exchange.index))
                column.replies += 1
                column.last_entry = exchange.index
        for tag in map(visible, exchange.tags()):
            tables.report.tags[tag] = tables.report.tags.get(tag, 0) + 1

    def _answers(self, agent: str, exchange: Exchange) -> None:
        known = self.in_force.at(exchange.index).policy.document.agents.get(agent)
        owner = "" if known is None else known.owner
        for index, approval in exchange.approvals:
            if approval.user and self._in_period(approval.wall_ns):
                self.answers.append(
                    Answered(
                        entry=index,
                        asked_entry=exchange.index,
                        wall_ns=approval.wall_ns,
                        request=visible(approval.request),
                        verdict=visible(approval.verdict),
                        agent=visible(agent),
                        owner=owner,
                        user=visible(approval.user),
                        uid=approval.uid,
                        same_person=approval.user == owner,
                        waited_ns=approval.mono_ns - exchange.operation.mono_ns,
                        reason=visible(text_of(approval.reason)),
                    )
                )

    def finish(self) -> None:
        """Say of each agent what it was and could do in the period."""
        for configuration in self.in_force.all():
            # Agents that did nothing are in the report as well: what they could have done is part of it.
            for name in configuration.policy.document.agents:
                report, stance = self._of(name).report, _stance(configuration, name)
                if not report.stances or not report.stances[-1].says_as(stance):
                    report.stances.append(stance)
                report.owner = stance.owner

    def _of(self, name: str) -> _Tables:
        if name not in self.tables:
            self.tables[name] = _Tables(AgentReport(name))
        return self.tables[name]


def _stance(configuration: Configuration, name: str) -> Stance:
    policy = configuration.policy
    agent = policy.document.agents[name]
    rules = policy.book.concerning(("Agent", name), [("Role", role) for role in agent.roles])
    policies = tuple(
        PolicyFacts(rule.id, str(rule.node.effect).lower().rpartition(".")[2], f"{rule.file}:{rule.line}", rule.text.strip())
        for rule in rules
    )
    workloads = tuple(policy.document.workloads_of(name))
    return Stance(configuration.entry, configuration.wall_ns, agent.owner, agent.roles, workloads, policies)


def outcome_of(exchange: Exchange) -> str:
    """``allowed``, ``approved`` (held first), ``denied``, ``withdrawn``, ``expired``, ``open``; ``would deny`` or ``hold``."""
    if exchange.would:
        return f"would {visible(exchange.would)}"
    ends = [approval.verdict for _, approval in exchange.approvals if approval.verdict in ENDS]
    if exchange.withdrawn is not None:
        return "withdrawn"
    if ends and ends[-1] in ("withdrawn", "expired"):
        return visible(ends[-1])
    match exchange.decision.verdict if exchange.decision else "":
        case "allow":
            return "approved" if exchange.held else "allowed"
        case "deny":
            return "denied"
        case _:
            return "open"


def _would(tables: _Tables, exchange: Exchange) -> None:
    decision = exchange.decision
    assert decision is not None
    policies = () if isinstance(decision.policies, Stored) else tuple(map(visible, decision.policies))
    key = visible(decision.would), policies, visible(text_of(decision.reason))
    text = visible(" ".join(text_of(exchange.operation.text).split()))
    found = tables.would.setdefault(key, Would(*key, text, first_entry=exchange.index))
    found.operations += 1
    found.last_entry = exchange.index


def _unread(found: History) -> Unread:
    opened = found.opened
    process = f"{opened.pid} {text_of(opened.exe) or opened.comm}"
    return Unread(found.index, opened.wall_ns, visible(opened.destination), visible(process), visible(found.unread))


def _statement(found: History, exchange: Exchange, outcome: str) -> Statement:
    decision = exchange.decision
    policies = () if decision is None or isinstance(decision.policies, Stored) else decision.policies
    return Statement(
        entry=exchange.index,
        flow=found.index,
        operation=exchange.operation.operation,
        wall_ns=exchange.operation.wall_ns,
        resource=visible(found.opened.resource),
        database_user=visible(found.user),
        text=visible(" ".join(text_of(exchange.operation.text).split())),
        outcome=outcome,
        reason=visible(text_of(decision.reason)) if decision else "",
        policies=tuple(map(visible, policies)),
        request=visible(exchange.request.request) if exchange.request else "",
    )


def _refusal(found: History) -> Refusal:
    opened = found.opened
    reason = text_of(opened.reason) if isinstance(opened, FlowRefused) else ""
    process = f"{opened.pid} {text_of(opened.exe) or opened.comm}"
    return Refusal(found.index, opened.wall_ns, visible(opened.destination), visible(process), visible(reason))


def _loaded(index: int, entry: PolicyLoad) -> Loaded:
    files = () if isinstance(entry.files, Stored) else tuple((visible(path), digest) for path, digest in entry.files)
    return Loaded(index, entry.wall_ns, entry.epoch, entry.accepted, visible(entry.user), files)
