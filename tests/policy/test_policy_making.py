"""What a flow makes in an open transaction is known to it: a table of its own that it may read back."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hostguard.policy.decide import Decider, FlowPolicy, Policy
from hostguard.policy.judgement import Judgement
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.disclosure import ReplyPlan
from hostguard.protocols.events import Operation, Verdict
from hostguard.protocols.postgres.masking import mask_for
from hostguard.protocols.postgres.messages import Column

Make = Callable[..., Policy]
Row = tuple[str, str, str, str, str]
NEW = 77777
RULES = """
@id("all") permit (principal in Role::"support", action, resource);
@id("but") forbid (principal, action in [Action::"reveal", Action::"match", Action::"derive"], resource);
"""


@pytest.fixture
def flow(with_rules: Make, rows: list[Row]) -> FlowPolicy:
    decider = Decider(with_rules(RULES, shop=False))
    decider.set_catalog("shop", "shop", Catalog.from_rows(rows))
    return decider.open("support-bot", "shop")


@pytest.fixture
def says(flow: FlowPolicy, statement: Callable[[str], Operation]) -> Callable[[str], Judgement]:
    """Judges texts of one flow, one after the other."""
    return lambda text: flow.decide(statement(text))


def masked(judgement: Judgement, *columns: Column) -> list[bool]:
    """Which columns of the reply have a mask."""
    assert judgement.decision.verdict is Verdict.ALLOW, judgement.decision.reason
    plan = judgement.decision.plan or ReplyPlan()
    return [mask_for(column, position, plan, len(columns)) is not None for position, column in enumerate(columns)]


def new(attribute: int) -> Column:
    return Column(b"c", NEW, attribute, 25, 0)


EMAIL = Column(b"email", 20000, 3, 25, 0)
UNSEEN = Column(b"x", NEW + 1, 1, 25, 0)


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TEMP TABLE just (a text, b int DEFAULT 3, PRIMARY KEY (b)) ON COMMIT DROP",
        "CREATE TABLE just AS SELECT name AS a, id AS b FROM customers",
        "CREATE TABLE just (a, b) AS SELECT name, id FROM customers WITH NO DATA",
        "SELECT name AS a, id AS b INTO just FROM customers",
        "CREATE VIEW just (a) AS SELECT name, id AS b FROM customers",
    ],
)
def test_it_is_read_back(says: Callable[[str], Judgement], made: str) -> None:
    assert masked(says("SELECT * FROM just"), new(1), new(2)) == [True, True]
    assert says(made).decision.verdict is Verdict.ALLOW
    assert masked(says("SELECT * FROM just"), new(1), new(2)) == [False, False]
    assert masked(says("SELECT b, email FROM just, customers"), new(2), EMAIL) == [False, True]
    # Another number of columns, or another relation than was meant: nothing is known of them.
    assert masked(says("SELECT b, email FROM just, customers"), new(2), UNSEEN, EMAIL) == [True, True, True]
    assert masked(says("SELECT b, email FROM just, customers"), EMAIL, UNSEEN) == [True, True]


@pytest.mark.parametrize(
    "made",
    [
        "CREATE TABLE just (LIKE customers)",
        "CREATE TABLE just (a text) INHERITS (notes)",
        "CREATE TABLE just (a text DEFAULT public.f())",
        "CREATE TABLE IF NOT EXISTS customers (a text)",
        "CREATE TEMP TABLE customers AS SELECT 1 AS id",
        "CREATE OR REPLACE VIEW just AS SELECT id AS a FROM notes",
    ],
)
def test_what_may_hold_more_is_not(says: Callable[[str], Judgement], made: str) -> None:
    says(made)
    assert masked(says("SELECT a FROM just"), new(1)) == [True]
    assert masked(says("SELECT email FROM customers"), EMAIL) == [True]


@pytest.mark.parametrize(
    "then",
    [
        "CREATE TRIGGER t BEFORE INSERT ON just FOR EACH ROW EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        "ALTER TABLE just ADD COLUMN b text",
        "CREATE TABLE just (LIKE customers)",
    ],
)
def test_anything_else_that_is_defined_ends_it(says: Callable[[str], Judgement], then: str) -> None:
    says("CREATE TABLE just (a text)")
    assert masked(says("SELECT a FROM just"), new(1)) == [False]
    assert says(then).decision.verdict is Verdict.ALLOW
    assert masked(says("SELECT a FROM just"), new(1)) == [True]


def test_so_does_the_end_of_the_transaction(says: Callable[[str], Judgement], flow: FlowPolicy) -> None:
    says("CREATE TABLE just (a text)")
    flow.settle()
    assert masked(says("SELECT a FROM just"), new(1)) == [True]


def test_another_flow_knows_nothing_of_it(with_rules: Make, rows: list[Row], statement: Callable[[str], Operation]) -> None:
    decider = Decider(with_rules(RULES, shop=False))
    decider.set_catalog("shop", "shop", Catalog.from_rows(rows))
    one, other = decider.open("support-bot", "shop"), decider.open("support-bot", "shop")
    for flow in (one, other, one):
        assert masked(flow.decide(statement("SELECT a FROM just")), new(1)) == [True]
    one.decide(statement("CREATE TABLE just (a text)"))
    assert masked(one.decide(statement("SELECT a FROM just")), new(1)) == [False]
    assert masked(other.decide(statement("SELECT a FROM just")), new(1)) == [True]
    # Judged before for another flow, the text makes it all the same.
    other.decide(statement("CREATE TABLE just (a text)"))
    assert masked(other.decide(statement("SELECT a FROM just")), new(1)) == [False]
