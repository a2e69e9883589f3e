"""``hostguard identity``: who a process is to hostguard."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ..client import Client, DaemonDown, Refused
from ..failures import Failure
from ..verifier.presenter import present
from ..whois import whois
from . import login
from .options import config_option, configured, json_option, places
from .output import clock, out, print_json, table, tell_left_out

FILED = {
    "": "no cgroup of it is filed: it is not guarded by cgroup",
    "cleared": "cleared: it is nobody's",
    "watched": "watched: new cgroups in it are refused until they are looked at, its own processes are nobody's",
    "pending": "not looked at yet: its connections are refused",
}


@click.group("identity")
def command() -> None:
    """Who a process is to hostguard, and why; which user you are."""


for each in (login.command, login.logout, login.whoami):
    command.add_command(each)


@command.command("show")
@click.argument("pid", type=click.IntRange(min=1))
@json_option
@config_option
def show(pid: int, config: Path, as_json: bool) -> None:
    """Show who process PID is: program with its SHA-256, user, cgroup, container, parents; its workload and agent, and why.

    Who vouches for it is known to the daemon; the rest is shown without one, too. Exit code 0 when it belongs to a workload, 1
    when it belongs to none.
    """
    document = configured(config)
    facts = whois(document, pid)
    facts["verified"] = _verified(config, pid) if facts["agent"] and document.agents[facts["agent"]].identity else None
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
        ("verified", _said(facts["verified"])),
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


def _verified(config: Path, pid: int) -> dict[str, Any]:
    """What the daemon knows of it."""
    try:
        found: dict[str, Any] = Client(places(config).control).get(f"/v1/identity?pid={pid}")["process"]
    except (DaemonDown, Refused) as error:
        return {"missing": f"not known: {error}", "issuer": "", "subject": "", "roles": [], "until": 0}
    return found


def _said(facts: dict[str, Any] | None) -> str:
    if facts is None:
        return ""
    if facts["missing"]:
        return f"NO: {facts['missing']}"
    roles = f", roles {', '.join(facts['roles'])}" if facts["roles"] else ", no roles by it"
    return f"{facts['subject']} by {facts['issuer']} until {clock(facts['until'])}{roles}"


@command.command("list")
@json_option
@config_option
def list_tokens(config: Path, as_json: bool) -> None:
    """List who is vouched for now: the agent, whom its token is about, by which issuer, until when, for which processes."""
    client = Client(places(config).control)
    facts = client.get("/v1/identity")
    tell_left_out(client.left_out)
    if as_json:
        print_json(facts["tokens"])
        return
    if not facts["tokens"]:
        out.print("Nobody is vouched for." if facts["needed"] else "No agent needs anybody to vouch for it.")
        return
    shown = table("AGENT", "SUBJECT", "BY", "ROLES", "EXPIRES", "FOR")
    for token in facts["tokens"]:
        whom = token["cgroup"] or "all its processes"
        roles = ", ".join(token["roles"]) or "-"
        shown.add_row(token["agent"], escape(token["subject"]), token["source"], roles, clock(token["expires_at"]), whom)
    out.print(shown)


@command.command("present")
@click.argument("token_file", type=click.File("rb"), default="-")
@click.option("--issuer", default="", help="Name of the issuer, as in [issuers.NAME]; for an agent that takes several.")
@config_option
def present_token(config: Path, issuer: str, token_file: Any) -> None:
    """Present a token, from TOKEN_FILE or stdin, for the agent that runs this.

    It counts for the processes in the cgroup of who presents it, and below. Exit code 0 when it is verified.
    """
    if error := present(places(config).identity, issuer, token_file.read()):
        raise Failure(f"the token is refused: {error}")


@command.command("revoke")
@click.argument("agent")
@click.option("--issuer", default=None, help="Only tokens of this issuer, as in [issuers.NAME].")
@json_option
@config_option
def revoke(config: Path, agent: str, issuer: str | None, as_json: bool) -> None:
    """Revoke the tokens of AGENT that count now, before they expire: its connections end, and these tokens never count again.

    For root, and who policies permit it to. Another token of the agent is taken; to keep it out altogether, change the
    configuration.
    """
    revoked = Client(places(config).control).post("/v1/identity/revoke", {"agent": agent, "issuer": issuer})["revoked"]
    if as_json:
        print_json(revoked)
    elif not revoked:
        out.print(f"Nobody vouches for {agent} now.", markup=False)
    for token in [] if as_json else revoked:
        out.print(f"revoked: {token['subject']} by {token['source']}", markup=False)
    sys.exit(0 if revoked else 1)


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
