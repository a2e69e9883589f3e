"""The data of one COPY TO STDOUT with its fields masked.

The boundaries of CopyData messages mean nothing (PostgreSQL 18 docs §54.2.6): rows are found by the form of the data alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..disclosure import ReplyPlan
from . import types, values
from .copylines import form
from .detecting import Net
from .messages import Malformed
from .values import Shaper


class CopyMasks:
    """Takes the data of a COPY as it comes, gives it back row by row with the masks applied."""

    def __init__(self, plan: ReplyPlan, codec: str | None, max_row_bytes: int) -> None:
        """`plan` has a `copy`, with a mask or None for each of its columns; raises Malformed when it has not."""
        shape = plan.copy
        if shape is None or not len(shape.types) == len(shape.names) == len(plan.copy_masks):
            raise Malformed("the columns of a COPY are not known")
        self.binary = shape.form == "binary"
        self.count = len(shape.types)
        self.masked = tuple(name for name, mask in zip(shape.names, plan.copy_masks, strict=True) if mask is not None)
        self.tags = tuple(dict.fromkeys(mask.tag for mask in plan.copy_masks if mask is not None and mask.tag))
        self._form = form(shape)
        self._max_row_bytes = max_row_bytes
        self._net = Net(plan) if plan.detector is not None else None
        self._members: list[tuple[int, Shaper]] = []
        """For the positions of masked fields."""
        self._watched: list[tuple[int, Shaper]] = []
        """For those of fields that pass but for what is found in them."""
        self.unread = False
        """A field would have to be looked through and can't be, as its type is not known."""
        self._names = shape.names
        self._found: set[str] = set()
        for position, (type_oid, mask) in enumerate(zip(shape.types, plan.copy_masks, strict=True)):
            if mask is not None:
                self._members.append((position, values.member(values.shape(mask, type_oid, int(self.binary), codec), codec)))
            elif self._net is not None and position not in shape.unwatched:
                # In text what is not known to be something else is looked through as text.
                known = type_oid or (0 if self.binary else types.TEXT)
                self.unread = self.unread or not known
                shaper = self._net.shaper(known, int(self.binary), codec)
                if shaper is not None:
                    self._watched.append((position, values.member(values.watched(shaper), codec)))

    def feed(self, data: bytes) -> list[bytes]:
        """The rows that are whole now, with what stands before and behind them, in pieces. Raises Malformed. O(bytes)."""
        try:
            pieces = list(self._pieces(data))
        except ValueError as error:
            raise Malformed(f"the data of a COPY is not in its form: {error}") from None
        if self._form.waiting() > self._max_row_bytes:
            raise Malformed("a row of a COPY is longer than hostguard reads")
        return pieces

    def end(self) -> None:
        """No more comes. Raises Malformed when what came is not complete."""
        if not self._form.complete():
            raise Malformed("the data of a COPY ends within a row")

    def take_found(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(names of the columns, tags) of what was found since this was last asked."""
        if self._net is None or not self._found:
            return (), ()
        names, tags = tuple(sorted(self._found)), self._net.tags
        self._found.clear()
        self._net.kinds.clear()
        return names, tags

    def _pieces(self, data: bytes) -> Iterator[bytes]:
        before = b""
        for piece, is_row in self._form.feed(data):
            if self.binary and not is_row and not self._form.complete():
                before = piece  # the server sends the header with what is first behind it
                continue
            yield before + (self._row(piece) if is_row else piece)
            before = b""
        if before:
            yield before

    def _row(self, row: bytes) -> bytes:
        form = self._form
        fields = form.fields(row)
        if len(fields) != self.count:
            raise ValueError(f"{len(fields)} fields instead of {self.count}")
        for position, shaper in self._members:
            self._change(fields, position, shaper)
        if self._net is not None and self._net.suspects(row):
            for position, shaper in self._watched:
                if self._change(fields, position, shaper):
                    self._found.add(self._names[position])
        return form.row(fields)

    def _change(self, fields: list[bytes | None], position: int, shaper: Shaper) -> bool:
        old = self._form.value(fields[position])
        new = shaper(old) if old is not None else None
        if new == old:
            return False
        fields[position] = self._form.field(new, position)
        return True
