"""One question from a guarded process to its reply: judge, record, ask, record, release.

The order is the gate's, for names: what policy says is on record before a name server hears of the question, and the answer is on
record, and remembered, before the process gets it. A question that policy refuses never leaves the host.

The resolver knows neither sockets nor the kernel: it is given messages with their askers, and a journal. So it can run in an
unprivileged process, which is where parsers of agents' and name servers' bytes belong.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from ...policy.names import NamePolicy, NameVerdict
from ...policy.sections import Dns
from ...policy.tunnels import Watch, registered_domain
from ...protocols.dns.answer import Answer
from ...protocols.dns.question import BadQuery, Query, Question, read_query
from ...protocols.dns.reply import BLOCKED, NETWORK_ERROR, OTHER, PROHIBITED, answer_message, refusal_message
from ...recorder import entry
from ..wording import cut
from .asker import Asker
from .cache import Cache
from .forward import Forwarder
from .messages import AlarmFacts, Figures
from .upstreams import NoAnswer, servers_of

SERVFAIL = 2
MAX_ALARMS = 32
TUNNEL_FLAGS = frozenset(["long_name", "coded_name", "many_names", "many_texts"])


NameEntry = entry.NameAsked | entry.NameAnswered


class Barred(Exception):
    """The question must not be answered, whatever policy says of it; says why. That is on record."""


class Journal(Protocol):
    """Where entries go on record."""

    async def put(self, asker: Asker, *entries: NameEntry) -> str:
        """Put entries about a question of `asker` on record, as durably as is configured; returns why that failed, or "".

        Raises Barred.
        """
        ...


Learn = Callable[[Asker, str, tuple[str, ...], int], Awaitable[None]]
"""Told of (who, name asked for, addresses, TTL in seconds) before the answer is released."""


@dataclass(slots=True)
class Alarm:
    """A domain below which an agent's questions looked like a tunnel."""

    agent: str
    domain: str
    flags: set[str]
    questions: int
    at: float
    """Wall time of the latest."""


class Resolver:
    """Answers the questions of all agents."""

    def __init__(self, settings: Dns, names: NamePolicy, journal: Journal, learn: Learn) -> None:
        self.names = names
        """Replaced when the policy is."""
        self.forwarder = Forwarder(servers_of(settings.upstreams), settings.timeout_ms / 1000)
        self.cache = Cache(settings.cache)
        self.counts: Counter[str] = Counter(
            {"allowed": 0, "denied": 0, "would_deny": 0, "malformed": 0, "failed": 0, "overload": 0, "strangers": 0}
        )
        self.alarms: deque[Alarm] = deque(maxlen=MAX_ALARMS)
        """What looked like tunnels, the latest last."""
        self.failure = ""
        """Why a question could not be put on record; empty when the last one could."""
        self._settings = settings
        self._watch = Watch(settings)
        self._journal = journal
        self._learn = learn
        self._in_flight: Counter[str] = Counter()

    async def reply(self, data: bytes, asker: Asker, *, tcp: bool) -> bytes | None:
        """The message to send back for one that came; None for nothing."""
        try:
            query = read_query(data)
        except BadQuery as error:
            self.counts["malformed"] += 1
            return error.reply
        if self._in_flight[asker.agent] >= self._settings.max_in_flight:
            # Not on record one by one: that would let a flood fill the log. The counter is in `status`.
            self.counts["overload"] += 1
            return refusal_message(query, OTHER, f"dns.max_in_flight ({self._settings.max_in_flight}) is reached", tcp=tcp)
        self._in_flight[asker.agent] += 1
        try:
            return await self._reply(query, asker, tcp)
        except Barred as error:
            self.counts["denied"] += 1
            return refusal_message(query, PROHIBITED, f"hostguard: {error}", tcp=tcp)
        finally:
            self._in_flight[asker.agent] -= 1

    async def _reply(self, query: Query, asker: Asker, tcp: bool) -> bytes:
        began_ns = time.monotonic_ns()
        question = query.question
        flags = self._watch.flags(asker.agent, question.labels, question.type, time.monotonic())
        verdict = self.names.decide(asker.agent, question.labels, question.type, flags, asker.bearer)
        if asker.unverified:
            verdict = NameVerdict(False, (), asker.unverified, verdict.epoch)
        self._notice(asker, question, flags, verdict)
        asked = _asked(asker, question, flags, verdict, tcp)
        if not verdict.allowed and self.names.observes(asker.workload):
            self.counts["would_deny"] += 1
            asked.verdict, asked.would = "allow", "deny"
        elif not verdict.allowed:
            self.counts["denied"] += 1
            return await self._refused(query, asker, asked, verdict, began_ns, tcp)
        else:
            self.counts["allowed"] += 1
        if failure := await self._record(asker, asked):
            return _unrecorded(query, failure, tcp)
        key = (question, query.dnssec, query.checking_disabled)
        answer, upstream = self.cache.find(key, time.monotonic()), ""
        if answer is None:
            try:
                told = await self.forwarder.ask(question, dnssec=query.dnssec, checking_disabled=query.checking_disabled)
            except NoAnswer as error:
                return await self._failed(query, asker, asked, str(error), began_ns, tcp)
            answer, upstream = told.answer, told.upstream
            self.cache.keep(key, answer, time.monotonic())
        return await self._answered(query, asker, asked, answer, upstream, began_ns, tcp)

    async def _answered(
        self, query: Query, asker: Asker, asked: entry.NameAsked, answer: Answer, upstream: str, began_ns: int, tcp: bool
    ) -> bytes:
        answered = entry.NameAnswered(
            question=asked.question,
            status=answer.status,
            answers=answer.texts,
            ttl_s=answer.ttl_s,
            upstream=upstream,
            duration_us=_since(began_ns),
        )
        if failure := await self._record(asker, answered):
            return _unrecorded(query, failure, tcp)
        if addresses := answer.addresses:
            await self._learn(asker, query.question.name, addresses, answer.ttl_s)
        return answer_message(query, answer, tcp=tcp)

    async def _refused(
        self, query: Query, asker: Asker, asked: entry.NameAsked, verdict: NameVerdict, began_ns: int, tcp: bool
    ) -> bytes:
        answered = entry.NameAnswered(
            question=asked.question, status="REFUSED", duration_us=_since(began_ns), reason=verdict.reason
        )
        if failure := await self._record(asker, asked, answered):
            return _unrecorded(query, failure, tcp)
        # Prohibited: not by this agent. Blocked: by a policy that closes it, whoever asks.
        return refusal_message(query, BLOCKED if verdict.policies else PROHIBITED, f"hostguard: {verdict.reason}", tcp=tcp)

    async def _failed(self, query: Query, asker: Asker, asked: entry.NameAsked, reason: str, began_ns: int, tcp: bool) -> bytes:
        self.counts["failed"] += 1
        failed = entry.NameAnswered(question=asked.question, status="SERVFAIL", duration_us=_since(began_ns), reason=reason)
        if failure := await self._record(asker, failed):
            return _unrecorded(query, failure, tcp)
        return refusal_message(query, NETWORK_ERROR, f"hostguard: {reason}", rcode=SERVFAIL, tcp=tcp)

    async def _record(self, asker: Asker, *entries: NameEntry) -> str:
        self.failure = await self._journal.put(asker, *entries)
        return self.failure

    def _notice(self, asker: Asker, question: Question, flags: frozenset[str], verdict: NameVerdict) -> None:
        """Keep what looked like a tunnel, and policy refused, for `status`; one line for an agent and a domain."""
        if verdict.allowed or not flags & TUNNEL_FLAGS:
            return
        domain = registered_domain(question.labels) or "."
        alarm = next((a for a in self.alarms if (a.agent, a.domain) == (asker.agent, domain)), None)
        if alarm is None:
            alarm = Alarm(asker.agent, domain, set(), 0, 0.0)
        else:
            self.alarms.remove(alarm)
        alarm.flags |= flags & TUNNEL_FLAGS
        alarm.questions += 1
        alarm.at = time.time()
        self.alarms.append(alarm)

    def facts(self) -> Figures:
        """For ``status``."""
        forwarder = self.forwarder
        return Figures(
            upstreams=tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in forwarder.servers),
            failure=cut(forwarder.failure),
            questions=dict(self.counts),
            upstream=dict(forwarder.counts),
            cached=len(self.cache),
            hits=self.cache.hits,
            alarms=tuple(AlarmFacts(a.agent, cut(a.domain), tuple(sorted(a.flags)), a.questions, a.at) for a in self.alarms),
        )


def _asked(asker: Asker, question: Question, flags: frozenset[str], verdict: NameVerdict, tcp: bool) -> entry.NameAsked:
    return entry.NameAsked(
        question=os.urandom(8).hex(),
        agent=asker.agent,
        workload=asker.workload,
        name=question.name,
        type=question.type,
        verdict="allow" if verdict.allowed else "deny",
        reason=verdict.reason,
        policies=verdict.policies,
        flags=tuple(sorted(flags)),
        epoch=verdict.epoch,
        transport="tcp" if tcp else "udp",
        server=asker.server,
        pid=asker.pid,
        start_ticks=asker.start_ticks,
        uid=asker.uid,
        comm=asker.comm,
        exe=asker.exe,
        cgroup=asker.cgroup,
    )


def _unrecorded(query: Query, failure: str, tcp: bool) -> bytes:
    reason = f"hostguard can't put this on record, so it is refused: {failure}"
    return refusal_message(query, OTHER, reason, rcode=SERVFAIL, tcp=tcp)


def _since(began_ns: int) -> int:
    return (time.monotonic_ns() - began_ns) // 1000
