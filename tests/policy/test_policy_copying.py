"""What a COPY's plan says of its data: the form by the options, the masks by lineage."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.copies import CopyShape
from hostguard.protocols.disclosure import Mask
from hostguard.protocols.events import Operation, Verdict

Statement = Callable[..., Operation]
Make = Callable[..., Policy]
Ask = Callable[[str], tuple[CopyShape, tuple[Mask | None, ...]]]
PEOPLE, VIEW, CHILD, DOMAIN, OVER = "30000", "30001", "30002", "40000", "40001"
TYPED = [
    ("relation", PEOPLE, "public", "customers", "r"),
    ("column", PEOPLE, "1", "id", ""),
    ("column", PEOPLE, "3", "card", ""),
    ("column", PEOPLE, "4", "email", ""),
    ("column", PEOPLE, "5", "twice", "s"),
    *(("type", PEOPLE, number, oid, "") for number, oid in (("1", "23"), ("3", OVER), ("4", "25"), ("5", "25"))),
    ("domain", DOMAIN, "1700", "", ""),
    ("domain", OVER, DOMAIN, "", ""),
    ("relation", VIEW, "public", "shown", "v"),
    ("column", VIEW, "1", "x", ""),
    ("view", VIEW, PEOPLE, "3", ""),
    ("relation", CHILD, "public", "own", "r"),
    ("column", CHILD, "1", "card", ""),
    ("child", PEOPLE, CHILD, "", ""),
]


@pytest.fixture
def decider(with_rules: Make) -> Decider:
    rule = """@id("all") permit (principal, action, resource)
    unless { [Action::"reveal", Action::"match", Action::"derive"].contains(action) };"""
    made = Decider(with_rules(rule), hash_key=b"k")
    made.set_catalog("shop", "shop", Catalog.from_rows(TYPED))
    return made


@pytest.fixture
def ask(decider: Decider, statement: Statement) -> Ask:
    def plan(text: str) -> tuple[CopyShape, tuple[Mask | None, ...]]:
        decision = decider.open("support-bot", "shop").decide(statement(text)).decision
        assert decision.verdict is Verdict.ALLOW, decision.reason
        assert decision.plan is not None
        assert decision.plan.copy is not None
        assert decision.plan.scrub_errors
        return decision.plan.copy, decision.plan.copy_masks

    return plan


def kinds(masks: tuple[Mask | None, ...]) -> list[str]:
    return [mask.kind if mask is not None else "" for mask in masks]


def test_a_table_is_copied_with_its_columns_but_for_the_generated_ones(ask: Ask) -> None:
    shape, masks = ask("COPY customers TO STDOUT")
    assert (shape.names, shape.types) == (("id", "card", "email"), (23, 1700, 25))
    assert kinds(masks) == ["", "partial", "partial"]
    assert (shape.form, shape.delimiter, shape.null, shape.header) == ("text", b"\t", b"\\N", False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY customers (email, id) TO STDOUT", ["partial", ""]),
        ("COPY (SELECT id, email AS id2 FROM customers) TO STDOUT", ["", "partial"]),
        ("COPY (SELECT * FROM customers) TO STDOUT", ["", "partial", "partial", "null"]),
        ("COPY (SELECT upper(email), count(card), 7 FROM customers GROUP BY id) TO STDOUT", ["null", "", ""]),
        ("COPY (SELECT c FROM customers c) TO STDOUT", ["null"]),
        ("COPY (SELECT id, card FROM customers LIMIT 5) TO STDOUT", ["", "partial"]),
        ("COPY own TO STDOUT", ["partial"]),
        ("COPY (SELECT x FROM shown) TO STDOUT", ["null"]),
        ("COPY (DELETE FROM customers WHERE id = 1 RETURNING email, id) TO STDOUT", ["partial", ""]),
        ("COPY (SELECT pg_read_file('x'), id FROM customers) TO STDOUT", ["null", ""]),
    ],
)
def test_each_field_has_the_mask_of_its_lineage(ask: Ask, text: str, expected: list[str]) -> None:
    assert kinds(ask(text)[1]) == expected


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("(FORMAT csv)", {}),
        ("CSV HEADER", {"header": True}),
        ("(FORMAT 'csv', HEADER off)", {"header": False}),
        ("(FORMAT csv, HEADER 1)", {"header": True}),
        ("(FORMAT csv, DELIMITER ';', NULL 'NULL')", {"delimiter": b";", "null": b"NULL"}),
        ("(FORMAT csv, QUOTE '''')", {"quote": b"'", "escape": b"'"}),
        ("CSV QUOTE '|' ESCAPE E'\\\\'", {"quote": b"|", "escape": b"\\"}),
        ("CSV FORCE QUOTE email, id", {"forced": frozenset({0, 2})}),
        ("(FORMAT csv, FORCE_QUOTE *)", {"forced": frozenset({0, 1, 2})}),
        ("(FORMAT binary)", {"form": "binary", "delimiter": b"\t", "null": b"\\N"}),
        ("(DELIMITER '|', NULL '')", {"form": "text", "delimiter": b"|"}),
        ("(FORMAT text, DELIMITER E'\\b', HEADER)", {"form": "text", "delimiter": b"\b", "null": b"\\N", "header": True}),
    ],
)
def test_the_form_follows_the_options(ask: Ask, options: str, changed: dict[str, object]) -> None:
    plain = ask("COPY customers TO STDOUT")[0]
    expected = msgspec.structs.replace(plain, **{"form": "csv", "delimiter": b",", "null": b"", **changed})
    assert ask(f"COPY customers TO STDOUT {options}")[0] == expected


@pytest.mark.parametrize(
    "options",
    [
        "(ENCODING 'UTF8')",
        "(NULL 'alice')",
        "(FORMAT csv, NULL 'ä')",
        "(FORMAT 'CSV')",
        "(FORMAT csv, DELIMITER 'ab')",
        "(HEADER 'match')",
        "(FORMAT csv, HEADER 2)",
        "(FORMAT csv, FORMAT text)",
        "(FORCE_QUOTE *)",
        "(FREEZE)",
        "(DELIMITER 5)",
    ],
)
def test_what_is_not_followed_is_refused_beforehand_with_the_reason(decider: Decider, statement: Statement, options: str) -> None:
    decision = decider.open("support-bot", "shop").decide(statement(f"COPY customers TO STDOUT {options}")).decision
    assert decision.verdict is Verdict.DENY
    assert "can't be masked, as its" in decision.reason


def test_other_options_are_another_plan_although_the_shape_of_the_text_is_the_same(ask: Ask) -> None:
    assert ask("COPY customers TO STDOUT (DELIMITER '|')")[0].delimiter == b"|"
    assert ask("COPY customers TO STDOUT (DELIMITER '!')")[0].delimiter == b"!"


def test_what_one_options_text_refuses_another_s_does_not(decider: Decider, statement: Statement, ask: Ask) -> None:
    text = "COPY customers TO STDOUT (NULL '{}')"
    assert decider.open("support-bot", "shop").decide(statement(text.format("x"))).decision.verdict is Verdict.DENY
    assert ask(text.format(""))[0].null == b""
    assert decider.open("support-bot", "shop").decide(statement(text.format("y"))).decision.verdict is Verdict.DENY
