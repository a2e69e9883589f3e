"""What a name server answers, cut down to what belongs to the question.

A name server, or whoever owns the zone that it asked, may put anything into an answer. What counts here is the chain of aliases
that begins at the name asked for, and the records of the type asked for at its end. Everything else is left out: other owners'
records, additional sections. The message for the client is written anew from that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.svcbbase import SVCBBase

from .question import HEADER_BYTES, Question

UPSTREAM_UDP_BYTES = 1232
"""What is asked of name servers in one datagram: it passes unfragmented nearly everywhere (DNS flag day 2020)."""
MAX_RECORDS = 1000
"""Records in one answer: each costs tens of microseconds to read, and no program needs more."""
MAX_CHAIN = 16
"""Aliases behind one another, as many as BIND and Unbound follow or more (max-query-restarts 11, 11)."""
MAX_TTL_S = 86_400
"""RFC 8767 §4 caps at a week; an answer that is wrong should not stay for longer than a day."""
_DENIALS = frozenset([dns.rdatatype.SOA, dns.rdatatype.NSEC, dns.rdatatype.NSEC3, dns.rdatatype.RRSIG])
_HINTS = (4, 6)
"""SvcParamKeys ipv4hint and ipv6hint (RFC 9460 §7.3)."""


class BadAnswer(Exception):
    """Not an answer to the question, or unreadable: to be ignored, the right one may still come (RFC 5452 §3)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of a question."""

    rcode: int
    answers: tuple[dns.rrset.RRset, ...] = ()
    """The aliases from the name asked for, then the records of the type asked for."""
    authority: tuple[dns.rrset.RRset, ...] = ()
    """Where there are no such records: the SOA that says for how long that holds, with its proofs."""
    truncated: bool = False
    authentic: bool = False

    @property
    def status(self) -> str:
        """``NOERROR``, ``NXDOMAIN``, …"""
        return str(dns.rcode.to_text(dns.rcode.Rcode(self.rcode)))

    @property
    def ttl_s(self) -> int:
        """Seconds for which the answer holds; RFC 2308 §5 for one without records."""
        if self.answers:
            return min(MAX_TTL_S, *(rrset.ttl for rrset in self.answers))
        soa = [rrset for rrset in self.authority if rrset.rdtype == dns.rdatatype.SOA]
        return min((MAX_TTL_S, *(min(rrset.ttl, rrset[0].minimum) for rrset in soa))) if soa else 0

    @property
    def addresses(self) -> tuple[str, ...]:
        """Addresses that a client may connect to for the name, hints included, in their canonical text."""
        return tuple(dict.fromkeys(address for rrset in self.answers for rdata in rrset for address in _addresses(rdata)))

    @property
    def texts(self) -> tuple[str, ...]:
        """The records as text, ``A 192.0.2.1``."""
        return tuple(f"{dns.rdatatype.to_text(r.rdtype)} {rdata.to_text()}" for r in self.answers for rdata in r)

    def aged(self, seconds: int) -> Answer:
        """The same answer as it is `seconds` later: with that much less to live."""
        return replace(self, answers=_older(self.answers, seconds), authority=_older(self.authority, seconds))


def _older(rrsets: Iterable[dns.rrset.RRset], seconds: int) -> tuple[dns.rrset.RRset, ...]:
    found = []
    for rrset in rrsets:
        left = max(0, min(rrset.ttl, MAX_TTL_S) - seconds)
        found.append(dns.rrset.from_rdata_list(rrset.name, left, tuple(rrset)))
    return tuple(found)


def _addresses(rdata: dns.rdata.Rdata) -> Iterator[str]:
    if isinstance(rdata, A | AAAA):
        yield rdata.address
    elif isinstance(rdata, SVCBBase):
        for key in _HINTS:
            hint = rdata.params.get(key)
            yield from hint.addresses if hint is not None else ()


def query_for(question: Question, number: int, *, dnssec: bool = False, checking_disabled: bool = False) -> bytes:
    """The message to ask a name server with: the question and nothing of the client's but two flags. `number`: its id."""
    message = dns.message.Message(id=number)
    message.flags = dns.flags.RD | (dns.flags.CD if checking_disabled else 0)
    name, kind = name_of(question), dns.rdatatype.from_text(question.type)
    message.find_rrset(message.question, name, dns.rdataclass.IN, kind, create=True, force_unique=True)
    message.use_edns(0, dns.flags.DO if dnssec else 0, UPSTREAM_UDP_BYTES)
    return message.to_wire()


def name_of(question: Question) -> dns.name.Name:
    """The question's name as dnspython has it."""
    return dns.name.from_text(question.name, dns.name.root)


def read_answer(data: bytes, question: Question, number: int) -> Answer:
    """The answer to what `query_for` asked, without what does not belong to it. Raises BadAnswer."""
    if len(data) < HEADER_BYTES:
        raise BadAnswer("shorter than a header")
    found, flags, _, *counts = struct.unpack_from("!6H", data)
    if found != number or not flags & dns.flags.QR:
        raise BadAnswer("another message's id, or no response")
    if sum(counts) > MAX_RECORDS:
        raise BadAnswer(f"{sum(counts)} records")
    try:
        message = dns.message.from_wire(data, keyring=False, ignore_trailing=False)
        return _read(message, question)
    except (dns.exception.DNSException, ValueError) as error:
        raise BadAnswer(f"unreadable: {type(error).__name__}") from None


def _read(message: dns.message.Message, question: Question) -> Answer:
    name, kind = name_of(question), dns.rdatatype.from_text(question.type)
    asked = message.question
    # A server that refuses to parse may leave the question out; then nothing ties the message to ours but a 16-bit id.
    if len(asked) != 1 or (asked[0].name, asked[0].rdtype, asked[0].rdclass) != (name, kind, dns.rdataclass.IN):
        raise BadAnswer("the answer to another question")
    records, last = _chain(message.answer, name, kind)
    ends = any(rrset.rdtype == kind for rrset in records)
    return Answer(
        rcode=int(message.rcode()),
        answers=tuple(records),
        authority=() if ends else tuple(_denial(message.authority, last)),
        truncated=bool(message.flags & dns.flags.TC),
        authentic=bool(message.flags & dns.flags.AD),
    )


def _chain(
    section: list[dns.rrset.RRset], name: dns.name.Name, kind: dns.rdatatype.RdataType
) -> tuple[list[dns.rrset.RRset], dns.name.Name]:
    """The records that answer, in the order of their aliases, with the name at the end."""
    records: list[dns.rrset.RRset] = []
    for _ in range(MAX_CHAIN):
        here = [r for r in section if r.name == name and r.rdclass == dns.rdataclass.IN]
        found = [r for r in here if r.rdtype == kind]
        alias = [] if found else [r for r in here if r.rdtype == dns.rdatatype.CNAME]
        if not found and not alias:
            break
        wanted = kind if found else dns.rdatatype.CNAME
        # RFC 6672 §3.1: the alias that a DNAME above makes; validators want to see it.
        parents = [r for r in section if alias and r.rdtype == dns.rdatatype.DNAME and name.is_subdomain(r.name)]
        signed = [r for r in here if r.rdtype == dns.rdatatype.RRSIG and r.covers == wanted]
        records += [*parents, *found, *alias, *signed]
        if found:
            break
        name = alias[0][0].target
    return records, name


def _denial(section: list[dns.rrset.RRset], name: dns.name.Name) -> Iterator[dns.rrset.RRset]:
    """The SOA of a zone that the name is in, and what proves in that zone that there is nothing."""
    zones = [r.name for r in section if r.rdtype == dns.rdatatype.SOA and name.is_subdomain(r.name)]
    for rrset in section:
        if rrset.rdtype in _DENIALS and rrset.rdclass == dns.rdataclass.IN and any(rrset.name.is_subdomain(z) for z in zones):
            yield rrset
