"""What a statement's reply may show: the masks, or why the statement can't be let go at all."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from ..protocols.disclosure import Mask, ReplyPlan
from . import unasked
from .accesses import Resolver, Unresolved
from .copying import Copied, Undecidable, copied
from .derive import WRITES, keeps_values
from .hidden import Column, Hidden, Permits, origins_of, origins_of_samples
from .inference import Refusal, Stance, asks, copies, guesses, keeps, refers, unseen
from .layout import Layout, nullness_shown
from .lineage.follow import Flow, follow
from .lineage.value import UNSURE, Value
from .lineage.world import World
from .making import Making, fresh, making
from .memory import Cursor
from .nets import Net
from .outlets import is_stood_in_for, outlet, stand_ins
from .reads import copies_to_client, only_copies, reads_anything, reads_rows, reads_samples, returns_rows, said, sees_none
from .sql.analysis import Access, Analysis, Name
from .sql.found import Tree
from .sql.functions import MAY_READ_ANYTHING
from .sql.held import Function
from .sql.parse import Unreadable, parse
from .unasked import Judge, Running

COMPUTED = Mask("null")
"""What stands in for values that may be computed from hidden columns."""
_ASKS = frozenset(["insert", "update", "delete", "cluster"])
"""Actions that check constraints, or order rows by an index."""
_CHANGES_MEANING = frozenset(["alter", "create"])


class Exposure(msgspec.Struct, frozen=True):
    """How one statement stands to the hidden columns."""

    plan: ReplyPlan | None = None
    refusal: str = ""
    """Why no plan would keep them hidden; empty when one does."""
    hint: str = ""
    touches: bool = False
    by_text: bool = False
    """A literal's value mattered (``ORDER BY 2``), so this holds for the very text and not for its shape."""


class Disclosure:
    """The hidden columns of one agent in one database, laid over what the database holds."""

    def __init__(
        self,
        hidden: Hidden,
        samples: bool,
        layout: Layout | None,
        place: str,
        permits: Permits,
        *,
        anywhere: bool = False,
        offline: bool = False,
        net: Net | None = None,
        runs: Running | None = None,
        made: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        """`runs`: what statements run unasked. `made`: relations of the layout's catalog that the flow has just made.

        `samples`: whether the catalogs that hold samples of data are hidden too. `layout` is None while the catalog is not
        known; then everything closes, unless `offline` says that nothing runs. `anywhere`: columns are hidden in this or another
        database of the resource."""
        self.hidden = hidden
        self._samples = samples
        self._net = net
        self._made = made
        self._runs = runs or Running()
        self._functions: Judge | None = None
        self._layout = layout
        self._place = place
        self._anywhere = anywhere
        self._stand_ins = stand_ins(layout.catalog.functions()) if layout is not None and hidden else frozenset()
        self._blind = layout is None and not offline
        self._names = layout.dirty if layout is not None else frozenset(hidden)
        origins = {**(layout.origins if layout is not None else origins_of(hidden)), **(origins_of_samples() if samples else {})}
        self.stance = Stance(place, hidden, origins, permits)
        self._nullness_shown = nullness_shown(layout) if layout is not None else frozenset()
        self._plan = ReplyPlan(layout.masks, layout.clean, layout.visible) if layout is not None else ReplyPlan()

    def exposure(
        self, analyses: Sequence[Analysis], texts: Sequence[str], resolver: Resolver, cursors: Sequence[Cursor]
    ) -> Exposure:
        """For all that an operation runs. `cursors`: those that it reads."""
        if self._anywhere and (way := outlet(analyses)):
            reason = f"no policy permits derive: {way} could bring hidden columns where no mask reaches them"
            return Exposure(None, reason, "Ask a database administrator to do it.", True)
        samples = self._samples and any(reads_samples(part) for part in analyses)
        if not self.hidden and not samples:
            return self._watched_copy(texts[0], resolver) if only_copies(analyses) else Exposure()
        if self._blind and any(map(reads_anything, analyses)):
            return Exposure(
                None, f"the catalog of {self._place} is not known, so hidden columns can't be found", "Try again.", True
            )
        if self.hidden and not only_copies(analyses) and any(copies_to_client(part) for part in analyses):
            return Exposure(
                None, "COPY beside another statement can't be masked, as what is which can't be told", "Send it alone.", True
            )
        answers = any(map(returns_rows, analyses))
        met = [run for part, body in zip(analyses, texts, strict=True) for run in self._runs.met(part, body, resolver)]
        looked_at = {column for part in analyses for column in self._runs.looked_at(part, resolver)}
        if found := unasked.refusal(met, self.stance.tagged, self.stance.permits, self.stance.named) or unasked.guessed(
            looked_at, self.stance.permits, self.stance.named
        ):
            return Exposure(None, found.reason, found.hint, True)
        touched = (
            samples
            or bool(met)
            or any(cursor.touches for cursor in cursors)
            or any(self._touches(part, resolver) for part in analyses)
        )
        if not touched:
            # The origins that the masks go by are not in a COPY; these are of tables known to be clean.
            if only_copies(analyses):
                return self._watched_copy(texts[0], resolver)
            return Exposure(self._fresh(self._plan, texts, resolver)) if answers else Exposure()
        unknown = any(run.changes or run.gives for run in met)
        flows = [self._flow(*part, resolver, unknown) for part in zip(analyses, texts, strict=True)]
        by_text = any(flow.by_place for flow in flows)
        # CREATE TABLE AS EXECUTE writes what another text reads.
        reading = {a for part in analyses for a in part.accesses if reads_rows(a, part) and self._may_be_dirty(a, resolver)}
        what = "catalogs that hold samples" if samples and not reading else said(reading, "select")
        copy, why = self._copied(texts[0], flows[0]) if only_copies(analyses) else (None, "")
        for analysis, flow in zip(analyses, flows, strict=True):
            if (refusal := self._refusal(analysis, flow, what, resolver, why)) is not None:
                return Exposure(None, refusal.reason, refusal.hint, True, by_text)
        if copy is not None:
            return Exposure(ReplyPlan(scrub_errors=True, copy=copy.shape, copy_masks=copy.masks), touches=True, by_text=True)
        plan = fresh(self._plan_for(analyses, flows, samples=samples, answers=answers), flows, self._made)
        if any(run.changes for run in met):
            # What comes back under a clean column's name is what a trigger or a default put there.
            plan = msgspec.structs.replace(plan, clean_tables=frozenset(), clean_columns=frozenset())
        if not met and self._layout is not None and sees_none(analyses, flows, self.stance, self._layout.catalog, resolver):
            plan = msgspec.structs.replace(plan, scrub_errors=False)
        if len(cursors) == 1 and len(analyses) == 1 and analyses[0].statements == 1:
            plan = msgspec.structs.replace(plan, clean_positions=cursors[0].clean, columns=cursors[0].columns)
        return Exposure(plan, touches=True, by_text=by_text)

    def _fresh(self, plan: ReplyPlan, texts: Sequence[str], resolver: Resolver) -> ReplyPlan:
        return fresh(plan, [self.flow(text, resolver) for text in texts], self._made) if self._made else plan

    def making(self, text: str, analysis: Analysis, resolver: Resolver) -> Making | None:
        """The relation that a text makes with nothing hidden in it."""

        def outputs(query: Tree) -> tuple[str, ...] | None:
            world = self._world(resolver)
            flow = follow([query], world.relation, world.bodies, computes=world.computes)
            clear = flow.outputs is not None and not flow.lost and not any(self.stance.shows(v) for _, v in flow.outputs)
            return tuple(name for name, _ in flow.outputs or ()) if clear else None

        trees = parse(text)
        if len(trees) != 1 or self._runs.traps(analysis, text, resolver):
            return None
        return making(trees[0].tree, outputs, analysis)

    def _copied(self, text: str, flow: Flow) -> tuple[Copied | None, str]:
        """The fields of a COPY that must be looked at, None where they need not; with why they can't be, if so."""
        if self._net is None and not flow.lost and not self.stance.shows(flow.answer):
            return None, ""
        if self._layout is None:
            return None, "the catalog is not known"
        skipped = self._net.skipped if self._net is not None else ()
        try:
            return copied(parse(text)[0].tree["CopyStmt"], flow, self.stance, self._layout, COMPUTED, skipped), ""
        except Undecidable as error:
            return None, str(error)

    def _watched_copy(self, text: str, resolver: Resolver) -> Exposure:
        """Of what shows nothing hidden: with its fields where detectors are to look at them."""
        if self._net is None:
            return Exposure()
        copy, _ = self._copied(text, self.flow(text, resolver))
        return Exposure(ReplyPlan(copy=copy.shape, copy_masks=copy.masks), by_text=True) if copy is not None else Exposure()

    def _flow(self, analysis: Analysis, text: str, resolver: Resolver, unknown: bool) -> Flow:
        """`unknown`: what runs unasked may give any value."""
        flow = self.flow(text, resolver)
        if not self._calls_stand_in(analysis):
            return msgspec.structs.replace(flow, outputs=None, answer=UNSURE) if unknown else flow
        return msgspec.structs.replace(flow, outputs=None, answer=UNSURE, lost=True)

    def _calls_stand_in(self, analysis: Analysis) -> bool:
        return any(is_stood_in_for(name, self._stand_ins) for name, _ in analysis.functions)

    def flow(self, text: str, resolver: Resolver) -> Flow:
        """Where the values of a text go; what can't be followed says so."""
        try:
            trees = [statement.tree for statement in parse(text)]
        except Unreadable:  # read under other lexical settings than its analysis was
            return Flow()
        world = self._world(resolver)
        return follow(trees, world.relation, world.bodies, self._nullness_shown, world.computes)

    def _world(self, resolver: Resolver) -> World:
        def places(name: Name) -> list[tuple[str, str]]:
            try:
                return resolver.relations(Access("select", "table", name))
            except Unresolved:
                return []

        return World(places, self._layout.catalog if self._layout is not None else None, self._is_harmless)

    def _is_harmless(self, function: Function) -> bool:
        if self._functions is None:
            assert self._layout is not None
            self._functions = Judge(self._layout.catalog)
        return self._functions.harmless(function, frozenset())

    def _plan_for(self, analyses: Sequence[Analysis], flows: Sequence[Flow], *, samples: bool, answers: bool) -> ReplyPlan:
        if not answers:
            return msgspec.structs.replace(self._plan, computed=COMPUTED, scrub_errors=True)
        if only_copies(analyses):
            # Nothing hidden is among the rows; errors may tell of what was read.
            return ReplyPlan(scrub_errors=True)
        # The text of an EXECUTE answers with the rows of the one that it names.
        answering = [flow for part, flow in zip(analyses, flows, strict=True) if not part.executes]
        harmless, columns = frozenset[int](), 0
        if len(answering) == 1 and not answering[0].lost and (len(analyses) == 1 or analyses[0].statements == 1):
            harmless, columns = self.stance.clean(answering[0]), len(answering[0].outputs or ())
        # The views over samples have no fixed OID, so beside them no table is known to be clean.
        clean = frozenset() if samples else self._plan.clean_tables
        return ReplyPlan(self._plan.masks, clean, self._plan.clean_columns, COMPUTED, harmless, True, columns)

    def watched(self, plan: ReplyPlan | None, analyses: Sequence[Analysis]) -> ReplyPlan | None:
        """`plan` with the replies looked through for what detectors find, where rows come back."""
        return plan if self._net is None or not any(map(returns_rows, analyses)) else self._net.over(plan)

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

    def mask_of_value(self, value: Value) -> str | None:
        """The kind of mask that an output gets; None where it passes."""
        if not self.stance.shows(value):
            return None
        columns = list(value.columns)
        return self.mask_of(*columns[0]) or COMPUTED.kind if value.plain and value.sure else COMPUTED.kind

    def _touches(self, analysis: Analysis, resolver: Resolver) -> bool:
        if not self.hidden:
            return False
        if "do" in analysis.effects or any(kind in MAY_READ_ANYTHING for _, kind in analysis.functions):
            return True
        if self._calls_stand_in(analysis) or any(self._answers(access, resolver) for access in analysis.accesses):
            return True
        return any(self._may_be_dirty(a, resolver) if a.kind == "table" else self._renames(a) for a in analysis.accesses)

    def _may_be_dirty(self, access: Access, resolver: Resolver) -> bool:
        relations = resolver.relations(access)
        if any(relation in self._names for relation in relations):
            return True
        # A relation that the catalog does not know may have been made since, from anything.
        return access.action != "create" and self._layout is not None and not all(self._layout.knows(*r) for r in relations)

    def _refusal(self, analysis: Analysis, flow: Flow, reading: str, resolver: Resolver, why: str) -> Refusal | None:
        """Why the statement could tell of hidden values, or bring them where no mask reaches. `reading`: what may give such.
        `why`: why the rows of a COPY can't be masked; empty when they can."""
        dirty = {a for a in analysis.accesses if a.kind == "table" and self._may_be_dirty(a, resolver)}
        if why and "copy_out" in analysis.effects:
            refusal = copies(flow, self.stance, said(dirty, "copy_out") or "what may hold hidden columns", why)
            if refusal is not None:
                return refusal
        defined = sorted((a for a in dirty if a.action in _CHANGES_MEANING and self._is_dirty(a, resolver)), key=str)
        defined += [access for access in analysis.accesses if self._renames(access)]
        if defined:
            what = defined[0].name or defined[0].detail
            return Refusal(f"no policy permits derive: changing the definition of {what} could uncover hidden columns", _HINT)
        refusal = guesses(flow, self.stance) or unseen(flow, self.stance) or self._asked(analysis, flow, resolver)
        if refusal is not None:
            return refusal
        calls = next((f"{name}()" for name, kind in analysis.functions if kind in MAY_READ_ANYTHING), "")
        if flow.lost or (flow.skipped and WRITES & set(analysis.effects)):
            return _unfollowed(analysis, reading or (calls and f"what {calls} may read"))
        return keeps(flow, self.stance, reads_dirty=bool(reading or calls))

    def _answers(self, access: Access, resolver: Resolver) -> list[tuple[str, str]]:
        """The relations whose constraints may tell of hidden columns when it writes to them."""
        if self._layout is None or access.kind != "table" or access.action not in _ASKS:
            return []
        return [place for place in resolver.relations(access) if place in self._layout.answers]

    def _asked(self, analysis: Analysis, flow: Flow, resolver: Resolver) -> Refusal | None:
        """Constraints that would be asked about hidden columns."""
        for access in analysis.accesses:
            for place in self._answers(access, resolver):
                assert self._layout is not None
                if (refusal := asks(access.action, place, flow, self.stance, self._layout.answers)) is not None:
                    return refusal
            if access.detail == "references" and (refusal := refers(self._keys(access, flow, resolver), self.stance)) is not None:
                return refusal
        return None

    def _keys(self, access: Access, flow: Flow, resolver: Resolver) -> Collection[Column]:
        """The columns of a relation to which foreign keys refer."""
        assert access.name is not None
        named = flow.referred.get(access.name.name, frozenset())
        places = resolver.relations(access)
        keys = {(*place, column) for place in places for column in named}
        if named and "" not in named:
            return keys
        return keys | {column for place in places for column in self._primary_key(place)}

    def _primary_key(self, place: tuple[str, str]) -> set[Column]:
        """Every column of which a relation's primary key may be."""
        if self._layout is None:
            return {column for column in self.stance.origins if column[:2] == place}
        catalog = self._layout.catalog
        oids = catalog.oids_of(*place)
        numbers = {n for c in catalog.constraints() if c.oid in oids and c.what == "primary key" for n in c.columns}
        return {(*place, catalog.columns(oid)[n]) for oid in oids for n in numbers}

    def _is_dirty(self, access: Access, resolver: Resolver) -> bool:
        return any(relation in self._names for relation in resolver.relations(access))

    def _renames(self, access: Access) -> bool:
        """Whether it may give another name to what tagged columns are in, as tags go by name; or another body to a function that
        is looked into, as that is not seen before the transaction ends."""
        if access.kind == "function":
            return access.action in _CHANGES_MEANING and self._is_looked_into(access.name)
        if access.action != "alter":
            return False
        if access.kind == "schema":
            return access.name is not None and any(schema == access.name.name for schema, _ in self._names)
        return access.kind == "database" and access.detail.startswith("database ")

    def _is_looked_into(self, name: Name | None) -> bool:
        if self._layout is None or name is None:
            return False
        return any(found.text is not None for found in self._layout.catalog.functions_named(None, name.name))


_HINT = "Leave the hidden columns out, or ask for a policy that permits reveal on their tags."


def _unfollowed(analysis: Analysis, reading: str) -> Refusal | None:
    """Of a statement whose values can't be followed: everything that it reads may go wherever it writes."""
    keeper = keeps_values(analysis) if reading else ""
    if not keeper:
        return None
    return Refusal(f"no policy permits derive: {keeper} could keep hidden columns of {reading} where no mask reaches them", _HINT)
