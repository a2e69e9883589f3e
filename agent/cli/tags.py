"""``hostguard tags``: which columns are sensitive."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from ..failures import Failure
from .output import config_option, configured, json_option, print_json


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
@json_option
@config_option
def scan(config: Path, as_json: bool, resource: str, dsn_file: Path | None, dsn_env: str, rows: int) -> None:
    """Propose tags for the columns of RESOURCE, as configuration to review.

    Names, comments, types and some values are looked at, in a read-only transaction of an account of your own: give it as a
    connection string in a file or a variable, never on the command line. No value is stored or shown. Nothing is changed.
    """
    from ...policy.discover import as_toml, proposals
    from ..scan import columns

    document = configured(config)
    if resource not in document.resources:
        raise Failure(f"the configuration has no resource {resource}")
    database, found = columns(_dsn(dsn_file, dsn_env), rows)
    tagged = {column for tag in document.tags.values() for column in tag.columns}
    proposed = proposals(resource, database, found, tagged, document.resources[resource].phone_regions)
    if as_json:
        print_json({"database": database, "columns": len(found), "proposals": msgspec.to_builtins(proposed)})
        return
    tables = len({(column.schema, column.table) for column in found})
    click.echo(
        f"# {resource}/{database}: {len(found)} columns of {tables} tables, at most {rows} rows of each. Review before use.\n"
    )
    click.echo(as_toml(proposed) or "# nothing to propose\n", nl=False)


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
