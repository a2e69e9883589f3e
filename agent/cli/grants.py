"""``hostguard grants``: permissions in advance."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from ..client import Client
from ..granting import SEARCH_PATH
from .moments import MOMENT
from .options import config_option, json_option, places
from .output import ago, clock, out, print_json, table, tell_left_out

STYLES = {"usable": "green", "waiting": "yellow"}


def _client(config: Path) -> Client:
    return Client(places(config).control)


@click.group("grants")
def command() -> None:
    """Permissions in advance: one agent, one exact statement or shape, so many uses, until a time.

    A grant stands for the approval of who issued it, so it can't permit what no approval of theirs would. Policies say who may
    (action "issue"). What it is good for is exact; its digest names it.
    """


@command.command("issue")
@click.option("--agent", required=True, help="Who may use it.")
@click.option("--resource", required=True, help="Where.")
@click.option("--database", required=True, help="In which database.")
@click.option("--uses", type=click.IntRange(1, 1_000_000), required=True, help="How often.")
@click.option("--until", type=MOMENT, required=True, help="Until when: 30m, 8h, 7d, or a time such as 2026-03-01T18:00.")
@click.option("--from", "not_before", type=MOMENT, default=None, help="From when on. Default now.")
@click.option("--shape", is_flag=True, help="Whatever differs from the statement in literals and parameters only.")
@click.option("--parameters", default="[]", help="Bound values in order as JSON: '[\"7\", null]'.")
@click.option("--user", default="", help="Only as this user of the database.")
@click.option("--search-path", default=",".join(SEARCH_PATH), show_default=True, help="The schemas that the session looks into.")
@click.option("--reason", default="", help="Why; it goes on record.")
@click.argument("statement")
@json_option
@config_option
def issue(
    config: Path,
    as_json: bool,
    statement: str,
    parameters: str,
    search_path: str,
    not_before: float | None,
    **terms: Any,
) -> None:
    """Permit STATEMENT in advance: exactly this text, as the agent will send it."""
    try:
        values = json.loads(parameters)
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}", param_hint="--parameters") from None
    if not isinstance(values, list) or not all(value is None or isinstance(value, str) for value in values):
        raise click.BadParameter("it must be a list of texts and nulls", param_hint="--parameters")
    path = [schema.strip() for schema in search_path.split(",") if schema.strip()]
    wanted = {**terms, "statement": statement, "parameters": values, "search_path": path, "not_before": not_before or 0}
    _print(_client(config).post("/v1/grants", wanted), as_json)


@command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that are over.")
@json_option
@config_option
def list_grants(config: Path, as_json: bool, everything: bool) -> None:
    """List grants, the oldest first."""
    client = _client(config)
    grants = client.get("/v1/grants" + ("?all=1" if everything else ""))
    tell_left_out(client.left_out)
    if as_json:
        print_json(grants)
        return
    if not grants:
        out.print("There is no grant.")
        return
    shown = table("GRANT", "STATE", "AGENT", "RESOURCE", "LEFT", "ENDS IN", "BY", "FOR")
    for grant in grants:
        left = grant["until"] - time.time()
        shown.add_row(
            grant["id"],
            _state(grant),
            grant["agent"],
            grant["resource"],
            f"{grant['left']} of {grant['uses']}",
            ago(left) if left > 0 else "-",
            ", ".join(grant["issuers"]),
            escape(f"{grant['kind']}: {grant['summary'] or grant['statement'].splitlines()[0][:80]}"),
        )
    out.print(shown)


@command.command("show")
@click.argument("grant_id")
@json_option
@config_option
def show(config: Path, as_json: bool, grant_id: str) -> None:
    """Show one grant: what it is good for, how far it goes, who stands for it."""
    _print(_client(config).get(f"/v1/grants/{grant_id}"), as_json)


@command.command("endorse")
@click.argument("grant_id")
@json_option
@config_option
def endorse(config: Path, as_json: bool, grant_id: str) -> None:
    """Stand for a grant that another user issued: where policies want two approvals, a grant takes two."""
    _print(_client(config).post(f"/v1/grants/{grant_id}/endorse"), as_json)


@command.command("revoke")
@click.argument("grant_id")
@click.option("--reason", default="", help="Why; it goes on record.")
@json_option
@config_option
def revoke(config: Path, as_json: bool, grant_id: str, reason: str) -> None:
    """End a grant at once. Who may issue it may, who stands for it, its agent's owner, and root."""
    _print(_client(config).post(f"/v1/grants/{grant_id}/revoke", {"reason": reason}), as_json)


def _state(grant: dict[str, Any]) -> str:
    return f"[{STYLES.get(grant['state'], 'red')}]{grant['state']}[/]"


def _print(grant: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(grant)
        return
    out.print(f"[bold]{grant['id']}[/]  {_state(grant)}  {grant['left']} of {grant['uses']} uses left")
    out.print(f"  valid     {clock(grant['not_before'])} to {clock(grant['until'])}")
    out.print(
        f"  agent     {escape(grant['agent'])} on {escape(grant['resource'])}, database {escape(grant['database'])}", end=""
    )
    out.print(f" as {escape(grant['user'])}" if grant["user"] else " as any user")
    out.print(f"  issued by {escape(', '.join(grant['issuers']))}", end="")
    out.print(f" with {grant['request']}" if grant["request"] else "", end="")
    out.print(f": {escape(grant['reason'])}" if grant["reason"] else "")
    out.print(f"  good for  this {grant['kind']}")
    for line in grant["statement"].split("\n"):
        out.print("    ", end="")
        out.print(line, markup=False, style="bold")
    for number, value in enumerate(grant["parameters"], 1):
        out.print(f"    ${number} = ", end="")
        out.print(value, markup=False)
    out.print(f"  digest    {grant['digest']}")
    if grant["used_at"]:
        out.print(f"  last used {clock(grant['used_at'])}")
    if grant["revoked_at"]:
        said = f": {grant['revoked_reason']}" if grant["revoked_reason"] else ""
        out.print(f"  revoked   {clock(grant['revoked_at'])} by {escape(grant['revoked_by'] + said)}")
