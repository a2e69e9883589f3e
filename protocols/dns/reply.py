"""The message that a client gets: an answer, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Iterable

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from .answer import UPSTREAM_UDP_BYTES, Answer
from .question import Query

MAX_UDP_BYTES = 4096
"""Datagrams to a client stay on loopback; what is larger comes by TCP."""
MAX_TCP_BYTES = 65_535
MAX_EXTRA_BYTES = 400
"""Of a refusal's text: it fits into 512 bytes with the longest question but the very longest."""

PROHIBITED = 18
"""RFC 8914 §4.19: the client is not allowed to ask this."""
BLOCKED = 15
"""RFC 8914 §4.16: the operator of the server does not want this asked."""
NETWORK_ERROR = 23
"""RFC 8914 §4.24: no name server answered."""
OTHER = 0
"""RFC 8914 §4.1."""


def answer_message(query: Query, answer: Answer, *, tcp: bool) -> bytes:
    """The answer for this client; what does not fit into its datagram is left out, marked so that it asks again by TCP."""
    message = _begun(query, answer.rcode)
    if answer.authentic and (query.authentic or query.dnssec):
        message.flags |= dns.flags.AD
    message.answer = list(_fit(answer.answers, query))
    message.authority = list(_fit(answer.authority, query))
    limit = MAX_TCP_BYTES if tcp else min(query.payload, MAX_UDP_BYTES)
    return message.to_wire(max_size=limit, prefer_truncation=True, want_shuffle=False)


def refusal_message(query: Query, code: int, reason: str, *, rcode: int = dns.rcode.REFUSED, tcp: bool = False) -> bytes:
    """A refusal; `code` and `reason` are RFC 8914's extended error, for a client that speaks EDNS."""
    message = _begun(query, rcode)
    if query.edns:
        text = reason.encode()[:MAX_EXTRA_BYTES].decode(errors="ignore")
        message.use_edns(0, message.ednsflags, UPSTREAM_UDP_BYTES, options=[dns.edns.EDEOption(dns.edns.EDECode(code), text)])
    return message.to_wire(
        max_size=MAX_TCP_BYTES if tcp else min(query.payload, MAX_UDP_BYTES), prefer_truncation=True, want_shuffle=False
    )


def _begun(query: Query, rcode: int) -> dns.message.Message:
    message = dns.message.Message(id=query.id)
    message.flags = dns.flags.QR | dns.flags.RA
    message.flags |= dns.flags.RD if query.recursion else 0
    message.flags |= dns.flags.CD if query.checking_disabled else 0
    kind = dns.rdatatype.from_text(query.question.type)
    message.find_rrset(message.question, query.name, dns.rdataclass.IN, kind, create=True, force_unique=True)
    if query.edns:
        message.use_edns(0, dns.flags.DO if query.dnssec else 0, UPSTREAM_UDP_BYTES)
    message.set_rcode(dns.rcode.Rcode(rcode))
    return message


def _fit(rrsets: Iterable[dns.rrset.RRset], query: Query) -> Iterable[dns.rrset.RRset]:
    """Signatures are for who asked for them."""
    signatures = (dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3)
    return (r for r in rrsets if query.dnssec or r.rdtype not in signatures)
