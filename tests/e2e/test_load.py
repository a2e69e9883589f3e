"""Many flows at once, and a reply larger than anybody should hold in memory."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
import servers
from servers import Server

POLICY = '@id("all") permit (principal in Role::"worker", action, resource);\n'
FLOWS = 200
ROWS = 1_000_000
BOUND_KIB = 16 * 1024
"""What the daemon may grow by while a reply of 120 MB passes to a client that hardly reads."""


@pytest.fixture(scope="module")
def roomy() -> Iterator[Server]:
    """A server that takes more connections than most."""
    with servers.server(18, {"max_connections": str(FLOWS + 20)}) as running:
        yield running


@pytest.fixture(scope="module")
def running(roomy: Server) -> Iterator[guard.Guard]:
    """A guard with two workloads."""
    agents = {name: guard.Agent(("worker",)) for name in ("one", "two")}
    setup = guard.Setup(agents=agents, resources={"pg": f"{roomy.host}:{roomy.port}"}, policies=POLICY, workers=2)
    with guard.guarding(setup) as started:
        yield started


MANY = f"""
import asyncio, os, asyncpg
async def one(number):
    connection = await asyncpg.connect(host=os.environ["PGHOST"], port=int(os.environ["PGPORT"]))
    return connection, [await connection.fetchval("SELECT $1::int * 1000 + $2::int", number, n) for n in range(10)]
async def main():
    found = await asyncio.gather(*(one(number) for number in range({FLOWS})))
    assert [values for _, values in found] == [[number * 1000 + n for n in range(10)] for number in range({FLOWS})]
    print("open", flush=True)
    input()
    await asyncio.gather(*(connection.fetchval("SELECT 1") for connection, _ in found))
    await asyncio.gather(*(connection.close() for connection, _ in found))
    print("closed")
asyncio.run(main())
"""


def test_many_flows_at_once_do_not_mix(running: guard.Guard, roomy: Server) -> None:
    agent = running.begin("one", [sys.executable, "-c", MANY], roomy.environment())
    assert agent.stdout is not None
    assert agent.stdout.readline() == "open\n", agent.communicate()
    open_now = running.ask("status")
    out, err = agent.communicate("\n", timeout=60)
    assert (out, err) == ("closed\n", "")
    assert open_now["flows"]["open"] == FLOWS
    recorded = [flow for flow in running.ask("recordings", "list", "--limit", "1000") if flow["agent"] == "one"]
    assert len(recorded) == FLOWS
    assert min(flow["decisions"]["allow"] for flow in recorded) >= 11


# Reads a piece of the reply, waits for a word, then reads the rest.
SLOW = f"""
import os, socket, struct, sys
connection = socket.create_connection((os.environ["PGHOST"], int(os.environ["PGPORT"])))
def send(tag, body):
    connection.sendall(tag + struct.pack(">I", len(body) + 4) + body)
def until(end):
    size, tail = 0, b""
    while end not in tail:
        piece = connection.recv(1 << 18)
        assert piece, tail
        size, tail = size + len(piece), (tail + piece)[-100:]
    return size
send(b"", struct.pack(">I", 0x30000) + b"user\\0postgres\\0database\\0postgres\\0application_name\\0slow\\0\\0")
until(b"Z\\0\\0\\0\\5I")
send(b"Q", b"SELECT g, repeat('x', 100) FROM generate_series(1, {ROWS}) g\\0")
size = len(connection.recv(4096))
print("reading", flush=True)
sys.stdin.readline()
print(size + until(b"SELECT {ROWS}\\0Z\\0\\0\\0\\5I"))
"""


def peak_kib(running: guard.Guard) -> int:
    """The most memory that the daemon's processes have ever held, added up."""
    lines = [line for pid in running.processes() for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def wait_until_the_server_is_stuck(server: Server) -> None:
    """Return once the server can't send because nobody reads."""
    stuck = "SELECT count(*), pg_sleep(0.01) FROM pg_stat_activity WHERE application_name = 'slow' AND wait_event = 'ClientWrite'"
    with server.connect() as connection:
        for _ in range(2000):
            row = connection.execute(stuck.encode()).fetchone()
            if row is not None and row[0] == 1:
                return
    raise AssertionError("the server never had to wait: something swallows the rows")


def test_a_huge_reply_to_a_slow_reader_is_not_held_in_memory(running: guard.Guard, roomy: Server) -> None:
    agent = running.begin("two", [sys.executable, "-c", SLOW], roomy.environment())
    assert agent.stdout is not None
    assert agent.stdout.readline() == "reading\n", agent.communicate()
    before = peak_kib(running)
    wait_until_the_server_is_stuck(roomy)
    assert peak_kib(running) - before < BOUND_KIB
    out, err = agent.communicate("\n", timeout=90)
    assert err == ""
    assert int(out) > ROWS * 100
    assert peak_kib(running) - before < BOUND_KIB
