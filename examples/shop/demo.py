"""The main job, told as a story: two agents, one PostgreSQL, and hostguard between them.

Run it with ``make demo``. Everything in it is real: the server, its TLS, the kernel hooks, the daemon, the agents. It asks
nothing, makes a cgroup of its own to attach to, checks every step, exits with 1 if one differs from what it should be, leaves
nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

SHOP = Path(__file__).resolve().parent
# The demo starts its server and its guard the way the tests do.
sys.path.insert(0, str(SHOP.parent.parent / "tests"))

import guard  # noqa: E402
import logins  # noqa: E402
import memory  # noqa: E402
import servers  # noqa: E402
from certificates import Authority  # noqa: E402

from hostguard.kernel import cgroups  # noqa: E402

MASKED = """\
id  name           contact                    card              shouted
1   Ada Brandt     a*********@example.com     ************1111  NULL
2   Bruno Costa    b****@example.org          ************4444  NULL
3   Chiara Deluca  c************@example.net  ***********0005   NULL
4   Dmitri Egorov  d*****@example.com         ************1117  NULL
"""

ROOTS, SECRET = "company.pem", "secrets/shop"
"""Beside the configuration: who vouches for the server, the password of the server's role."""

FRAUD = """\
Dmitri Egorov, d*****@example.com, 6011111111111117: 3 returned
"""


class ShopConfiguration:
    """``examples/shop/hostguard.toml`` as it stands, moved into the demo's own folders and pointed at its server."""

    def __init__(self, server: servers.Server, authority: Authority, password: str) -> None:
        self._server = server
        self._authority = authority
        self._password = password

    def files(self, place: guard.Place) -> Mapping[str, str]:
        """The configuration with its policies."""
        below = place.cgroup.relative_to(cgroups.mount_point())
        text = (SHOP / "hostguard.toml").read_text(encoding="utf-8")
        for old, new in (
            ('"/var/lib/hostguard"', f'"{place.folder}/state"'),
            ('"/run/hostguard"', f'"{place.folder}/run"'),
            ('"/sys/fs/bpf/hostguard"', f'"{place.pins}"'),
            ('attach = "auto"', f'attach = "{place.cgroup}"'),
            ('"hostguard/support-bot"', f'"{below}/support-bot"'),
            ('"hostguard/fraud-bot"', f'"{below}/fraud-bot"'),
            ('["127.0.0.1:5432", "[::1]:5432"]', f'["{self._server.host}:{self._server.port}"]'),
            ("/etc/hostguard/company.pem", str(place.folder / ROOTS)),
            ("/etc/hostguard/secrets/shop", str(place.folder / SECRET)),
        ):
            if text.count(old) != 1:
                raise RuntimeError(f"examples/shop/hostguard.toml does not hold {old} once")
            text = text.replace(old, new)
        policies = (SHOP / "policies" / "shop.cedar").read_text(encoding="utf-8")
        mine = {ROOTS: self._authority.pem, SECRET: f"{self._password}\n"}
        return {"hostguard.toml": text, "policies/shop.cedar": policies} | mine


class Story:
    """What is told, and what of it turned out otherwise."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.differences = 0
        self._chapter = 0

    def chapter(self, title: str) -> None:
        """Begin a part."""
        self._chapter += 1
        self.console.print(f"\n[bold]{self._chapter}. {title}[/]")

    def say(self, text: str) -> None:
        """A sentence between."""
        self.console.print(text, markup=False)

    def typed(self, who: str, command: str) -> None:
        """A command that somebody types."""
        self.console.print(f"  [cyan]{who}[/] $ ", end="")
        self.console.print(command, markup=False, style="bold")

    def shown(self, text: str) -> None:
        """What came of it."""
        for line in text.rstrip("\n").splitlines():
            self.console.print(f"    {line}", markup=False)

    def check(self, claim: str, holds: object, found: str = "") -> None:
        """Something that must be so."""
        if holds:
            self.console.print(f"  [green]✓[/] {claim}")
            return
        self.differences += 1
        self.console.print(f"  [bold red]✗ not so:[/] {claim}")
        if found:
            self.shown(found)


class Demo:
    """One run."""

    def __init__(self, story: Story, server: servers.Server, running: guard.Guard, password: str) -> None:
        self.story = story
        self.server = server
        self.guard = running
        self.password = password
        # What any careful client is told of its server; nothing of it is hostguard's, nothing of it is secret.
        own = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(running.folder / ROOTS)}
        self.environment = server.environment("shop", "support") | own

    def tell(self) -> None:
        """All chapters, in order."""
        self.introduction()
        self.no_password()
        self.masked_rows()
        self.refused_drop()
        self.held_delete()
        self.rolled_back()
        self.secret_stays()
        self.status()
        self.replay()
        self.closed()

    def introduction(self) -> None:
        story = self.story
        story.chapter("A shop, a guard, two agents")
        where = f"{self.server.host}:{self.server.port}"
        story.say(f"""\
  PostgreSQL {self.server.version} runs on {where} with the shop's database. It lets the role that owns every table
  in by TLS and SCRAM-SHA-256 only. The role's password is in a file of root's.
  The agents are plain psycopg scripts without a word of hostguard in them, and without any password.""")
        story.typed("root", "hostguard daemon")
        story.shown("".join(self.guard.lines))
        story.check("the daemon guards", self.guard.status()["state"] == "guarding")

    def run(self, workload: str, script: str, *arguments: str) -> str:
        """An agent's script as a guarded workload, to its end; what it printed."""
        self.typed(workload, script, *arguments)
        return self.finish(self.begin(workload, script, *arguments))

    def begin(self, workload: str, script: str, *arguments: str) -> subprocess.Popen[str]:
        """Start an agent's script as a guarded workload."""
        program = [sys.executable, SHOP / script, *arguments]
        return self.guard.begin(workload, program, self.environment)

    def finish(self, agent: subprocess.Popen[str]) -> str:
        """Wait for an agent's end and show what it printed."""
        out, err = agent.communicate(timeout=60)
        self.story.shown(out + err)
        return out + err

    def typed(self, workload: str, script: str, *arguments: str) -> None:
        words = " ".join(("python", script, *arguments))
        self.story.typed("root", f"hostguard exec --workload {workload} -- {words}")

    def no_password(self) -> None:
        story = self.story
        story.chapter("An agent without a secret")
        story.say("  The support agent asks for customers, unguarded, as the role that owns them:")
        story.typed("agent", "PGUSER=shop python support_agent.py customers")
        program = [sys.executable, SHOP / "support_agent.py", "customers"]
        own = {**os.environ, **self.environment, "PGUSER": "shop"}
        alone = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False, env=own)
        story.shown(alone.stdout + alone.stderr)
        story.check("the server wants a password, which the agent has not", "no password supplied" in alone.stderr)

    def masked_rows(self) -> None:
        story = self.story
        story.chapter("What an agent may not see leaves masked")
        story.say("""\
  The support agent asks again, guarded, as a user whom the server does not know. hostguard logs in for it:
    SELECT id, name, email AS contact, card, upper(email) AS shouted FROM customers ORDER BY id LIMIT 4""")
        fraud = self.begin("fraud-bot", "fraud_agent.py")
        printed = self.run("support-bot", "support_agent.py", "customers")
        claim = "e-mail and card are masked whatever the column is called, and an expression over them is NULL"
        story.check(claim, printed == MASKED, MASKED)
        story.say("  The fraud agent, at the same time and in the same database, may see cards but not e-mails.")
        self.typed("fraud-bot", "fraud_agent.py")
        story.check("the card is whole, the e-mail is masked", self.finish(fraud).startswith(FRAUD), FRAUD)

    def refused_drop(self) -> None:
        story = self.story
        story.chapter("What no policy permits is refused")
        story.say("  The support agent runs DROP TABLE orders CASCADE.")
        printed = self.run("support-bot", "support_agent.py", "tidy")
        refused = printed.startswith("ERROR 42501: ") and "HINT: " in printed
        story.check("the agent got PostgreSQL's own error 42501, with a reason and a hint", refused)
        story.check("the table is there", self.count("orders") == 36)

    def held_delete(self) -> None:
        story = self.story
        story.chapter("What needs a human waits for one")
        story.say("  The support agent deletes a customer's returned orders. The policy permits that with a DBA's approval.")
        self.typed("support-bot", "support_agent.py", "forget")
        agent = self.begin("support-bot", "support_agent.py", "forget")
        request = self.first_request()
        story.say("  It waits. In another terminal:")
        self.command("root", "requests", "list")
        shown = self.command("root", "requests", "show", request).stdout
        story.check("nothing was deleted yet, and the agent waits", self.count("orders") == 36 and agent.poll() is None)
        digest = shown.split("--digest ")[1].strip()
        approval = ("approve", request, "--digest", digest, "--reason", "the customer asked for it")
        answer = self.command("root", "requests", *approval)
        story.check("bob, a DBA, approved exactly this statement with these parameters", answer.returncode == 0, answer.stderr)
        story.say("  And in the first terminal:")
        printed = self.finish(agent)
        story.check("the statement ran, once", printed.startswith("DELETE 3:") and self.count("orders") == 33)

    def first_request(self) -> str:
        """Id of the next request for approval, as `hostguard requests watch` tells of it."""
        command = [guard.HOSTGUARD, "requests", "watch", "--json", "--config", self.guard.config]
        watch = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert watch.stdout is not None
            return str(json.loads(watch.stdout.readline())["id"])
        finally:
            watch.kill()
            watch.communicate()

    def rolled_back(self) -> None:
        story = self.story
        story.chapter("A refusal inside a transaction aborts it, as if the server had said no")
        story.say("""\
  The support agent corrects order 7, which it may; then all orders at once, which it may not.
  It ignores the error and sends COMMIT.""")
        printed = self.run("support-bot", "support_agent.py", "correct")
        story.check("COMMIT was answered by ROLLBACK", "COMMIT was answered: ROLLBACK" in printed)
        with self.server.connect("shop") as connection:
            (quantity,) = connection.execute("SELECT quantity FROM orders WHERE id = 7").fetchone() or (None,)
        story.check("order 7 is as it was: no half transaction", quantity == 4, f"quantity {quantity}")

    def secret_stays(self) -> None:
        story = self.story
        story.chapter("The password is in one process, and nowhere else")
        self.typed("support-bot", "support_agent.py", "stay")
        agent = self.begin("support-bot", "support_agent.py", "stay")
        try:
            assert agent.stdout is not None
            story.check("an agent is logged in, and stays", "connected\n" in agent.stdout)
            flow = max(flow["flow"] for flow in self.guard.ask("recordings", "list"))
            result = self.command("root", "recordings", "show", str(flow))
            story.check("by TLS that both ends verify", result.stdout.count("TLSv1.3") == 2)
            self.search(self.guard.status()["broker"]["pid"], agent.pid, result.stdout)
        finally:
            agent.communicate("enough\n", timeout=60)

    def search(self, broker: int, agent: int, shown: str) -> None:
        """Look for the password in memory, files and words."""
        story, word = self.story, {"the password": self.password.encode()}
        assert self.guard.process is not None
        story.say("  Now the password is looked for, byte by byte.")
        story.check("the broker's memory has it: the search finds what is there", memory.found_in(broker, word))
        others = [*memory.descendants(self.guard.process.pid), *memory.descendants(agent)]
        others.remove(broker)
        names = {pid: Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() for pid in others}
        having = [f"{pid} {name}" for pid, name in names.items() if memory.found_in(pid, word)]
        claim = f"the memory of all others has it not, arguments and environment included: {', '.join(names.values())}"
        story.check(claim, not having, "\n".join(having))
        files = [path for path in self.guard.folder.rglob("*") if path.is_file() and path != self.guard.folder / SECRET]
        having = [str(path) for path in files if word["the password"] in path.read_bytes()]
        claim = f"none of {len(files)} files has it: state folder, log, keys, configuration"
        story.check(claim, not having and any(path.parent.name == "log" for path in files), "\n".join(having))
        shown += "".join(self.guard.lines) + self.guard.cli("recordings", "list", "--json").stdout
        story.check("neither what the daemon says, nor what is on record", self.password not in shown)

    def status(self) -> None:
        story = self.story
        story.chapter("What is guarded now")
        result = self.command("root", "status")
        facts = self.guard.status()
        story.check("the guard holds", result.returncode == 0 and facts["state"] == "guarding", "\n".join(facts["problems"]))
        counted = facts["operations"]
        story.check("two operations were denied, one was held", (counted["denied"], counted["held"]) == (2, 1), str(counted))

    def replay(self) -> None:
        story = self.story
        story.chapter("What happened is on record")
        self.command("root", "recordings", "list")
        flows = self.guard.ask("recordings", "list", "--verdict", "hold")
        story.check("one flow had a held operation", len(flows) == 1, str(flows))
        for flow in flows[:1]:
            result = self.command("root", "recordings", "replay", str(flow["flow"]), "--speed", "100")
            words = ("DELETE FROM orders", "$1 = 8", "by bob", "the customer asked for it", "DELETE 3")
            missing = [word for word in words if word not in result.stdout]
            claim = "the recording has the statement, its parameters, who approved it and why"
            story.check(claim, not missing, f"missing: {missing}")

    def closed(self) -> None:
        story = self.story
        story.chapter("Without the daemon nothing passes")
        story.typed("root", f"kill -9 {self.guard.process.pid if self.guard.process else '?'}")
        self.guard.kill()
        began = time.monotonic()
        printed = self.run("support-bot", "support_agent.py", "customers")
        refused = "Connection refused" in printed and time.monotonic() - began < 30
        story.check("the kernel refused the connection at once", refused)

    def command(self, who: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A hostguard command that somebody types, with what it shows."""
        self.story.typed(who, " ".join(("hostguard", *(f"'{word}'" if " " in word else word for word in words))))
        result = self.guard.cli(*words)
        self.story.shown(result.stdout + result.stderr)
        return result

    def count(self, table: str) -> int:
        """Rows of a table, asked over a connection that is nobody's agent."""
        with self.server.connect("shop") as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
        return int(row[0]) if row else -1


def let_in(server: servers.Server, password: str) -> None:
    """Have the server let its role ``shop`` in by TLS and SCRAM only."""
    rules = server.folder / "data" / "pg_hba.conf"
    own = "hostssl shop shop 127.0.0.1/32 scram-sha-256\nhost all shop all reject\n"
    rules.write_text(own + rules.read_text(encoding="utf-8"), encoding="utf-8")
    with server.connect() as connection:
        connection.execute(f"ALTER ROLE shop PASSWORD '{password}'".encode())
    logins.reload(server)


def main() -> int:
    story = Story()
    began = time.monotonic()
    authority, password = Authority("company.example"), secrets.token_urlsafe(24)
    schema = (SHOP / "schema.sql").read_text(encoding="utf-8")
    with servers.server(18, certificate=authority.issue("127.0.0.1")) as server, server.database("shop", schema):
        let_in(server, password)
        with guard.guarding(ShopConfiguration(server, authority, password)) as running:
            Demo(story, server, running, password).tell()
            made = [running.cgroup, running.pins, running.folder]
    made.append(server.folder)
    story.chapter("Nothing is left")
    story.check("no cgroup, no pin, no process, no file", not any(path.exists() for path in made), "\n".join(map(str, made)))
    seconds = time.monotonic() - began
    story.console.print(f"\nThe demo took {seconds:.0f} s.")
    if story.differences:
        story.console.print(f"[bold red]{story.differences} steps differ from what they should be.[/]")
    return 1 if story.differences else 0


if __name__ == "__main__":
    sys.exit(main())
