"""The benchmark: direct, pgbouncer and hostguard side by side, in one interleaved run.

Each round measures every way once, so that whatever else the machine does falls on all of them; the figure is the median of the
rounds. Exit code 1 when hostguard misses a bar.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys

import click
import connects
from measures import MEASURES, Effort, Measure
from rich.console import Console
from rich.table import Table
from ways import Way, ways

Figures = dict[str, list[float]]


def measured(measure: Measure, effort: Effort, all_ways: list[Way], talk: Console) -> Figures:
    """The figures of each way, one a round."""
    found: Figures = {way.name: [] for way in all_ways if way.pids or not measure.without_direct}
    for number in range(1 if measure.without_direct else effort.rounds):
        talk.print(f"{measure.name}: round {number + 1}", style="dim")
        for way in all_ways:
            if way.name in found:
                found[way.name].append(measure.of(way, effort))
    return found


def ratio(measure: Measure, medians: dict[str, float], name: str) -> float | None:
    """How many times the direct figure; above 1 is always worse."""
    if name not in medians or "direct" not in medians:
        return None
    times = medians[name] / medians["direct"]
    return 1 / times if measure.more_is_better else times


def summary(measure: Measure, found: Figures) -> dict[str, object]:
    """One measure as plain data."""
    medians = {name: statistics.median(figures) for name, figures in found.items()}
    ratios = {name: ratio(measure, medians, name) for name in medians}
    compared = medians["hostguard"] if measure.without_direct else ratios["hostguard"]
    return {
        "name": measure.name,
        "unit": measure.unit,
        "median": medians,
        "rounds": found,
        "ratio": ratios,
        "bar": measure.bar,
        "met": None if measure.bar is None or compared is None else compared <= measure.bar,
        "peers": measure.peers,
    }


def cell(line: dict[str, object], name: str) -> str:
    medians, ratios = line["median"], line["ratio"]
    assert isinstance(medians, dict)
    assert isinstance(ratios, dict)
    if name not in medians:
        return ""
    value = medians[name]
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
    times = ratios[name]
    return f"{shown} {line['unit']}" + (f"  [bold]{times:.2f}×[/]" if times is not None and name != "direct" else "")


def bar_cell(line: dict[str, object]) -> str:
    if line["bar"] is None:
        return ""
    unit = "×" if "direct" in line["ratio"] else f" {line['unit']}"  # type: ignore[operator]
    return f"[{'green' if line['met'] else 'red'}]≤ {line['bar']:g}{unit} {'✓' if line['met'] else '✗'}[/]"


def show(lines: list[dict[str, object]], version: int) -> None:
    """The table, with what is known of others beside it."""
    where = f"PostgreSQL {version} on loopback, {os.cpu_count()} CPUs, Linux {platform.release()}"
    table = Table(title=f"{where}; × is times direct, more is worse", title_justify="left")
    for heading in ("", "direct", "pgbouncer", "hostguard", "bar", "others, × direct, measured before on such a machine"):
        table.add_column(heading)
    for line in lines:
        names = ("direct", "pgbouncer", "hostguard")
        table.add_row(str(line["name"]), *(cell(line, name) for name in names), bar_cell(line), str(line["peers"]))
    Console(width=None if sys.stdout.isatty() else 180).print(table)


@click.command()
@click.option("--quick", is_flag=True, help="One short round: for seeing that it works, not for figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--server", "version", type=click.Choice(["15", "18"]), default="15", show_default=True, help="PostgreSQL's version."
)
@click.option("--only", default="", help="Measures whose name holds this, in capitals or not.")
def main(quick: bool, as_json: bool, version: str, only: str) -> None:
    """Measure what the guard costs, beside a direct connection and pgbouncer."""
    effort = Effort(seconds=1, rounds=1) if quick else Effort(seconds=3, rounds=5)
    talk = Console(stderr=True)
    os.environ["PATH"] = f"/usr/lib/postgresql/15/bin:{os.environ['PATH']}"
    wanted = [measure for measure in MEASURES if only.lower() in measure.name.lower()]
    lines: list[dict[str, object]] = []
    for by_tls in (False, True):
        if some := [measure for measure in wanted if measure.tls is by_tls]:
            with ways(int(version), by_tls=by_tls) as all_ways:
                lines += [summary(measure, measured(measure, effort, all_ways, talk)) for measure in some]
    hooks = connects.measured(quick=quick) if only.lower() in connects.NAME.lower() else []
    if as_json:
        where: dict[str, object] = {"server": int(version), "quick": quick, "kernel": platform.release()}
        print(json.dumps({**where, "measures": lines, "connects": hooks}, indent=2))
    else:
        if lines:
            show(lines, int(version))
        if hooks:
            connects.show(hooks)
    sys.exit(1 if any(line["met"] is False for line in lines) else 0)


if __name__ == "__main__":
    main()
