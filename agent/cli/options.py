"""What commands have in common before they print: options, of which one names the configuration.

Apart from `output`, which a daemon does not need: what prints tables costs each start 60 ms of the processor.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ...policy.document import Document, load, load_daemon
from ..paths import Paths

DEFAULT_CONFIG = "/etc/hostguard/hostguard.toml"

Command = Callable[..., Any]


def config_option(command: Command) -> Command:
    """``--config``, the same for all commands."""
    return click.option(
        "--config",
        "config",
        type=click.Path(path_type=Path),
        default=DEFAULT_CONFIG,
        envvar="HOSTGUARD_CONFIG",
        show_default=True,
        show_envvar=True,
        help="The configuration file.",
    )(command)


def json_option(command: Command) -> Command:
    """``--json``, the same for all commands that show something."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(command)


def configured(config: Path) -> Document:
    """The configuration. Raises ConfigErrors."""
    return load(config)


def places(config: Path) -> Paths:
    """Where the daemon keeps its things; works beside mistakes elsewhere in the file. Raises ConfigErrors."""
    return Paths.in_section(load_daemon(config))
