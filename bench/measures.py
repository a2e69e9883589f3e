"""What is measured: each function takes a way to the server and returns one figure."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ways import Way

CLIENTS = Path(__file__).resolve().parent / "clients"
IDLE_FLOWS = 500


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure."""

    seconds: int
    """Of each pgbench run."""
    rounds: int


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the report."""

    name: str
    unit: str
    of: Callable[[Way, Effort], float]
    more_is_better: bool = False
    bar: float | None = None
    """The most that hostguard may take, in times direct (or in `unit` where a direct connection has no figure)."""
    peers: str = ""
    """What /docs/architecture.md quotes of others, measured on a machine like ours."""
    without_direct: bool = False
    tls: bool = False
    """By TLS on every link, verified."""


def pgbench(way: Way, effort: Effort, *options: str) -> str:
    """The words of one pgbench run, warmed up by the rounds before it."""
    return way.run(["pgbench", "-n", "-T", str(effort.seconds), *options])


def figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    if found is None:
        raise RuntimeError(f"pgbench did not tell {pattern}:\n{text}")
    return float(found[1])


def latency(mode: str, clients: int) -> Callable[[Way, Effort], float]:
    """Average microseconds of a select by primary key."""

    def measure(way: Way, effort: Effort) -> float:
        text = pgbench(way, effort, "-S", "-M", mode, "-c", str(clients), "-j", str(min(clients, 2)))
        return figure(r"latency average = ([\d.]+) ms", text) * 1000

    return measure


def connections(way: Way, effort: Effort) -> float:
    """New connections a second, four at a time, one statement each."""
    text = pgbench(way, effort, "-C", "-c", "4", "-j", "2", "-f", str(CLIENTS / "one.sql"))
    return figure(r"tps = ([\d.]+)", text)


def rows(table: str) -> Callable[[Way, Effort], float]:
    """Seconds for 200,000 rows with an e-mail, a card and a number, read by libpq without decoding any value."""

    def measure(way: Way, _effort: Effort) -> float:
        took, email = way.run([sys.executable, CLIENTS / "rows.py", table]).split()
        if ("@" not in email or "***" in email) != (way.masks and table != "plain"):
            raise RuntimeError(f"{way.name}: the last row's e-mail is {email}")
        return float(took)

    return measure


def idle_memory(way: Way, _effort: Effort) -> float:
    """KiB that each of 500 idle connections adds to the processes between."""
    for count in (50, IDLE_FLOWS):
        before = resident_kib(way.pids)
        client = way.start([sys.executable, CLIENTS / "idle.py", str(count)])
        assert client.stdout is not None
        line = client.stdout.readline()
        if line != "ready\n":
            raise RuntimeError(f"{way.name}: {client.communicate()[1]}")
        after = resident_kib(way.pids)
        client.communicate("over\n", timeout=60)
    return max(0, after - before) / IDLE_FLOWS


def resident_kib(pids: Sequence[int]) -> int:
    """Resident sets of some processes, added up."""
    status = "".join(Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in pids)
    return sum(int(found) for found in re.findall(r"VmRSS:\s+(\d+) kB", status))


MEASURES = (
    Measure(
        "select by key, prepared, 1 client",
        "µs",
        latency("prepared", 1),
        bar=2.0,
        peers="pgbouncer 1.53, C forwarder 1.43, uvloop forwarder 1.94, hoopinspect 2.06",
    ),
    Measure(
        "select by key, simple, 1 client",
        "µs",
        latency("simple", 1),
        peers="pgbouncer 1.30, C forwarder 1.22, uvloop forwarder 1.47, hoopinspect 1.99",
    ),
    Measure("select by key, prepared, 8 clients", "µs", latency("prepared", 8)),
    Measure("select by key, simple, 8 clients", "µs", latency("simple", 8)),
    Measure("200,000 rows, three columns masked", "s", rows("people"), bar=1.5, peers="hoopinspect, masking: 27"),
    Measure("200,000 rows, three columns hashed", "s", rows("hashed")),
    Measure("200,000 rows, none masked", "s", rows("plain"), bar=1.15),
    Measure("new connections", "/s", connections, more_is_better=True),
    Measure("new connections, TLS", "/s", connections, more_is_better=True, tls=True),
    Measure("select by key, prepared, 1 client, TLS", "µs", latency("prepared", 1), tls=True),
    Measure("select by key, simple, 1 client, TLS", "µs", latency("simple", 1), tls=True),
    Measure("memory of an idle flow", "KiB", idle_memory, bar=64, without_direct=True),
)
