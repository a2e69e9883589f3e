"""Which text a name stands for: prepared statements, portals.

Theory of operation
-------------------
Execute names a portal, the portal was bound to a statement, the statement was parsed from a text; what is judged at Execute must
be the text that the server will run. The tables here follow the server's, and where following is not certain they forget, because
a name without an entry means "text unknown", which policy denies.

A client may pipeline: a Parse that was forwarded may succeed, fail, or be skipped because something before it failed. So a change
of a name is *pending* until its reply, then it is settled either way: done (``current`` changes) or not (the old entry stays, as
on the server: a Parse of a name in use fails with 42P05, a Bind with 42P03, and both keep the old one).

A reference to a name with pending changes is looked up like this. Within one *epoch* (the messages between two that beget a
ReadyForQuery) the newest pending change counts: if it fails, the server skips everything up to Sync, the reference included. From
a later epoch the reference survives the failure and would hit the *old* entry: it must wait until the replies are in (`STALL`).

Names are compared by their first 63 bytes, because the server's hash tables do (NAMEDATALEN is 64; ``prepare.c``,
``portalmem.c: MAX_PORTALNAME_LEN``): two longer names with a common beginning are one name there.

What can break if this is touched: `tests/protocols/test_postgres_names.py` holds one dialogue for each way in which an old text
could run under a new one's name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from . import hidden

_NAME_BYTES = 63


class Statement:
    """One version of a prepared statement."""

    __slots__ = ("hidden", "name", "size", "text", "types")

    def __init__(self, name: bytes, text: str | None, types: tuple[int, ...], size: int) -> None:
        self.name = name.decode("utf-8", "backslashreplace")
        self.text = text
        self.types = types
        self.hidden = hidden.of(text)
        self.size = size


class Portal:
    """One bound portal; keeps the statement version that it was bound to."""

    __slots__ = ("described", "describing", "epoch", "formats", "parameters", "size", "statement")

    def __init__(
        self, statement: Statement | None, parameters: tuple[bytes | None, ...], formats: tuple[int, ...], epoch: int, size: int
    ) -> None:
        self.statement = statement
        self.parameters = parameters
        self.formats = formats
        self.epoch = epoch
        self.size = size
        self.described: bytes | None = None
        """Body of its own RowDescription, empty for NoData; None: not seen. Of the portal, not of the statement: a plan that was
        made again since may take its columns from another table."""
        self.describing = False
        """A Describe of this portal is in flight."""


V = TypeVar("V", Statement, Portal)


class Stall:
    """The answer of `Table.find` when the name's meaning depends on replies that are not here."""


STALL: Final = Stall()


class Change(Generic[V]):
    """One change of one name that the server has not answered yet."""

    __slots__ = ("_table", "epoch", "name", "value")

    def __init__(self, table: Table[V], name: bytes, value: V | None, epoch: int) -> None:
        self._table: Table[V] = table
        self.name = name
        self.value: V | None = value
        self.epoch = epoch

    def settle(self, done: bool) -> None:
        """The server did it, or did not."""
        self._table.settle(self, done)


class Table(Generic[V]):
    """What each name of one kind stands for."""

    def __init__(self) -> None:
        self.current: dict[bytes, V] = {}
        self.pending: dict[bytes, list[Change[V]]] = {}
        self._added_bytes = 0

    def __len__(self) -> int:
        return len(self.current) + len(self.pending)

    def find(self, name: bytes, epoch: int) -> V | Stall | None:
        """The entry that a message of `epoch` would meet, None for none that is known."""
        if len(name) > _NAME_BYTES:
            name = name[:_NAME_BYTES]
        changes = self.pending.get(name)
        if not changes:
            return self.current.get(name)
        # In order of forwarding, so the first is the oldest.
        if changes[0].epoch != epoch:
            return STALL
        return changes[-1].value

    def change(self, name: bytes, value: V | None, epoch: int) -> Change[V]:
        """Note that `name` will stand for `value` (None: nothing) if the server agrees; `settle` tells."""
        if len(name) > _NAME_BYTES:
            name = name[:_NAME_BYTES]
        change = Change(self, name, value, epoch)
        changes = self.pending.get(name)
        if changes is None:
            self.pending[name] = [change]
        else:
            changes.append(change)
        if value is not None:
            self._added_bytes += value.size
        return change

    def settle(self, change: Change[V], done: bool) -> None:
        """Carry out one pending change, or drop it."""
        name = change.name
        changes = self.pending[name]
        changes.remove(change)
        if not changes:
            del self.pending[name]
        if done:
            if change.value is None:
                self.current.pop(name, None)
            else:
                self.current[name] = change.value

    def knows(self, name: bytes) -> bool:
        return name in self.current or name in self.pending

    def forget(self, which: Callable[[bytes], bool] | None = None) -> None:
        """Names (all, or those that `which` picks) mean nothing certain any more, pending changes included."""
        if which is None:
            self.current.clear()
        else:
            for name in [name for name in self.current if which(name)]:
                del self.current[name]
        for name, changes in self.pending.items():
            if which is None or which(name):
                for change in changes:
                    change.value = None

    def held_bytes(self, exact: bool = False) -> int:
        """Bytes of what the entries keep: an upper bound that costs nothing, or exact in O(entries)."""
        if exact:
            waiting: list[V | None] = [change.value for changes in self.pending.values() for change in changes]
            self._added_bytes = sum(value.size for value in (*self.current.values(), *waiting) if value is not None)
        return self._added_bytes


def forget_hidden(text: str | None, what: hidden.Hidden, statements: Table[Statement], portals: Table[Portal]) -> None:
    """A text was forwarded that may make or drop statements or portals out of sight: forget those that it may mean."""

    def meant(name: bytes) -> bool:
        # SQL can't reach the unnamed ones: an empty identifier is a syntax error.
        return bool(name) and (text is None or what.any_name or hidden.names_it(text, name))

    if what.statements:
        statements.forget(meant)
    if what.portals:
        portals.forget(meant)
