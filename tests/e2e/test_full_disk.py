"""While the log's disk is full every statement is refused, in words; when there is room again all goes on by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import guard
import pytest
from e2e.talk import guarded
from servers import Server

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
DISK = "size=96m,mode=700"
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
    with guard.prepared(setup) as prepared:
        state = prepared.folder / "state"
        state.mkdir(mode=0o700)
        subprocess.run(["mount", "-t", "tmpfs", "-o", DISK, "hostguard-test", state], check=True)
        try:
            prepared.start()
            yield prepared
        finally:
            prepared.end()
            subprocess.run(["umount", state], check=True)


def fill(folder: Path) -> Path:
    """Take all room that there is, to the last byte."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 16, 1):
            with suppress(OSError):
                while file.write(bytes(piece)):
                    continue
    return filler


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
        filler = fill(running.folder / "state")
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
        filler.unlink()
        until("never guarding again", running.is_guarding)
        with guarded(running, "one", postgres18, database) as another:
            assert another("SELECT count(*) FROM kept") == [str(row[0] if row else "")]
    assert running.stop() == 0
    assert running.cli("log", "verify").returncode == 0
