"""A resolver on real sockets, with a real name server behind it, a real log beside it."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import msgspec

from hostguard.agent.names.asker import Asker
from hostguard.agent.names.resolver import NameEntry
from hostguard.agent.names.service import Names
from hostguard.agent.resources import Resources
from hostguard.policy.decide import Policy
from hostguard.policy.document import Document, load
from hostguard.policy.sections import Dns
from hostguard.recorder.durable import LogUnavailable, Syscalls
from hostguard.recorder.entry import Fault, NameAnswered, NameAsked
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader

BOT = Asker(1, "bot", "bot", "192.0.2.53:53", netns=3, pid=42, start_ticks=7, uid=1000, comm="agent", exe="/usr/bin/agent")
LARGE = 120
"""Addresses of big.example: 2 KiB of answer."""
CONFIGURATION = """
[policy]
files = ["names.cedar"]
[users.alice]
[agents.bot]
roles = ["web"]
owner = "alice"
[workloads.watched]
cgroup = "watched"
agent = "bot"
mode = "observe"
[agents.other]
owner = "alice"
[resources.shop]
protocol = "postgres"
addresses = ["db.example:5432"]
"""
POLICIES = """
@id("web looks around") permit (principal in Role::"web", action == Action::"resolve", resource in Domain::"example");
@id("not the secret") forbid (principal, action == Action::"resolve", resource in Domain::"secret.example");
@id("texts") permit (principal, action == Action::"resolve", resource == Name::"t.com") when { context.type == "TXT" };
"""


def document_in(folder: Path, **dns_settings: Any) -> Document:
    (folder / "hostguard.toml").write_text(CONFIGURATION)
    (folder / "names.cedar").write_text(POLICIES)
    return msgspec.structs.replace(load(folder / "hostguard.toml"), dns=Dns(**dns_settings))


@dataclass
class Disk:
    """What the log is written to; fails on command."""

    full: bool = False

    def write(self, fd: int, data: bytes) -> int:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(fd, data)


class LogJournal:
    """Puts entries into a log of this very process; the daemon's resolver sends them to the supervisor."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def put(self, asker: Asker, *entries: NameEntry) -> str:
        assert all(entry.agent == asker.agent for entry in entries if isinstance(entry, NameAsked))
        try:
            self._log.append(0, *entries)
        except LogUnavailable as error:
            return str(error)
        return ""


@dataclass
class Running:
    """A resolver whose UDP and TCP ports anybody can ask, as whom `asker` says."""

    disk: Disk

    names: Names
    resources: Resources
    log: Log
    folder: Path
    port: int = 0
    tcp_port: int = 0
    asker: Asker | None = BOT

    def entries(self) -> list[NameAsked | NameAnswered | Fault]:
        found = [entry for _, entry in Reader(self.folder).entries((NameAsked, NameAnswered, Fault))]
        return [entry for entry in found if isinstance(entry, NameAsked | NameAnswered | Fault)]

    async def ask(self, name: str, kind: str = "A", **options: Any) -> dns.message.Message:
        query = dns.message.make_query(name, kind, **{"use_edns": 0, **options})
        return await asyncio.to_thread(dns.query.udp, query, "127.0.0.1", 5, self.port)

    async def dig(self, *arguments: str, tcp: bool = False) -> str:
        port = self.tcp_port if tcp else self.port
        command = ["dig", "@127.0.0.1", "-p", str(port), "+tries=1", "+time=5", *(["+tcp"] if tcp else ["+ignore"]), *arguments]
        found = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=20, check=False)
        return found.stdout


async def start(folder: Path, upstreams: tuple[str, ...], **settings: Any) -> tuple[Running, asyncio.Server]:
    document = document_in(folder, upstreams=upstreams, **settings)
    disk = Disk()
    log = Log(folder / "log", lambda: (time.time_ns(), time.monotonic_ns()), syscalls=Syscalls(write=disk.write))
    resources = Resources(document.resources, document.dns.grace_s)

    async def learn(asker: Asker, name: str, addresses: tuple[str, ...], ttl_s: int) -> None:
        resources.learn((asker.agent, asker.netns), name, addresses, ttl_s, time.monotonic())

    def crashed(error: Exception) -> None:
        log.append(0, Fault(where="names", error=repr(error)))

    running = Running(disk, Names(Policy(document), LogJournal(log), learn, crashed), resources, log, folder / "log")

    async def who(source: tuple[str, int]) -> Asker | None:
        assert source[0] == "127.0.0.1"
        return running.asker

    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind(("127.0.0.1", 0))
    await running.names.serve(sock, who)
    running.port = sock.getsockname()[1]

    def stream() -> asyncio.Protocol:
        assert running.asker is not None
        found = running.names.stream(running.asker)
        assert found is not None
        return found

    server = await asyncio.get_running_loop().create_server(stream, "127.0.0.1", 0)
    running.tcp_port = server.sockets[0].getsockname()[1]
    return running, server


Test = Callable[[Running], Awaitable[None]]


def resolve(test: Test, folder: Path, upstreams: tuple[str, ...], **settings: Any) -> None:
    """Run a test against a resolver in an event loop of its own."""

    async def main() -> None:
        running, server = await start(folder, upstreams, **settings)
        try:
            await test(running)
        finally:
            running.names.close()
            server.close()
            running.log.close()

    asyncio.run(main())
