"""``hostguard tags``: which columns are sensitive."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from ...policy.document import Document
from ...policy.generations import CantRaise, keyed_tags, raised
from ..failures import Failure
from ..paths import Paths
from ..reloading import reloaded, replace_text
from .exec import enter
from .options import config_option, configured, json_option
from .output import print_json


@click.group("tags")
def command() -> None:
    """Find what should carry a tag."""


@command.command("scan")
@click.argument("resource")
@click.option(
    "--dsn-file", type=click.Path(path_type=Path), default=None, help="File that holds the connection string (libpq's)."
)
@click.option("--dsn-env", default="HOSTGUARD_SCAN_DSN", show_default=True, help="Variable that holds it otherwise.")
@click.option(
    "--rows", type=click.IntRange(0, 10_000), default=200, show_default=True, help="Rows of each table to look at; 0 for none."
)
@click.option(
    "--workload", default=None, help="Read through hostguard, as this workload, with the resource's credential: no secret needed."
)
@click.option("--database", default=None, help="With --workload: the database.  [default: named as the resource]")
@json_option
@config_option
def scan(
    config: Path,
    as_json: bool,
    resource: str,
    dsn_file: Path | None,
    dsn_env: str,
    rows: int,
    workload: str | None,
    database: str | None,
) -> None:
    """Propose tags for the columns of RESOURCE, as configuration to review.

    Names, comments, types and some values are looked at, in a read-only transaction. No value is stored or shown, nothing is
    changed. Also told is what triggers, rules and defaults copy out of tagged columns, and which of them can't be followed.

    Either as an account of your own, given as a connection string in a file or a variable, never on the command line. Or
    with --workload as that workload's agent: hostguard logs in with the resource's credential, policies decide what the agent may
    read, and the record has it. Values that it may not see are not looked at.
    """
    from ...policy.discover import Copies, as_toml, copies, copies_as_comments, proposals
    from ..scan import scan as scanned

    document = configured(config)
    if resource not in document.resources:
        raise Failure(f"the configuration has no resource {resource}")
    if workload is None:
        if database is not None:
            raise click.UsageError("--database goes with --workload; a connection string names its own")
        dsn = _dsn(dsn_file, dsn_env)
    else:
        dsn = _guarded(document, resource, workload, database or resource, rows)
    database, found, catalog = scanned(dsn, rows)
    tagged = {column for tag in document.tags.values() for column in tag.columns}
    proposed = proposals(resource, database, found, tagged, document.resources[resource].phone_regions)
    hidden = [*tagged, *(each.column for each in proposed if not each.within)]
    copied = copies(resource, database, hidden, catalog) if catalog is not None else Copies({}, ())
    if as_json:
        told = {"proposals": msgspec.to_builtins(proposed), **msgspec.to_builtins(copied)}
        print_json({"database": database, "columns": len(found), **told})
        return
    tables = len({(column.schema, column.table) for column in found})
    click.echo(
        f"# {resource}/{database}: {len(found)} columns of {tables} tables, at most {rows} rows of each. Review before use.\n"
    )
    click.echo(as_toml(proposed) or "# nothing to propose\n", nl=False)
    click.echo(copies_as_comments(copied), nl=False)


@command.command("rotate")
@click.argument("tags", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All tags with a mask of kind hash or format.")
@json_option
@config_option
def rotate(config: Path, as_json: bool, tags: tuple[str, ...], everything: bool) -> None:
    """Give the masks of TAGS, of kind hash or format, another key.

    They get one generation, one above the highest that any tag has, so that what joins among them still does, and no key that was
    used before comes back. The configuration file is changed in these places alone, and the running daemon reads it, which is on
    record with the file's text. What was given out before matches no more.
    """
    if everything == bool(tags):
        raise click.UsageError("name tags, or say --all")
    document = configured(config)
    file = config.resolve()
    text = file.read_text(encoding="utf-8")
    known = keyed_tags(text)
    chosen = tuple(known) if everything else tuple(dict.fromkeys(tags))
    if not chosen:
        raise Failure("no tag has a mask of kind hash or format")
    generation = 1 + max(known.values(), default=0)
    try:
        changed = raised(text, chosen, generation)
    except CantRaise as error:
        raise Failure(f"{config}: {error}") from None
    replace_text(file, changed)
    epoch = reloaded(Paths.in_section(document.daemon).control)
    if as_json:
        print_json({"tags": list(chosen), "generation": generation, "epoch": epoch})
        return
    click.echo(f"generation {generation} for {', '.join(chosen)}")
    click.echo(f"in force as epoch {epoch}" if epoch is not None else "no daemon runs: it will be in force at the next start")


def _guarded(document: Document, resource: str, workload: str, database: str, rows: int) -> str:
    """From here on this process is one of the workload's; what it connects to is the resource's first address."""
    from ..scan import connection_string

    section = document.resources[resource]
    if section.protocol != "postgres":
        raise Failure(f"resource {resource} is of protocol {section.protocol}: there are no columns to scan")
    if rows and section.capture_replies:
        raise Failure(f"replies of {resource} are kept (capture_replies), so values would be stored: scan with --rows 0")
    enter(document, workload)
    return connection_string(section.addresses[0], database, section.client_password)


def _dsn(file: Path | None, variable: str) -> str:
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Failure(f"{file}: {error.strerror if isinstance(error, OSError) else 'not UTF-8'}") from None
    dsn = os.environ.get(variable)
    if not dsn:
        raise Failure(f"no connection string: give --dsn-file, or set {variable}")
    return dsn
