"""Which rows a statement names by a column: only where nothing else could be meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.policy.sql.keys import MAX_KEYS, canonical, keys_of


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("INSERT INTO payees (iban, name) VALUES ('DE1', 'x'), ($2, 'y')", ("de1", 2)),
        ("INSERT INTO payees (name, iban) VALUES (lower('x'), 7) RETURNING *", ("7",)),
        ("UPDATE payees SET name = 'x' WHERE iban = 'DE1' AND name <> 'y'", ("de1",)),
        ("UPDATE payees SET iban = 'DE2' WHERE payees.iban = 'DE1'", ("de1", "de2")),
        ("DELETE FROM payees WHERE 'DE1' = iban", ("de1",)),
        ("DELETE FROM payees WHERE iban IN ('DE1', $1, 'DE3')", ("de1", 1, "de3")),
        ("SELECT * FROM payees p WHERE name LIKE 'x%' AND (p.iban = 'DE1')", ("de1",)),
        ("DELETE FROM payees WHERE iban = $1::text", (1,)),
        ("DELETE FROM payees WHERE id = 7 AND iban = 'DE1' OR iban = 'DE2'", ()),
        ("DELETE FROM payees WHERE NOT iban = 'DE1'", ()),
        ("DELETE FROM payees WHERE iban > 'DE1'", ()),
        ("DELETE FROM payees WHERE iban OPERATOR(evil.=) 'DE1'", ()),
        ("DELETE FROM payees WHERE iban = lower('DE1')", ()),
        ("DELETE FROM payees WHERE iban = name", ()),
        ("DELETE FROM payees WHERE iban = NULL", ()),
        ("DELETE FROM payees WHERE iban = ANY ('{DE1}')", ()),
        ("DELETE FROM payees WHERE iban = 'DE12'::varchar(2)", ()),
        ("DELETE FROM payees", ()),
        ("DELETE FROM payees USING banks WHERE iban = 'DE1'", ()),
        ("UPDATE payees SET iban = iban || 'x' WHERE iban = 'DE1'", ()),
        ("UPDATE payees SET (iban, name) = (SELECT 'DE2', 'x') WHERE iban = 'DE1'", ()),
        ("UPDATE payees SET (iban, name) = ROW('DE2', 'x') WHERE iban = 'DE1'", ()),
        ("INSERT INTO payees VALUES ('DE1')", ()),
        ("INSERT INTO payees (name) VALUES ('x')", ()),
        ("INSERT INTO payees (iban) SELECT 'DE1'", ()),
        ("INSERT INTO payees (iban) VALUES (DEFAULT)", ()),
        ("INSERT INTO payees (iban) VALUES ('DE1') ON CONFLICT (name) DO UPDATE SET name = 'x'", ()),
        ("WITH gone AS (DELETE FROM payees) DELETE FROM payees WHERE iban = 'DE1'", ()),
        ("SELECT * FROM payees WHERE iban = 'DE1' UNION SELECT * FROM payees WHERE iban = 'DE2'", ()),
        ("SELECT * FROM payees WHERE iban = 'DE1' AND EXISTS (SELECT FROM payees)", ()),
        ("SELECT (SELECT max(iban) FROM payees) FROM payees WHERE iban = 'DE1'", ()),
        ("SELECT * FROM payees a, payees b WHERE a.iban = 'DE1'", ()),
        ("MERGE INTO payees USING new ON payees.iban = 'DE1' WHEN MATCHED THEN DELETE", ()),
        ("TRUNCATE payees", ()),
        ("DELETE FROM payees WHERE iban = 'DE1'; DELETE FROM payees", ()),
        ("DELETE FROM payees WHERE iban = ", ()),
        ("DELETE FROM payees WHERE iban IN (" + ", ".join(f"'{n}'" for n in range(MAX_KEYS + 1)) + ")", ()),
    ],
)
def test_keys(text: str, keys: tuple[str | int, ...]) -> None:
    assert keys_of(text, "iban") == keys


@pytest.mark.parametrize(
    "same",
    [
        ("7", "007", "+7", "7.0", " 7 ", "7e0"),
        ("0", "-0", "0.00", "0e9"),
        ("DE1", "de1", "DE1  "),
        ("{A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11}", "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
        ("straße", "STRASSE"),
    ],
)
def test_what_a_server_may_take_for_the_same_is_the_same(same: tuple[str, ...]) -> None:
    assert len(set(map(canonical, same))) == 1, list(map(canonical, same))


@given(st.integers(), st.integers())
def test_whole_numbers_stay_apart(one: int, other: int) -> None:
    if abs(one) < 10**28 and abs(other) < 10**28:
        assert (canonical(str(one)) == canonical(str(other))) == (one == other)


@given(st.text(max_size=70))
def test_every_text_has_a_form(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)
