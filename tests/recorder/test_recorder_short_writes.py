"""Writes that take fewer bytes than they were given, for real, to every kind of file that the log's writer writes."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import time
from pathlib import Path

import pytest
from faulty_writer import RECIPIENT, STRACE, Ran, check, run, torn

pytestmark = pytest.mark.skipif(STRACE is None, reason="strace is not installed")

BUDGET_S = float(os.environ.get("HOSTGUARD_SOAK_S", "60"))
SHIM = Path(__file__).with_name("short_writes.c")
WRITTEN = {
    ".seg": 50,
    ".partial": 5,
    "/tile/0": 500,
    "/tile/entries": 500,
    "checkpoint": 40,
    "witness": 40,
    "carried": 1,
    "lock": 1,
}
"""Part of the path of each kind of file that the writer writes, with bytes that a short write to it takes."""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that shortens writes."""
    library = tmp_path_factory.mktemp("shim") / "short_writes.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SHIM, "-ldl"], check=True)
    return library


def run_short(shim: Path, folder: Path, match: str, when: str, most: int, recipient: str = "") -> tuple[Ran, int]:
    """One writer of which that write takes so many bytes at most; with how often it happened."""
    met = folder.parent / "met"
    met.unlink(missing_ok=True)
    variables = {
        "LD_PRELOAD": str(shim),
        "SHORT_MATCH": match,
        "SHORT_WHEN": when,
        "SHORT_BYTES": str(most),
        "SHORT_MET": str(met),
    }
    ran = run(folder, "", traced="none", recipient=recipient, environment=variables)
    return ran, met.stat().st_size if met.exists() else 0


# The lock is written once.
@pytest.mark.parametrize(("match", "when"), sorted(set(itertools.product(WRITTEN, ["1", "2", "1+"])) - {("lock", "2")}))
def test_a_short_write_takes_nothing_that_was_promised(tmp_path: Path, shim: Path, match: str, when: str) -> None:
    """Of each kind of file; for real, so that half of it is in the file."""
    folder = torn(tmp_path / "log")
    ran, met = run_short(shim, folder, match, when, WRITTEN[match], RECIPIENT if when == "2" else "")
    assert met > 0
    check(folder, ran)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_any_write_may_be_short(tmp_path: Path, shim: Path) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    until = time.monotonic() + BUDGET_S
    runs = met = 0
    while time.monotonic() < until:
        folder = tmp_path / f"log{runs // 20}"
        if not folder.exists():
            torn(folder)
        match, when = chance.choice([*WRITTEN, str(folder)]), f"{1 + int(chance.expovariate(0.1))}{chance.choice(['', '+'])}"
        most = chance.choice([0, 1, 100, 1000]) if "+" not in when else chance.choice([1, 100, 1000])
        print(match, when, most)
        ran, short = run_short(shim, folder, match, when, most, chance.choice(["", RECIPIENT]))
        check(folder, ran)
        runs, met = runs + 1, met + (short > 0)
    print("runs", runs, "short writes met in", met)
