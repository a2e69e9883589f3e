"""What the hooks add to a connect: with 1, 100 and 1,000 guarded cgroups, beside no hooks at all, in turns.

The client makes a socket, connects, resets. Without hooks it dials the acceptor; guarded it dials an address where nobody is, and
the hooks lead it there. The acceptor takes each connection's record, as the loop does, but looks only every few milliseconds:
woken by each connection it would be measured as well. A figure is that of the best hundred connects in a row: the others tell
more of what else the machine did. Everything lies below a cgroup of the bench's own.
"""

from __future__ import annotations

import json
import platform
import socket
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# Cgroups and redirects are made the way the tests make them.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from guarded_cgroups import attach_root, loop_listeners, pin_directory, python_in

from hostguard.kernel import cgroups
from hostguard.kernel.flows import origin_of
from hostguard.kernel.loader import Redirect

COUNTS = (1, 100, 1000)
NAME = "connects through the hooks"
WITHOUT = "no hooks"
NOBODY = "127.7.7.7"
LOOK_S = 0.004
BACKLOG = 4096
HEARTBEAT_MS = 600_000

CLIENT = """
import statistics, struct
host, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
reset = struct.pack("=ii", 1, 0)  # no TIME_WAIT: the ports would run out
took = []
def once():
    began = time.perf_counter_ns()
    sock = socket.socket()
    sock.connect((host, port))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    sock.close()
    took.append(time.perf_counter_ns() - began)
for _ in range(200):
    once()
hundreds = []
for _ in range(count // 100):
    took.clear()
    began = time.perf_counter_ns()
    for _ in range(100):
        once()
    hundreds.append((statistics.median(took), 1e11 / (time.perf_counter_ns() - began)))
print(min(median for median, _ in hundreds), max(rate for _, rate in hundreds))
"""


@contextmanager
def accepting(listener: socket.socket, redirect: Redirect | None) -> Iterator[None]:
    """Accept what waits, take the records, close, every `LOOK_S`, in a thread, until the block ends."""
    over = threading.Event()
    listener.setblocking(False)
    listener.listen(BACKLOG)

    def drain() -> None:
        with suppress(BlockingIOError):
            while True:
                sock, peer = listener.accept()
                with sock:
                    if redirect is not None:
                        origin_of(sock, redirect, peer[:2])

    def accept() -> None:
        while not over.wait(LOOK_S):
            drain()
        drain()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def run(cgroup: Path, host: str, port: int, count: int) -> tuple[float, float]:
    """(ns of a connect, connects a second) of a client in a cgroup. Raises RuntimeError with its words if it failed."""
    client = python_in(cgroup, CLIENT, host, str(port), str(count))
    out, err = client.communicate(timeout=120)
    if client.returncode:
        raise RuntimeError(err)
    median, rate = out.split()
    return float(median), float(rate)


def one_round(root: Path, count: int, found: dict[str, list[tuple[float, float]]]) -> None:
    """Without hooks, then with them and ever more guarded cgroups; adds to `found`."""
    with ExitStack() as stack:
        sock4, sock6 = stack.enter_context(loop_listeners())
        port = sock4.getsockname()[1]
        with accepting(sock4, None):
            found[WITHOUT].append(run(root / "agent-0", "127.0.0.1", port, count))
        redirect = Redirect.attach(root, stack.enter_context(pin_directory()), HEARTBEAT_MS)
        stack.callback(redirect.close)
        redirect.set_listeners(sock4, sock6)
        redirect.beat(time.monotonic_ns())
        guarded = 0
        with accepting(sock4, redirect):
            for wanted in COUNTS:
                for number in range(guarded, wanted):
                    redirect.guard(cgroups.create(root / f"agent-{number}"), number + 1)
                guarded = wanted
                before = redirect.counters()["redirected"]
                found[name(wanted)].append(run(root / f"agent-{wanted - 1}", NOBODY, 9, count))
                if redirect.counters()["redirected"] - before < count:
                    raise RuntimeError("the hooks did not see the client's connects")


def name(guarded: int) -> str:
    return f"{guarded:,} guarded cgroup{'s' * (guarded > 1)}"


def measured(*, quick: bool) -> list[dict[str, Any]]:
    """A line for each number of guarded cgroups: medians over the rounds, what is added, the ratio."""
    rounds, count = (1, 1000) if quick else (5, 8000)
    found: dict[str, list[tuple[float, float]]] = {title: [] for title in (WITHOUT, *map(name, COUNTS))}
    with attach_root() as root:
        cgroups.create(root / "agent-0")
        for _ in range(rounds):
            one_round(root, count, found)
    lines = []
    for title, figures in found.items():
        # Each round is compared with itself: the machine is not the same from one to the next.
        added = [took - bare for (took, _), (bare, _) in zip(figures, found[WITHOUT], strict=True)]
        times = [took / bare for (took, _), (bare, _) in zip(figures, found[WITHOUT], strict=True)]
        lines.append(
            {
                "name": title,
                "ns": statistics.median(took for took, _ in figures),
                "added_ns": statistics.median(added),
                "ratio": statistics.median(times),
                "per_second": statistics.median(rate for _, rate in figures),
                "rounds": figures,
            }
        )
    return lines


def show(lines: list[dict[str, Any]]) -> None:
    """The table."""
    title = f"One client that connects and resets, loopback, Linux {platform.release()}; × is times no hooks, more is worse"
    table = Table(title=title, title_justify="left")
    for heading in ("", "a connect", "added", "×", "connects a second"):
        table.add_column(heading, justify="left" if not heading else "right")
    for line in lines:
        added = "" if line["name"] == WITHOUT else f"{line['added_ns']:+,.0f} ns"
        table.add_row(line["name"], f"{line['ns']:,.0f} ns", added, f"{line['ratio']:.2f}", f"{line['per_second']:,.0f}")
    Console(width=None if sys.stdout.isatty() else 140).print(table)


@click.command()
@click.option("--quick", is_flag=True, help="One short round: for seeing that it works, not for figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(quick: bool, as_json: bool) -> None:
    """Measure what the hooks add to a connect."""
    lines = measured(quick=quick)
    if as_json:
        print(json.dumps({"quick": quick, "kernel": platform.release(), "connects": lines}, indent=2))
    else:
        show(lines)


if __name__ == "__main__":
    main()
