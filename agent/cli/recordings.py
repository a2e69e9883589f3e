"""``hostguard recordings``: what happened, from the log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from ...recorder.filters import Filters
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader
from ...recorder.summaries import Summary, summaries
from ..failures import Failure
from .asking import daemon_of, daemon_option, payloads_option, rows
from .flow_filters import asked_for, filter_options, filters_of
from .identity import identity_option
from .options import config_option, json_option, places
from .output import clock, out, print_json, table
from .recordings_export import export
from .recordings_load import load
from .recordings_replay import replay
from .recordings_rerun import rerun
from .recordings_search import search
from .timeline import VERDICT_STYLES, print_end, print_head, print_item


@click.group("recordings")
def command() -> None:
    """What happened on the flows: every operation with its decision, approval and reply, from the log.

    Who can read the log's files needs no daemon. For others list, show, replay, search ask it: policies say whose recordings
    they may read (action "replay"), and each look goes on record.
    """


for subcommand in (replay, search, export, rerun):
    command.add_command(subcommand)


@command.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@daemon_option
@json_option
@config_option
def list_recordings(config: Path, as_json: bool, by_daemon: bool, limit: int, **wanted: Any) -> None:
    """List flows, the oldest first; filters about operations choose flows that have at least one."""
    paths = places(config)
    if (client := daemon_of(paths, by_daemon)) is not None:
        found = msgspec.convert(rows(client, "/v1/recordings", asked_for(wanted, limit)), list[Summary])
    else:
        found = _read(paths.log, filters_of(wanted, limit))
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif not found:
        out.print("No flow on record matches.")
    else:
        _print_summaries(found)


def _read(folder: Path, filters: Filters) -> list[Summary]:
    try:
        return summaries(Reader(folder), filters)
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None


def _print_summaries(found: list[Summary]) -> None:
    shown = table("FLOW", "BEGAN", "LASTED", "AGENT", "RESOURCE", "PROCESS", "DECISIONS")
    for flow in found:
        lasted = "open" if flow.end_ns is None else f"{(flow.end_ns - flow.start_ns) / 1e9:.2f} s"
        counts = ", ".join(f"[{VERDICT_STYLES.get(v, 'red')}]{count} {v}[/]" for v, count in sorted(flow.decisions.items()))
        if flow.unread:
            counts += ("; " if counts else "") + "[magenta]unread[/]: " + _escaped(flow.unread)
        if flow.refused:
            counts = "[red]refused[/]: " + _escaped(flow.refused)
        who = _escaped(flow.agent), _escaped(flow.resource or flow.destination), f"{flow.pid} {_escaped(flow.comm)}"
        shown.add_row(str(flow.flow), clock(flow.start_ns / 1e9), lasted, *who, counts)
    out.print(shown)


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


@command.command("show")
@click.argument("flow", type=int)
@click.option("--full", is_flag=True, help="Long statements whole, not their beginnings.")
@payloads_option
@daemon_option
@identity_option
@json_option
@config_option
def show(config: Path, as_json: bool, identity: tuple[Path, ...], by_daemon: bool, payloads: bool, flow: int, full: bool) -> None:
    """Show all that is on record about one flow."""
    found = load(config, flow, identity, payloads=payloads, by_daemon=by_daemon)
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    print_head(found)
    for item in found.items:
        print_item(item, whole=full)
    print_end(found)
