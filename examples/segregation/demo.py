"""Duties kept apart, told as a story: whoever creates a payee may not approve payments.

Run it as root: ``python examples/segregation/demo.py``. Everything in it is real: the server, the kernel hooks, the daemon, the
agents. It makes a cgroup of its own, checks every step, exits with 1 if one differs from what it should be, leaves nothing.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

HERE = Path(__file__).resolve().parent
# The demo starts its server and its guard the way the tests do.
sys.path.insert(0, str(HERE.parent.parent / "tests"))

import guard  # noqa: E402
import servers  # noqa: E402

from hostguard.kernel import cgroups  # noqa: E402

APPROVE = "UPDATE payments SET approved = true WHERE payee = '{}'"
RELOAD_S = 20.0


class Configuration:
    """``examples/segregation`` as it stands, moved into the demo's own folders and pointed at its server."""

    def __init__(self, server: servers.Server) -> None:
        self._server = server

    def files(self, place: guard.Place) -> Mapping[str, str]:
        """The configuration with its policies."""
        below = place.cgroup.relative_to(cgroups.mount_point())
        text = (HERE / "hostguard.toml").read_text(encoding="utf-8")
        for old, new in (
            ('"/var/lib/hostguard"', f'"{place.folder}/state"'),
            ('"/run/hostguard"', f'"{place.folder}/run"'),
            ('"/sys/fs/bpf/hostguard"', f'"{place.pins}"'),
            ('attach = "auto"', f'attach = "{place.cgroup}"'),
            ('"hostguard/payee-bot"', f'"{below}/payee-bot"'),
            ('"hostguard/payment-bot"', f'"{below}/payment-bot"'),
            ('["127.0.0.1:5432"]', f'["{self._server.host}:{self._server.port}"]\nserver_tls = "off"'),
        ):
            if text.count(old) != 1:
                raise RuntimeError(f"examples/segregation/hostguard.toml does not hold {old} once")
            text = text.replace(old, new)
        policies = (HERE / "policies" / "payments.cedar").read_text(encoding="utf-8")
        return {"hostguard.toml": text, "policies/payments.cedar": policies}


class Demo:
    """One run."""

    def __init__(self, server: servers.Server, running: guard.Guard) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.server = server
        self.guard = running
        self.differences = 0

    def say(self, text: str, style: str = "") -> None:
        """What happens, or what came of it."""
        self.console.print(text, markup=False, style=style)

    def check(self, claim: str, holds: object) -> None:
        """Something that must be so."""
        self.differences += not holds
        self.say(f"  {'✓' if holds else '✗ not so:'} {claim}", "green" if holds else "bold red")

    def run(self, agent: str, *statements: str) -> str:
        """What an agent's statements came to."""
        for statement in statements:
            self.say(f"  {agent}> {statement}", "bold")
        environment = self.server.environment("bank")
        found = self.guard.run(agent, [sys.executable, HERE / "agent.py", *statements], environment)
        self.say("    " + (found.stdout + found.stderr).strip().replace("\n", "\n    "))
        return found.stdout + found.stderr

    def command(self, *words: str) -> tuple[int, str]:
        """A hostguard command, with what it shows."""
        self.say(f"  $ hostguard {' '.join(words)}", "bold")
        result = self.guard.cli(*words)
        self.say("    " + (result.stdout + result.stderr).strip().replace("\n", "\n    "))
        return result.returncode, result.stdout + result.stderr

    def edit(self, *changes: tuple[str, str]) -> None:
        """Change the configuration file; nothing counts before a reload."""
        text = self.guard.config.read_text(encoding="utf-8")
        for old, new in changes:
            if old not in text:
                raise RuntimeError(f"the configuration does not hold {old}")
            text = text.replace(old, new)
        self.guard.config.write_text(text, encoding="utf-8")

    def reload(self) -> None:
        """Put the edited configuration in force."""
        assert self.guard.process is not None
        epoch = self.guard.status()["policy"]["epoch"]
        self.guard.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + RELOAD_S
        while self.guard.status()["policy"]["epoch"] == epoch and time.monotonic() < until:
            time.sleep(0.1)

    def tell(self) -> int:
        """All of it; how many steps differed."""
        self.say("\n1. On paper: who could do both?", "bold")
        code, said = self.command("policy", "check")
        self.check("nobody, as it is configured", code == 0)
        self.edit(('owner = "ben"', 'owner = "ann"'))
        self.say("  What if ann owned both agents?")
        code, said = self.command("policy", "check")
        self.check(
            "the check names her, both ways and the policies", code == 1 and "user ann" in said and "payee-bot keeps" in said
        )
        self.edit(('owner = "ann"\nroles = ["payments"]', 'owner = "ben"\nroles = ["payments"]'))
        self.edit(
            ("operations = 40", 'operations = 40\nover = "hold"'),
            ('groups = ["accounts"]', 'groups = ["accounts", "controllers"]'),
        )
        self.say("  What if ann could approve what payment-bot has held?")
        code, said = self.command("policy", "check")
        self.check("that would be both duties as well", code == 1 and "by approving for agent payment-bot" in said)
        self.edit(('\nover = "hold"', ""), ('groups = ["accounts", "controllers"]', 'groups = ["accounts"]'))
        self.command("policy", "duties")

        self.say("\n2. In earnest: each does what is its own", "bold")
        created = self.run("payee-bot", "INSERT INTO payees (iban, name) VALUES ('DE03', 'Chiara Deluca')")
        self.check("ann's agent created a payee", created == "INSERT 0 1\n")
        approved = self.run("payment-bot", APPROVE.format("DE01"))
        self.check("ben's agent approved a payment", approved == "UPDATE 1\n")
        crossed = self.run("payee-bot", APPROVE.format("DE02"))
        self.check("ann's agent may not approve: no policy permits it", "ERROR 42501: no policy permits update" in crossed)

        self.say("\n3. Behind the paper: the agents change hands", "bold")
        self.edit(
            ('owner = "ann"\nroles = ["payees"]', 'owner = "dora"\nroles = ["payees"]'),
            ('owner = "ben"\nroles = ["payments"]', 'owner = "ann"\nroles = ["payments"]'),
        )
        code, said = self.command("policy", "check")
        self.check("on paper that is fine again", code == 0)
        self.reload()
        refused = self.run("payment-bot", APPROVE.format("DE02"))
        self.check(
            "but ann has created payees, so no agent of hers approves payments: the refusal says why and what helps",
            'exclusion "payments" keeps "approve-payment" apart' in refused
            and "user ann has taken part" in refused
            and "HINT" in refused,
        )
        self.guard.kill()
        self.guard.start()
        again = self.run("payment-bot", APPROVE.format("DE02"))
        self.check("kill -9 of the daemon forgets none of it", "user ann has taken part" in again)
        with self.server.connect("bank") as connection:
            rows = connection.execute("SELECT id FROM payments WHERE approved").fetchall()
        self.check("the server has seen one approval, and no other", rows == [(1,)])
        self.command("policy", "duties", "--history")
        return self.differences


def main() -> int:
    schema = (HERE / "schema.sql").read_text(encoding="utf-8")
    with servers.server(18) as server, server.database("bank", schema), guard.guarding(Configuration(server)) as running:
        return 1 if Demo(server, running).tell() else 0


if __name__ == "__main__":
    sys.exit(main())
