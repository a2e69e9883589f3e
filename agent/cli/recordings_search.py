"""``hostguard recordings search``: statements by their words."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import click
import msgspec

from ...recorder import search as index
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader
from ...recorder.wrapping import Decrypt
from ..failures import Failure
from .asking import daemon_of, daemon_option, rows
from .flow_filters import asked_for, filter_options, filters_of
from .identity import decrypt_with, identity_option, tell_unopened
from .options import config_option, json_option, places
from .output import clock, err, out, print_json
from .timeline import VERDICT_STYLES

BUSY_S = 30.0
"""How long to wait for another search that brings the index up to date."""


@click.command("search")
@click.argument("text", default="")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@click.option("--rebuild", is_flag=True, help="Make the index anew from the log first.")
@daemon_option
@identity_option
@json_option
@config_option
def search(
    config: Path,
    as_json: bool,
    identity: tuple[Path, ...],
    by_daemon: bool,
    text: str,
    limit: int,
    rebuild: bool,
    **wanted: Any,
) -> None:
    """Find operations whose statement has all words of TEXT, the oldest first.

    "two words" in double quotes follow each other; cust* is any word that begins so. The index (state_dir/search.sqlite) is made
    from the log and brought up to date by each search; the daemon never writes it, and it may be deleted. With --identity the
    index is made in memory, with the texts of encrypted payloads, and nothing of them is written anywhere.
    """
    if wanted["verdict"] == "refused":
        raise click.UsageError("refused connections have no statements; `hostguard recordings list --verdict refused` has them")
    paths = places(config)
    if (client := daemon_of(paths, by_daemon)) is not None:
        if identity or rebuild:
            raise click.UsageError("--identity and --rebuild take the log's files, which the daemon does not give")
        told = rows(client, "/v1/recordings/search", {**asked_for(wanted, limit), "text": text})
        _show(msgspec.convert(told["found"], list[index.Found]), told["fresh_to"], as_json)
        return
    try:
        with closing(_opened(None if identity else paths.search)) as connection:
            fresh = _update(connection, paths.log, rebuild, decrypt_with(identity))
            found = index.search(connection, text, filters_of(wanted, limit))
            unopened = index.unopened(connection)
    except index.BadQuery as error:
        raise click.UsageError(str(error)) from None
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
    except sqlite3.Error as error:
        raise Failure(f"the index {paths.search}: {error}; it may be deleted, or made anew with --rebuild") from None
    tell_unopened(unopened, bool(identity))
    _show(found, fresh, as_json)


def _show(found: list[index.Found], fresh: int, as_json: bool) -> None:
    if as_json:
        print_json({"fresh_to": fresh, "found": msgspec.to_builtins(found)})
        return
    for operation in found:
        _print(operation)
    err.print(f"{len(found)} operations; the index has all entries before {fresh}", markup=False)


def _opened(path: Path | None) -> sqlite3.Connection:
    """The index; one in memory for None."""
    if path is None:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        # No temporary file either: what is in it was encrypted.
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
    path.chmod(0o600)
    connection.execute("PRAGMA journal_mode = WAL")
    return connection


def _update(connection: sqlite3.Connection, folder: Path, rebuild: bool, decrypt: Decrypt | None) -> int:
    """Bring the index up to date; returns the position in the log from which on it knows nothing."""
    first = Reader(folder).poll()[:1]
    origin = msgspec.msgpack.encode(first[0][1]) if first else b""
    start = 0 if rebuild else index.position(connection, origin)
    return index.update(connection, Reader(folder, start, decrypt), origin, rebuild=rebuild)


def _print(found: index.Found) -> None:
    verdicts = ", then ".join(found.verdicts) or "?"
    style = VERDICT_STYLES.get(found.verdicts[-1] if found.verdicts else "", "red")
    out.print(f"[dim]{clock(found.wall_ns / 1e9)}[/] flow {found.flow} #{found.operation} [{style}]{verdicts}[/] ", end="")
    out.print(f"{found.agent} as {found.user or '?'} on {found.resource}, {found.form}, entry {found.entry}", markup=False)
    out.print(" " * 20 + found.text, markup=False, style="bold")
