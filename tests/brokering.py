"""A real broker's process with its keeper, without the daemon around them, for tests to ask."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from servers import Server

from hostguard.agent.broker.keeper import Keeper
from hostguard.agent.faults import Faults
from hostguard.agent.paths import Paths
from hostguard.policy.document import load

TOP = """
[policy]
files = ["none.cedar"]
[users.u]
[agents.bot]
owner = "u"
[daemon]
state_dir = "{folder}/state"
run_dir = "{folder}/run"
"""
SHOP = """
[resources.shop]
protocol = "postgres"
addresses = ["db.example:5432", "127.0.0.1:5432"]
server_tls = "off"
"""
START_S = 60
_START = 196_608


@asynccontextmanager
async def broker(folder: Path, toml: str, *, top: str = TOP) -> AsyncIterator[Keeper]:
    """A keeper whose broker is ready; `toml` without what every configuration has."""
    (folder / "none.cedar").write_text("")
    (folder / "hostguard.toml").write_text(top.replace("{folder}", str(folder)) + toml)
    document = load(folder / "hostguard.toml")
    keeper = Keeper(document, Paths.of(document), "testhost", Faults(), lambda: None)
    running = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(START_S):
            await keeper.ready.wait()
        yield keeper
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def startup(user: str, database: str = "postgres") -> bytes:
    """A StartupMessage of protocol 3.0."""
    body = struct.pack(">i", _START) + b"".join(
        word.encode() + b"\0" for pair in {"user": user, "database": database}.items() for word in pair
    )
    return struct.pack(">i", len(body) + 5) + body + b"\0"


async def log_in(keeper: Keeper, server: Server, variant: str, user: str, flow: int = 1) -> str:
    """Log in to a real server as a worker would: ``ok``, or the server's SQLSTATE."""
    loop = asyncio.get_running_loop()
    with socket.create_connection((server.host, server.port)) as sock:
        sock.setblocking(False)
        await loop.sock_sendall(sock, startup(user))
        begins = True
        while True:
            tag = await _exactly(sock, 1)
            body = await _exactly(sock, int.from_bytes(await _exactly(sock, 4), "big") - 4)
            if tag == b"E":
                return {field[:1]: field[1:] for field in body.split(b"\0") if field}[b"C"].decode()
            if tag == b"Z":
                return "ok"
            if tag == b"R" and not (body == bytes(4) and not begins):
                answer = await keeper.log_in(flow, variant, body, b"", begins=begins)
                begins = False
                await loop.sock_sendall(sock, answer.say)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        data = await asyncio.get_running_loop().sock_recv(sock, count - len(found))
        assert data, "the server closed"
        found += data
    return found


def failures(facts: Mapping[str, object]) -> dict[str, str]:
    """Of ``Keeper.facts``: each secret's failure."""
    secrets = facts["secrets"]
    assert isinstance(secrets, list)
    return {secret["variant"]: secret["failure"] for secret in secrets}
