"""DNS messages read under limits: what passes, what is refused, and that nothing else ever comes out."""

from __future__ import annotations

import contextlib
import struct

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from cuts import ways
from hypothesis import given
from hypothesis import strategies as st

from hostguard.protocols.dns.answer import MAX_CHAIN, MAX_RECORDS, Answer, BadAnswer, query_for, read_answer
from hostguard.protocols.dns.question import BadQuery, Query, Question, read_query
from hostguard.protocols.dns.reply import BLOCKED, PROHIBITED, answer_message, refusal_message
from hostguard.protocols.dns.stream import MessageStream, TooLong, framed

A = Question(("db", "example", "com"), "A")


def asked(name: str = "db.example.com", kind: str = "A", **options: object) -> bytes:
    return dns.message.make_query(name, kind, **options).to_wire()  # type: ignore[arg-type]


def response(*records: str, question: Question = A, number: int = 7, authority: tuple[str, ...] = ()) -> dns.message.Message:
    """A name server's response; a record is ``owner ttl type data``."""
    message = dns.message.make_response(dns.message.from_wire(query_for(question, number)))
    for section, lines in ((message.answer, records), (message.authority, authority)):
        for line in lines:
            owner, ttl, kind, data = line.split(" ", 3)
            section.append(dns.rrset.from_text(owner, int(ttl), "IN", kind, data))
    return message


def answer(*records: str, question: Question = A, authority: tuple[str, ...] = ()) -> Answer:
    message = response(*records, question=question, authority=authority)
    return read_answer(message.to_wire(max_size=65_535), question, 7)


def header(flags: int, *counts: int) -> bytes:
    return struct.pack("!6H", 99, flags, *counts)


def test_a_question_is_read_in_lower_case_and_repeated_as_it_was_written() -> None:
    query = read_query(asked("Db.EXAMPLE.com", "AAAA", use_edns=0, want_dnssec=True, payload=4096))
    assert query.question == Question(("db", "example", "com"), "AAAA")
    assert str(query.question) == "db.example.com AAAA"
    assert (query.recursion, query.edns, query.dnssec, query.payload) == (True, True, True, 4096)
    reply = dns.message.from_wire(refusal_message(query, PROHIBITED, "no"))
    assert reply.question[0].name.to_text() == "Db.EXAMPLE.com."


def test_a_dot_inside_a_label_does_not_make_it_two() -> None:
    (first, *_), (second, *_) = read_query(asked(r"a\.b.com")).question.labels, read_query(asked("a.b.com")).question.labels
    assert (first, second) == (r"a\.b", "a")
    assert read_query(query_for(Question((r"a\.b", r"\000\255", "com"), "A"), 1)).question.labels == (r"a\.b", r"\000\255", "com")


def test_the_root_has_no_labels() -> None:
    assert read_query(asked(".", "NS")).question.name == "."


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (b"", None),
        (header(0, 1, 0, 0, 0)[:11], None),
        (header(0x8000, 1, 0, 0, 0), None),
        (header(0, 0, 0, 0, 0), dns.rcode.FORMERR),
        (header(0, 1, 0, 0, 0), dns.rcode.FORMERR),
        (header(0, 2, 0, 0, 0) + asked()[12:] * 2, dns.rcode.FORMERR),
        (header(0, 1, 1, 0, 0) + asked()[12:] + b"\0" * 11, dns.rcode.FORMERR),
        (header(0, 1, 0, 0, 2) + asked()[12:], dns.rcode.FORMERR),
        (header(0x2800, 1, 0, 0, 0) + asked()[12:], dns.rcode.NOTIMP),
        (asked() + b"\0", dns.rcode.FORMERR),
        (asked() + b"\0" * 2000, dns.rcode.FORMERR),
        (header(0, 1, 0, 0, 0) + b"\xc0\x0c" + b"\0\1\0\1", dns.rcode.FORMERR),
        (header(0, 1, 0, 0, 0) + b"\x3f" + b"a" * 10, dns.rcode.FORMERR),
        (header(0, 1, 0, 0, 0) + (b"\x3f" + b"a" * 63) * 5 + b"\0\0\1\0\1", dns.rcode.FORMERR),
        (asked(rdclass="CH"), dns.rcode.REFUSED),
        (asked(use_edns=1), dns.rcode.NOTIMP),
    ],
    ids=[
        "empty", "short header", "a response", "no question", "question missing", "two questions", "an answer in it",
        "two additional records", "update", "a byte too many", "far too long", "a pointer to itself", "a label cut off",
        "a name too long", "class CHAOS", "EDNS 1",
    ],
)  # fmt: skip
def test_what_is_no_plain_question_is_answered_so_or_dropped(data: bytes, rcode: int | None) -> None:
    with pytest.raises(BadQuery) as caught:
        read_query(data)
    if rcode is None:
        assert caught.value.reply is None
    else:
        assert caught.value.reply is not None
        reply = dns.message.from_wire(caught.value.reply)
        assert (reply.rcode(), reply.id) == (rcode, int.from_bytes(data[:2]))
        assert reply.flags & dns.flags.QR


def test_options_of_the_client_do_not_reach_the_name_server() -> None:
    smuggled = dns.edns.GenericOption("65001", b"secret" * 20)
    query = read_query(asked("Db.Example.com", use_edns=0, options=[smuggled]))
    upstream = query_for(query.question, 1)
    assert b"secret" not in upstream
    assert b"example" in upstream  # without the letters' case, which could carry a bit each
    assert dns.message.from_wire(upstream).options == ()


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_a_query_or_a_bad_one(data: bytes) -> None:
    with contextlib.suppress(BadQuery):
        assert isinstance(read_query(data), Query)


@given(st.data())
def test_a_query_with_flipped_bytes_is_a_query_or_a_bad_one(data: st.DataObject) -> None:
    wire = bytearray(asked("db.example.com", "A", use_edns=0, want_dnssec=True))
    for at in data.draw(st.lists(st.integers(0, len(wire) - 1), max_size=6)):
        wire[at] = data.draw(st.integers(0, 255))
    try:
        query = read_query(bytes(wire))
    except BadQuery:
        return
    assert read_query(query_for(query.question, 1)).question == query.question
    assert len(refusal_message(query, BLOCKED, "because")) <= query.payload


# -- answers ------------------------------------------------------------------------------------------------------------------


def test_only_the_chain_from_the_name_is_kept() -> None:
    found = answer(
        "db.example.com. 60 CNAME a.example.net.",
        "a.example.net. 20 CNAME b.example.net.",
        "b.example.net. 50 A 192.0.2.1",
        "evil.example. 50 A 192.0.2.66",
        "a.example.net. 50 TXT stowaway",
    )
    assert found.texts == ("CNAME a.example.net.", "CNAME b.example.net.", "A 192.0.2.1")
    assert found.addresses == ("192.0.2.1",)
    assert (found.status, found.ttl_s) == ("NOERROR", 20)


def test_additional_records_are_left_behind() -> None:
    message = response("db.example.com. 60 A 192.0.2.1")
    message.additional.append(dns.rrset.from_text("shop.internal.", 60, "IN", "A", "192.0.2.66"))
    found = read_answer(message.to_wire(), A, 7)
    reply = dns.message.from_wire(answer_message(read_query(asked()), found, tcp=False))
    assert [rrset.name.to_text() for rrset in (*reply.answer, *reply.authority, *reply.additional)] == ["db.example.com."]


def test_the_denial_of_a_name_keeps_the_soa_of_its_zone_and_no_other() -> None:
    soa = "60 SOA ns.example.com. root.example.com. 1 2 3 4 30"
    found = answer(authority=(f"example.com. {soa}", f"evil.example. {soa}", "example.com. 60 NS ns.evil.example."))
    assert [rrset.name.to_text() for rrset in found.authority] == ["example.com."]
    assert found.ttl_s == 30


def test_an_alias_that_leads_in_a_circle_ends() -> None:
    found = answer("db.example.com. 60 CNAME a.example.net.", "a.example.net. 60 CNAME db.example.com.")
    assert len(found.answers) <= MAX_CHAIN + 1
    assert found.addresses == ()


def test_addresses_in_hints_are_addresses() -> None:
    question = Question(A.labels, "HTTPS")
    found = answer("db.example.com. 60 HTTPS 1 . alpn=h2 ipv4hint=192.0.2.7 ipv6hint=2001:db8::7", question=question)
    assert found.addresses == ("192.0.2.7", "2001:db8::7")


def test_an_answer_ages() -> None:
    found = answer("db.example.com. 60 A 192.0.2.1", "db.example.com. 60 A 192.0.2.2")
    assert (found.aged(25).ttl_s, found.aged(25).addresses, found.aged(90).ttl_s) == (35, ("192.0.2.1", "192.0.2.2"), 0)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "id", 8),
        lambda m: setattr(m, "flags", m.flags & ~dns.flags.QR),
        lambda m: m.question.clear(),
        lambda m: m.question.__setitem__(0, dns.rrset.from_text("db.example.org.", 0, "IN", "A")),
        lambda m: m.question.__setitem__(0, dns.rrset.from_text("db.example.com.", 0, "IN", "TXT")),
        lambda m: m.answer.append(
            dns.rrset.from_rdata_list(
                dns.name.from_text("db.example.com."),
                60,
                [dns.rdata.from_text("IN", "A", f"192.0.{n // 250}.{n % 250}") for n in range(MAX_RECORDS)],
            )
        ),
    ],
    ids=["another id", "no response", "no question", "another name", "another type", "too many records"],
)
def test_what_is_no_answer_to_the_question_is_none(change: object) -> None:
    message = response("db.example.com. 60 A 192.0.2.1")
    change(message)  # type: ignore[operator]
    with pytest.raises(BadAnswer):
        read_answer(message.to_wire(max_size=65_535), A, 7)


@given(st.binary(max_size=600))
def test_arbitrary_bytes_are_an_answer_or_a_bad_one(data: bytes) -> None:
    for wire in (data, query_for(A, 7)[:2] + b"\x81\x80" + data):
        with contextlib.suppress(BadAnswer):
            assert isinstance(read_answer(wire, A, 7), Answer)


@given(st.data())
def test_an_answer_with_flipped_bytes_is_one_that_can_be_passed_on_or_a_bad_one(data: st.DataObject) -> None:
    soa = "60 SOA ns.example.com. root.example.com. 1 2 3 4 30"
    message = response(
        "db.example.com. 60 CNAME a.example.net.", "a.example.net. 9 A 192.0.2.1", authority=(f"example.com. {soa}",)
    )
    wire = bytearray(message.to_wire())
    for at in data.draw(st.lists(st.integers(2, len(wire) - 1), max_size=6)):
        wire[at] = data.draw(st.integers(0, 255))
    try:
        found = read_answer(bytes(wire), A, 7)
    except BadAnswer:
        return
    assert isinstance((found.texts, found.addresses, found.ttl_s, found.aged(5), found.status), tuple)
    assert len(answer_message(read_query(asked()), found, tcp=False)) <= 512


# -- replies ------------------------------------------------------------------------------------------------------------------


def test_a_refusal_says_why_to_a_client_that_speaks_edns() -> None:
    reply = dns.message.from_wire(refusal_message(read_query(asked(use_edns=0)), BLOCKED, 'hostguard: "x" forbids'))
    assert reply.rcode() == dns.rcode.REFUSED
    (option,) = reply.options
    assert option.to_text() == 'EDE 15 (Blocked): hostguard: "x" forbids'
    plain = dns.message.from_wire(refusal_message(read_query(asked()), BLOCKED, "why"))
    assert (plain.rcode(), plain.edns) == (dns.rcode.REFUSED, -1)


def test_the_longest_reason_for_the_longest_name_still_fits_a_plain_datagram() -> None:
    name = ".".join(["a" * 61] * 4)
    query = read_query(asked(name, use_edns=0, payload=512))
    reply = refusal_message(query, BLOCKED, "ä" * 1000)
    assert len(reply) <= 512
    assert dns.message.from_wire(reply).rcode() == dns.rcode.REFUSED


@pytest.mark.parametrize(("payload", "truncated"), [(0, True), (1232, True), (4096, False)])
def test_what_does_not_fit_a_datagram_is_marked_and_fits_tcp(payload: int, truncated: bool) -> None:
    found = answer(*(f"db.example.com. 60 A 192.0.{n // 250}.{n % 250}" for n in range(100)))
    query = read_query(asked(use_edns=0, payload=payload) if payload else asked())
    reply = answer_message(query, found, tcp=False)
    assert len(reply) <= (payload or 512)
    assert bool(dns.message.from_wire(reply).flags & dns.flags.TC) == truncated
    whole = dns.message.from_wire(answer_message(query, found, tcp=True))
    assert not whole.flags & dns.flags.TC
    # In the name server's order: round robin is its affair.
    assert [rdata.to_text() for rdata in whole.answer[0]] == list(found.addresses)


# -- the stream ---------------------------------------------------------------------------------------------------------------


def test_a_stream_cut_anywhere_gives_the_same_messages() -> None:
    messages = [asked(), b"", b"x" * 300, asked("b.example.com")]
    stream = b"".join(framed(message) for message in messages)
    for (pieces,) in ways([stream]):
        reader, found = MessageStream(1024), []
        for piece in pieces:
            reader.feed(piece)
            while (message := reader.next_message()) is not None:
                found.append(message)
        assert found == messages
        assert len(reader) == 0


def test_a_message_longer_than_the_limit_ends_the_stream_before_it_is_here() -> None:
    reader = MessageStream(1024)
    reader.feed(framed(b"a") + (1025).to_bytes(2))
    assert reader.next_message() == b"a"
    with pytest.raises(TooLong):
        reader.next_message()


@given(st.lists(st.binary(max_size=100), max_size=5), st.lists(st.integers(1, 40), max_size=30))
def test_any_messages_in_any_pieces_come_back(messages: list[bytes], sizes: list[int]) -> None:
    stream, reader, found = b"".join(map(framed, messages)), MessageStream(100), []
    for size in [*sizes, len(stream) + 1]:
        reader.feed(stream[:size])
        stream = stream[size:]
        while (message := reader.next_message()) is not None:
            found.append(message)
    assert found == messages
