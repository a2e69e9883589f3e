"""Why a statement may not do what it does with hidden columns: guess at them, or put them where no mask reaches them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from .catalogs import SAMPLES
from .constraints import Answers
from .hidden import Column, Hidden, Permits
from .lineage.follow import Flow
from .lineage.value import Value
from .paths import path


class Refusal(msgspec.Struct, frozen=True):
    """What a person refused is told."""

    reason: str
    hint: str


class Stance(msgspec.Struct, frozen=True):
    """The hidden columns of one agent in one database, wherever they show, with what may be done with them unseen."""

    place: str
    """Resource and database."""
    hidden: Hidden
    origins: Mapping[Column, frozenset[Column]]
    """As `Layout` has them."""
    permits: Permits

    @property
    def tagged(self) -> set[Column]:
        """All of them that carry tags."""
        return {(*place, column) for place, columns in self.hidden.items() for column in columns}

    def shows(self, value: Value) -> bool:
        """Whether the value may depend on a hidden column."""
        return not value.sure or not self.origins.keys().isdisjoint(value.columns)

    def clean(self, flow: Flow) -> frozenset[int]:
        """Positions of the outputs that surely depend on no hidden column."""
        return frozenset(n for n, (_, value) in enumerate(flow.outputs or ()) if not self.shows(value))

    def of(self, columns: Iterable[Column]) -> set[Column]:
        """The tagged columns behind some columns."""
        return {origin for column in columns for origin in self.origins.get(column, ())}

    def named(self, column: Column) -> str:
        """A tagged column for a sentence, with its tag."""
        mask = self.hidden.get(column[:2], {}).get(column[2])
        tag = mask.tag if mask is not None else SAMPLES
        return f"{self.place}/{path(*column)}" + (f" (tag {tag})" if tag else "")


def guesses(flow: Flow, stance: Stance) -> Refusal | None:
    """Hidden columns that decide about rows, so that the answer could confirm a guess; None when that is permitted."""
    for column in sorted(flow.matched.keys() & stance.origins.keys()):
        for origin in sorted(stance.origins[column] - stance.permits["match"]):
            where = flow.matched[column]
            return Refusal(
                f"no policy permits match on {stance.named(origin)}, which is used in {where}: the answer could confirm a guess",
                "Choose rows by other columns, or ask for a policy that permits match on that column or its tag.",
            )
    return None


def unseen(flow: Flow, stance: Stance) -> Refusal | None:
    """What functions of unknown body give decides about rows, and may be of any hidden column; None when that is permitted."""
    left = sorted(stance.tagged - stance.permits["match"]) if flow.called else []
    if not left:
        return None
    return Refusal(
        f"no policy permits match on {stance.named(left[0])}, which a function of unknown body may have read: rows are chosen by"
        " what it gives, so the answer could confirm a guess",
        "Choose rows by columns, ask for a policy that permits match on all hidden columns, or have the function read no tables.",
    )


def asks(action: str, place: tuple[str, str], flow: Flow, stance: Stance, answers: Answers) -> Refusal | None:
    """A write whose constraints would tell of hidden columns; None when that is permitted. `place`: the relation."""
    written = None if flow.lost or flow.skipped else flow.written.get((action, place[1]))
    for answer in answers.get(place, ()):
        if answer.action != action or (written is not None and answer.columns is not None and not written & answer.columns):
            continue
        for origin in sorted(answer.origins - stance.permits["match"]):
            return Refusal(
                f"no policy permits match on {stance.named(origin)}, about which this {action} of {path(*place)} asks by"
                f" {answer.what}: the answer could confirm a guess",
                "Leave these columns as they are, or ask for a policy that permits match on that column or its tag.",
            )
    return None


def refers(columns: Iterable[Column], stance: Stance) -> Refusal | None:
    """A foreign key to hidden columns; None when that is permitted."""
    for origin in sorted(stance.of(columns) - stance.permits["match"]):
        return Refusal(
            f"no policy permits match on {stance.named(origin)}, to which it refers: a foreign key confirms guesses",
            "Refer to another key, or ask for a policy that permits match on that column or its tag.",
        )
    return None


def keeps(flow: Flow, stance: Stance, *, reads_dirty: bool) -> Refusal | None:
    """Hidden columns that are written, or given to functions that may keep them. `reads_dirty`: relations with hidden columns are
    read, so that a value of which nothing is known may be one of theirs."""
    given = [("what it writes", flow.assigned), *flow.stashed]
    for keeper, value in given:
        for origin in sorted(stance.of(value.columns) - stance.permits["derive"]):
            return _derives(keeper, stance.named(origin))
        unknown = not value.sure or any(not stance.origins[c] for c in value.columns & stance.origins.keys())
        if reads_dirty and unknown:
            return _derives(keeper, f"a hidden column of {stance.place}, as not all of its sources are known")
    if flow.stashed:
        # Whether such a function runs at all could depend on the column: coalesce(x, f()).
        for origin in sorted(stance.of(flow.used) - stance.permits["derive"]):
            return _derives(flow.stashed[0][0], stance.named(origin))
    return None


def _derives(keeper: str, what: str) -> Refusal:
    return Refusal(
        f"no policy permits derive on {what}: {keeper} could keep it, or tell of it, where no mask reaches",
        "Leave the column out, or ask for a policy that permits derive, or reveal, on that column or its tag.",
    )


def copies(flow: Flow, stance: Stance, said: str, why: str) -> Refusal | None:
    """A COPY whose fields can't be masked, `why`: only what is clean may go."""
    if flow.lost or stance.shows(flow.answer):
        found = sorted(stance.of(flow.answer.columns))
        what = stance.named(found[0]) if found else f"hidden columns of {said}"
        return Refusal(
            f"COPY out of {said} can't be masked, as {why}, and it would show {what}",
            "Leave the hidden columns out, or read them with SELECT, or ask for a policy that permits reveal on their tags.",
        )
    return None
