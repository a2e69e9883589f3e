"""Whom a client calls is asked about; what follows passes byte for byte, or nothing does."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

import handshakes
import pytest
from cuts import Pieces, ways
from handshakes import NAME, alpn, answer, hello, records, sni, versions
from hypothesis import given
from hypothesis import strategies as st

from hostguard.protocols.events import (
    Ask,
    Close,
    Decision,
    Effect,
    Opaque,
    OperationKind,
    Reach,
    Replied,
    ReplySummary,
    Settled,
    ToClient,
    ToServer,
    Verdict,
    Withdrawn,
)
from hostguard.protocols.tls.conversation import TlsConversation
from hostguard.protocols.tls.server_hello import RETRY

ALLOW = Decision(Verdict.ALLOW)
DENY = Decision(Verdict.DENY, "policy says no")
DENIED = b"\x15\x03\x03\0\2\2\x31"
CCS = b"\x14\x03\x03\0\1\1"
EARLY = b"\x17\x03\x03\0\3abc"
ALERT_40 = b"\x15\x03\x03\0\2\2\x28"
UNRECOGNIZED = b"\x15\x03\x03\0\2\1\x70"
HELLO = records(hello([sni(b"api.example.com"), alpn(b"h2"), versions(0x0304)]))
OTHER = records(hello([sni(b"evil.example.com"), alpn(b"h2"), versions(0x0304)]))
ANSWER = records(answer([versions_chosen := (43, b"\x03\x04")]))
AGAIN = records(answer([versions_chosen, (51, b"\0\x17")], random=RETRY))


class Flow:
    """A conversation with an owner that decides, dials, hands over as told."""

    def __init__(self, decision: Decision = ALLOW, observed: bool = False, names: tuple[str, ...] = (NAME,)) -> None:
        self.conversation = TlsConversation(names)
        self.conversation.observe(observed)
        self.decision = decision
        self.to_server = self.to_client = b""
        self.said: list[Effect] = []
        self.settled = False

    def client(self, data: bytes) -> None:
        if self.settled:
            self.to_server += data
        else:
            self.do(self.conversation.from_client(data))

    def server(self, data: bytes) -> None:
        if self.settled:
            self.to_client += data
        else:
            self.do(self.conversation.from_server(data))

    def do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            assert not self.settled, "nothing follows the end"
            match effect:
                case ToServer(data=data):
                    self.to_server += data
                case ToClient(data=data):
                    self.to_client += data
                case Settled(to_server=first, to_client=second) | Opaque(to_server=first, to_client=second):
                    self.to_server += first
                    self.to_client += second
                    self.said.append(effect)
                    self.settled = True
                case Ask(operation=operation):
                    assert self.to_server == b""
                    self.said.append(effect)
                    self.do(self.conversation.resume(operation.id, self.decision))
                case Reach():
                    self.do(self.conversation.reached())
                case _:
                    self.said.append(effect)

    @property
    def text(self) -> str:
        (operation,) = [effect.operation for effect in self.said if isinstance(effect, Ask)]
        assert operation.kind is OperationKind.CONNECT
        return operation.text or ""

    @property
    def closed(self) -> Close:
        (close,) = [effect for effect in self.said if isinstance(effect, Close)]
        return close

    @property
    def reply(self) -> ReplySummary:
        (replied,) = [effect for effect in self.said if isinstance(effect, Replied)]
        return replied.summary


def shake(flow: Flow, client: handshakes.End, server: handshakes.End, size: int) -> None:
    """A whole handshake through the flow, in pieces of so many bytes, then some words each way."""

    def pieces(data: bytes) -> Pieces:
        return [data[at : at + size] for at in range(0, len(data), size)]

    sent_up = sent_down = b""
    passed_up = passed_down = 0
    for _ in range(6):
        up = client.step(flow.to_client[passed_down:])
        passed_down = len(flow.to_client)
        sent_up += up
        for piece in pieces(up):
            flow.client(piece)
        down = server.step(flow.to_server[passed_up:])
        passed_up = len(flow.to_server)
        sent_down += down
        for piece in pieces(down):
            flow.server(piece)
    assert client.done
    assert server.done
    assert flow.settled
    assert flow.to_server == sent_up
    assert flow.to_client == sent_down
    client.tls.write(b"ping")
    flow.client(client.outgoing.read())
    server.incoming.write(flow.to_server[passed_up:])
    assert server.tls.read(10) == b"ping"


@pytest.mark.parametrize("size", [1, 3, 64, 1 << 16])
@pytest.mark.parametrize(
    ("highest", "curve", "tag"),
    [
        (ssl.TLSVersion.TLSv1_3, "", "TLS 1.3"),
        (ssl.TLSVersion.TLSv1_3, "secp384r1", "TLS 1.3"),
        (ssl.TLSVersion.TLSv1_2, "", "TLS 1.2 h2"),
    ],
    ids=["1.3", "hello retry", "1.2"],
)
def test_real_handshakes_pass_byte_for_byte(tmp_path: Path, highest: ssl.TLSVersion, curve: str, tag: str, size: int) -> None:
    flow = Flow()
    server = handshakes.server(tmp_path, "h2", curve=curve)
    shake(flow, handshakes.client("h2", "http/1.1", highest=highest), server, size)
    assert flow.text.startswith(f"connect sni={NAME} asked={NAME} alpn=h2,http/1.1 version={tag.split()[1]} ja4=t1")
    assert (flow.reply.status, flow.reply.tag) == ("ok", tag)
    retried = curve != ""
    assert (RETRY in flow.to_client) is retried


def streams(*parts: bytes) -> list[list[Pieces]]:
    return list(ways(parts))


def test_cut_at_every_byte_the_same_is_said() -> None:
    for client, server, second in streams(HELLO + EARLY, AGAIN + CCS, CCS + HELLO):
        flow = Flow()
        for piece in client:
            flow.client(piece)
        assert flow.to_server == HELLO
        for piece in server:
            flow.server(piece)
        assert flow.to_client == AGAIN + CCS
        for piece in second:
            flow.client(piece)
        assert flow.to_server == HELLO + EARLY + CCS + HELLO
        flow.server(ANSWER)
        assert flow.settled
        assert flow.to_client == AGAIN + CCS + ANSWER


def test_it_has_begun_with_a_whole_hello() -> None:
    for (client,) in streams(HELLO):
        conversation = TlsConversation()
        for piece in client:
            assert not conversation.begun
            conversation.from_client(piece)
        assert conversation.begun


def test_a_refused_client_gets_the_alert_and_the_server_nothing() -> None:
    for (client,) in streams(HELLO):
        flow = Flow(DENY)
        for piece in client:
            flow.client(piece)
        assert (flow.to_server, flow.to_client) == (b"", DENIED)
        assert flow.closed == Close("policy says no")
        flow.client(HELLO)
        assert flow.to_server == b""


def test_nothing_passes_before_the_decision_nor_before_the_server_is_there() -> None:
    conversation = TlsConversation()
    (ask,) = conversation.from_client(HELLO + EARLY)
    assert isinstance(ask, Ask)
    assert conversation.from_client(EARLY) == []
    assert conversation.client_backlog == 2 * len(EARLY)
    assert conversation.resume(1, ALLOW) == [Reach()]
    assert conversation.from_client(EARLY) == []
    assert conversation.reached() == [ToServer(HELLO)]
    assert conversation.from_client(EARLY) == []
    assert conversation.from_server(ANSWER) == [
        Replied(1, ReplySummary("ok", "TLS 1.3")),
        Settled(to_server=4 * EARLY, to_client=ANSWER),
    ]


@pytest.mark.parametrize("early", [b"", EARLY, CCS])
def test_a_second_hello_that_calls_somebody_else_is_refused(early: bytes) -> None:
    """The server would have believed the second one: a way around the decision."""
    for second in (OTHER, records(hello([sni(b"api.example.com"), alpn(b"h2", b"x"), versions(0x0304)])), records(hello([]))):
        for at_once in (True, False):
            flow = Flow()
            flow.client(HELLO + early + second if at_once else HELLO)
            assert flow.to_server == HELLO
            flow.server(AGAIN)
            if not at_once:
                flow.client(early + second)
            assert flow.to_server == HELLO + early
            assert flow.closed.fault == "unsafe"
            assert flow.to_client == AGAIN + b"\x15\x03\x03\0\2\2\x2f"


def test_a_second_hello_may_not_hide_its_name_either() -> None:
    flow = Flow()
    flow.client(HELLO)
    flow.server(AGAIN)
    flow.client(records(hello([sni(b"api.example.com"), alpn(b"h2"), versions(0x0304), (0xFE0D, b"\0")])))
    assert flow.closed.fault == "unsafe"


def test_alerts_of_the_server_pass_a_warning_is_not_its_last_word() -> None:
    flow = Flow()
    flow.client(HELLO)
    flow.server(UNRECOGNIZED)
    assert (flow.to_client, flow.settled) == (UNRECOGNIZED, False)
    flow.client(OTHER)
    assert flow.to_server == HELLO
    flow.server(ALERT_40)
    assert flow.to_client == UNRECOGNIZED + ALERT_40
    assert (flow.reply.status, flow.reply.tag) == ("error", "handshake_failure")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        EARLY,
        records(hello([])),
        AGAIN + AGAIN,
        records(answer(random=RETRY) + answer()),
        b"\x15\x03\x03\0\1\2",
        b"\x16\x03\x03\0\4\2\1\0\1",
    ],
)
def test_a_server_that_speaks_no_tls_ends_the_flow(data: bytes) -> None:
    for (server,) in streams(data):
        flow = Flow()
        flow.client(HELLO)
        for piece in server:
            flow.server(piece)
        assert flow.closed.fault == "server"
        assert flow.to_client.endswith(b"\x15\x03\x03\0\2\2\x50")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", CCS + HELLO, EARLY, b"\0\0\0\x08\x04\xd2\x16\x2f", ALERT_40])
def test_a_client_that_speaks_no_tls_is_refused(data: bytes) -> None:
    flow = Flow()
    flow.client(data)
    assert (flow.to_server, flow.closed.fault) == (b"", "client")
    assert flow.to_client[:6] == DENIED[:6]


def test_a_server_that_speaks_before_it_is_greeted_is_read_once_it_is() -> None:
    conversation = TlsConversation()
    conversation.from_client(HELLO)
    conversation.resume(1, ALLOW)
    assert conversation.from_server(b"220 ready\r\n") == []
    *_, close = conversation.reached()
    assert isinstance(close, Close)
    assert close.fault == "server"


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", records(hello([sni(b"")])), CCS])
def test_observed_what_cannot_be_read_is_let_go_whole(data: bytes) -> None:
    flow = Flow(observed=True)
    flow.client(data)
    assert flow.to_server == data
    (opaque,) = flow.said
    assert isinstance(opaque, Opaque)
    assert opaque.fault == "client"


def test_observed_a_server_that_cannot_be_read_is_let_go_whole() -> None:
    flow = Flow(observed=True)
    flow.client(HELLO + EARLY)
    flow.server(b"220 ready\r\n")
    assert (flow.to_server, flow.to_client) == (HELLO + EARLY, b"220 ready\r\n")


def test_what_passed_before_a_fault_of_the_server_has_passed() -> None:
    """One read holds what passes, then what can't be read: found by the test of anything at all, below."""
    for data in (AGAIN + records(hello([])), CCS + b"x", UNRECOGNIZED + EARLY):
        flow = Flow(observed=True)
        flow.client(HELLO)
        flow.server(data)
        assert flow.to_client == data
        enforced = Flow()
        enforced.client(HELLO)
        enforced.server(data)
        assert enforced.to_client.startswith(data[:6])


def test_ends() -> None:
    held = TlsConversation()
    assert held.idle
    held.from_client(HELLO)
    assert not held.idle
    assert held.client_closed() == [
        Withdrawn(1, "the client closed the connection"),
        Close("the client closed the connection"),
    ]
    assert held.client_closed() == held.server_closed() == held.resume(1, ALLOW) == held.reached() == []
    withdrawn = TlsConversation()
    withdrawn.from_client(HELLO)
    assert withdrawn.withdraw("nobody decided in time", b"") == [ToClient(DENIED), Close("nobody decided in time")]
    lost = TlsConversation()
    lost.from_client(HELLO)
    lost.resume(1, ALLOW)
    assert lost.terminate("no route", b"") == [
        ToClient(b"\x15\x03\x03\0\2\2\x50"),
        Replied(1, ReplySummary("lost")),
        Close("no route"),
    ]
    assert TlsConversation().server_closed() == [Close("the server closed the connection")]


@pytest.mark.parametrize(
    ("names", "said"),
    [((), ""), ((NAME, "other.example"), f"asked={NAME}"), (("b.example", "a.example"), "asked=a.example,b.example")],
)
def test_the_text_says_by_which_names_the_agent_knows_the_server(names: tuple[str, ...], said: str) -> None:
    flow = Flow(names=names)
    flow.client(HELLO)
    assert flow.text.split()[2:3] == [said or "alpn=h2"]


def test_no_name_can_be_mistaken_for_another_word() -> None:
    flow = Flow(names=())
    flow.client(records(hello([sni(b"a b,c=d%\xff\0"), alpn(b"x y", b",", b"~")])))
    assert flow.text.split()[:3] == ["connect", "sni=a%20b%2Cc%3Dd%25%FF%00", "alpn=x%20y,%2C,%7E"]


PIECES = st.lists(
    st.sampled_from([HELLO, OTHER, ANSWER, AGAIN, CCS, EARLY, ALERT_40, UNRECOGNIZED, HELLO[:40], HELLO[40:], b"\x16\x03", b"x"]),
    max_size=6,
)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 300), PIECES), max_size=6), st.booleans(), st.booleans())
def test_whatever_is_said_nothing_is_lost_or_made_up(
    turns: list[tuple[bool, int, list[bytes]]], observed: bool, denied: bool
) -> None:
    flow = Flow(DENY if denied else ALLOW, observed)
    up = down = b""
    for client, size, said in turns:
        data = b"".join(said)
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            if client:
                up += piece
                flow.client(piece)
            else:
                down += piece
                flow.server(piece)
    assert up.startswith(flow.to_server)
    closes = [effect for effect in flow.said if isinstance(effect, Close)]
    if not closes:
        assert down.startswith(flow.to_client)
    if flow.settled:
        assert (up, down) == (flow.to_server, flow.to_client)
    if any(isinstance(effect, Settled) for effect in flow.said):
        assert not denied
    if denied and not observed:
        assert flow.to_server == b""
    assert len(closes) <= 1
