"""kill -9 again and again under load, in strict mode: what the database executed is on record, by the database's own table."""

from __future__ import annotations

import os
import random
import re
import sys
import time
from pathlib import Path
from typing import Any

import guard
import pytest
from servers import Server

from hostguard.recorder.entry import Operation
from hostguard.recorder.note import parse_signer
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored
from hostguard.recorder.verify import verify

INSERTER = Path(__file__).parent / "agents" / "inserter.py"
POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
AGENTS = ("one", "one", "two", "two")
BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
WHOLE_EVERY = 25
"""After so many kills an auditor looks, with `hostguard log verify`; after the others the test does, in this process."""


class Judge:
    """What the database executed, against what the log holds."""

    def __init__(self, running: guard.Guard, database: Any) -> None:
        self._database = database
        self._folder = running.folder / "state" / "log"
        self._key = running.folder / "state" / "log.key"
        self._reader = Reader(self._folder)
        self._recorded: set[str] = set()
        self.executed = 0

    def verify(self) -> None:
        """The log as it lies there verifies; a torn end is no fault before the next start cuts it."""
        report = verify(self._folder, parse_signer(self._key.read_text(encoding="ascii")).verifier)
        assert report.findings == []

    def compare(self) -> None:
        """Every id in the database's table is in the log."""
        self._sessions_end()
        for _, entry in self._reader.entries():
            if isinstance(entry, Operation) and not isinstance(entry.parameters, Stored):
                self._recorded.update(re.findall(r"'(\w+-\d+)'", str(entry.text)))
                self._recorded.update(value.decode() for value in entry.parameters if value)
        rows = self._database.execute("SELECT id FROM kept").fetchall()
        assert sorted({identifier for (identifier,) in rows} - self._recorded) == []
        self.executed = len(rows)

    def await_inserts(self, count: int) -> None:
        """Return once the database has executed so many more."""
        executed = 0
        until = time.monotonic() + 60
        while executed < self.executed + count:
            assert time.monotonic() < until, "the agents got nothing done"
            (executed,) = self._database.execute("SELECT count(*) FROM kept, pg_sleep(0.001)").fetchone()

    def _sessions_end(self) -> None:
        """What was forwarded in the last moment may still be running in the server."""
        ours = "SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE application_name = 'inserter'"
        until = time.monotonic() + 30
        while self._database.execute(ours).fetchone()[0]:
            assert time.monotonic() < until, "agents' sessions outlived the daemon"


def restart(running: guard.Guard, chance: random.Random) -> int:
    """Start the daemon again, which may be killed while it starts; returns how often it was."""
    killed = 0
    while chance.random() < 0.2:
        running.launch().wait(chance.uniform(0.3, 3))
        running.kill()
        killed += 1
    assert running.launch().wait(guard.START_LIMIT_S)
    assert running.process is not None
    assert running.process.poll() is None, running.lines[-5:]
    return killed


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_what_the_database_executed_is_on_record_after_every_kill(postgres18: Server) -> None:
    seed = int(os.environ.get("HOSTGUARD_SEED", "0")) or random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    workers = {name: guard.Agent(("worker",)) for name in AGENTS}
    setup = guard.Setup(agents=workers, resources=resources, policies=POLICY, durability="strict", workers=2, log="seal_s = 1")
    until = time.monotonic() + BUDGET_S
    runs = kills = 0
    with (
        postgres18.database("judged", "CREATE TABLE kept (id text PRIMARY KEY)") as database,
        postgres18.connect(database) as connection,
        guard.guarding(setup) as running,
    ):
        judge = Judge(running, connection)
        environment = {**postgres18.environment(database), "PGAPPNAME": "inserter"}
        for number, name in enumerate(AGENTS):
            running.begin(name, [sys.executable, INSERTER, f"{name}{number}"], environment)
        while time.monotonic() < until:
            judge.await_inserts(chance.randrange(1, 200))
            for _ in range(chance.randrange(20_000)):
                pass
            running.kill()
            judge.verify()
            judge.compare()
            runs += 1
            kills += 1 + restart(running, chance)
            if runs % WHOLE_EVERY == 0:
                assert running.cli("log", "verify").returncode == 0
        print("runs", runs, "kills", kills, "executed", judge.executed)
        assert running.cli("log", "verify").returncode == 0
