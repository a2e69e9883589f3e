"""The command line's help: every command has some, and the reference page is what the commands say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from hostguard.agent.cli.main import COMMANDS, main
from hostguard.agent.cli.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_reference_page_is_what_the_commands_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "stale: python -m hostguard.agent.cli.reference > docs/cli.md"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    for each in commands:
        assert each.help, f"{each.name} has no help"
        for option in each.params:
            if isinstance(option, click.Option):
                assert option.help, f"{each.name} {option.opts} has no help"


def test_a_command_starts_without_what_few_commands_need() -> None:
    """Commands are typed by people, and run by the hundred in scripts: what reads the log takes longer to import than they do."""
    slow = "hostguard.recorder.handover", "hostguard.agent.daemon", "asyncio"
    code = f"import sys, hostguard.agent.cli.main, hostguard.agent.cli.status; print([n for n in {slow} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
