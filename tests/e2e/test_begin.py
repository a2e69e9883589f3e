"""Agents that connect and do not begin: each is refused in time, wherever it stalls."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import guard
import pytest
from guard import Guard
from servers import Server

BEGIN_S = 6
# Behind the resource's own lines in the file: the last resource asks its agents for a word.
OWN = """
client_tls = "offer"
client_password = "anything"
credential = "app"
[credentials.app]
user = "app"
secret = "command:/bin/echo secret"
"""
PLAIN = """
[resources.shop]
protocol = "postgres"
addresses = ["{host}:{port}"]
client_tls = "offer"
server_tls = "off"
"""


@pytest.fixture(scope="module")
def running(postgres15: Server, postgres18: Server) -> Iterator[Guard]:
    setup = guard.Setup(
        agents={"bot": guard.Agent()},
        resources={"own": f"{postgres18.host}:{postgres18.port}"},
        policies='@id("all") permit (principal, action, resource);',
        workers=1,
        tags=OWN,
        tables=PLAIN.format(host=postgres15.host, port=postgres15.port),
        limits=f"begin_s = {BEGIN_S}",
    )
    with guard.guarding(setup) as started:
        yield started


SLOW = """
import socket, ssl, struct, sys
shop, own = int(sys.argv[1]), int(sys.argv[2])
SSL = struct.pack(">II", 8, 80877103)
START = struct.pack(">II", 23, 196608) + b"user\\0postgres\\0\\0"
context = ssl._create_unverified_context()
def dial(port, *parts):
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    for part in parts:
        sock.sendall(part)
        if part == SSL:
            assert sock.recv(1) == b"S"
    return sock
hello = ssl.MemoryBIO()
try:
    context.wrap_bio(ssl.MemoryBIO(), hello).do_handshake()
except ssl.SSLWantReadError:
    hello = hello.read()
good = dial(shop, START)
slow = {
    "silent": dial(shop),
    "half a packet": dial(shop, START[:11]),
    "silent before TLS": dial(shop, SSL),
    "half a hello": dial(shop, SSL, hello[:100]),
    "silent in the handshake": dial(shop, SSL, hello),
    "silent in TLS": context.wrap_socket(dial(shop, SSL)),
    "without its word": context.wrap_socket(dial(own, SSL)),
}
slow["without its word"].sendall(START)
for what, sock in slow.items():
    said = b""
    try:
        while more := sock.recv(4096):
            said += more
    except OSError as error:
        said += type(error).__name__.encode()
    print(what, said, sep=": ")
said = b""
good.sendall(b"Q\\0\\0\\0\\x0dSELECT 7\\0")
while b"SELECT 1" not in said and (more := good.recv(65536)):
    said += more
print("good", b"SELECT 1" in said, sep=": ")
"""


def test_an_agent_that_does_not_begin_is_refused_in_time(running: Guard, postgres15: Server, postgres18: Server) -> None:
    """In the clear and in its TLS it is told; before its TLS is there nobody could tell it."""
    done = running.run("bot", [sys.executable, "-c", SLOW, str(postgres15.port), str(postgres18.port)], {})
    assert done.stderr == ""
    heard = {line.partition(": ")[0]: line.partition(": ")[2] for line in done.stdout.splitlines()}
    reason = f"you did not begin your session within {BEGIN_S} s (limits.begin_s)"
    for what in ("silent", "half a packet", "silent in TLS", "without its word"):
        assert reason in heard[what], what
    for what in ("silent before TLS", "half a hello", "silent in the handshake"):
        assert reason not in heard[what], what
    assert heard["good"] == "True", "who has begun may take as long as it likes"
    told = [fault for fault in running.status()["faults"] if fault["reason"] == reason]
    assert len(told) == len(heard) - 1
    assert f"begin: {reason}" in running.cli("recordings", "show", str(told[0]["flow"])).stdout
