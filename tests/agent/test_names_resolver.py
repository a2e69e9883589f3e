"""The resolver on real sockets: a real name server behind it, real clients before it, a real log beside it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import msgspec
import pytest
from name_server import NameServer
from resolving import BOT, POLICIES, Running

from hostguard.agent.names.hosts import addresses_in
from hostguard.policy.decide import Policy
from hostguard.policy.document import load
from hostguard.protocols.dns.stream import MessageStream, framed
from hostguard.recorder.entry import Fault, NameAnswered, NameAsked


def test_a_permitted_name_is_answered_after_it_is_on_record(resolving: Callable[..., None], upstream: NameServer) -> None:
    async def test(running: Running) -> None:
        reply = await running.ask("Www.Example")
        assert [rrset.to_text().lower() for rrset in reply.answer] == [
            "www.example. 30 in cname db.example.",
            "db.example. 30 in a 127.0.0.5",
        ]
        assert reply.question[0].name.to_text() == "Www.Example."
        asked, answered = running.entries()
        assert isinstance(asked, NameAsked)
        assert isinstance(answered, NameAnswered)
        assert (asked.agent, asked.name, asked.type, asked.verdict) == ("bot", "www.example", "A", "allow")
        assert (asked.policies, asked.transport, asked.server) == (("web looks around",), "udp", "192.0.2.53:53")
        assert (asked.pid, asked.uid, asked.comm, asked.exe) == (42, 1000, "agent", "/usr/bin/agent")
        assert answered.question == asked.question
        assert (answered.status, answered.answers) == ("NOERROR", ("CNAME db.example.", "A 127.0.0.5"))
        assert answered.upstream == upstream.address
        assert asked.mono_ns < answered.mono_ns

    resolving(test)


def test_a_name_that_nothing_permits_is_refused_with_the_reason_and_never_leaves(
    resolving: Callable[..., None], upstream: NameServer
) -> None:
    async def test(running: Running) -> None:
        for name, code, why in (
            ("Exfiltrated.Com", "18 (Prohibited)", "no policy permits resolve on exfiltrated.com (A) for agent bot"),
            ("a.secret.example", "15 (Blocked)", '"not the secret" forbids resolve on a.secret.example (A) for agent bot'),
        ):
            reply = await running.ask(name)
            assert reply.rcode() == dns.rcode.REFUSED
            assert [option.to_text() for option in reply.options] == [f"EDE {code}: hostguard: {why}"]
            asked, answered = running.entries()[-2:]
            assert isinstance(asked, NameAsked)
            assert isinstance(answered, NameAnswered)
            assert (asked.verdict, asked.reason, answered.status, answered.reason) == ("deny", why, "REFUSED", why)
        assert "xfiltrated" not in upstream.log()
        assert "secret" not in upstream.log()

    resolving(test)


def test_an_observed_workload_gets_its_answer_and_the_record_says_what_would_have_been(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        running.asker = msgspec.structs.replace(BOT, workload="watched")
        assert (await running.ask("t.com", "A")).rcode() != dns.rcode.REFUSED
        asked, answered = running.entries()[-2:]
        assert isinstance(asked, NameAsked)
        assert isinstance(answered, NameAnswered)
        assert (asked.verdict, asked.would) == ("allow", "deny")
        assert asked.reason == "no policy permits resolve on t.com (A) for agent bot"
        assert answered.upstream
        assert running.names.resolver.counts["would_deny"] == 1
        running.disk.full = True
        assert (await running.ask("t.com", "A")).rcode() == dns.rcode.SERVFAIL

    resolving(test)


def test_a_permit_may_be_for_one_type_of_records(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        assert '"hello"' in str(await running.ask("t.com", "TXT"))
        assert (await running.ask("t.com", "A")).rcode() == dns.rcode.REFUSED

    resolving(test)


def test_the_base_policy_permits_the_names_of_resources_to_every_agent_and_no_others(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        running.asker = msgspec.structs.replace(BOT, agent="other")
        assert (await running.ask("db.example")).rcode() == dns.rcode.NOERROR
        assert (await running.ask("www.example")).rcode() == dns.rcode.REFUSED
        assert (await running.ask("sub.db.example")).rcode() == dns.rcode.REFUSED

    resolving(test)


def test_an_agent_that_the_policy_does_not_know_is_refused(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        running.asker = msgspec.structs.replace(BOT, agent="stranger")
        assert (await running.ask("db.example")).rcode() == dns.rcode.REFUSED

    resolving(test)


def test_who_is_nobody_gets_no_reply(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        running.asker = None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", running.port))
            client.send(dns.message.make_query("db.example", "A").to_wire())
            running_counts = running.names.resolver.counts
            while not running_counts["strangers"]:
                await asyncio.sleep(0)
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(512)
        assert running.entries() == []

    resolving(test)


def test_a_name_that_does_not_exist_is_told_so(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        assert (await running.ask("nothing.example")).rcode() == dns.rcode.NXDOMAIN
        assert (await running.ask("db.example", "MX")).rcode() == dns.rcode.NOERROR

    resolving(test)


def test_dig_gets_by_udp_tcp_and_edns_what_it_would_get_directly(resolving: Callable[..., None], upstream: NameServer) -> None:
    def answers(text: str) -> list[str]:
        return sorted(line for line in text.splitlines() if line and not line.startswith(";"))

    async def test(running: Running) -> None:
        for question in (["db.example"], ["www.example", "A"], ["_pg._tcp.example", "SRV"], ["big.example"]):
            direct = ["dig", f"@{upstream.host}", "-p", str(upstream.port), "+tcp", "+noall", "+answer", *question]
            wanted = subprocess.run(direct, capture_output=True, text=True, timeout=20, check=True).stdout
            assert answers(wanted)
            assert answers(await running.dig("+noall", "+answer", *question, tcp=True)) == answers(wanted)
            assert answers(await running.dig("+noall", "+answer", "+bufsize=4096", *question)) == answers(wanted)
        assert " tc " in await running.dig("+noedns", "big.example")
        assert running.names.resolver.forwarder.counts["by_tcp"] == 1  # then the cache knew it
        refused = await running.dig("exfiltrated.com")
        assert "status: REFUSED" in refused
        assert "EDE: 18 (Prohibited)" in refused

    resolving(test)


def test_a_stream_answers_many_questions_in_one_go_cut_anywhere(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        names = ["db.example", "www.example", "exfiltrated.com", "nothing.example"] * 40
        wire = b"".join(framed(dns.message.make_query(name, "A", id=number).to_wire()) for number, name in enumerate(names))
        reader, writer = await asyncio.open_connection("127.0.0.1", running.tcp_port)
        for at in range(0, len(wire), 37):
            writer.write(wire[at : at + 37])
            await writer.drain()
        writer.write_eof()
        stream = MessageStream(65_535)
        stream.feed(await reader.read(-1))
        found = {}
        while (message := stream.next_message()) is not None:
            reply = dns.message.from_wire(message)
            found[reply.id] = (reply.rcode(), reply.question[0].name.to_text())
        assert len(found) == len(names)
        codes = {"exfiltrated.com": dns.rcode.REFUSED, "nothing.example": dns.rcode.NXDOMAIN}
        assert found == {n: (codes.get(name, dns.rcode.NOERROR), f"{name}.") for n, name in enumerate(names)}
        writer.close()
        assert running.names._streams == 0

    resolving(test)


def test_a_stream_that_announces_too_much_is_cut_off(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.tcp_port)
        writer.write(b"\xff\xff")
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert running.names.resolver.counts["malformed"] == 1
        writer.close()

    resolving(test)


def test_what_was_told_is_remembered_before_the_reply_for_the_name_asked_for_only(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        await running.ask("www.example")
        now = time.monotonic()
        # The alias's target is a resource's name, but not the name that the agent asked for.
        assert running.resources.at(("bot", 3), "127.0.0.5", 5432, now).resource is None
        assert running.resources.at(("bot", 3), "127.0.0.5", 5432, now).name == "www.example"
        await running.ask("DB.example")
        assert running.resources.at(("bot", 3), "127.0.0.5", 5432, now).resource == "shop"
        assert running.resources.at(("bot", 4), "127.0.0.5", 5432, now).resource is None

    resolving(test)


def test_a_second_question_is_answered_from_memory_with_less_time_left_and_on_record(
    resolving: Callable[..., None], upstream: NameServer
) -> None:
    async def test(running: Running) -> None:
        before = upstream.log().count("query[A] db.example")
        await running.ask("db.example")
        await running.ask("db.EXAMPLE")
        assert upstream.log().count("query[A] db.example") == before + 1
        answered = running.entries()[-1]
        assert isinstance(answered, NameAnswered)
        assert (answered.upstream, answered.answers) == ("", ("A 127.0.0.5",))
        assert running.names.resolver.cache.hits == 1

    resolving(test)


def test_without_a_log_nothing_is_asked_and_nothing_is_answered(resolving: Callable[..., None], upstream: NameServer) -> None:
    async def test(running: Running) -> None:
        running.disk.full = True
        before = upstream.log()
        for name in ("db.example", "exfiltrated.com"):
            reply = await running.ask(name)
            assert reply.rcode() == dns.rcode.SERVFAIL
            assert "can't put this on record, so it is refused: " in reply.options[0].to_text()
        assert upstream.log() == before
        assert "No space left" in running.names.resolver.failure
        running.disk.full = False
        assert (await running.ask("db.example")).rcode() == dns.rcode.NOERROR

    resolving(test)


def test_an_agent_with_too_many_questions_under_way_is_refused_and_another_is_not(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        questions = [asyncio.create_task(running.ask(f"n{number}.example")) for number in range(2)]
        while running.names.resolver._in_flight["bot"] < 2:
            await asyncio.sleep(0)
        assert "dns.max_in_flight (2) is reached" in (await running.ask("db.example")).options[0].to_text()
        running.asker = msgspec.structs.replace(BOT, agent="other")
        assert (await running.ask("exfiltrated.com")).options[0].to_text().startswith("EDE 18")
        replies = await asyncio.gather(*questions)
        assert {reply.rcode() for reply in replies} == {dns.rcode.SERVFAIL}
        assert running.names.resolver.counts["failed"] == 2

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        resolving(test, (f"127.0.0.1:{silent.getsockname()[1]}",), max_in_flight=2, timeout_ms=500)


def test_a_tunnel_is_refused_after_its_first_names_and_shown_while_known_names_go_on(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        await running.ask("db.example")
        codes = [(await running.ask(f"{number:032x}.t.example")).rcode() for number in range(1 << 100, (1 << 100) + 30)]
        assert codes[:20] == [dns.rcode.NXDOMAIN] * 20
        assert codes[20:] == [dns.rcode.REFUSED] * 10
        assert (await running.ask("db.example")).rcode() == dns.rcode.NOERROR
        assert (await running.ask(".".join(["a" * 50] * 4) + ".t.example")).rcode() == dns.rcode.REFUSED
        (alarm,) = running.names.resolver.facts().alarms
        assert (alarm.agent, alarm.domain, alarm.questions) == ("bot", "t.example", 11)
        asked = [entry for entry in running.entries() if isinstance(entry, NameAsked)]
        assert asked[-3].flags == ("many_names",)
        assert '"hostguard: no tunnels through names" forbids' in str(asked[-3].reason)

    resolving(test)


def test_types_that_programs_do_not_ask_for_are_refused(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        for kind in ("NULL", "ANY", "AXFR", "TYPE65280", "NS"):
            query = dns.message.make_query("db.example", kind, use_edns=0)
            reply = await asyncio.to_thread(dns.query.udp, query, "127.0.0.1", 5, running.port)
            assert "ordinary types of records" in reply.options[0].to_text(), kind

    resolving(test)


def test_another_policy_counts_from_the_next_question_on(resolving: Callable[..., None], tmp_path: Path) -> None:
    async def test(running: Running) -> None:
        assert (await running.ask("www.example")).rcode() == dns.rcode.NOERROR
        (tmp_path / "names.cedar").write_text(POLICIES.replace('Domain::"example"', 'Domain::"net"'))
        running.names.reload(Policy(load(tmp_path / "hostguard.toml"), 2))
        assert (await running.ask("www.example")).rcode() == dns.rcode.REFUSED
        asked = running.entries()[-2]
        assert isinstance(asked, NameAsked)
        assert asked.epoch == 2

    resolving(test)


def test_hostguard_looks_resources_names_up_by_the_same_name_servers(resolving: Callable[..., None]) -> None:
    async def test(running: Running) -> None:
        await running.resources.look_up(running.names.look_up, time.monotonic)
        assert running.resources.at(("other", 9), "127.0.0.5", 5432, time.monotonic()).resource == "shop"
        assert running.resources.failures == {}
        running.names.resolver.forwarder.servers = ()
        await running.resources.look_up(running.names.look_up, time.monotonic)
        assert list(running.resources.failures) == ["db.example"]
        assert running.resources.at(("other", 9), "127.0.0.5", 5432, time.monotonic()).resource == "shop"

    resolving(test)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1 localhost db.example # db\n10.0.0.1\tDB.Example.\n", ["127.0.0.1", "10.0.0.1"]),
        ("# 10.0.0.1 db.example\nrubbish db.example\n\n10.0.0.1\n::1 xdb.example", []),
    ],
)
def test_the_hosts_own_file_is_read_as_libc_does(text: str, found: list[str]) -> None:
    assert addresses_in(text, "db.example") == found


def test_a_question_that_breaks_us_gets_no_answer_and_is_on_record(
    resolving: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(running: Running) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(running.names.resolver.names, "decide", broken)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.tcp_port)
        writer.write(framed(dns.message.make_query("db.example", "A").to_wire()))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        (fault,) = running.entries()
        assert isinstance(fault, Fault)
        assert (fault.where, fault.error) == ("names", "RuntimeError('a bug')")

    resolving(test)
