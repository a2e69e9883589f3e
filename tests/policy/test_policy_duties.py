"""Which duties statements exercise, on what; what may be wrong with the sections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from documents import SMALL, mistakes

from hostguard.policy.check import check
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import of_texts
from hostguard.policy.duties import ANY, Exercise
from hostguard.policy.explain import explain
from hostguard.policy.rules import Source, base_source
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, OperationKind, Session

DUTIES = """
[duties.make]
actions = ["write"]
objects = ["shop/shop/public/payees"]
key = "iban"
[duties.see]
actions = ["select"]
tags = ["pii"]
[duties.run]
actions = ["call"]
objects = ["shop/shop/public/pay_all"]
[exclusions.both]
duties = ["make", "see"]
[exclusions.run]
duties = ["make", "run"]
[tags."pii.name"]
columns = ["shop/shop/public/people/name"]
"""
POLICIES = '@id("all") permit (principal, action in [Action::"read", Action::"write"], resource);\n'
CALLS = '@id("calls") permit (principal, action == Action::"call", resource == Function::"shop/shop/public/{}");\n'
REVEALS = '@id("sees") permit (principal, action == Action::"reveal", resource);\n'
Row = tuple[str, str, str, str, str]
PAYEES, VIEW, PARENT, PEOPLE, OTHER = range(50000, 50005)


def relation(oid: int, name: str, kind: str = "r") -> list[Row]:
    return [("relation", str(oid), "public", name, kind), ("column", str(oid), "1", "iban", "")]


ROWS: list[Row] = [
    *relation(PAYEES, "payees"),
    *relation(VIEW, "good_payees", "v"),
    ("view", str(VIEW), str(PAYEES), "1", ""),
    *relation(PARENT, "parties"),
    ("child", str(PARENT), str(PAYEES), "", ""),
    *relation(PEOPLE, "people"),
    *relation(OTHER, "other"),
]


def policy_of(more: str = "", cedar: str = POLICIES + CALLS.format("pay_all") + REVEALS) -> Policy:
    return Policy(of_texts("hostguard.toml", SMALL + DUTIES + more, [base_source(), Source("p.cedar", cedar)]))


Judge = Callable[..., tuple[tuple[str, tuple[str, ...]], ...]]


def judge_with(catalog: Catalog | None) -> Judge:
    decider = Decider(policy_of())
    decider.set_catalog("shop", "shop", catalog)
    flow = decider.open("bot", "shop")

    def judge(text: str, parameters: Sequence[bytes | None] = (), types: Sequence[int] = (), formats: Sequence[int] = ()):  # type: ignore[no-untyped-def]
        session = Session("shop", "app", search_path=("pg_catalog", "public"))
        operation = Operation(
            1, OperationKind.EXECUTE, text, session, parameters=tuple(parameters), types=tuple(types), formats=tuple(formats)
        )
        found = flow.decide(operation)
        return tuple((each.duty, each.named(operation)) for each in found.duties)

    return judge


@pytest.fixture(scope="module")
def judge() -> Judge:
    return judge_with(Catalog.from_rows(ROWS))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("INSERT INTO payees (iban) VALUES ('DE1')", (("make", ("=de1",)),)),
        ("INSERT INTO payees (iban) VALUES ('DE2')", (("make", ("=de2",)),)),
        ("DELETE FROM payees WHERE iban = 'DE1' OR true", (("make", (ANY,)),)),
        ("UPDATE good_payees SET iban = 'DE3' WHERE iban = 'DE1'", (("make", (ANY,)),)),
        ("DELETE FROM parties WHERE iban = 'DE1'", (("make", (ANY,)),)),
        ("DELETE FROM made_since WHERE iban = 'DE1'", (("make", (ANY,)),)),
        ("DELETE FROM other WHERE iban = 'DE1'", ()),
        ("SELECT * FROM payees WHERE iban = 'DE1'", ()),
        ("SELECT count(*) FROM people", (("see", ("@shop/shop/public/people",)),)),
        ("SELECT * FROM pg_class", ()),
        ("SELECT pay_all()", (("run", ("@shop/shop/public/pay_all",)),)),
        ("EXPLAIN DELETE FROM payees WHERE iban = 'DE1'", ()),
        ("EXPLAIN ANALYZE DELETE FROM payees WHERE iban = 'DE1'", (("make", (ANY,)),)),
        ("DROP TABLE payees", ()),
    ],
)
def test_duties(judge: Judge, text: str, found: tuple[tuple[str, tuple[str, ...]], ...]) -> None:
    assert judge(text) == found


@pytest.mark.parametrize(
    ("value", "kind", "binary", "thing"),
    [
        (b"DE1", 25, 0, "=de1"),
        (b"DE1", 0, 0, "=de1"),
        (b"DE1", 25, 1, "=de1"),
        (b"DE1", 0, 1, ANY),
        (b"\0\0\0\7", 23, 1, "=7"),
        (b"\0\0\0\0\0\0\0\7", 20, 1, "=7"),
        (b"\0\7", 21, 1, "=7"),
        (b"\0\7", 23, 1, ANY),
        (b"7", 23, 0, "=7"),
        (bytes(range(16)), 2950, 1, "=000102030405060708090a0b0c0d0e0f"),
        (b"\xff", 25, 0, ANY),
        (None, 25, 0, ANY),
        (b"x" * 1000, 25, 0, "#44c8e39a9d1cc6cb4a3a9f3cf0f0b3b0"),
    ],
)
def test_parameters(judge: Judge, value: bytes | None, kind: int, binary: int, thing: str) -> None:
    text = "INSERT INTO payees (iban) VALUES ($1)"
    ((duty, things),) = judge(text, [value], [kind], [binary])
    assert duty == "make"
    assert things == (thing,) or (thing[0] == "#" and things[0][0] == "#" and len(things[0]) == 65)
    assert judge(text) == (("make", (ANY,)),)


def test_while_the_catalog_is_not_known_any_table_may_be_any() -> None:
    judge = judge_with(None)
    assert judge("DELETE FROM public.other") == (("make", (ANY,)),)
    assert judge("DELETE FROM payees WHERE iban = 'DE1'") == (("make", ("=de1",)),)


def test_duties_in_no_exclusion_are_not_looked_for() -> None:
    policy = policy_of('[duties.idle]\nactions = ["write"]\nobjects = ["shop"]\n')
    assert explain(policy, "bot", "shop", "DELETE FROM other")["verdict"] == "allow"
    assert (
        Exercise("idle", (ANY,))
        not in Decider(policy)
        .open("bot", "shop")
        .decide(Operation(1, OperationKind.QUERY, "DELETE FROM public.other", Session("shop", "app")))
        .duties
    )


def test_a_permit_to_call_what_nobody_sees_is_told_of() -> None:
    (warning,) = [w for w in check(policy_of(cedar=POLICIES + CALLS.format("secret"))).warnings if "out of sight" in w]
    assert 'policy "calls" lets agents call shop/shop/public/secret' in warning
    assert not [w for w in check(policy_of()).warnings if "out of sight" in w]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('[duties.d]\nactions = ["inset"]\nobjects = ["shop"]', 'there is no action "inset"; did you mean insert?'),
        ('[duties.d]\nactions = ["reveal"]\nobjects = ["shop"]', '"reveal" can\'t be a part of a duty'),
        ('[duties.d]\nactions = ["insert"]', "a duty has objects, tags, or both"),
        ('[duties.d]\nactions = ["insert"]\nobjects = ["shap/x"]', 'there is no resource "shap"; did you mean shop?'),
        ('[duties.d]\nactions = ["insert"]\nobjects = ["shop/a/b/c/d"]', "is no object"),
        ('[duties.d]\nactions = ["insert"]\ntags = ["pi"]', 'there is no tag "pi"'),
        ('[exclusions.e]\nduties = ["a", "b"]', 'there is no duty "a"'),
        ('[exclusions.e]\nduties = ["a"]', "a list of two duties"),
        ('[exclusions.e]\nduties = ["a", "b"]\nwithin = "window"', "expected more than 0"),
        (
            '[duties.a]\nactions = ["insert"]\nobjects = ["shop"]\nkey = "k"\n'
            '[duties.b]\nactions = ["insert"]\nobjects = ["shop"]\n'
            '[exclusions.e]\nduties = ["a", "b"]\nwithin = "object"',
            "one of a and b has a `key` and the other has none",
        ),
        ('[budgets.b]\nwindow_s = 1\noperations = 1\nagents = ["bat"]', 'there is no agent "bat"; did you mean bot?'),
        ("[budgets.b]\nwindow_s = 1", "a budget limits operations, rows or bytes"),
    ],
)
def test_mistakes(tmp_path: Path, table: str, said: str) -> None:
    assert any(said in mistake for mistake in mistakes(tmp_path, SMALL + table + "\n"))
