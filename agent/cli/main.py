"""The ``hostguard`` command."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from ...policy.document import ConfigErrors
from ..client import DaemonDown, Refused
from ..failures import Failure

COMMANDS = {
    "status": ("status", "What is guarded, and whether it holds: hooks, workloads, flows, held requests, log."),
    "doctor": ("doctor", "What this host can and can't enforce, and how to mend it."),
    "daemon": ("daemon", "Guard this host, in the foreground; systemd runs this."),
    "restart": ("restart", "Upgrade or reconfigure the running daemon; open flows go on."),
    "stop": ("stop", "Stop an agent, or all: end its connections, refuse new ones, at once."),
    "resume": ("resume", "Let a stopped agent go on."),
    "exec": ("exec", "Run a command as a guarded workload."),
    "login": ("login", "Sign in at an identity provider."),
    "identity": ("whois", "Who a process is: its program, its workload, its agent; who you are: login, logout, whoami."),
    "requests": ("requests", "Held operations: list, show, approve, deny, withdraw, watch."),
    "grants": ("grants", "Permissions in advance: issue, list, show, endorse, revoke."),
    "recordings": ("recordings", "What happened: list, show, replay, search, export, rerun."),
    "names": ("names", "Names that agents ask name servers for: list, explain."),
    "report": ("report", "Evidence for an audit: what agents could do, did, were denied, who approved."),
    "log": ("log", "The log's Merkle tree: verify, prove, check-proof, checkpoint, key."),
    "ship": ("ship", "Copy the sealed log to an S3 bucket."),
    "forward": ("forward", "Send entries to syslog or OpenTelemetry."),
    "ca": ("ca", "This host's certificate authority: show, rotate, export, trust."),
    "tags": ("tags", "Find columns that should carry a tag: scan."),
    "policy": ("policy", "Author policy safely: check, explain, schema."),
    "install": ("install", "Make hostguard a part of this host: systemd unit, user, folders, a first configuration."),
    "uninstall": ("uninstall", "Take hostguard off this host: hooks, pins, cgroups, installed files."),
}
"""Name to (module, help). Modules are imported when used: a status must not wait for what a daemon needs."""


def fail(message: str) -> None:
    """One line of what is wrong. Imported when it is: a daemon, an agent's command have no tables to print."""
    from . import output

    output.fail(message)


class Commands(click.Group):
    """The commands, each from its own module; what goes wrong becomes one clear message with the right exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; known failures become a message on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except ConfigErrors as errors:
            for error in errors.errors:
                fail(str(error))
            number = len(errors.errors)
            fail(f"{number} mistake{'s' * (number != 1)} in the configuration; nothing was changed")
            sys.exit(2)
        except DaemonDown as error:
            fail(f"{error}; is `hostguard daemon` running, and with this configuration?")
            sys.exit(1)
        except (Refused, Failure) as error:
            fail(str(error))
            sys.exit(1)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="hostguard", message="hostguard %(version)s")
def main() -> None:
    """hostguard guards the data path of AI agents on this host.

    It redirects the sockets of guarded processes to a local loop that decodes each operation, applies the policy, masks what must
    not be seen, waits for a human where the policy wants one, and puts everything on record before it goes on.

    \b
    First steps:
      hostguard doctor                                   what this host can enforce
      hostguard policy check                             read the configuration and the policies
      hostguard daemon                                   guard (systemd runs this)
      hostguard exec --workload NAME -- CMD              run an agent
      hostguard status                                   what is guarded now

    Exit codes: 0 fine, 1 the thing asked about is not fine, 2 the command line or the configuration is wrong.
    """
