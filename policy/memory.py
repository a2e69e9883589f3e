"""What a flow knows by name: its prepared statements, its cursors."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from ..protocols.disclosure import ReplyPlan
from .making import MAX_MADE, Made, Making


class Cursor(msgspec.Struct, frozen=True):
    """What is known of a cursor's rows."""

    touches: bool
    """They may hold hidden columns."""
    clean: Collection[int] = frozenset()
    """Positions that surely don't, of rows with so many `columns`."""
    columns: int = 0


UNSEEN = Cursor(True)

MAX_NAMES = 512
"""Names of one kind. A driver's statement cache holds a hundred or so."""
MAX_TEXTS = 8
"""Different texts under one name: names get reused, but what a name may stand for must stay judgeable."""
MAX_CHARACTERS = 1 << 20
"""Of all texts together."""


class Memory:
    """Every text that a name may stand for: nothing is ever forgotten, since a rollback or a failed DEALLOCATE can bring it back.

    Bounded and closed: a name that can't be remembered, or stands for too much, is one that was never seen.
    """

    __slots__ = ("_characters", "_cursors", "_statements", "dropped", "made", "uncovered")

    def __init__(self) -> None:
        self._statements: dict[str, tuple[str, ...] | None] = {}
        self._cursors: dict[str, Cursor] = {}
        self._characters = 0
        self.made: Made = ()
        """Relations that the flow made in the transaction that is open, until anything else is defined."""
        self.dropped = 0
        """What had no room."""
        self.uncovered = False
        """The flow dropped or renamed something, and the catalog was not read since."""

    def prepared(self, name: str, text: str) -> None:
        """From now on the prepared statement `name` may stand for `text` too."""
        known = self._statements.get(name, ())
        if known is None or text in known:
            return
        if name not in self._statements and len(self._statements) >= MAX_NAMES:
            self.dropped += 1
            return
        if len(known) >= MAX_TEXTS or self._characters + len(text) > MAX_CHARACTERS:
            # Judging the name by the texts that had room would be a hole, so it stands for nothing any more.
            self._statements[name] = None
            self.dropped += 1
            return
        self._statements[name] = (*known, text)
        self._characters += len(text)

    def defined(self, makes: Making | None) -> None:
        """From now on there may be a relation that `makes`; or something else that may change what is in those there are."""
        known = [each for each in self.made if makes is None or each.name != makes.name]
        self.made = (*known, makes)[-MAX_MADE:] if makes is not None else ()

    def texts(self, name: str) -> tuple[str, ...]:
        """All texts that `name` may stand for; none when it was never seen, or stands for more than could be remembered."""
        return self._statements.get(name) or ()

    def declared(self, name: str, touches: bool, plan: ReplyPlan | None = None) -> None:
        """From now on the cursor `name` may read hidden columns (`touches`), or may not. `plan`: what its rows may show."""
        known = self._cursors.get(name)
        if known is None and len(self._cursors) >= MAX_NAMES:
            self.dropped += 1
            return
        clean, columns = (plan.clean_positions, plan.columns) if plan is not None else (frozenset[int](), 0)
        if known is not None:
            # Which of them is open depends on what was rolled back.
            touches = touches or known.touches
            clean = frozenset(clean) & frozenset(known.clean) if columns == known.columns else frozenset()
        self._cursors[name] = Cursor(touches, clean, columns)

    def cursor(self, name: str) -> Cursor:
        """What reading the cursor `name` may show; a name never seen may show anything."""
        return self._cursors.get(name, UNSEEN)
