"""Everything that a decision depends on but the text, with the judgements made so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..protocols.events import Decision, Session, Verdict
from . import making
from .accesses import Resolver, Unresolved, defines, moves_path, sets_path, uncovers
from .asks import Approval, Ask
from .bearers import UNVERIFIED, Bearer
from .disclosure import Disclosure
from .duties import DutyFinder, Exercise
from .judge import Finding, Help, find
from .judgement import AccessVerdict, Judgement
from .lineage.follow import Flow
from .memory import Memory
from .sql.analysis import Analysis
from .sql.catalog import Catalog
from .sql.describe import describe
from .sql.effects import analyse
from .sql.shape import shape
from .stats import Stats

if TYPE_CHECKING:
    from .decide import Policy

SYNTAX_ERROR = b"42601"
MAX_TEXTS = 4096
"""Judgements kept by text, and as many by shape."""
MAX_CACHED_CHARACTERS = 16_384
"""Longer texts are not kept: they seldom come twice."""

_UNRESTRICTED = frozenset(["no_where", "tautology"])
# PostgreSQL 18 docs §23.3.1: every character set whose multi-byte characters never hold an ASCII byte.
_WAYS = (
    *("DROP TABLE {0}.{1}", "DROP VIEW {0}.{1}", "ALTER TABLE {0}.{1} RENAME TO x", "ALTER TABLE {0}.{1} SET SCHEMA x"),
    *("DROP SCHEMA {0} CASCADE", "ALTER SCHEMA {0} RENAME TO x"),
)
"""In which a relation stops hiding another: schema, name."""
_ASCII_SAFE = frozenset(
    str.split(
        """
    EUC_CN EUC_JP EUC_JIS_2004 EUC_KR EUC_TW ISO_8859_5 ISO_8859_6 ISO_8859_7 ISO_8859_8 KOI8R KOI8U LATIN1 LATIN2 LATIN3 LATIN4
    LATIN5 LATIN6 LATIN7 LATIN8 LATIN9 LATIN10 MULE_INTERNAL SQL_ASCII UTF8 WIN866 WIN874 WIN1250 WIN1251 WIN1252 WIN1253 WIN1254
    WIN1255 WIN1256 WIN1257 WIN1258
        """
    )
)


def refused(reason: str, hint: str, analysis: Analysis | None = None, epoch: int = 0) -> Judgement:
    """A denial for which no policy was asked."""
    flags = analysis.flags if analysis is not None else ()
    return Judgement(Decision(Verdict.DENY, reason=reason, hint=hint), analysis, (), (), flags, reason, epoch)


def _misspelt(analysis: Analysis, epoch: int) -> Judgement:
    """What the grammar refuses the server would refuse as well: the agent gets the very error that it would have got."""
    decision = Decision(Verdict.DENY, reason=analysis.unknown, refusal=SYNTAX_ERROR, position=analysis.misspelt)
    return Judgement(decision, analysis, (), (), analysis.flags, analysis.unknown, epoch)


class Scope:
    """One agent on one resource with one set of session facts, one catalog, one policy."""

    def __init__(
        self,
        policy: Policy,
        agent: str,
        resource: str,
        session: Session,
        catalog: Catalog | None,
        disclosure: Disclosure,
        stats: Stats,
        bearer: Bearer = UNVERIFIED,
        *,
        offline: bool = False,
    ) -> None:
        """`offline`: nothing runs, so a catalog that is not known closes nothing."""
        self.agent = agent
        self.resource = resource
        self.session = session
        self.texts: dict[str | None, Judgement] = {}
        """Judgements by text: what a flow looks into first."""
        self._shapes: dict[str, Judgement] = {}
        self._policy = policy
        self._asker = policy.asker(agent, bearer)
        self._resolver = Resolver(resource, session, catalog)
        self._doubted = Resolver(resource, session, catalog, doubted=True)
        """Where what hides a relation may be gone. For masks that is always so: while a text waits for a lock, another session
        can drop what its names meant, and then they mean what was behind it."""
        self._removable: dict[tuple[str, str], bool] = {}
        self._lost = Resolver(resource, msgspec.structs.replace(session, search_path=None), catalog)
        """For a text that moves the search_path: what its other names mean depends on how far it has come."""
        self.disclosure = disclosure
        self._duties = DutyFinder(policy.document, resource, session.database, catalog, offline=offline)
        self._stats = stats

    def judge(self, text: str, approval: Approval | None, memory: Memory) -> Judgement:
        """The judgement of one text; kept when it may be shared."""
        refusal = self._unreadable(text)
        if refusal:
            return refused(refusal, "Use client_encoding UTF8.", epoch=self._policy.epoch)
        form = shape(text) if approval is None and not memory.uncovered else None
        known = self._shapes.get(form) if form is not None else None
        if known is not None:
            self._stats.shared += 1
            self._keep(self.texts, text, known)
            return known
        self._stats.parsed += 1
        analysis = analyse(text, standard_conforming_strings=self.session.standard_conforming_strings)
        judgement = self._judge(analysis, text, approval, memory)
        if (
            approval is None
            and not memory.uncovered
            and not (analysis.executes or analysis.fetches or analysis.prepares or analysis.declares)
        ):
            by_text = judgement.by_text or any(each.by_literal for each in judgement.duties)
            if form is not None and not analysis.literal_sensitive and not by_text:
                judgement = msgspec.structs.replace(judgement, shared=True)
                self._keep(self._shapes, form, judgement)
            self._keep(self.texts, text, judgement)
        return judgement

    def flow(self, text: str) -> Flow:
        """Where the values of a text go."""
        return self.disclosure.flow(text, self._doubted)

    def _keep(self, cache: dict[str, Judgement] | dict[str | None, Judgement], key: str, judgement: Judgement) -> None:
        if len(key) > MAX_CACHED_CHARACTERS:
            return
        if len(cache) >= MAX_TEXTS:
            cache.clear()
            self._stats.dropped += 1
        cache[key] = judgement

    def _unreadable(self, text: str) -> str:
        """Why hostguard can't read this text as the server does; empty when it can."""
        encoding = self.session.client_encoding.upper()
        if encoding == "UTF8" or (encoding in _ASCII_SAFE and text.isascii()):
            return ""
        return f"the session's client_encoding is {self.session.client_encoding}, and hostguard reads this statement in UTF8 only"

    def _judge(self, analysis: Analysis, text: str, approval: Approval | None, memory: Memory) -> Judgement:
        epoch = self._policy.epoch
        bodies = {name: memory.texts(name) for name in analysis.executes}
        unseen = [name for name, texts in bodies.items() if not texts]
        if unseen:
            reason = f'the prepared statement "{unseen[0]}" was not prepared on this connection in hostguard\'s sight'
            return refused(reason, "Prepare it on this connection.", analysis, epoch)
        depends = tuple(sorted({body for texts in bodies.values() for body in texts}))
        parts = [(text, analysis), *((body, self._analyse_body(body)) for body in depends)]
        moves = any(moves_path(part) for _, part in parts)
        doubted = memory.uncovered or any(self._uncovers(part) for _, part in parts)
        resolver = self._lost if moves else self._doubted if doubted else self._resolver
        asks: set[Ask] = set()
        for part_text, part in parts:
            if part.misspelt and part_text is text:
                return _misspelt(part, epoch)
            if part.unknown:
                return refused(part.unknown, self._hint(), part, epoch)
            if refusal := self._misread(part):
                return refused(refusal, "Put pg_catalog first or leave it out; define and set in two statements.", part, epoch)
            try:
                asks |= set(resolver.asks(part, part_text))
            except Unresolved as error:
                return refused(str(error), self._hint(), part, epoch)
        analyses = [part for _, part in parts]
        flags = tuple(sorted({flag for part in analyses for flag in part.flags}))
        return self._decide(analysis, analyses, sorted(asks), flags, text, approval, memory, depends, moves)

    def _uncovers(self, part: Analysis) -> bool:
        """Whether names in it may mean what is behind their first relations by the time that they are looked up."""
        return (part.statements > 1 and uncovers(part)) or any(map(self._may_remove, self._resolver.hiding(part)))

    def _may_remove(self, place: tuple[str, str]) -> bool:
        """Whether policy may let the agent take the relation away, in this session or another."""
        if place not in self._removable:
            schema, table = ('"{}"'.format(name.replace('"', '""')) for name in place)
            self._removable[place] = any(self._might(way.format(schema, table)) for way in _WAYS)
        return self._removable[place]

    def _might(self, text: str) -> bool:
        analysis = analyse(text)
        finding = find(self._asker, self._resolver.asks(analysis, text), analysis.flags, None, self._helps)
        return finding.verdict is not Verdict.DENY

    def _analyse_body(self, body: str) -> Analysis:
        self._stats.parsed += 1
        return analyse(body, standard_conforming_strings=self.session.standard_conforming_strings)

    def _misread(self, analysis: Analysis) -> str:
        """Why a name does not, or later would not, mean what the analysis took it for: then pg_catalog is not searched first."""
        if "shadows_catalog" in analysis.flags:
            return "it may list pg_catalog behind another schema in the search_path: built-in names would mean something else"
        if defines(analysis) and sets_path(analysis):
            return "it defines something and sets the search_path, which would move unseen if what it defines does that"
        searched = [schema for schema in self.session.search_path or ("pg_catalog",) if not schema.startswith("pg_temp")]
        if searched[:1] == ["pg_catalog"] or all(access.kind == "database" for access in analysis.accesses):
            return ""
        return "the search_path lists pg_catalog behind another schema, so built-in names may mean something else"

    def _decide(
        self,
        analysis: Analysis,
        analyses: list[Analysis],
        asks: list[Ask],
        flags: tuple[str, ...],
        text: str,
        approval: Approval | None,
        memory: Memory,
        depends: tuple[str, ...],
        moves: bool,
    ) -> Judgement:
        self._stats.decided += 1
        finding = find(self._asker, asks, flags, approval, self._helps)
        cursors = [memory.cursor(name) for name in analysis.fetches]
        exposure = self.disclosure.exposure(analyses, [text, *depends], self._lost if moves else self._doubted, cursors)
        verdict, reason, hint, policies = finding.verdict, finding.reason, "", finding.policies
        if verdict is Verdict.DENY:
            hint = self._with_where(asks, flags, approval) or self._hint()
        elif exposure.refusal:
            verdict, reason, hint, policies = Verdict.DENY, exposure.refusal, exposure.hint, ()
        duties: tuple[Exercise, ...] = ()
        if verdict is not Verdict.DENY:
            lexical = self.session.standard_conforming_strings
            duties = self._duties.find(asks, (text, *depends), standard_conforming_strings=lexical)
        defining = verdict is not Verdict.DENY and any(map(making.defines, analyses))
        decision = Decision(
            verdict,
            reason,
            hint,
            policies,
            self.disclosure.watched(exposure.plan, analyses) if verdict is not Verdict.DENY else None,
            ends_portals=any(part.ends_transaction for part in analyses),
            checks_deferred=any(access.detail == "constraints" for part in analyses for access in part.accesses),
        )
        return Judgement(
            decision,
            analysis,
            tuple((ask.action, _place(ask)) for ask in asks),
            tuple(_verdicts(asks, finding)),
            flags,
            "; ".join(describe(part) for part in analyses),
            self._policy.epoch,
            finding.helped_by if verdict is Verdict.HOLD else (),
            finding.needs if verdict is Verdict.HOLD else (),
            depends,
            exposure.touches,
            duties=duties,
            asks=tuple(asks) if verdict is Verdict.HOLD else (),
            moves_path=moves,
            defines=defining,
            uncovers=verdict is not Verdict.DENY and any(map(uncovers, analyses)),
            makes=self.disclosure.making(text, analysis, self._doubted) if defining and not moves else None,
            by_text=exposure.by_text,
        )

    def _with_where(self, asks: list[Ask], flags: tuple[str, ...], approval: Approval | None) -> str:
        """What a WHERE would change, if that is all that is missing."""
        if not _UNRESTRICTED & set(flags):
            return ""
        finding = find(self._asker, asks, set(flags) - _UNRESTRICTED, approval, self._helps)
        if finding.verdict is Verdict.ALLOW:
            return "With a WHERE that names the rows it is permitted."
        if finding.verdict is Verdict.HOLD:
            return f"With a WHERE that names the rows it waits for the approval of {' or '.join(finding.helped_by)}."
        return ""

    def _helps(self, actions: Iterable[str]) -> Sequence[Help]:
        return self._policy.approvers.helps(self.agent, self.resource, actions)

    def _hint(self) -> str:
        return (
            f"`hostguard policy explain --agent {self.agent} --resource {self.resource} 'STATEMENT'` tells which policies decide."
        )


def _place(ask: Ask) -> str:
    return str(ask).removeprefix(f"{ask.action} on ")


def _verdicts(asks: list[Ask], finding: Finding) -> list[AccessVerdict]:
    result = []
    for number, (ask, answer) in enumerate(zip(asks, finding.answers, strict=True)):
        allowed = Verdict.ALLOW if answer.allowed else Verdict.DENY
        verdict = Verdict.HOLD if number in finding.held else allowed
        result.append(AccessVerdict(ask.action, _place(ask), verdict, answer.policies))
    return result
