"""``hostguard recordings``: what happened, from the log; needs no daemon."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import click
import msgspec

from ...recorder.exchanges import NoSuchFlow
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader
from ...recorder.recording import Event, Recording, Step
from ...recorder.replay import recording
from ...recorder.summaries import Filters, Summary, summaries
from ..failures import Failure
from ..paths import Paths
from .output import clock, config_option, configured, fail, json_option, out, print_json, table

VERDICT_STYLES = {"allow": "green", "deny": "red", "hold": "yellow", "refused": "red"}
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.group("recordings")
def command() -> None:
    """What happened on the flows: every operation with its decision, approval and reply, from the log."""


def _since(text: str | None) -> int | None:
    """``90m`` (ago) or a local time ``2026-11-23T08:00`` to wall nanoseconds."""
    if text is None:
        return None
    if found := re.fullmatch(r"(\d+)([smhd])", text):
        return int((time.time() - int(found[1]) * UNITS_S[found[2]]) * 1e9)
    for layout in ("%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        try:
            return int(time.mktime(time.strptime(text, layout)) * 1e9)
        except ValueError:
            continue
    raise click.UsageError(f"{text!r} is no time: give 90m, 12h, 7d, 2026-11-23 or 2026-11-23T08:00")


@command.command("list")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--resource", default=None, help="Only this resource's.")
@click.option(
    "--verdict", type=click.Choice(["allow", "deny", "hold", "refused"]), default=None, help="With at least one of these."
)
@click.option("--since", default=None, help="Open since then: 90m, 12h, 7d, or 2026-11-23T08:00.")
@click.option("--until", default=None, help="Begun before then.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
@config_option
def list_recordings(config: Path, as_json: bool, since: str | None, until: str | None, **wanted: Any) -> None:
    """List flows, the oldest first."""
    filters = Filters(since_ns=_since(since), until_ns=_since(until), **wanted)
    reader = Reader(Paths.of(configured(config)).log)
    try:
        found = summaries(reader, filters)
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif not found:
        out.print("No flow on record matches.")
    else:
        _print_summaries(found)


def _print_summaries(found: list[Summary]) -> None:
    shown = table("FLOW", "BEGAN", "LASTED", "AGENT", "RESOURCE", "PROCESS", "DECISIONS")
    for flow in found:
        lasted = "open" if flow.end_ns is None else f"{(flow.end_ns - flow.start_ns) / 1e9:.2f} s"
        counts = ", ".join(f"[{VERDICT_STYLES.get(v, 'red')}]{count} {v}[/]" for v, count in sorted(flow.decisions.items()))
        if flow.refused:
            counts = "[red]refused[/]: " + _escaped(flow.refused)
        who = _escaped(flow.agent), _escaped(flow.resource or flow.destination), f"{flow.pid} {_escaped(flow.comm)}"
        shown.add_row(str(flow.flow), clock(flow.start_ns / 1e9), lasted, *who, counts)
    out.print(shown)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


def _load(config: Path, flow: int) -> Recording:
    reader = Reader(Paths.of(configured(config)).log, start=max(0, flow))
    try:
        return recording(flow, reader.flow(flow), reader.payload)
    except NoSuchFlow as error:
        raise Failure(f"{error}; `hostguard recordings list` has the numbers") from None
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None


@command.command("show")
@click.argument("flow", type=int)
@json_option
@config_option
def show(config: Path, as_json: bool, flow: int) -> None:
    """Show all that is on record about one flow."""
    found = _load(config, flow)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    _print_head(found)
    for item in found.items:
        _print_item(item)
    _print_end(found)


@command.command("replay")
@click.argument("flow", type=int)
@click.option("--speed", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Times as fast as it was.")
@click.option("--max-pause", type=click.FloatRange(0), default=3.0, show_default=True, help="Seconds that no pause exceeds.")
@config_option
def replay(config: Path, flow: int, speed: float, max_pause: float) -> None:
    """Replay one flow in the terminal, with the pauses that it had."""
    found = _load(config, flow)
    _print_head(found)
    previous_us = 0
    try:
        for item in found.items:
            time.sleep(min(max_pause, (item.offset_us - previous_us) / 1e6 / speed))
            previous_us = item.offset_us
            _print_item(item)
    except KeyboardInterrupt:
        fail("replay stopped")
        return
    _print_end(found)


def _print_head(found: Recording) -> None:
    facts = found.facts
    out.print(f"[bold]flow {facts.flow}[/]  {clock(found.start_ns / 1e9)}  ", end="")
    out.print(f"{facts.agent} ({facts.workload}) → {facts.resource or '?'} {facts.destination}", markup=False)
    out.print(f"  process {facts.pid} uid {facts.uid}: {' '.join(facts.cmdline) or facts.comm}", markup=False, style="dim")
    out.print(f"  program {facts.exe}  cgroup {facts.cgroup}", markup=False, style="dim")
    if facts.refused:
        out.print("  [red]refused[/]: ", end="")
        out.print(facts.refused, markup=False)


def _print_item(item: Step | Event) -> None:
    stamp = f"[dim]{item.offset_us / 1e6:9.3f}[/] "
    if isinstance(item, Event):
        out.print(f"{stamp}[cyan]{item.kind}[/] ", end="")
        out.print(item.text, markup=False)
        return
    verdict = item.verdict or "?"
    shown = f"{'held, then ' if item.held and verdict != 'hold' else ''}{verdict}"
    out.print(f"{stamp}[{VERDICT_STYLES.get(verdict, 'red')}]{shown}[/] [dim]{item.form} #{item.number}[/]")
    for line in item.lines:
        out.print(" " * 12, end="")
        out.print(line, markup=False, style="bold")
    for note in _notes(item):
        out.print(" " * 12, end="")
        out.print(note, markup=False)


def _notes(step: Step) -> list[str]:
    """What is to be said of one operation below its statement."""
    notes = [f"${number} = {value}" for number, value in enumerate(step.parameters, 1)]
    if step.policies:
        notes.append("policy  " + "; ".join(step.policies))
    if step.reason and step.verdict != "allow":
        notes.append("reason  " + step.reason)
    if step.approval:
        approval = step.approval
        who = f" by {approval.user}" if approval.user else ""
        waited = f" after {(approval.decided_us - approval.asked_us) / 1e6:.1f} s" if approval.decided_us is not None else ""
        notes.append(f"request {approval.request}: {approval.verdict or 'open'}{who}{waited} {approval.reason}".rstrip())
    if step.withdrawn:
        notes.append("withdrawn  " + step.withdrawn)
    if step.reply:
        reply = step.reply
        masked = f", masked: {', '.join(reply.masked)}" if reply.masked else ""
        notes.append(f"reply   {reply.status} {reply.tag}, {reply.rows} rows, {reply.bytes} bytes{masked}")
    return notes


def _print_end(found: Recording) -> None:
    if found.end_ns is None:
        out.print("          [yellow]the flow is open, or its daemon was killed[/]")
    elif found.close_reason:
        out.print(f"[dim]{(found.end_ns - found.start_ns) / 1e9:9.3f}[/] closed: ", end="")
        out.print(found.close_reason + (f" (fault: {found.fault})" if found.fault else ""), markup=False)
