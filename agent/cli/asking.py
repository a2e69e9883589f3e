"""Recordings asked of the daemon, by who can't read the log's files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from ...recorder.recording import Event, Facts, Recording, Step
from ..client import Client
from ..failures import Failure
from ..paths import Paths
from .output import err, tell_left_out

Command = Callable[..., Any]
LIMIT_S = 90.0
"""How long the daemon may take."""


def daemon_option(command: Command) -> Command:
    """``--daemon``, the same for all commands that can ask it."""
    return click.option(
        "--daemon", "by_daemon", is_flag=True, help="Ask the daemon, as your user, although you can read the log's files."
    )(command)


def payloads_option(command: Command) -> Command:
    """``--no-payloads``, the same for all commands that show one recording."""
    return click.option(
        "--payloads/--no-payloads", default=True, help="Captured replies, and statements so long that they lie beside the log."
    )(command)


def daemon_of(paths: Paths, by_daemon: bool) -> Client | None:
    """Whom to ask; None where the log's files can be read, or there are none."""
    try:
        os.listdir(paths.log)
    except PermissionError:
        by_daemon = True
    except OSError:
        pass
    return Client(paths.control) if by_daemon else None


def rows(client: Client, path: str, query: Mapping[str, str]) -> Any:
    """A list, or what a search found; says on stderr what is left out. Raises DaemonDown, Refused."""
    found = client.get(path, query, LIMIT_S)
    tell_left_out(client.left_out, "replay")
    return found


def asked(client: Client, flow: int, identity: tuple[Path, ...], *, payloads: bool) -> Recording:
    """The recording of a flow. Raises Failure, DaemonDown, Refused."""
    if identity:
        raise Failure("the daemon opens no payloads: --identity takes the log's files, which you can't read, or without --daemon")
    told = client.get(f"/v1/recordings/{flow}", {"payloads": str(int(payloads))}, LIMIT_S)
    if told["remarks"]:
        err.print(told["remarks"], style="yellow", markup=False)
    found = told["recording"]
    items = tuple(_item(item) for item in found.pop("items"))
    return Recording(facts=msgspec.convert(found.pop("facts"), type=Facts), items=items, **found)


def _item(found: dict[str, Any]) -> Step | Event:
    return msgspec.convert(found, type=Event) if "kind" in found else msgspec.convert(found, type=Step)
