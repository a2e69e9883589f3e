"""``hostguard recordings rerun``: yesterday's conversation under today's policy."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec

from ...policy.decide import FlowPolicy, Policy
from ...policy.explain import SEARCH_PATH, offline_decider
from ...protocols.events import Operation, OperationKind, Session
from ...recorder.entry import PolicyLoad
from ...recorder.exchanges import Exchange, History
from ...recorder.reader import Reader
from ...recorder.stored import Stored
from ...recorder.visible import visible
from ..failures import Failure
from ..paths import Paths
from ..report.in_force import InForce
from .flow_filters import wall_ns
from .identity import decrypt_with, identity_option
from .options import config_option, configured, json_option
from .output import out, print_json
from .recordings_load import load_history
from .timeline import VERDICT_STYLES, shortened


class Compared(msgspec.Struct, frozen=True):
    """One operation, then and now."""

    entry: int
    operation: int
    text: str
    then: str
    """What policy said first: ``allow``, ``deny``, ``hold``; empty when it never did."""
    now: str
    reason: str
    policies: tuple[str, ...]
    """Of now."""

    @property
    def differs(self) -> bool:
        return self.then != self.now


@click.command("rerun")
@click.argument("flow", type=int)
@click.option("--changed", is_flag=True, help="Show only what would be decided otherwise.")
@click.option("--as-of", default=None, help="The policy that was in force then, instead of today's: 7d, or 2026-11-23T08:00.")
@identity_option
@json_option
@config_option
def rerun(config: Path, as_json: bool, identity: tuple[Path, ...], flow: int, changed: bool, as_of: str | None) -> None:
    """Run the operations of FLOW through today's policy and show what would now be decided otherwise.

    Nothing is sent anywhere. As in `hostguard policy explain`, no database is asked: names without a schema are looked up in
    "public". Exit code 1 when a verdict differs.
    """
    document = configured(config)
    moment = wall_ns(as_of)
    policy = Policy(document)
    if moment is not None:
        policy = _policy_at(policy, Reader(Paths.of(document).log, decrypt=decrypt_with(identity)), moment)
    found = list(compare(policy, load_history(Paths.of(document).log, flow, identity)))
    differing = [each for each in found if each.differs]
    shown = differing if changed else found
    if as_json:
        print_json([{**msgspec.to_builtins(each), "differs": each.differs} for each in shown])
    else:
        for each in shown:
            _print(each)
        by = "today" if moment is None else "by that policy"
        out.print(f"{len(differing)} of {len(found)} operations would be decided otherwise {by}")
    sys.exit(1 if differing else 0)


def _policy_at(today: Policy, reader: Reader, moment_ns: int) -> Policy:
    """The policy that was in force at that wall time. Raises Failure when the log does not have it."""
    in_force = InForce(today, reader.payload)
    for index, load in reader.entries((PolicyLoad,)):
        if isinstance(load, PolicyLoad) and load.accepted and load.wall_ns <= moment_ns:
            in_force.forget()
            in_force.add(index, load)
    found = in_force.at(reader.position)
    if in_force.gaps:
        raise Failure(f"the policy of then can't be had: {in_force.gaps[0].rpartition(':')[0]}")
    return found.policy


def compare(policy: Policy, found: History) -> Iterator[Compared]:
    """Each operation of the flow with its first verdict then, and the one it gets now."""
    now = FlowPolicy(offline_decider(policy), found.opened.agent, found.opened.resource)
    session = Session(database=found.database, user=found.user, search_path=SEARCH_PATH)
    for exchange in found.exchanges:
        operation = _operation(exchange, session)
        decision = now.decide(operation).decision
        verdict = decision.verdict.value
        # What is held when it runs may be prepared: the loop lets it, so the record says allow.
        if verdict == "hold" and operation.kind is OperationKind.PREPARE:
            verdict = "allow"
        yield Compared(
            entry=exchange.index,
            operation=operation.id,
            text=visible(" ".join((operation.text or "").split())),
            then=(exchange.decisions[0][1].would or exchange.decisions[0][1].verdict) if exchange.decisions else "",
            now=verdict,
            reason=visible(decision.reason),
            policies=decision.policies,
        )


def _operation(exchange: Exchange, session: Session) -> Operation:
    """The recorded operation as policy takes it. A text whose payload is lost is one that nobody has seen."""
    recorded = exchange.operation
    return Operation(
        id=recorded.operation,
        kind=OperationKind(recorded.form),
        text=None if isinstance(recorded.text, Stored) else recorded.text,
        session=session,
        statement="" if isinstance(recorded.statement, Stored) else recorded.statement,
        function=recorded.function,
    )


def _print(each: Compared) -> None:
    then, now = each.then or "?", each.now
    mark = "[bold red]≠[/]" if each.differs else "[dim]=[/]"
    out.print(f"{mark} #{each.operation} [{VERDICT_STYLES.get(then, 'red')}]{then}[/] → ", end="")
    out.print(f"[{VERDICT_STYLES[now]}]{now}[/] [dim]entry {each.entry}[/]")
    for line in shortened([each.text]):
        out.print(" " * 4 + line, markup=False, style="bold")
    for note in (each.differs and each.reason, each.differs and each.policies and "policy  " + "; ".join(each.policies)):
        if note:
            out.print(" " * 4 + note, markup=False)
