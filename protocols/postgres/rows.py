"""Runs of row frames through the native walker (``rows.c``)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from . import messages, values
from ._rows_cffi import ffi, lib
from .detecting import Net
from .texts import digest

# Cells that one batch may hand to Python: bounds the list that is allocated for a flow with hashed columns.
_MAX_CELLS = 4096
_MALFORMED = 1
_NULL_SIZE = 0xFFFFFFFF
# hg_cell: column, size, place; native order and alignment.
_CELL = struct.Struct("@IIN")
_CODES = {values.PASS: 0, values.NULL: 1, values.CONSTANT: 2, values.PARTIAL: 3, values.OUTSIDE: 4, values.HASH: 5}
# The output is written in full or not used at all, so clearing it first would be work for nothing.
_allocate = ffi.new_allocator(should_clear_after_alloc=False)


class Run(NamedTuple):
    """What a run of frames amounted to."""

    used: int
    """Bytes of the input."""
    rows: int
    payload: int
    """Bytes of the frames' bodies."""
    data: bytes = b""
    """The frames with masked values."""


class RowPlan:
    """The actions of all columns of one row shape, in the form that the native walker reads."""

    def __init__(
        self,
        actions: Sequence[values.Action],
        utf8: bool,
        masked: tuple[str, ...],
        tags: tuple[str, ...] = (),
        net: Net | None = None,
        names: tuple[str, ...] = (),
    ) -> None:
        """`net`: what the actions that watch look with; `names`: of all columns, to tell where something was found."""
        self.masked = masked
        self.net = net
        self._names = names
        self.watched = [action.watched for action in actions]
        self.only_watches = all(action.watched or action.kind == values.PASS for action in actions)
        self.found: set[int] = set()
        """Columns in which values were found since `take_found`."""
        self.tags = tags
        self.utf8 = utf8
        self.count = len(actions)
        self.shapers = [action.shape if action.kind == values.OUTSIDE else None for action in actions]
        self.constants = b"".join(action.text for action in actions if action.kind == values.CONSTANT)
        self.columns = ffi.new("hg_column[]", max(1, self.count))
        keys = [action.text for action in actions if action.kind == values.HASH]
        self.hashes = ffi.new("hg_hash[]", max(1, len(keys)))
        self.n_hashes = 0
        for key in keys:
            lib.hg_hash_begin(ffi.addressof(self.hashes, self.n_hashes), key, len(key), digest(key)(b""))
            self.n_hashes += 1
        at = hashed = 0
        for column, action in zip(self.columns, actions, strict=False):
            column.action = _CODES[action.kind]
            column.keep = action.keep
            if action.kind == values.HASH:
                column.at = hashed
                hashed += 1
            elif action.kind == values.CONSTANT:
                column.at = at
                column.size = len(action.text)
                at += len(action.text)
        outside = any(self.shapers)
        self.max_cells = max(_MAX_CELLS, self.count) if outside else self.count
        self.cells = ffi.new("hg_cell[]", self.max_cells if outside else 1)
        self.batch = ffi.new("hg_batch *")

    def take_found(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """(names of the columns, tags) of what was found since this was last asked."""
        if not self.found or self.net is None:
            return (), ()
        names, tags = tuple(self._names[column] for column in sorted(self.found)), self.net.tags
        self.found.clear()
        self.net.kinds.clear()
        return names, tags


_batch = ffi.new("hg_batch *")


def count(data: bytes, start: int, tag: int, max_length: int) -> Run:
    """Whole frames of type `tag` from `start` on, untouched. O(frames)."""
    lib.hg_count(data, start, len(data), tag, max_length, _batch)
    return Run(_batch.used, _batch.rows, _batch.payload)


def mask(data: bytes, start: int, max_length: int, plan: RowPlan) -> Run:
    """Whole DataRow frames from `start` on with the plan's masks applied; nothing used when the first is not whole.

    Raises messages.Malformed when a row is not what the plan's row shape says. O(bytes).
    """
    batch = plan.batch
    lib.hg_scan(data, start, len(data), max_length, plan.columns, plan.count, plan.cells, plan.max_cells, batch)
    if batch.status == _MALFORMED:
        raise messages.Malformed("a row does not fit its description")
    if not batch.rows:
        return Run(0, 0, 0)
    suspect = True
    if plan.net is not None:
        # One look at all rows together: few hold anything of the forms looked for.
        raw = data[start : start + batch.used]
        suspect = plan.net.suspects(raw)
        if not suspect and plan.only_watches:
            return Run(batch.used, batch.rows, batch.payload, raw)
    fresh = _shape_cells(data, plan, batch.cells, suspect) if batch.cells else b""
    room = batch.out + len(fresh)
    out = _allocate("char[]", room)
    written = lib.hg_write(
        data, start, batch.used, plan.columns, plan.count, plan.utf8, plan.constants, len(plan.constants),
        plan.hashes, plan.n_hashes, plan.cells, batch.cells, fresh, len(fresh), out, room,
    )  # fmt: skip
    assert written, "the second pass over the rows disagrees with the first"
    return Run(batch.used, batch.rows, batch.payload, ffi.buffer(out, written)[:])


def _shape_cells(data: bytes, plan: RowPlan, count: int, suspect: bool) -> bytes:
    """New values of the cells that the walker left to us, one behind the other; their places go back into the list.

    `suspect`: something may be found in the watched ones.
    """
    places = ffi.buffer(plan.cells, count * _CELL.size)
    fresh: list[bytes] = []
    moved: list[bytes] = []
    at = 0
    for column, size, start in _CELL.iter_unpack(places[:]):
        shaper = plan.shapers[column]
        old = data[start : start + size]
        value: bytes | None
        if plan.watched[column]:
            value = shaper(old) if suspect and shaper is not None else old
            if value != old:
                plan.found.add(column)
        else:
            value = shaper(old) if shaper is not None else None
        if value is None:
            moved.append(_CELL.pack(column, _NULL_SIZE, at))
            continue
        moved.append(_CELL.pack(column, len(value), at))
        at += len(value)
        fresh.append(value)
    places[:] = b"".join(moved)
    return b"".join(fresh)
