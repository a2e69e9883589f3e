"""Which tags asked for the masks of a reply."""

from __future__ import annotations

import wire

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.postgres.masking import Shapes

TABLE = 16400
PLAN = ReplyPlan(masks={(TABLE, 2): Mask("partial", "pii.email"), (TABLE, 3): Mask("null", "pci.card")}, computed=Mask("null"))


def test_the_tags_of_masked_columns_are_told_once_each_in_order() -> None:
    columns = [wire.column(name, TABLE, number) for name, number in (("c", 3), ("e", 2), ("again", 3))]
    plan = Shapes().plan(wire.row_description(*columns)[5:], PLAN, "utf-8")
    assert plan is not None
    assert (plan.masked, plan.tags) == (("c", "e", "again"), ("pci.card", "pii.email"))


def test_a_computed_column_is_masked_without_a_tag() -> None:
    plan = Shapes().plan(wire.row_description(wire.column("sum"))[5:], PLAN, "utf-8")
    assert plan is not None
    assert (plan.masked, plan.tags) == (("sum",), ())
