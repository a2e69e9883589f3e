"""The resolver's name servers: silent, absent, forging, asked no more than needed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from name_server import NameServer
from resolving import Running

from hostguard.recorder.entry import NameAnswered


def test_a_name_server_that_is_silent_or_absent_gives_way_to_the_next(
    resolving: Callable[..., None], upstream: NameServer
) -> None:
    async def test(running: Running) -> None:
        assert (await running.ask("db.example")).rcode() == dns.rcode.NOERROR
        assert running.names.resolver.forwarder.counts["timeouts"] == 1
        assert running.names.resolver.forwarder.failure == ""

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
        silent.bind(("127.0.0.1", 0))
        closed.bind(("127.0.0.1", 0))
        absent = closed.getsockname()[1]
        closed.close()
        resolving(test, (f"127.0.0.1:{silent.getsockname()[1]}", f"127.0.0.1:{absent}", upstream.address), timeout_ms=200)


def test_when_no_name_server_answers_the_client_hears_so(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        reply = await running.ask("db.example")
        assert reply.rcode() == dns.rcode.SERVFAIL
        assert "no name server answered: 127.0.0.1:" in reply.options[0].to_text()
        answered = running.entries()[-1]
        assert isinstance(answered, NameAnswered)
        assert answered.status == "SERVFAIL"
        assert "no answer in time" in running.names.resolver.forwarder.failure

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolving(test, (f"127.0.0.1:{silent.getsockname()[1]}",), timeout_ms=60)


def test_forged_answers_are_ignored_and_the_right_one_is_taken(resolving: Callable[..., None]) -> None:
    """The name server itself sends what a forger would: other ids, other questions, other records."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        server.bind(("127.0.0.1", 0))
        stranger.bind(("127.0.0.9", 0))

        def serve() -> None:
            data, client = server.recvfrom(512)
            query = dns.message.from_wire(data)
            right = dns.message.make_response(query)
            right.answer = [dns.rrset.from_text("db.example.", 60, "IN", "A", "127.0.0.5")]
            forged = dns.message.make_response(query)
            forged.answer = [dns.rrset.from_text("db.example.", 60, "IN", "A", "127.6.6.6")]
            stranger.sendto(forged.to_wire(), client)
            forged.id = query.id ^ 1
            server.sendto(forged.to_wire(), client)
            forged.id = query.id
            forged.question = [dns.rrset.from_text("other.example.", 0, "IN", "A")]
            server.sendto(forged.to_wire(), client)
            server.sendto(b"\0" * 20, client)
            server.sendto(right.to_wire(), client)

        async def test(running: Running) -> None:
            serving = asyncio.create_task(asyncio.to_thread(serve))
            reply = await running.ask("db.example")
            await serving
            assert [rdata.to_text() for rdata in reply.answer[0]] == ["127.0.0.5"]
            assert running.names.resolver.forwarder.counts["ignored"] == 3

        resolving(test, (f"127.0.0.1:{server.getsockname()[1]}",))


def test_equal_questions_at_one_time_are_one_to_the_name_server(resolving: Callable[..., None]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        async def test(running: Running) -> None:
            questions = [asyncio.create_task(running.ask("once.example")) for _ in range(4)]
            while running.names.resolver._in_flight["bot"] < 4:
                await asyncio.sleep(0)
            data, client = await asyncio.to_thread(server.recvfrom, 512)
            server.setblocking(False)
            with pytest.raises(BlockingIOError):
                server.recv(512)
            server.sendto(dns.message.make_response(dns.message.from_wire(data)).to_wire(), client)
            assert {reply.rcode() for reply in await asyncio.gather(*questions)} == {dns.rcode.NOERROR}

        resolving(test, (f"127.0.0.1:{server.getsockname()[1]}",), timeout_ms=5000)
