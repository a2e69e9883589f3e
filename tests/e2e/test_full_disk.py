"""While the log's disk is full every statement is refused, in words; when there is room again all goes on by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import guard
import pytest
from e2e.shortage import disk, full
from e2e.talk import guarded
from servers import Server

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
DISK_MB = 96
"""Room for the log, a journal of 32 MiB for each of two workers, and a filler."""


@pytest.fixture
def running(postgres18: Server) -> Iterator[guard.Guard]:
    """A guard whose state lies on a small disk of its own."""
    setup = guard.Setup(
        agents={"one": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        workers=2,
    )
    with guard.prepared(setup) as prepared, disk(prepared.folder / "state", DISK_MB):
        try:
            prepared.start()
            yield prepared
        finally:
            prepared.end()


def until(what: str, done: Callable[[], bool], limit_s: float = 20) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + limit_s
    while not done():
        assert time.monotonic() < deadline, what


def test_a_full_disk_refuses_and_a_free_one_goes_on(running: guard.Guard, postgres18: Server) -> None:
    with (
        postgres18.database("disk", "CREATE TABLE kept (n int)") as database,
        guarded(running, "one", postgres18, database) as talk,
    ):
        assert talk("INSERT INTO kept VALUES (1)") == ["INSERT 0 1"]
        with full(running.folder / "state"):
            # What the log's last page still takes goes through; then nothing does.
            until("never refused", lambda: "58030" in "".join(talk("INSERT INTO kept VALUES (2)")))
            assert running.status()["state"] == "degraded"
            assert "the log can't be written" in " ".join(running.status()["problems"])
            with postgres18.connect(database) as connection:
                row = connection.execute("SELECT count(*) FROM kept").fetchone()
            for _ in range(5):
                assert "58030" in "".join(talk("INSERT INTO kept VALUES (3)"))
            # A worker that dies now can't be replaced before there is room; its successor comes by itself.
            os.kill(running.workers()[0], signal.SIGKILL)
        until("never guarding again", running.is_guarding)
        with guarded(running, "one", postgres18, database) as another:
            assert another("SELECT count(*) FROM kept") == [str(row[0] if row else "")]
    assert running.stop() == 0
    assert running.cli("log", "verify").returncode == 0
