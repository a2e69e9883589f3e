"""``hostguard recordings export``: flows as files of other programs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from ...recorder.entry import FlowOpen
from ...recorder.exchanges import History, NoSuchFlow, histories, history
from ...recorder.export import asciicast, jsonl, ocsf, pcapng
from ...recorder.filters import Filters
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader, Record
from ...recorder.replay import replayed
from ...recorder.summaries import summaries
from ..failures import Failure
from .flow_filters import filter_options, filters_of
from .identity import decrypt_with, identity_option, tell_unopened
from .options import config_option, places
from .output import err
from .written import write

FORMATS = ("jsonl", "ocsf", "pcapng", "asciicast")


@click.command("export")
@click.argument("flow", type=int, required=False)
@click.option("--all", "everything", is_flag=True, help="All flows that the filters choose, instead of one FLOW.")
@filter_options
@click.option("--format", "layout", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=None, help="File; stdout without.")
@identity_option
@config_option
def export(
    config: Path,
    identity: tuple[Path, ...],
    flow: int | None,
    everything: bool,
    layout: str,
    output: Path | None,
    **wanted: Any,
) -> None:
    """Write FLOW, or all flows, in another program's format.

    \b
      jsonl      every entry as it stands in the log, one JSON object a line
      ocsf       Datastore Activity events (OCSF 1.6.0), one JSON object a line
      pcapng     a made-up capture that Wireshark decodes as PostgreSQL (needs scapy: hostguard[capture])
      asciicast  the replay of one FLOW, for `asciinema play`
    """
    if (flow is None) != everything:
        raise click.UsageError("give one FLOW, or --all")
    if layout == "asciicast" and flow is None:
        raise click.UsageError("an asciicast shows one FLOW")
    filters = filters_of(wanted)
    if flow is not None and filters != Filters():
        raise click.UsageError("filters choose among --all flows")
    folder = places(config).log
    try:
        reader = Reader(folder, start=max(0, flow or 0), decrypt=decrypt_with(identity))
        flows = None if flow is not None else _chosen(folder, filters)
        count = write(output, _data(reader, layout, flow, flows))
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    except (NoSuchFlow, ImportError) as error:
        raise Failure(str(error)) from None
    tell_unopened(len(reader.unopened), bool(identity))
    err.print(f"{count} bytes of {layout}", markup=False)


def _chosen(folder: Path, filters: Filters) -> frozenset[int] | None:
    """Numbers of the flows to export; None for every one."""
    return None if filters == Filters() else frozenset(summary.flow for summary in summaries(Reader(folder), filters))


def _data(reader: Reader, layout: str, flow: int | None, flows: frozenset[int] | None) -> Iterator[bytes]:
    if layout == "jsonl":
        yield from jsonl.lines(_records(reader, flow, flows), reader.payload)
        return
    if flow is not None:
        chosen: Iterator[History] = iter([history(flow, reader.flow(flow), reader.payload)])
    else:
        chosen = histories(reader.entries(), reader.payload, flows, captured=layout == "pcapng")
    if layout == "pcapng":
        yield pcapng.header()
    for found in chosen:
        match layout:
            case "ocsf":
                yield from ocsf.lines(found, version("hostguard"))
            case "pcapng":
                yield from pcapng.packets(found)
            case _:
                yield from asciicast.cast(replayed(found))


def _records(reader: Reader, flow: int | None, flows: frozenset[int] | None) -> Iterator[Record]:
    if flow is not None:
        return _present(flow, reader.flow(flow))
    return (record for record in reader.entries() if flows is None or record[1].flow in flows)


def _present(flow: int, records: Iterator[Record]) -> Iterator[Record]:
    """The same records; a flow that isn't there is to be said, not an empty file. Raises NoSuchFlow."""
    first = next(records, None)
    if first is None or not isinstance(first[1], FlowOpen):
        raise NoSuchFlow(f"the log has no flow {flow}")
    yield first
    yield from records
