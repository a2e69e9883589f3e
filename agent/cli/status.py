"""``hostguard status``: what is guarded, on one screen."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ...kernel import pins
from ...kernel.errors import KernelError
from ...kernel.layouts import RESERVED
from ..client import Client, DaemonDown
from ..paths import Paths
from .budgets import show_budgets
from .denied import show_denied
from .link_status import links, show_broker, show_vouched
from .options import config_option, json_option, places
from .output import ago, out, print_json, table, tell_left_out
from .powers import show_powers

FLOWS_SHOWN = 10


@click.command("status")
@json_option
@config_option
def command(config: Path, as_json: bool) -> None:
    """Show what is guarded: hooks, workloads with their agents, flows, held requests, the log's head.

    Exit code 0 when the guard holds, 1 when anything is not as it should be.
    """
    paths = places(config)
    try:
        client = Client(paths.control)
        facts = client.get("/v1/status")
        tell_left_out(client.left_out)
    except DaemonDown as error:
        facts = without_daemon(paths, config, str(error))
    if as_json:
        print_json(facts)
    else:
        show(facts)
    sys.exit(0 if facts["state"] == "guarding" else 1)


def without_daemon(paths: Paths, config: Path, why: str) -> dict[str, Any]:
    """What the kernel tells when nobody answers: whether guarded processes are refused or unguarded."""
    problems = [f"the daemon does not answer: {why}"]
    hooks: list[dict[str, Any]] = []
    try:
        status = pins.status(paths.pins)
        hooks = [
            {"name": h.name, "attached": h.attached, "detail": h.detail, "cgroup": str(h.cgroup or "")} for h in status.hooks
        ]
        if status.attached and status.guarded:
            guarded = sum(number not in RESERVED for number in status.guarded.values())
            cgroups = "1 guarded cgroup: its" if guarded == 1 else f"{guarded} guarded cgroups: their"
            problems.append(f"{cgroups} connections are refused until the daemon runs")
        else:
            problems.append("no hooks are attached: workloads are NOT guarded, their connections go out directly")
    except KernelError as error:
        problems.append(f"the hooks can't be read: {error}")
    return {"state": "down", "problems": problems, "hooks": hooks, "config": str(config)}


def show(facts: dict[str, Any]) -> None:
    """The facts for a person: one verdict first, then what it rests on."""
    colour = "green" if facts["state"] == "guarding" else "red"
    out.print(f"[bold {colour}]● {facts['state']}[/]" + _since(facts))
    if facts.get("observed"):
        names = escape(", ".join(facts["observed"]))
        out.print(f"[bold white on magenta] ONLY OBSERVED: {names} [/] [magenta]nothing of it is denied, held or masked[/]")
    for problem in facts["problems"]:
        out.print("  [red]✗[/] ", end="")
        out.print(problem, markup=False)
    _show_hooks(facts["hooks"])
    if facts.get("loader") == "bcc":
        out.print(
            "           [yellow]! loaded by bcc: executables, start times, sockets' own cgroups are not known at connect[/]"
        )
    if "workloads" not in facts:
        return
    _show_workers(facts["workers"])
    _show_basis(facts)
    show_denied(facts["denied"])
    show_powers(facts["powers"])
    show_budgets(facts["budgets"])
    _show_workloads(facts["workloads"])
    _show_namespaces(facts["namespaces"])
    _show_flows(facts["flows"])


def _since(facts: dict[str, Any]) -> str:
    if "started_at" not in facts:
        return f"  [dim]{escape(facts['config'])}[/]"
    up = ago(time.time() - facts["started_at"])
    return f"  [dim]hostguard {facts['version']}, pid {facts['pid']}, up {up}, {escape(facts['config'])}[/]"


def _show_hooks(hooks: list[dict[str, Any]]) -> None:
    marks = [f"[{'green' if h['attached'] else 'red'}]{'✓' if h['attached'] else '✗'} {h['name']}[/]" for h in hooks]
    where = {hook["cgroup"] for hook in hooks if hook["attached"] and hook["cgroup"]}
    out.print("hooks      " + "  ".join(marks) + (f"  [dim]at {escape(', '.join(sorted(where)))}[/]" if where else ""))


def _show_workers(workers: dict[str, Any]) -> None:
    """One line while all run in the same cage, which is the common case; else one for each cage."""
    by_cage: dict[str, list[dict[str, Any]]] = {}
    for worker in workers["running"]:
        by_cage.setdefault(worker["sandbox"] if worker["ready"] else "", []).append(worker)
    heading = "workers"
    for cage, those in by_cage.items():
        pids = ", ".join(f"{w['pid']} ({w['flows']})" for w in those)
        within = f"caged: {escape(cage)}" if cage else "[yellow]starting, or silent[/]"
        out.print(f"{heading:<10} {len(those)}, {within}  [dim]pid (flows): {pids}[/]")
        heading = ""
    for what in sorted({missing for worker in workers["running"] for missing in worker["missing"]}):
        out.print(f"{'':<10} [yellow]![/] without {escape(what)}")
    if workers["ended"]:
        out.print(f"{'':<10} [yellow]{workers['ended']} ended and were replaced since the start[/]")


def _show_basis(facts: dict[str, Any]) -> None:
    test, log, policy, operations = facts["self_test"], facts["log"], facts["policy"], facts["operations"]
    verdict = (
        f"[green]passed[/] {ago(time.time() - test['at'])} ago" if test["ok"] else f"[red]failed[/]: {escape(test['failure'])}"
    )
    out.print(f"self-test  {verdict}")
    window = "synced before forwarding" if log["durability"] == "strict" else f"synced within {log['window_ms']} ms"
    health = f"[red]{escape(log['failure'])}[/]" if log["failure"] else "[green]writable[/]"
    out.print(f"log        {health}, {log['entries']} entries, {window}  [dim]{escape(log['folder'])}[/]")
    out.print(f"           {log['sealed']} sealed {ago(time.time() - log['sealed_at'])} ago, {_witnessed(log)}")
    if facts["shipped"] is not None:
        out.print(f"           {_shipped(facts['shipped'])}")
    if log["retention_waits"]:
        out.print(f"           [yellow]retention waits for shipping[/]: {escape(log['retention_waits'])}")
    out.print(f"           {_kept(log)}")
    out.print(f"policy     {policy['policies']} policies, epoch {policy['epoch']}")
    for resource in facts["resources"]:
        captured = "  [dim]replies are captured[/]" if resource["capture_replies"] else ""
        where = escape(", ".join(resource["addresses"]))
        out.print(f"resource   {escape(resource['name'])}  {resource['protocol']}  {where}{captured}")
        out.print(f"           {links(resource, facts['broker'])}")
    denied = f"[yellow]{operations['denied']} denied[/]" if operations["denied"] else "0 denied"
    would = "".join(
        f", [magenta]{operations[name]} {text}[/]"
        for name, text in (("would_deny", "would have been denied"), ("would_hold", "would have been held"))
        if operations[name]
    )
    out.print(f"operations {operations['allowed']} allowed, {denied}, {operations['held']} held{would}")
    _show_names(facts["names"])
    show_broker(facts["broker"], facts["trust"], facts["resources"])
    show_vouched(facts["identity"])
    pending = facts["requests"]["pending"]
    waiting = f"[yellow]{pending} wait for approval[/]: hostguard requests list" if pending else "none waits for approval"
    out.print(f"requests   {waiting}")


def _show_names(names: dict[str, Any]) -> None:
    if not names["running"]:
        out.print("names      [red]the resolver is not running[/]")
    if "questions" not in names:
        return
    counted = names["questions"]
    denied = f"[yellow]{counted['denied']} refused[/]" if counted["denied"] else "0 refused"
    would = f", [magenta]{counted['would_deny']} would have been refused[/]" if counted.get("would_deny") else ""
    out.print(f"names      {counted['allowed']} asked for, {denied}{would}  [dim]{escape(', '.join(names['upstreams']))}[/]")
    for alarm in names["alarms"]:
        what = f"agent {alarm['agent']}: {alarm['questions']} questions below {alarm['domain']} looked like a tunnel"
        when = f"({', '.join(alarm['flags'])}), {ago(time.time() - alarm['at'])} ago; refused"
        out.print("           [yellow]![/] ", end="")
        out.print(f"{what} {when}", markup=False)


def _kept(log: dict[str, Any]) -> str:
    """Who can read payloads, and what is one."""
    keys = log["payload_recipients"]
    how = f"payloads encrypted to {keys} key{'s' * (keys != 1)}" if keys else "payloads [yellow]not encrypted[/]"
    return f"{how}, statements above {log['payload_above_bytes']} bytes are payloads"


def _shipped(shipped: dict[str, Any]) -> str:
    when = f"last pass {ago(time.time() - shipped['tried_at'])} ago" if shipped["tried_at"] else "no pass yet"
    failed = f" [red]failed[/]: {escape(shipped['failure'])}" if shipped["failure"] else ""
    return f"{shipped['entries']} arrived in the bucket, {when}{failed}"


def _witnessed(log: dict[str, Any]) -> str:
    """Up to where others have seen the log, and when they did last."""
    if not log["witnesses"]:
        return "[dim]no witness is configured[/]"
    by = ", ".join(
        f"{w['name']} ({w['size']}, {ago(time.time() - w['at']) + ' ago' if w['at'] else 'never'})" for w in log["witnesses"]
    )
    return f"{log['witnessed']} witnessed: {escape(by)}"


def _show_workloads(workloads: list[dict[str, Any]]) -> None:
    if not workloads:
        out.print("[yellow]no workloads are configured: nothing is guarded[/]")
        return
    shown = table("", "WORKLOAD", "MODE", "AGENT", "OWNER", "ROLES", "CGROUPS", "PROCESSES", "FLOWS", "FOUND BY")
    for w in workloads:
        observed = w["mode"] == "observe"
        mark = "[red]✗[/]" if not w["guarded"] else "[bold magenta]○[/]" if observed else "[green]✓[/]"
        mode = "[bold white on magenta] OBSERVE [/]" if observed else "enforce"
        roles = ", ".join(w["roles"]) or "none"
        counts = str(w["cgroups"]), str(w["processes"]), str(w["flows"])
        shown.add_row(mark, w["name"], mode, w["agent"], w["owner"], roles, *counts, escape(w["selectors"]))
    out.print()
    out.print(shown)
    for w in workloads:
        if w["loosened"]:
            out.print(f"[yellow]! {escape(w['name'])} may use what the hooks don't see: {', '.join(w['loosened'])}[/]")


def _show_namespaces(namespaces: list[dict[str, Any]]) -> None:
    """One line for each network namespace beside the daemon's own that has guarded processes."""
    for namespace in namespaces:
        health = f"[red]✗ {escape(namespace['problem'])}[/]" if namespace["problem"] else "[green]✓ served[/]"
        family = "" if namespace["ipv6"] or namespace["problem"] else ", [yellow]without IPv6[/]"
        of = f"  [dim]first seen of pid {namespace['pid']}[/]" if namespace["pid"] else ""
        out.print(f"netns      {namespace['inode']}  {health}{family}{of}")


def _show_flows(flows: dict[str, Any]) -> None:
    if not flows["open"]:
        return
    shown = table("FLOW", "AGENT", "RESOURCE", "DATABASE", "USER", "PID", "OPERATIONS", "HOLDS")
    for flow in flows["shown"][:FLOWS_SHOWN]:
        counted = flow["operations"]
        done = f"{counted['allowed']} allowed, {counted['denied']} denied, {counted['held']} held"
        who = escape(flow["database"]), escape(flow["user"]), str(flow["pid"])
        if flow["observed"]:
            done += f", [magenta]{counted['would_deny']} would be denied, {counted['would_hold']} held[/]"
        where = "[magenta]unread[/]" if flow["unread"] else flow["resource"]
        shown.add_row(str(flow["id"]), flow["agent"], where, *who, done, f"[yellow]{flow['holding']}[/]")
    out.print()
    out.print(shown)
    if flows["open"] > FLOWS_SHOWN:
        out.print(f"[dim]and {flows['open'] - FLOWS_SHOWN} more; --json has them all[/]")
