"""``hostguard names``: what agents ask name servers for."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from ...recorder.packing import LogCorrupt
from ...recorder.questions import Asked, Wanted, questions
from ...recorder.reader import Reader
from ..failures import Failure
from .flow_filters import wall_ns
from .options import config_option, configured, json_option, places
from .output import clock, fail, out, print_json, table
from .timeline import VERDICT_STYLES


@click.group("names")
def command() -> None:
    """Names that agents ask name servers for: what was asked, what would be decided."""


@command.command("list")
@click.option("--agent", default=None, help="Only this agent's.")
@click.option("--name", default=None, help="Only this name, and names below it.")
@click.option("--verdict", type=click.Choice(["allow", "deny", "would-deny"]), default=None, help="Only with this verdict.")
@click.option("--since", default=None, help="Since then: 90m, 12h, 7d, or 2026-11-23T08:00.")
@click.option("--until", default=None, help="Before then.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
@config_option
def list_names(
    config: Path,
    as_json: bool,
    agent: str | None,
    name: str | None,
    verdict: str | None,
    since: str | None,
    until: str | None,
    limit: int,
) -> None:
    """List questions from the log, the oldest first; needs no daemon."""
    domain = name.lower().rstrip(".") if name is not None else None
    wanted = Wanted(agent, domain, verdict, wall_ns(since), wall_ns(until), limit)
    try:
        found = questions(Reader(places(config).log), wanted)
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    if as_json:
        print_json(msgspec.to_builtins(found))
    elif not found:
        out.print("No question on record matches.")
    else:
        _print(found)


def _print(found: list[Asked]) -> None:
    shown = table("WHEN", "AGENT", "PROCESS", "NAME", "TYPE", "VERDICT", "OUTCOME")
    for asked in found:
        told = f"would-{asked.would}" if asked.would else asked.verdict
        verdict = f"[{VERDICT_STYLES.get(told, 'red')}]{_escaped(told)}[/]"
        process = f"{asked.pid} {_escaped(asked.comm)}"
        row = clock(asked.wall_ns / 1e9), _escaped(asked.agent), process, _escaped(asked.name), _escaped(asked.type), verdict
        shown.add_row(*row, _escaped(_outcome(asked)))
    out.print(shown)


def _outcome(asked: Asked) -> str:
    if asked.reason:
        return asked.reason
    if not asked.status:
        return "no answer on record"
    return ", ".join(asked.answers) or asked.status


def _escaped(text: str) -> str:
    return text.replace("[", r"\[")


@command.command("explain")
@click.option("--agent", required=True, help="Who asks.")
@click.option("--type", "kind", default="A", show_default=True, help="Type of the records asked for.")
@click.argument("name")
@json_option
@config_option
def explain(config: Path, as_json: bool, agent: str, kind: str, name: str) -> None:
    """Tell whether an agent may ask for NAME, by which policies, and what in it looks like a tunnel.

    Exit code 0 whatever the verdict.
    """
    from ...policy.explain_name import explain as answer
    from ...policy.strict import suggest

    document = configured(config)
    if agent not in document.agents:
        fail(f'there is no agent "{agent}"' + suggest(agent, document.agents))
        sys.exit(2)
    found = answer(document, agent, name, kind.upper())
    if as_json:
        print_json(found)
        return
    style = VERDICT_STYLES[found["verdict"]]
    out.print(f"[{style}]{found['verdict']}[/] ", end="")
    out.print(f"{found['name']} {found['type']}: {found['reason']}", markup=False)
    for what, values in (("flags", found["flags"]), ("resources", found["resources"])):
        if values:
            out.print(f"{what:10} {', '.join(values)}", markup=False)
