"""What a statement reads, as far as its analysis tells."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .accesses import Resolver
from .catalogs import HOLDS_SAMPLES, READS_OBJECTS
from .inference import Stance
from .lineage.follow import Flow
from .sql.analysis import Access, Analysis
from .sql.catalog import Catalog
from .sql.functions import PURE, UNKNOWN

_NO_ROWS_READ = frozenset(["returning", "references", "like"])
"""Details of `select` accesses that read no rows for the statement to keep."""
_RETURNS = frozenset(["select", "fetch", "execute", "call", "copy_out", "explain"])
_STORED = frozenset("rp")
"""pg_class.relkind of tables, partitioned ones too."""


def only_copies(analyses: Sequence[Analysis]) -> bool:
    """Whether nothing but the rows of one COPY comes back."""
    return len(analyses) == 1 and analyses[0].statements == 1 and "copy_out" in analyses[0].effects


def copies_to_client(analysis: Analysis) -> bool:
    """Whether it is a COPY to the client."""
    return "copy_out" in analysis.effects and not {"file", "program"} & set(analysis.flags)


def said(accesses: Collection[Access], action: str) -> str:
    """The names of what is accessed so, for a sentence."""
    return ", ".join(sorted({str(access.name) for access in accesses if access.action == action}))


def reads_rows(access: Access, analysis: Analysis) -> bool:
    """Whether the access reads rows that the statement may keep."""
    if access.action != "select":
        return False
    # In WITH, what is returned is read by the rest of the statement.
    return access.detail not in _NO_ROWS_READ or (access.detail == "returning" and "data_modifying_cte" in analysis.flags)


def reads_anything(analysis: Analysis) -> bool:
    """Whether it may read something beside what PostgreSQL brings."""
    user = any(access.kind == "table" and access.name and access.name.schema != "pg_catalog" for access in analysis.accesses)
    return user or any(kind == UNKNOWN for _, kind in analysis.functions) or bool({"do", "call"} & set(analysis.effects))


def reads_samples(analysis: Analysis) -> bool:
    """Whether it reads catalogs that hold samples of data."""
    return any(name.name in READS_OBJECTS for name, _ in analysis.functions) or any(
        access.kind == "table" and access.name is not None and access.name.name in HOLDS_SAMPLES for access in analysis.accesses
    )


def returns_rows(analysis: Analysis) -> bool:
    """Whether rows come back."""
    return bool(_RETURNS & set(analysis.effects)) or "returning" in analysis.flags


def sees_none(analyses: Sequence[Analysis], flows: Sequence[Flow], stance: Stance, catalog: Catalog, resolver: Resolver) -> bool:
    """Whether the statements do nothing but read, and no hidden column goes into any expression or the reply: then no error that
    they draw can tell of one. Of tables alone, as a view's own expressions are not in the text."""
    if any(part.effects != ("select",) or any(kind != PURE for _, kind in part.functions) for part in analyses):
        return False
    for access in (access for part in analyses for access in part.accesses):
        for place in resolver.relations(access) if access.kind == "table" else [("", "")]:
            relations = [catalog.relation(oid) for oid in catalog.oids_of(*place)]
            if not relations or any(relation is None or relation.kind not in _STORED for relation in relations):
                return False
    return not any(
        flow.lost
        or flow.skipped
        or flow.unsure
        or flow.stashed
        or stance.shows(flow.answer)
        or not stance.origins.keys().isdisjoint(flow.used)
        for flow in flows
    )
