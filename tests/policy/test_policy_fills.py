"""Columns that triggers, rules and defaults fill from tagged ones are hidden as these are."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

import pytest

from hostguard.policy.fills import Filling, fill, permitted
from hostguard.policy.lineage.plpgsql import Told, follow_trigger
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.disclosure import Mask

Row = tuple[str, str, str, str, str]
CUSTOMERS, ORDERS, NOTES = 20000, 20001, 20002
EMAIL = ("public", "customers", "email")
CARD = ("public", "customers", "card")
HIDDEN = {("public", "customers"): {"email": Mask("partial", "pii.email"), "card": Mask("hash", "pci.card")}}
BODY = "INSERT INTO notes (id, text) VALUES (NEW.id, {}); RETURN NEW; END"


def filled(rows: list[Row], *more: Row) -> Filling:
    return fill(HIDDEN, Catalog.from_rows([*rows, *more]))


def added(filling: Filling) -> Mapping[str, set[str]]:
    """``table.column`` to the names of the tagged columns that it is filled from."""
    return {f"{column[1]}.{column[2]}": {origin[2] for origin in origins} for column, origins in filling.sources.items()}


def trigger(code: str, what: str = "trigger", table: int = CUSTOMERS, oid: int = 30000) -> list[Row]:
    name = f"f{oid}"
    return [
        ("function", str(oid), "public", name, "plpgsql"),
        ("code", str(oid), "plpgsql", code, ""),
        ("unasked", str(table), str(oid), "insert update", what),
    ]


@pytest.mark.parametrize(
    ("code", "sources"),
    [
        ("BEGIN " + BODY.format("NEW.email"), {"email"}),
        ("BEGIN " + BODY.format("NEW.email").replace("RETURN NEW", "RETURN NULL"), {"email"}),
        ("BEGIN " + BODY.format("to_jsonb(NEW)"), {"email", "card"}),
        ("BEGIN " + BODY.format("OLD.card || NEW.name"), {"card"}),
        ("BEGIN " + BODY.format("NEW.name"), set()),
        ("DECLARE v text; w text; BEGIN w := v; v := NEW.email; " + BODY.format("w"), {"email"}),
        ("DECLARE v text := NEW.card; BEGIN " + BODY.format("upper(v)"), {"card"}),
        ("DECLARE r record; BEGIN FOR r IN SELECT * FROM customers LOOP END LOOP; " + BODY.format("r.name"), {"email", "card"}),
        ("DECLARE v text; BEGIN SELECT name, email INTO STRICT v FROM customers; " + BODY.format("v"), {"email"}),
        ("DECLARE a text; v text; BEGIN SELECT name, email INTO v, a FROM customers; " + BODY.format("v"), set()),
        ("DECLARE c customers%ROWTYPE; BEGIN c.email := NEW.card; " + BODY.format("c.name"), {"card"}),
        (
            "DECLARE k CURSOR FOR SELECT email FROM customers; v text; BEGIN OPEN k; FETCH k INTO v; " + BODY.format("v"),
            {"email"},
        ),
        ("BEGIN IF NEW.name <> OLD.name THEN NULL; END IF; UPDATE notes SET text = NEW.email; RETURN NEW; END", {"email"}),
        ("BEGIN MERGE INTO notes USING orders o ON true WHEN MATCHED THEN UPDATE SET text = NEW.card; RETURN NEW; END", {"card"}),
    ],
)
def test_a_trigger_fills(rows: list[Row], code: str, sources: set[str]) -> None:
    filling = filled(rows, *trigger(code))
    assert added(filling) == ({"notes.text": sources} if sources else {})
    assert not filling.lost


def test_conditions_are_in_all_that_is_written(rows: list[Row]) -> None:
    code = "BEGIN IF NEW.email LIKE 'a%' THEN INSERT INTO notes (id) VALUES (1); END IF; RETURN NEW; END"
    assert added(filled(rows, *trigger(code))) == {"notes.id": {"email"}}
    code = "DECLARE v text; BEGIN FOREACH v IN ARRAY ARRAY[NEW.card] LOOP END LOOP; " + BODY.format("NULL")
    assert added(filled(rows, *trigger(code))) == {"notes.id": {"card"}, "notes.text": {"card"}}
    code = "BEGIN BEGIN NULL; EXCEPTION WHEN others THEN UPDATE notes SET text = SQLERRM; END; RETURN NEW; END"
    assert added(filled(rows, *trigger(code))) == {"notes.text": {"email", "card"}}


def test_a_trigger_fills_its_own_row(rows: list[Row]) -> None:
    code = "BEGIN NEW.name := lower(NEW.email); RETURN NEW; END"
    assert added(filled(rows, *trigger(code, "trigger before"))) == {"customers.name": {"email"}}
    code = "BEGIN SELECT c.card INTO NEW.total FROM customers c; RETURN NEW; END"
    assert added(filled(rows, *trigger(code, "trigger before", ORDERS))) == {"orders.total": {"card"}}


def test_what_is_filled_fills_in_turn(rows: list[Row]) -> None:
    on = trigger("BEGIN UPDATE orders SET total = NEW.text; RETURN NEW; END", table=NOTES, oid=30001)
    filling = filled(rows, *trigger("BEGIN " + BODY.format("NEW.email")), *on)
    assert added(filling) == {"notes.text": {"email"}, "orders.total": {"email"}}
    mask = filling.hidden["public", "orders"]["total"]
    assert (mask.kind, mask.tag) == ("null", "pii.email")
    assert permitted({EMAIL}, filling) == {EMAIL, ("public", "notes", "text"), ("public", "orders", "total")}
    assert permitted({CARD}, filling) == {CARD}


def test_a_trigger_for_text_search_fills(rows: list[Row]) -> None:
    vector: Row = ("vector", str(CUSTOMERS), "name\\000pg_catalog.simple\\000card", "", "")
    assert added(filled(rows, *trigger("BEGIN RETURN NEW; END"), vector)) == {"customers.name": {"card"}}


def test_a_default_that_calls_a_function_fills(rows: list[Row]) -> None:
    function: list[Row] = [
        ("function", "30000", "public", "f", "sql"),
        ("unasked", str(NOTES), "30000", "insert update 2", "default"),
    ]
    assert added(filled(rows, *function)) == {"notes.text": {"email", "card"}}
    reads = [*function, ("body", "30000", "SELECT email FROM customers", "", "")]
    assert added(filled(rows, *reads)) == {"notes.text": {"email"}}
    counts = [*function, ("body", "30000", "SELECT count(*) FROM customers", "", "")]
    assert added(filled(rows, *counts)) == {}


@pytest.mark.parametrize("tree", ["({QUERY :commandType 3})", "({", "({QUERY :commandType 6})"])
def test_a_rule_that_cannot_be_followed_is_lost(rows: list[Row], tree: str) -> None:
    filling = filled(rows, ("unasked", str(CUSTOMERS), "0", "update", "rule"), ("rule", str(CUSTOMERS), tree, "", ""))
    assert filling.lost == {(CUSTOMERS, "")}


def test_a_rule_that_does_nothing_is_clean(rows: list[Row]) -> None:
    filling = filled(rows, ("unasked", str(CUSTOMERS), "0", "update", "rule"), ("rule", str(CUSTOMERS), "<>", "", ""))
    assert not filling.lost
    assert filling.clean == {(CUSTOMERS, "")}


def test_what_is_known_of_a_catalog_goes_with_it(rows: list[Row]) -> None:
    """The catalog is read anew after each definition: what stayed of the old ones would fill a worker's memory."""
    catalog = Catalog.from_rows([*rows, *trigger("BEGIN " + BODY.format("NEW.email"))])
    assert fill(HIDDEN, catalog).sources
    seen = weakref.ref(catalog)
    del catalog
    gc.collect()
    assert seen() is None


def test_a_table_that_a_flow_makes_has_no_trigger_followed_anew(rows: list[Row], monkeypatch: pytest.MonkeyPatch) -> None:
    followed = []

    def counting(code: str, *more: Any) -> Told:
        followed.append(code)
        return follow_trigger(code, *more)

    monkeypatch.setattr("hostguard.policy.fills.follow_trigger", counting)
    catalog = Catalog.from_rows([*rows, *trigger("BEGIN " + BODY.format("NEW.email"))])
    before = fill(HIDDEN, catalog)
    again = fill(HIDDEN, catalog.beside({("public", "made"): ("id",)}).beside({("public", "more"): ("id",)}))
    assert again.sources == before.sources != {}
    assert len(followed) == 1
