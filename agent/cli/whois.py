"""``hostguard identity``: who is that process."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..whois import whois
from .output import config_option, configured, json_option, out, print_json

FILED = {
    "": "no cgroup of it is filed: it is not guarded by cgroup",
    "cleared": "cleared: it is nobody's",
    "watched": "watched: new cgroups in it are refused until they are looked at, its own processes are nobody's",
    "pending": "not looked at yet: its connections are refused",
}


@click.group("identity")
def command() -> None:
    """Who a process is to hostguard, and why."""


@command.command("show")
@click.argument("pid", type=click.IntRange(min=1))
@json_option
@config_option
def show(pid: int, config: Path, as_json: bool) -> None:
    """Show who process PID is: program with its SHA-256, user, cgroup, container, parents; its workload and agent, and why.

    Works without the daemon. Exit code 0 when it belongs to a workload, 1 when it belongs to none.
    """
    facts = whois(configured(config), pid)
    if as_json:
        print_json(facts)
    else:
        _print(facts)
    sys.exit(0 if facts["workload"] else 1)


def _print(facts: dict[str, Any]) -> None:
    if facts["workload"]:
        roles = ", ".join(facts["roles"]) or "no roles"
        out.print(f"[bold green]● {facts['workload']}[/]  agent {facts['agent']} ({roles}), owner {facts['owner']}")
    else:
        out.print("[bold yellow]● no workload[/]")
    rows = [
        ("why", facts["why"]),
        ("process", f"{facts['pid']}, started at tick {facts['start_ticks']}, uid {facts['uid']}, gid {facts['gid']}"),
        ("program", facts["executable"] or "unknown"),
        ("sha256", facts["sha256"] or "unknown"),
        ("command", " ".join(facts["command"])),
        ("cgroup", facts["cgroup"]),
        ("container", _container(facts["container"])),
        ("netns", str(facts["network_namespace"])),
        ("parents", " ← ".join(facts["ancestors"])),
        ("kernel", _kernel(facts["kernel"])),
    ]
    for name, text in rows:
        if text:
            out.print(f"{name:<10} ", end="")
            out.print(text, markup=False)


def _container(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    known = [f"{key} {facts[key]}" for key in ("name", "image") if facts[key]]
    return ", ".join([f"{facts['runtime']} {facts['id'][:12]}", *known])


def _kernel(facts: dict[str, Any]) -> str:
    if facts["problem"]:
        return str(facts["problem"])
    said = FILED.get(facts["filed"], f"filed as {facts['filed']}")
    return f"{facts['cgroup']}: {said}" if facts["cgroup"] else said
