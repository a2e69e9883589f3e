"""What a flow asks for that is encrypted between its two ends: a session with a server of a certain name.

The operation's text comes from `protocols.tls.wording`, or from an author of policies: ``connect sni=api.example.com alpn=h2``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec

from ..protocols.events import Decision, Verdict
from .addresses import parse_address
from .asks import Approval, Ask
from .bearers import UNVERIFIED, Bearer
from .duties import connected
from .judge import Finding, Help, find
from .judgement import AccessVerdict, Judgement
from .memory import Memory
from .names import is_numeric
from .sections import Resource
from .stats import Stats

if TYPE_CHECKING:
    from .decide import Policy

MAX_TEXTS = 1024
"""Judgements kept by text."""
KEYS = ("sni", "asked", "alpn", "version", "hidden", "ja4")
_FORM = "Write it as `connect sni=api.example.com alpn=h2`."
_LISTS = ("asked", "alpn")


class Unreadable(ValueError):
    """The text is no ``connect``; a sentence."""


class Connect(msgspec.Struct, frozen=True):
    """What the text says."""

    sni: str = ""
    """The name that the client calls the server by; empty where it says none."""
    asked: tuple[str, ...] = ()
    """Names for which the agent was given the address by name servers; none where it did not ask."""
    alpn: tuple[str, ...] = ()
    version: str = ""
    """The highest that the client offers: ``1.3``."""
    hidden: bool = False
    """There is, or seems to be, a second name that only the server can read."""


def read(text: str) -> Connect:
    """What is in the text. Raises Unreadable."""
    first, *words = text.split()
    if first != "connect":
        raise Unreadable(f'expected "connect", with words such as sni=api.example.com, got "{first}"')
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if key not in KEYS or not equals or key in found:
            raise Unreadable(f'expected each of {", ".join(f"{known}=…" for known in KEYS)} once, got "{word}"')
        found[key] = value
    lists = {key: tuple(unquote(item, "latin-1") for item in found[key].split(",") if item) for key in _LISTS if key in found}
    sni = unquote(found.get("sni", ""), "latin-1").lower()
    return Connect(sni=sni, version=found.get("version", ""), hidden=found.get("hidden") == "yes", **lists)


def server_names(section: Resource) -> tuple[str, ...]:
    """The names that a resource's server goes by: its ``names``, the host names in its addresses; in lower case, sorted."""
    hosts = (parse_address(address)[0] for address in section.addresses)
    return tuple(sorted({*section.names, *(host.rstrip(".") for host in hosts if not is_numeric(host))}))


def is_one_of(name: str, names: Iterable[str]) -> bool:
    """Whether the name is in the list, where ``*.example.com`` is any one label below (RFC 6125 §6.4.3)."""
    head, dot, below = name.partition(".")
    return any(name == known or (known == f"*.{below}" and bool(head and dot)) for known in names)


class ConnectScope:
    """One agent on one resource with one policy: what `scope.Scope` is for SQL."""

    def __init__(self, policy: Policy, agent: str, resource: str, stats: Stats, bearer: Bearer = UNVERIFIED) -> None:
        self.agent = agent
        self.resource = resource
        self.texts: dict[str | None, Judgement] = {}
        """Judgements by text: what a flow looks into first."""
        self._policy = policy
        self._asker = policy.asker(agent, bearer)
        self._section = policy.document.resources[resource]
        self._names = server_names(self._section)
        self._duties = connected(policy.document, resource)
        self._stats = stats

    def judge(self, text: str, approval: Approval | None, memory: Memory) -> Judgement:
        """The judgement of one text; kept when it may be shared."""
        try:
            wanted = read(text)
        except Unreadable as error:
            decision = Decision(Verdict.DENY, reason=str(error), hint=_FORM)
            return Judgement(decision, None, (), (), (), str(error), self._policy.epoch)
        judgement = self._judge(wanted, approval)
        if approval is None:
            if len(self.texts) >= MAX_TEXTS:
                self.texts.clear()
                self._stats.dropped += 1
            self.texts[text] = judgement
        return judgement

    def _judge(self, wanted: Connect, approval: Approval | None) -> Judgement:
        self._stats.decided += 1
        flags = dict(self._flags(wanted))
        facts: dict[str, str | tuple[str, ...]] = {"alpn": wanted.alpn, "version": wanted.version}
        if wanted.sni:
            facts["sni"] = wanted.sni
        ask = Ask("connect", "Resource", self.resource, tuple(facts.items()))
        finding = find(self._asker, [ask], flags, approval, self._helps)
        held = finding.verdict is Verdict.HOLD
        what = f"connect to {wanted.sni or self.resource}" + (f" for {', '.join(wanted.alpn)}" if wanted.alpn else "")
        place = str(ask).removeprefix("connect on ")
        policies = finding.answers[0].policies
        return Judgement(
            self._decision(finding, flags),
            None,
            (("connect", place),),
            (AccessVerdict("connect", place, finding.verdict, policies),),
            tuple(sorted(flags)),
            what,
            self._policy.epoch,
            finding.helped_by if held else (),
            finding.needs if held else (),
            asks=(ask,) if held else (),
            duties=() if finding.verdict is Verdict.DENY else self._duties,
        )

    def _decision(self, finding: Finding, flags: dict[str, str]) -> Decision:
        hint = ""
        if finding.verdict is Verdict.DENY:
            hint = "; ".join(flags.values()) or (
                f"`hostguard policy explain --agent {self.agent} --resource {self.resource} connect` tells which policies decide."
            )
        return Decision(finding.verdict, finding.reason, hint, finding.policies)

    def _flags(self, wanted: Connect) -> Iterable[tuple[str, str]]:
        """Each flag with a sentence that says why."""
        if not wanted.sni:
            yield "no_sni", "the client does not say whom it calls (SNI)"
        elif not is_one_of(wanted.sni, self._names):
            known = ", ".join(self._names) or "it has none: list them as `names`"
            yield "sni_differs", f"{wanted.sni} is no name of resource {self.resource} ({known})"
        elif wanted.asked and wanted.sni not in wanted.asked:
            yield "sni_differs", f"the agent asked name servers for {', '.join(wanted.asked)}, and calls {wanted.sni}"
        if wanted.hidden and not self._section.ech:
            yield "hidden_name", "the client hides the name it calls (ECH); `ech = true` lets it"

    def _helps(self, actions: Iterable[str]) -> Sequence[Help]:
        return self._policy.approvers.helps(self.agent, self.resource, actions)
