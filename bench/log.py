"""What the log costs: appends, the latency that it adds, verification, payloads, bytes; beside a loop that records nothing.

An operation is three entries in one append, as in the daemon: the note of the reply before, the operation, its decision. The bar
is what batch mode adds to the loop for one operation through a journal, as in a worker, with the log writer in another process.
Next to it: in one process with the log, where syncs and seals go on in threads. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import asyncio
import json
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import pyrage
from rich.console import Console
from rich.table import Table

from hostguard.identity.auditors import Recipients
from hostguard.recorder.entry import Decision, FlowOpen, Operation, Reply
from hostguard.recorder.journal import Appender, Journal
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signer
from hostguard.recorder.seal import Sealer
from hostguard.recorder.verify import verify

BURST = 256
"""Operations."""
REST_S = 0.004
BATCH_S = 0.05
SEAL_S = 2.0
STATEMENT = "SELECT id, name, email FROM customers WHERE id = $1"
COLUMNS = ("id", "name", "email")
BATCH_BAR_US = 3.0
VERIFY_BAR = 200_000
SIGNER = Signer("bench/hostguard", b"b" * 32)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    more_is_better: bool = False

    @property
    def met(self) -> bool:
        """Whether the bar, if there is one, is kept."""
        return self.bar is None or (self.value >= self.bar if self.more_is_better else self.value <= self.bar)


@contextmanager
def opened(sealed: bool) -> Iterator[tuple[Log, Sealer | None, Path]]:
    """A log in a folder of its own, on the disk of the temporary folder."""
    with tempfile.TemporaryDirectory(prefix="hostguard-bench-") as name:
        log = Log(Path(name), lambda: (time.time_ns(), time.monotonic_ns()))
        sealer = Sealer(Path(name), SIGNER, log.sync, lambda: time.sleep(50e-6)) if sealed else None
        try:
            yield log, sealer, Path(name)
        finally:
            log.close()


def opening() -> FlowOpen:
    return FlowOpen("support", "support-agent", "shop", "postgres", "127.0.0.1:50000", "127.0.0.1:5432", pid=1234)


def record(log: Appender, flow: int, number: int) -> int:
    """One operation as the gate records it; returns the position that strict mode waits for."""
    return log.append(
        flow,
        Reply(operation=number - 1, status="ok", tag="SELECT 1", rows=1, bytes=64, columns=COLUMNS, duration_us=250),
        Operation(operation=number, form="execute", text=STATEMENT, statement="s1", parameters=(b"12345",), formats=(0,)),
        Decision(operation=number, verdict="allow", policies=("support reads customers",), accesses=(), epoch=1),
    )


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of an operation, over bursts."""

    median: float
    mean: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.median - other.median, self.mean - other.mean)


async def worked(flows: int, seconds: float, step: Callable[[int, int], Awaitable[None]]) -> Cost:
    """Flows that do one operation after the other, in bursts with rests between, as a loop that has other work as well.

    Only the bursts are measured, in real time. Flat out, what would be measured is how fast another process takes what comes.
    """
    count = 0

    async def flow(number: int, operations: int) -> None:
        for operation in range(operations):
            await step(number, count + operation)
            await asyncio.sleep(0)

    bursts = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        each = BURST // flows
        begun = time.perf_counter()
        await asyncio.gather(*(flow(number, each) for number in range(flows)))
        bursts.append((time.perf_counter() - begun) / (each * flows) * 1e6)
        count += each
        await asyncio.sleep(REST_S)
    return Cost(statistics.median(bursts), statistics.fmean(bursts))


async def nothing(flows: int, seconds: float) -> Cost:
    """An operation that is not recorded: what the loop itself costs here."""

    async def step(flow: int, number: int) -> None:
        pass

    return await worked(flows, seconds, step)


async def batch(flows: int, seconds: float, sealed: bool) -> Cost:
    """A recorded operation, with syncs and seals going on beside in threads."""
    with opened(sealed) as (log, sealer, _), ThreadPoolExecutor(2) as threads:
        numbers = [log.open_flow(opening()) for _ in range(flows)]
        running = asyncio.get_running_loop()

        async def every(pause_s: float, call: Callable[[], object]) -> None:
            while True:
                await asyncio.sleep(pause_s)
                await running.run_in_executor(threads, call)

        async def step(flow: int, number: int) -> None:
            record(log, numbers[flow], number)

        works = [asyncio.create_task(every(BATCH_S, log.sync))]
        if sealer is not None:
            works.append(asyncio.create_task(every(SEAL_S, sealer.seal)))
        cost = await worked(flows, seconds, step)
        for work in works:
            work.cancel()
        return cost


@contextmanager
def journalled(flows: int, sealed: bool) -> Iterator[tuple[Journal, list[int]]]:
    """A journal with flows, whose log writer is a process of its own."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        words = [sys.executable, str(Path(__file__).with_name("writer.py")), str(theirs.fileno()), str(flows), str(int(sealed))]
        writer = subprocess.Popen(words, pass_fds=[theirs.fileno()])
        theirs.close()
        data, fds, _, _ = socket.recv_fds(ours, 1 << 16, 4)
        journal = Journal(fds, lambda: (time.time_ns(), time.monotonic_ns()))
        numbers = [int(word) for word in data.split()]
        for number in numbers:
            journal.begin_flow(number)
        try:
            yield journal, numbers
        finally:
            journal.close()
            ours.close()
            if writer.wait(60):
                raise RuntimeError("the log writer failed")


async def journal(flows: int, seconds: float, sealed: bool) -> Cost:
    """An operation that is recorded through a journal."""
    with journalled(flows, sealed) as (opened_journal, numbers):

        async def step(flow: int, number: int) -> None:
            record(opened_journal, numbers[flow], number)

        return await worked(flows, seconds, step)


def sustained(operations: int) -> Line:
    """How many operations a second go through a journal flat out: what the log writer takes, beside the worker."""
    with journalled(1, False) as (opened_journal, (flow,)):
        begun = time.perf_counter()
        for number in range(1, operations + 1):
            record(opened_journal, flow, number)
        end = opened_journal.position
        while opened_journal.synced_position < end:
            time.sleep(0.001)
        return Line("journal, flat out", 3 * operations / (time.perf_counter() - begun), "entries/s")


async def strict(flows: int, seconds: float) -> float:
    """Microseconds that an operation waits until it is on the disk; all that wait share a sync."""
    with opened(False) as (log, _, _), ThreadPoolExecutor(1) as threads:
        numbers = [log.open_flow(opening()) for _ in range(flows)]
        running = asyncio.get_running_loop()
        waiting: list[asyncio.Future[None]] = []
        due = asyncio.Event()

        async def commit() -> None:
            while True:
                await due.wait()
                due.clear()
                group = waiting[:]
                waiting.clear()
                await running.run_in_executor(threads, log.sync)
                for future in group:
                    future.set_result(None)

        waits: list[float] = []

        async def step(flow: int, number: int) -> None:
            begun = time.perf_counter()
            record(log, numbers[flow], number)
            future: asyncio.Future[None] = running.create_future()
            waiting.append(future)
            due.set()
            await future
            waits.append(time.perf_counter() - begun)

        committing = asyncio.create_task(commit())
        await worked(flows, seconds, step)
        committing.cancel()
        return statistics.median(waits) * 1e6


def filled(folder: Path, log: Log, sealer: Sealer, operations: int) -> int:
    """Fill and seal a log; returns the bytes of its segments."""
    flow = log.open_flow(opening())
    for number in range(1, operations + 1):
        record(log, flow, number)
    sealer.seal()
    return sum(path.stat().st_size for path in (folder / "entries").iterdir())


def verification(operations: int) -> list[Line]:
    """How fast a sealed log is verified, how large it is, what sealing it took."""
    with opened(True) as (log, sealer, folder):
        assert sealer is not None
        segment_bytes = filled(folder, log, sealer, operations)
        tree_bytes = sum(path.stat().st_size for path in (folder / "tile").rglob("*") if path.is_file())
        speeds = []
        for _ in range(3):
            begun = time.perf_counter()
            report = verify(folder, SIGNER.verifier)
            speeds.append(report.entries / (time.perf_counter() - begun))
            if report.findings:
                raise RuntimeError(f"the log that was just written does not verify: {report.findings}")
        return [
            Line("verify", max(speeds), "entries/s", VERIFY_BAR, True),
            Line("segments", segment_bytes / operations, "bytes/operation"),
            Line("tiles and bundles", tree_bytes / operations, "bytes/operation"),
        ]


def long_statement(number: int) -> bytes:
    rows = ", ".join(f"({number * 2000 + row}, 'customer {row * 7919 % 10007}', 'c{row}@example.com')" for row in range(2000))
    return f"INSERT INTO customers (id, name, email) VALUES {rows}".encode()


def captured_reply(number: int) -> bytes:
    """A hundred rows as PostgreSQL sends them."""
    rows = [(f"{number * 100 + row}".encode(), b"customer %d" % (row * 7919 % 10007), b"c****@example.com") for row in range(100)]
    bodies = [b"\0\3" + b"".join(struct.pack(">i", len(value)) + value for value in row) for row in rows]
    return b"".join(b"D" + struct.pack(">i", len(body) + 4) + body for body in bodies)


def short_statement(number: int) -> bytes:
    return STATEMENT.replace("$1", str(number)).encode()


def payloads(count: int) -> list[Line]:
    """What payloads weigh and take: as they are, compressed, and encrypted to two keys."""
    keys = [str(pyrage.x25519.Identity.generate().to_public()) for _ in range(2)]
    lines = []
    for make in (long_statement, captured_reply, short_statement):
        values = [make(number) for number in range(count)]
        name = make.__name__.replace("_", " ")
        lines.append(Line(f"{name} as it is", sum(map(len, values)) / count, "bytes"))
        for how, encrypt in (("compressed", None), ("encrypted", Recipients(keys).encrypt)):
            with tempfile.TemporaryDirectory(prefix="hostguard-bench-") as folder:
                log = Log(Path(folder), lambda: (time.time_ns(), time.monotonic_ns()), encrypt=encrypt)
                begun = time.perf_counter()
                for value in values:
                    log.store(value)
                took_s = time.perf_counter() - begun
                log.close()
                sizes = [path.stat() for path in (Path(folder) / "payloads").rglob("*") if path.is_file()]
            lines.append(Line(f"{name} {how}", sum(size.st_size for size in sizes) / count, "bytes"))
            lines.append(Line(f"{name} {how}, blocks", sum(size.st_blocks * 512 for size in sizes) / count, "bytes on disk"))
            lines.append(Line(f"{name} {how} takes", took_s / count * 1e6, "µs, syncs included"))
    return lines


def appends(operations: int) -> Line:
    """Entries a second without a loop around them."""
    with opened(False) as (log, _, _):
        flow = log.open_flow(opening())
        begun = time.perf_counter()
        for number in range(1, operations + 1):
            record(log, flow, number)
        return Line("append", 3 * operations / (time.perf_counter() - begun), "entries/s")


async def latencies(seconds: float) -> list[Line]:
    """What recording adds, by mode and number of flows."""
    lines = []
    for flows in (1, 8, 64):
        plain = await nothing(flows, seconds / 2)
        lines.append(Line(f"not recorded, {flows} flows", plain.median, "µs/operation"))
        for name, way, sealed, bar in (
            ("journal", journal, False, BATCH_BAR_US),
            ("journal, seals", journal, True, BATCH_BAR_US),
            ("one process", batch, False, None),
            ("one process, seals", batch, True, None),
        ):
            took = await way(flows, seconds, sealed)
            added = took - plain
            lines.append(Line(f"batch adds, {name}, {flows} flows", added.median, "µs/operation, median", bar))
            lines.append(Line(f"batch adds, {name}, {flows} flows", added.mean, "µs/operation, mean"))
            lines.append(Line(f"recorded to not, {name}, {flows} flows", took.median / plain.median, "times"))
        lines.append(Line(f"strict waits, {flows} flows", await strict(flows, seconds), "µs, median"))
    return lines


@click.command()
@click.option("--quick", is_flag=True, help="Short: for seeing that it works, not for figures.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(quick: bool, as_json: bool) -> None:
    """Measure what the log costs."""
    seconds, operations = (0.5, 10_000) if quick else (3.0, 200_000)
    lines = [
        appends(operations),
        sustained(operations),
        *asyncio.run(latencies(seconds)),
        *verification(operations),
        *payloads(operations // 1000),
    ]
    if as_json:
        print(json.dumps([asdict(line) | {"met": line.met} for line in lines], indent=2))
    else:
        table = Table("", "figure", "bar", title="What the log costs", title_justify="left")
        for line in lines:
            sign = "" if line.bar is None else f"{'≥' if line.more_is_better else '≤'} {line.bar:,g} {'✓' if line.met else '✗'}"
            table.add_row(line.name, f"{line.value:,.1f} {line.unit}", sign)
        Console().print(table)
    sys.exit(0 if all(line.met for line in lines) else 1)


if __name__ == "__main__":
    main()
