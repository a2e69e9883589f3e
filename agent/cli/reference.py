"""The reference page of the command line, made from the commands themselves: ``python -m hostguard.agent.cli.reference``."""

from __future__ import annotations

from collections.abc import Iterator

import click

from .main import main

INTRODUCTION = """# The command line

This page is made from the commands by `python -m hostguard.agent.cli.reference > docs/cli.md`; a test fails when it is stale.

Results go to stdout, talk to stderr. `--json` is there wherever a command shows something. Exit codes: 0 fine, 1 the thing asked
about is not fine, 2 the command line or the configuration is wrong.
"""
WIDTH = 100


def reference() -> str:
    """The whole page as Markdown."""
    root = click.Context(main, info_name="hostguard", **main.context_settings)
    return INTRODUCTION + "".join(map(_section, _contexts(root)))


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """The command and all below it, parents first."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from _contexts(click.Context(command, info_name=name, parent=context))


def _section(context: click.Context) -> str:
    context.terminal_width = WIDTH
    level = 2 if context.parent is None or context.parent.parent is None else 3
    return f"\n{'#' * level} {context.command_path}\n\n```\n{context.get_help().rstrip()}\n```\n"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
