"""The supervisor's durable stores: what is committed stays, what is damaged is not taken for empty."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hostguard.agent.failures import Failure
from hostguard.agent.ledger import Ledger, LedgerUnavailable

FIRST = "CREATE TABLE counts (name TEXT PRIMARY KEY, value INTEGER NOT NULL CHECK (value >= 0))"
SECOND = "ALTER TABLE counts ADD COLUMN remark TEXT NOT NULL DEFAULT ''"
COUNTING = """
import sys
from pathlib import Path
from hostguard.agent.ledger import Ledger
ledger = Ledger.open(Path(sys.argv[1]), [sys.argv[2]])
while True:
    with ledger.change() as connection:
        connection.execute("INSERT INTO counts VALUES ('n', 1) ON CONFLICT DO UPDATE SET value = value + 1")
    print(ledger.rows("SELECT value FROM counts")[0][0], flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counts.sqlite"


def counted(path: Path) -> int:
    ledger = Ledger.open(path, [FIRST])
    rows = ledger.rows("SELECT value FROM counts")
    ledger.close()
    return int(rows[0][0]) if rows else 0


def put(ledger: Ledger, value: int) -> None:
    with ledger.change() as connection:
        connection.execute("INSERT OR REPLACE INTO counts (name, value) VALUES ('n', ?)", (value,))


def test_what_was_said_to_be_counted_is_counted_after_a_kill(path: Path) -> None:
    told = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", COUNTING, path, FIRST], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            first = int(process.stdout.readline())
            time.sleep(random.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            told = int((process.stdout.read().split() or [str(first)])[-1])
        # One commit may have been under way: lost or there, as a crash may have it.
        assert told <= counted(path) <= told + 1
    assert told > 3


def test_a_change_that_fails_has_changed_nothing(path: Path) -> None:
    ledger = Ledger.open(path, [FIRST])
    put(ledger, 1)
    with pytest.raises(ValueError, match="nothing"), ledger.change() as connection:
        _ = connection.execute("UPDATE counts SET value = 2").rowcount, int("nothing")
    with pytest.raises(LedgerUnavailable, match="CHECK"):
        put(ledger, -1)
    assert ledger.rows("SELECT value FROM counts") == [(1,)]
    put(ledger, 3)
    assert ledger.rows("SELECT value FROM counts") == [(3,)]


def test_two_never_change_it_at_one_time(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hostguard.agent.ledger.BUSY_S", 0.05)
    one, other = Ledger.open(path, [FIRST]), Ledger.open(path, [FIRST])
    with one.change() as connection:
        connection.execute("INSERT INTO counts VALUES ('n', 1)")
        with pytest.raises(LedgerUnavailable, match="locked"), other.change():
            pass
    assert other.rows("SELECT value FROM counts") == [(1,)]


def test_a_later_step_is_taken_once_and_keeps_what_there_is(path: Path) -> None:
    put(Ledger.open(path, [FIRST]), 5)
    for _ in range(2):
        ledger = Ledger.open(path, [FIRST, SECOND])
        assert ledger.rows("SELECT value, remark FROM counts") == [(5, "")]
        ledger.close()
    with pytest.raises(Failure, match="schema version 2, this hostguard knows 1"):
        Ledger.open(path, [FIRST])


def test_a_step_that_is_cut_off_is_taken_whole_the_next_time(path: Path) -> None:
    put(Ledger.open(path, [FIRST]), 5)
    with pytest.raises(Failure, match="no such table"):
        Ledger.open(path, [FIRST, f"{SECOND}; INSERT INTO nowhere VALUES (1)"])
    assert Ledger.open(path, [FIRST, SECOND]).rows("SELECT value, remark FROM counts") == [(5, "")]


def test_it_is_its_owners_alone_and_durable(path: Path) -> None:
    ledger = Ledger.open(path, [FIRST])
    put(ledger, 1)
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert ledger.rows("PRAGMA synchronous") == [(2,)]
    assert ledger.rows("PRAGMA journal_mode") == [("wal",)]


@pytest.mark.parametrize("damage", ["garbage", "page", "short"])
def test_a_damaged_one_is_not_taken_for_an_empty_one(path: Path, damage: str) -> None:
    ledger = Ledger.open(path, [FIRST])
    with ledger.change() as connection:
        connection.executemany("INSERT INTO counts VALUES (?, 1)", [(f"{n}" * 40,) for n in range(500)])
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        if damage == "garbage":
            file.write(b"\0" * 4000)
        elif damage == "page":
            file.seek(size // 2 // 4096 * 4096)
            file.write(os.urandom(4096))
        else:
            file.truncate(size // 2)
    with pytest.raises(Failure, match=r"counts\.sqlite"):
        Ledger.open(path, [FIRST])


def test_another_programs_file_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(Failure, match="not hostguard's"):
        Ledger.open(path, [FIRST])
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_is_told(path: Path) -> None:
    with pytest.raises(Failure, match="can't be opened"):
        Ledger.open(path / "nowhere" / "x.sqlite", [FIRST])
