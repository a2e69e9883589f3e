"""The timeline of one recording, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Sequence

from ...recorder.recording import Event, Recording, Step
from ...recorder.telling import notes, verdict
from .output import clock, out

SHOWN_CHARACTERS = 2000
"""Of a statement, unless it is wanted whole: a bulk insert would bury what was decided."""
VERDICT_STYLES = {
    "allow": "green",
    "deny": "red",
    "hold": "yellow",
    "would-deny": "magenta",
    "would-hold": "magenta",
    "refused": "red",
}


def print_head(found: Recording) -> None:
    """Who, from where, to where."""
    facts = found.facts
    out.print(f"[bold]flow {facts.flow}[/]  {clock(found.start_ns / 1e9)}  ", end="")
    out.print(f"{facts.agent} ({facts.workload}) → {facts.resource or '?'} {facts.destination}", markup=False)
    out.print(f"  process {facts.pid} uid {facts.uid}: {' '.join(facts.cmdline) or facts.comm}", markup=False, style="dim")
    out.print(f"  program {facts.exe}  cgroup {facts.cgroup}", markup=False, style="dim")
    for name, value in facts.details:
        out.print(f"  {name} {value}", markup=False, style="dim")
    if facts.refused:
        out.print("  [red]refused[/]: ", end="")
        out.print(facts.refused, markup=False)


def print_item(item: Step | Event, *, whole: bool = False) -> None:
    """One operation with what came of it, or one event."""
    stamp = f"[dim]{item.offset_us / 1e6:9.3f}[/] "
    if isinstance(item, Event):
        out.print(f"{stamp}[cyan]{item.kind}[/] ", end="")
        out.print(item.text, markup=False)
        return
    style = VERDICT_STYLES.get(item.verdict if item.would in ("", item.verdict) else f"would-{item.would}", "red")
    out.print(f"{stamp}[{style}]{verdict(item)}[/] [dim]{item.form} #{item.number}, entry {item.entry}[/]")
    for line in item.lines if whole else shortened(item.lines):
        out.print(" " * 12, end="")
        out.print(line, markup=False, style="bold")
    for note in notes(item):
        out.print(" " * 12, end="")
        out.print(note, markup=False)


def shortened(lines: Sequence[str]) -> list[str]:
    """The beginning of a statement's lines, with a line that says how much is left out."""
    found: list[str] = []
    left = SHOWN_CHARACTERS
    for line in lines:
        if left <= 0:
            break
        found.append(line[:left])
        left -= len(line)
    hidden = sum(map(len, lines)) - sum(map(len, found))
    return [*found, f"… {hidden} more characters (--full or --json shows them)"] if hidden else found


def print_end(found: Recording) -> None:
    """How it ended."""
    if found.end_ns is None:
        out.print("          [yellow]the flow is open, or its daemon was killed[/]")
    elif found.close_reason:
        out.print(f"[dim]{(found.end_ns - found.start_ns) / 1e9:9.3f}[/] closed: ", end="")
        fault = f" (fault: {found.fault})" if found.fault else ""
        out.print(f"{found.close_reason}{fault}; {found.client_bytes} bytes came, {found.server_bytes} went back", markup=False)
