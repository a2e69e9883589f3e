"""From a RowDescription with a disclosure plan to the action for each column."""

from __future__ import annotations

from ..disclosure import Mask, ReplyPlan
from . import values
from .detecting import Net
from .messages import Column, row_description
from .rows import RowPlan

# Row shapes of one flow that are kept compiled: an agent's session uses a handful; a shape costs about a KiB.
_MAX_SHAPES = 32
# Larger descriptions (several hundred columns) are read anew each time: a server must not fill our memory with them.
_MAX_SHAPE_BYTES = 16 * 1024


def mask_for(column: Column, position: int, plan: ReplyPlan, count: int = 0) -> Mask | None:
    """The mask for one column, None to let it pass; by the origin that the server names, never by the column's name.

    `count`: how many columns the reply has.

    A whole-row reference carries its table's OID with attribute number 0 (``SELECT c FROM c``): it holds every column.
    """
    if column.table == 0:
        counted = plan.columns == 0 or plan.columns == count
        return None if counted and position in plan.clean_positions else plan.computed
    mask = plan.masks.get((column.table, column.attribute))
    if mask is not None:
        return mask
    # System columns (ctid, tableoid, xmin …) hold nothing of the row's data.
    if column.attribute < 0:
        return None
    if column.table in plan.clean_tables:
        # A plan that calls a table clean and masks a column of it contradicts itself: not for a whole row of it.
        torn = column.attribute == 0 and any(table == column.table for table, _ in plan.masks)
        return plan.computed if torn else None
    if (column.table, column.attribute) in plan.clean_columns:
        return None
    return None if position in plan.fresh and plan.columns == count and not _is_known(column.table, plan) else plan.computed


def _is_known(table: int, plan: ReplyPlan) -> bool:
    return any(table == known for known, _ in (*plan.masks, *plan.clean_columns))


def _watched(column: Column, net: Net | None, plan: ReplyPlan, codec: str | None) -> values.Action:
    """A column that passes, looked through where the plan has it looked through."""
    if net is None or (column.table, column.attribute) in plan.undetected or column.format not in (0, 1):
        return values.Action(values.PASS)
    shaper = net.shaper(column.type, column.format, codec)
    return values.Action(values.PASS) if shaper is None else values.watched(shaper)


class Shapes:
    """Row shapes that came by, parsed and compiled once; bounded."""

    def __init__(self) -> None:
        self._names: dict[bytes, tuple[str, ...]] = {}
        # The reply plan is kept beside its compiled form: its id is good as a key only while it lives.
        self._plans: dict[tuple[bytes, int, str | None], tuple[ReplyPlan, RowPlan | None]] = {}

    def names(self, description: bytes) -> tuple[str, ...]:
        """Column names of a RowDescription's body. Raises messages.Malformed."""
        names = self._names.get(description)
        if names is None:
            names = tuple(column.name.decode("utf-8", "backslashreplace") for column in row_description(description))
            if len(self._names) >= _MAX_SHAPES:
                self._names.clear()
            if len(description) <= _MAX_SHAPE_BYTES:
                self._names[description] = names
        return names

    def plan(self, description: bytes, reply_plan: ReplyPlan, codec: str | None) -> RowPlan | None:
        """What to do with rows of this shape; None: they pass as they are. Raises messages.Malformed."""
        key = (description, id(reply_plan), codec)
        found = self._plans.get(key)
        if found is not None:
            return found[1]
        compiled = self._compile(description, reply_plan, codec)
        if len(self._plans) >= _MAX_SHAPES:
            self._plans.clear()
        if len(description) <= _MAX_SHAPE_BYTES:
            self._plans[key] = (reply_plan, compiled)
        return compiled

    def _compile(self, description: bytes, reply_plan: ReplyPlan, codec: str | None) -> RowPlan | None:
        names = self.names(description)
        columns = row_description(description)
        masks = [mask_for(column, position, reply_plan, len(columns)) for position, column in enumerate(columns)]
        net = Net(reply_plan) if reply_plan.detector is not None else None
        actions = [
            _watched(column, net, reply_plan, codec) if mask is None else values.shape(mask, column.type, column.format, codec)
            for column, mask in zip(columns, masks, strict=True)
        ]
        # Rows of no columns still go through the walker, which sees to it that there are none.
        if columns and not any(masks) and all(action.kind == values.PASS for action in actions):
            return None
        masked = tuple(name for name, mask in zip(names, masks, strict=True) if mask is not None)
        tags = tuple(dict.fromkeys(mask.tag for mask in masks if mask is not None and mask.tag))
        return RowPlan(actions, codec == "utf-8", masked, tags, net if any(map(values.watches, actions)) else None, names)
