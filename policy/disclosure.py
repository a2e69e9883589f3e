"""What a statement's reply may show: the masks, or why the statement can't be let go at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import msgspec

from ..protocols.events import Mask, ReplyPlan
from .accesses import Resolver
from .asks import Ask
from .catalogs import HOLDS_SAMPLES, SAMPLES
from .derive import WRITES, assigned_columns, keeps_values
from .document import Document
from .hidden import Hidden, hidden_columns
from .judge import Asker
from .layout import Layout, lay_out
from .sql.analysis import Access, Analysis
from .sql.catalog import Catalog
from .sql.functions import UNKNOWN
from .sql.parse import Unreadable, parse

COMPUTED = Mask("null")
"""What stands in for values that may be computed from hidden columns."""
_NO_ROWS_READ = frozenset(["returning", "references", "like"])
"""Details of `select` accesses that read no rows for the statement to keep."""
_READS_ANYTHING = frozenset([UNKNOWN, "reads_files", "replication"])
"""Classes of functions that may return rows of any table: by a body of their own, by its file, by the log of its changes."""
_CHANGES_MEANING = frozenset(["alter", "create"])


class Exposure(msgspec.Struct, frozen=True):
    """How one statement stands to the hidden columns."""

    plan: ReplyPlan | None = None
    refusal: str = ""
    """Why no plan would keep them hidden; empty when one does."""
    hint: str = ""
    touches: bool = False


class Disclosure:
    """The hidden columns of one agent in one database, laid over what the database holds."""

    def __init__(self, hidden: Hidden, samples: bool, layout: Layout | None, place: str, *, offline: bool = False) -> None:
        """`samples`: whether the catalogs that hold samples of data are hidden too. `layout` is None while the catalog is not
        known; then everything closes, unless `offline` says that nothing runs."""
        self.hidden = hidden
        self._samples = samples
        self._layout = layout
        self._place = place
        self._blind = layout is None and not offline
        self._names = layout.dirty if layout is not None else frozenset(hidden)
        self._columns = frozenset(column for columns in hidden.values() for column in columns)
        self._plan = ReplyPlan(layout.masks, layout.clean, layout.visible) if layout is not None else ReplyPlan()

    def exposure(self, analyses: Sequence[Analysis], texts: Sequence[str], resolver: Resolver, fetches: bool) -> Exposure:
        """For all that an operation runs. `fetches`: it reads a cursor that may read hidden columns."""
        samples = any(map(self._reads_samples, analyses))
        if not self.hidden and not samples:
            return Exposure()
        if self._blind and any(map(_reads_anything, analyses)):
            return Exposure(
                None, f"the catalog of {self._place} is not known, so hidden columns can't be found", "Try again.", True
            )
        if not any(map(_returns_rows, analyses)):
            return self._without_rows(analyses, texts, resolver)
        touched = samples or fetches or any(self._touches(part, resolver) for part in analyses)
        if not touched:
            # No mask reaches the rows of COPY, so a plan with any would end it; these are of tables known to be clean.
            copies = len(analyses) == 1 and analyses[0].statements == 1 and "copy_out" in analyses[0].effects
            return Exposure() if copies else Exposure(self._plan)
        refusal = self._refusal_of_all(analyses, texts, resolver)
        if refusal:
            return Exposure(None, refusal, _HINT, True)
        harmless = _harmless(analyses[0]) if len(analyses) == 1 else frozenset()
        # The views over samples have no fixed OID, so beside them no table is known to be clean.
        clean = frozenset() if samples else self._plan.clean_tables
        plan = ReplyPlan(self._plan.masks, clean, self._plan.clean_columns, COMPUTED, harmless, True)
        return Exposure(plan, touches=True)

    def _without_rows(self, analyses: Sequence[Analysis], texts: Sequence[str], resolver: Resolver) -> Exposure:
        """No rows come back, but errors and notices may, and what is written can be read later."""
        if not any(self._touches(part, resolver) or self._reads_samples(part) for part in analyses):
            return Exposure()
        refusal = self._refusal_of_all(analyses, texts, resolver)
        if refusal:
            return Exposure(None, refusal, _HINT, True)
        return Exposure(msgspec.structs.replace(self._plan, computed=COMPUTED, scrub_errors=True), touches=True)

    def mask_of(self, schema: str, table: str, column: str) -> str | None:
        """The kind of mask that a plain reference to the column gets; None where its values pass."""
        if self._layout is None:
            mask = self.hidden.get((schema, table), {}).get(column)
            return mask.kind if mask is not None else None
        for oid in self._layout.catalog.oids_of(schema, table):
            place = oid, self._layout.catalog.attnum(oid, column) or 0
            if place in self._layout.masks:
                return self._layout.masks[place].kind
            if oid in self._layout.clean or place in self._layout.visible:
                return None
        return COMPUTED.kind if self.hidden and self._layout.catalog.oids_of(schema, table) else None

    def _touches(self, analysis: Analysis, resolver: Resolver) -> bool:
        if not self.hidden:
            return False
        if "do" in analysis.effects or any(kind in _READS_ANYTHING for _, kind in analysis.functions):
            return True
        return any(self._may_be_dirty(a, resolver) if a.kind == "table" else self._renames(a) for a in analysis.accesses)

    def _may_be_dirty(self, access: Access, resolver: Resolver) -> bool:
        relations = resolver.relations(access)
        if any(relation in self._names for relation in relations):
            return True
        # A relation that the catalog does not know may have been made since, from anything.
        return access.action != "create" and self._layout is not None and not all(self._layout.knows(*r) for r in relations)

    def _refusal_of_all(self, analyses: Sequence[Analysis], texts: Sequence[str], resolver: Resolver) -> str:
        """Why a statement, alone or together with the prepared statements that it runs, could bring hidden values out."""
        for part, text in zip(analyses, texts, strict=True):
            if refusal := self._refusal(part, text, resolver):
                return refusal
        if any("copy_out" in part.effects for part in analyses):
            return "COPY out of what may hold hidden columns can't be masked"
        for part in analyses:
            # CREATE TABLE AS EXECUTE, an INSERT that is executed with a subquery as its parameter.
            kept = next(iter(sorted(WRITES & set(part.effects))), "")
            if kept and any(self._reading(other, resolver) for other in analyses if other is not part):
                return f"no policy permits derive: {kept} could keep hidden columns where no mask reaches them"
        return ""

    def _reading(self, analysis: Analysis, resolver: Resolver) -> set[Access]:
        """The accesses that give hidden values to the statement itself."""
        return {
            access
            for access in analysis.accesses
            if access.kind == "table"
            and _reads_rows(access, analysis)
            and (self._is_sample(access) or (self.hidden and self._may_be_dirty(access, resolver)))
        }

    def _refusal(self, analysis: Analysis, text: str, resolver: Resolver) -> str:
        """Why the statement could bring hidden values where no mask reaches them."""
        dirty = {a for a in analysis.accesses if a.kind == "table" and self._may_be_dirty(a, resolver)}
        if any(access.action == "copy_out" for access in dirty):
            return f"COPY out of {_said(dirty, 'copy_out')}, which has hidden columns, can't be masked"
        changed = (a for a in dirty if a.action in _CHANGES_MEANING and self._is_dirty(a, resolver))
        defined = sorted(changed, key=str)
        defined += [access for access in analysis.accesses if self._renames(access)]
        if defined:
            what = defined[0].name or defined[0].detail
            return f"no policy permits derive: changing the definition of {what} could uncover hidden columns"
        reading = self._reading(analysis, resolver)
        keeper = keeps_values(analysis) if reading else ""
        if keeper:
            hidden = f"hidden columns of {_said(reading, 'select')}"
            return f"no policy permits derive: {keeper} could keep {hidden} where no mask reaches them"
        called = next((name for name, kind in analysis.functions if kind == UNKNOWN), None)
        kept = next(iter(sorted(WRITES & set(analysis.effects))), "")
        if called is not None and kept and self.hidden:
            return f"no policy permits derive: {kept} could keep what {called}() returns, and that could be hidden columns"
        written = {access for access in dirty if access.action in ("insert", "update", "merge")}
        if written:
            views = self._layout.views if self._layout is not None else frozenset()
            through_view = any(relation in views for access in written for relation in resolver.relations(access))
            for reference in self._assigned(text, None if through_view else self._columns):
                return f"no policy permits derive: assigning {reference} could keep a hidden column where no mask reaches it"
        return ""

    def _is_sample(self, access: Access) -> bool:
        return self._samples and access.kind == "table" and access.name is not None and access.name.name in HOLDS_SAMPLES

    def _reads_samples(self, analysis: Analysis) -> bool:
        return any(map(self._is_sample, analysis.accesses))

    def _is_dirty(self, access: Access, resolver: Resolver) -> bool:
        return any(relation in self._names for relation in resolver.relations(access))

    def _renames(self, access: Access) -> bool:
        """Whether it may give another name to what tagged columns are in: tags go by name."""
        if access.action != "alter":
            return False
        if access.kind == "schema":
            return access.name is not None and any(schema == access.name.name for schema, _ in self._names)
        return access.kind == "database" and access.detail.startswith("database ")

    def _assigned(self, text: str, hidden: Collection[str] | None) -> Iterator[str]:
        try:
            trees = [statement.tree for statement in parse(text)]
        except Unreadable:  # read under other lexical settings than its analysis was
            yield "an expression that can't be read"
            return
        yield from assigned_columns(trees, hidden)


def disclose(
    document: Document,
    asker: Asker,
    resource: str,
    database: str,
    catalog: Catalog | None,
    hash_key: bytes,
    *,
    offline: bool = False,
) -> Disclosure:
    """What one agent may not see of one database; asks the policies for each tag."""
    hidden = hidden_columns(document, asker, resource, database, hash_key)
    samples = not asker.ask([Ask("reveal", "Tag", SAMPLES)], ())[0].allowed
    layout = lay_out(hidden, catalog) if catalog is not None else None
    return Disclosure(hidden, samples, layout, f"{resource}/{database}", offline=offline)


_HINT = "Leave the hidden columns out, or ask for a policy that permits reveal on their tags."


def _said(accesses: Collection[Access], action: str) -> str:
    return ", ".join(sorted({str(access.name) for access in accesses if access.action == action}))


def _reads_rows(access: Access, analysis: Analysis) -> bool:
    if access.action != "select":
        return False
    # In WITH, what is returned is read by the rest of the statement.
    return access.detail not in _NO_ROWS_READ or (access.detail == "returning" and "data_modifying_cte" in analysis.flags)


def _reads_anything(analysis: Analysis) -> bool:
    user = any(access.kind == "table" and access.name and access.name.schema != "pg_catalog" for access in analysis.accesses)
    return user or any(kind == UNKNOWN for _, kind in analysis.functions) or bool({"do", "call"} & set(analysis.effects))


_RETURNS = frozenset(["select", "fetch", "execute", "call", "copy_out", "explain"])


def _returns_rows(analysis: Analysis) -> bool:
    return bool(_RETURNS & set(analysis.effects)) or "returning" in analysis.flags


def _harmless(analysis: Analysis) -> frozenset[int]:
    return frozenset(number for number, output in enumerate(analysis.outputs or ()) if output.harmless)
