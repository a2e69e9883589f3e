"""What a client asks a name server, read under limits.

dnspython reads the wire (RFC 1035 §4, its compression with pointers that only go back); what it lets through is narrowed here to
what a stub resolver asks: one question, opcode QUERY, class IN, no records but an OPT. Whatever the bytes are, the outcome is a
`Query` or `BadQuery`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype

HEADER_BYTES = 12
MAX_QUERY_BYTES = 1024
"""A name is 255 bytes at most (RFC 1035 §2.3.4); what is above that and an OPT with a cookie or padding asks nothing."""
PLAIN_UDP_BYTES = 512
"""RFC 1035 §4.2.1: what a client without EDNS takes."""
_RESPONSE = 0x8000


class BadQuery(Exception):
    """No question that can be answered; `reply` is the message to send back, None where nothing is to be sent."""

    def __init__(self, reason: str, reply: bytes | None) -> None:
        super().__init__(reason)
        self.reply = reply


@dataclass(frozen=True, slots=True)
class Question:
    """A name with the type of records that is asked for."""

    labels: tuple[str, ...]
    """From the leaf to the top, in lower case; bytes that are no letters, digits, ``-`` or ``_`` escaped (RFC 4343 §2.1)."""
    type: str
    """``A``, ``AAAA``, ``TXT``, …; ``TYPE65280`` for one without a name."""

    @property
    def name(self) -> str:
        """``db.example.com``; ``.`` for the root."""
        return ".".join(self.labels) or "."

    def __str__(self) -> str:
        return f"{self.name} {self.type}"


@dataclass(frozen=True, slots=True)
class Query:
    """One client's message."""

    id: int
    name: dns.name.Name
    """As the client wrote it: a reply repeats its letters (draft-vixie-dnsext-dns0x20)."""
    question: Question
    recursion: bool
    checking_disabled: bool
    authentic: bool
    """AD was set: the client would like to know whether the answer was validated (RFC 6840 §5.7)."""
    edns: bool
    dnssec: bool
    """DO was set: the client takes signatures."""
    payload: int
    """Bytes that the client takes in one datagram."""


def read_query(data: bytes) -> Query:
    """The query in one message; options of its OPT are left behind. Raises BadQuery."""
    message = _checked(data)
    if len(message.question) != 1:
        raise BadQuery(f"{len(message.question)} questions in one message", _plain_reply(data, dns.rcode.FORMERR))
    asked = message.question[0]
    if asked.rdclass != dns.rdataclass.IN:
        raise BadQuery(f"class {dns.rdataclass.to_text(asked.rdclass)}", _plain_reply(data, dns.rcode.REFUSED))
    edns = message.edns == 0
    return Query(
        id=message.id,
        name=asked.name,
        question=Question(labels_of(asked.name), dns.rdatatype.to_text(asked.rdtype)),
        recursion=bool(message.flags & dns.flags.RD),
        checking_disabled=bool(message.flags & dns.flags.CD),
        authentic=bool(message.flags & dns.flags.AD),
        edns=edns,
        dnssec=edns and bool(message.ednsflags & dns.flags.DO),
        payload=max(PLAIN_UDP_BYTES, int(message.payload)) if edns else PLAIN_UDP_BYTES,
    )


def _checked(data: bytes) -> dns.message.Message:
    if len(data) < HEADER_BYTES:
        raise BadQuery("shorter than a header", None)
    _, flags, _, answers, authorities, additionals = struct.unpack_from("!6H", data)
    # Nothing is sent back for a response: two servers would answer each other for ever.
    if flags & _RESPONSE:
        raise BadQuery("a response, not a query", None)
    if len(data) > MAX_QUERY_BYTES:
        raise BadQuery(f"a query of {len(data)} bytes", _plain_reply(data, dns.rcode.FORMERR))
    if (flags >> 11) & 0xF != dns.opcode.QUERY:
        raise BadQuery("another opcode than QUERY", _plain_reply(data, dns.rcode.NOTIMP))
    # RFC 6891 §6.1.1: one OPT. TSIG and SIG(0) sign what a client may not ask here anyway: updates, transfers.
    if answers or authorities or additionals > 1:
        raise BadQuery("records in a query", _plain_reply(data, dns.rcode.FORMERR))
    try:
        message = dns.message.from_wire(data, keyring=False)
    except (dns.exception.DNSException, ValueError) as error:
        raise BadQuery(f"unreadable: {type(error).__name__}", _plain_reply(data, dns.rcode.FORMERR)) from None
    if message.additional or message.had_tsig:
        raise BadQuery("another record than OPT in a query", _plain_reply(data, dns.rcode.FORMERR))
    if message.edns > 0:
        raise BadQuery(f"EDNS version {message.edns}", _plain_reply(data, dns.rcode.NOTIMP))
    return message


def _plain_reply(data: bytes, code: dns.rcode.Rcode) -> bytes:
    """A header without a question, for what could not be read: the id, the opcode, RD as they came (RFC 1035 §4.1.1)."""
    number, flags = struct.unpack_from("!2H", data)
    return struct.pack("!6H", number, _RESPONSE | flags & 0x7900 | code, 0, 0, 0, 0)


def labels_of(name: dns.name.Name) -> tuple[str, ...]:
    """The labels of an absolute name as `Question` has them."""
    # A dot within a label is escaped, so that the text of one name is never that of another.
    return tuple(dns.name.Name([label]).to_text().lower() for label in name.labels if label)
