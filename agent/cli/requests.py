"""``hostguard requests``: what waits for a user's yes or no."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ..client import Client
from .moments import MOMENT
from .options import config_option, json_option, places
from .output import ago, clock, out, print_json, table, tell_left_out

STATE_STYLES = {"pending": "yellow", "approved": "green", "used": "green"}


def _client(config: Path) -> Client:
    return Client(places(config).control)


@click.group("requests")
def command() -> None:
    """Held operations: look at them, approve or deny them.

    A held operation waits until a user decides, its time is up, or the agent cancels it; a ticket was refused, and goes through
    when its agent runs it again once it is approved. What you approve is exact: this statement with these parameters, once, in
    such a session as asked. The digest names it; `approve --digest` insists on it.
    """


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are decided.")
@json_option
@config_option
def list_requests(config: Path, as_json: bool, everything: bool) -> None:
    """List requests, the oldest first."""
    client = _client(config)
    requests = client.get("/v1/requests" + ("?all=1" if everything else ""))
    tell_left_out(client.left_out)
    if as_json:
        print_json(requests)
        return
    if not requests:
        out.print("No operation is held." if not everything else "No operation was held since the daemon started.")
        return
    shown = table("REQUEST", "STATE", "AGENT", "RESOURCE", "WAITS", "WOULD DO")
    for request in requests:
        shown.add_row(
            request["id"],
            _state(request),
            request["agent"],
            request["resource"],
            ago(time.time() - request["filed_at"]),
            escape(request["summary"]),
        )
    out.print(shown)


@command.command("show")
@click.argument("request_id")
@json_option
@config_option
def show_request(config: Path, as_json: bool, request_id: str) -> None:
    """Show one request: the exact statement, its parameters, who asks, what it touches, whose approval suffices."""
    request = _client(config).get(f"/v1/requests/{request_id}")
    if as_json:
        print_json(request)
    else:
        print_request(request)


@command.command("approve")
@click.argument("request_id")
@click.option("--reason", default="", help="Why; it goes on record.")
@click.option("--digest", default="", help="Approve only if the request's digest starts with this.")
@click.option("--uses", type=click.IntRange(1, 1_000_000), default=1, help="How often it may run, this time included. Default 1.")
@click.option("--until", type=MOMENT, default=None, help="Until when: 30m, 8h, 7d, or a time such as 2026-03-01T18:00.")
@json_option
@config_option
def approve(config: Path, as_json: bool, request_id: str, reason: str, digest: str, uses: int, until: float | None) -> None:
    """Approve one held operation; it runs at once, or once its agent runs it again if it is a ticket.

    For more than this once say both --uses and --until: that makes a grant of this very operation, which policies must let you
    issue.
    """
    _decide(config, as_json, request_id, "approve", {"reason": reason, "digest": digest, "uses": uses, "until": until or 0})


@command.command("deny")
@click.argument("request_id")
@click.option("--reason", default="", help="Why; the agent is told, and it goes on record.")
@json_option
@config_option
def deny(config: Path, as_json: bool, request_id: str, reason: str) -> None:
    """Deny one held operation; the agent gets an error with your reason."""
    _decide(config, as_json, request_id, "deny", {"reason": reason})


@command.command("withdraw")
@click.argument("request_id")
@click.option("--reason", default="", help="Why; it goes on record.")
@json_option
@config_option
def withdraw(config: Path, as_json: bool, request_id: str, reason: str) -> None:
    """Take a ticket back, approved or not. Its agent's owner may, who may decide it, and root."""
    _decide(config, as_json, request_id, "withdraw", {"reason": reason})


def _decide(config: Path, as_json: bool, request_id: str, answer: str, said: dict[str, Any]) -> None:
    request = _client(config).post(f"/v1/requests/{request_id}/{answer}", said)
    if as_json:
        print_json(request)
        return
    runs = "; it runs now" if request["state"] == "used" else ""
    granted = f"; grant {request['grant']} is for further uses" if request.get("grant") else ""
    out.print(f"{request['id']}  {escape(request['note'])}{runs}{granted}")


@command.command("watch")
@json_option
@config_option
def watch(config: Path, as_json: bool) -> None:
    """Follow requests live, those that are open first; ends with Ctrl-C."""
    try:
        for request in _client(config).lines("/v1/requests/watch"):
            if as_json:
                click.echo(json.dumps(request))
            else:
                print_request(request)
                out.print()
    except KeyboardInterrupt:
        return


def _state(request: dict[str, Any]) -> str:
    state = str(request["state"])
    return f"[{STATE_STYLES.get(state, 'red')}]{state}[/]"


def print_request(request: dict[str, Any]) -> None:
    """One request for a person; every text in it has its control characters made visible by the daemon."""
    out.print(
        f"[bold]{request['id']}[/]  {_state(request)}  filed {clock(request['filed_at'])}, lapses {clock(request['expires_at'])}"
    )
    if request["mode"] == "ticket":
        out.print("  a ticket: its agent was refused, and may run it again once it is approved")
    out.print(f"  {escape(request['summary'])}")
    process = request["process"]
    out.print(
        f"  agent     {escape(request['agent'])} (owner {escape(request['owner'])}), workload {escape(process['workload'])}"
    )
    out.print(f"  process   {process['pid']} uid {process['uid']}: ", end="")
    out.print(process["command"], markup=False)
    out.print(f"  resource  {escape(request['resource'])}, database {escape(request['database'])} as {escape(request['user'])}")
    out.print("  statement")
    for line in request["statement"].split("\n"):
        out.print("    ", end="")
        out.print(line, markup=False, style="bold")
    for number, value in enumerate(request["parameters"], 1):
        out.print(f"    ${number} = ", end="")
        out.print(value, markup=False)
    for body in request["prepared"]:
        out.print("  may run")
        for line in body.split("\n"):
            out.print("    ", end="")
            out.print(line, markup=False, style="bold")
    for access in request["accesses"]:
        out.print("  access    ", end="")
        out.print(access, markup=False)
    if request["touches"]:
        out.print(f"  touches   {request['touches']}")
    if request["flags"]:
        out.print(f"  flags     [yellow]{', '.join(request['flags'])}[/]")
    out.print(f"  approvers {escape(', '.join(request['approvers']) or 'nobody: no policy lets anyone approve it')}")
    out.print(f"  digest    {request['digest']}")
    if request["state"] == "pending":
        out.print(f"  [dim]hostguard requests approve {request['id']} --digest {request['digest'][:12]}[/]")
    elif request.get("note"):
        out.print(f"  {escape(request['note'])}")
