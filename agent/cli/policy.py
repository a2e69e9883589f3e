"""``hostguard policy``: author policy safely, without a running daemon."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, TextIO

import click
import msgspec
from rich.markup import escape

from ...policy.decide import Policy
from ...policy.document import Document
from .duties import duties
from .options import config_option, configured, json_option
from .output import fail, out, print_json, table

VERDICT_STYLES = {"allow": "green", "deny": "red", "hold": "yellow"}


class Question(msgspec.Struct):
    """One line of a ``--batch`` file."""

    id: Any
    text: str


@click.group("policy")
def command() -> None:
    """Author policy safely: check what you wrote, explain what it would decide, print the schema it is written against."""


@command.command("check")
@json_option
@config_option
def check(config: Path, as_json: bool) -> None:
    """Read the configuration and the policies; report every mistake, and what looks unintended.

    Exit code 2 when there is a mistake (nothing would start), 1 when somebody could exercise duties that must be apart, else 0,
    warnings or not.
    """
    from ...policy.check import check as examine

    document = configured(config)
    found = examine(Policy(document))
    if as_json:
        print_json({"file": document.file, **msgspec.to_builtins(found)})
        sys.exit(1 if found.conflicts else 0)
    counts = ", ".join(f"{count} {name}" for name, count in found.counts.items())
    out.print(f"[green]✓[/] {escape(document.file)}: {counts}")
    for warning in found.warnings:
        out.print("[yellow]![/] ", end="")
        out.print(warning, markup=False)
    for conflict in found.conflicts:
        out.print("[red]✗[/] ", end="")
        out.print(conflict, markup=False)
    sys.exit(1 if found.conflicts else 0)


command.add_command(duties)


@command.command("schema")
def schema() -> None:
    """Print the Cedar schema that policies are validated against."""
    from ...policy.rules import schema_text

    click.echo(schema_text(), nl=False)


@command.command("base")
def base() -> None:
    """Print the base policy that is part of every policy set unless `policy.base = false`."""
    from ...policy.rules import base_source

    click.echo(base_source().text, nl=False)


@command.command("explain")
@click.option("--agent", required=True, help="Who asks.")
@click.option("--resource", required=True, help="Where.")
@click.option("--database", default=None, help="Database; by default the one that the configuration names.")
@click.option(
    "--batch",
    type=click.File("r"),
    default=None,
    help='JSON lines {"id", "text"} to explain, "-" for stdin; one object a line comes out.',
)
@click.argument("sql", required=False)
@json_option
@config_option
def explain(
    config: Path, as_json: bool, agent: str, resource: str, database: str | None, batch: TextIO | None, sql: str | None
) -> None:
    """Tell what would be decided on SQL, and why: verdict, policies, effects, columns and masks, whose approval would help.

    \b
      hostguard policy explain --agent support-bot --resource shop 'DELETE FROM orders WHERE id = 7'
      hostguard policy explain --agent support-bot --resource shop --batch statements.jsonl

    Names are resolved as with search_path "public", since no database is asked. Exit code 0 whatever the verdict.
    """
    if (sql is None) == (batch is None):
        raise click.UsageError("give one SQL text, or --batch FILE")
    document = configured(config)
    _check_names(document, agent, resource)
    policy = Policy(document)
    if batch is not None:
        _explain_batch(policy, agent, resource, database, batch)
        return
    from ...policy.explain import explain as answer

    found = answer(policy, agent, resource, str(sql), database=database)
    if as_json:
        print_json(found)
    else:
        _show(found)


def _check_names(document: Document, agent: str, resource: str) -> None:
    for kind, name, known in (("agent", agent, document.agents), ("resource", resource, document.resources)):
        if name not in known:
            raise click.UsageError(f"{document.file} has no {kind} {name!r}; it has: {', '.join(known) or 'none'}")


def _explain_batch(policy: Policy, agent: str, resource: str, database: str | None, batch: TextIO) -> None:
    """One object out for each line in. A line that is no question gives an object with `error`, and exit code 2 at the end."""
    from ...policy.explain import explain as answer

    decoder, broken = msgspec.json.Decoder(Question), 0
    for number, line in enumerate(batch, 1):
        if not line.strip():
            continue
        try:
            question = decoder.decode(line)
        except msgspec.DecodeError as error:
            broken += 1
            sys.stdout.write(json.dumps({"line": number, "error": str(error)}) + "\n")
            continue
        found = {"id": question.id, **answer(policy, agent, resource, question.text, database=database)}
        sys.stdout.write(json.dumps(found, ensure_ascii=False) + "\n")
    if broken:
        fail(f'{broken} lines of the batch are no JSON object with "id" and "text"')
        sys.exit(2)


def _duty(duty: dict[str, Any]) -> str:
    how = {"always": "", "object": " on one object", "window": " within {} s"}
    apart = [
        f"{', '.join(each['duties'])}{how[each['within']].format(each['window_s'])} for one {each['scope']} ({each['exclusion']})"
        for each in duty["apart_from"]
    ]
    return f"{duty['duty']} on {', '.join(duty['objects'])}, apart from {'; '.join(apart)}"


def _show(found: dict[str, Any]) -> None:
    out.print(f"[bold {VERDICT_STYLES[found['verdict']]}]{found['verdict']}[/]  ", end="")
    out.print(found["reason"], markup=False)
    if found["hint"]:
        out.print("  hint      ", end="")
        out.print(found["hint"], markup=False)
    for name in ("policies", "effects", "reads", "writes", "flags", "helped_by"):
        if found.get(name):
            out.print(f"  {name.replace('_', ' '):<10}", end="")
            out.print(", ".join(found[name]), markup=False)
    for remedy in found["remedies"]:
        out.print("  would help  ", end="")
        out.print(remedy, markup=False)
    for duty in found["duties"]:
        out.print("  duty      ", end="")
        out.print(_duty(duty), markup=False)
    for budget in found["budgets"]:
        limits = ", ".join(f"{budget[word]} {word}" for word in ("operations", "rows", "bytes") if budget[word])
        beyond = "then it is held" if budget["over"] == "hold" else "then it is denied"
        out.print("  budget    ", end="")
        out.print(f"{budget['budget']}: {limits} within {budget['window_s']} s, {beyond}", markup=False)
    if found["columns"]:
        shown = table("  COLUMN", "DEPENDS ON", "MASK")
        for column in found["columns"]:
            mask = f"[yellow]{escape(column['mask'])}[/]" if column["mask"] else "[green]as it is[/]"
            shown.add_row("  " + escape(column["name"]), escape(", ".join(column["sources"]) or "nothing"), mask)
        out.print(shown)
