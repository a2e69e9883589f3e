"""Names whose first relation may be gone by the time that the server looks it up: they mean what is behind it as well."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hostguard.policy.decide import Decider, FlowPolicy, Policy
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, Verdict

Row = tuple[str, str, str, str, str]
Statement = Callable[..., Operation]
Make = Callable[..., Policy]
FRONT = "30000"
SHADOW: list[Row] = [
    ("relation", FRONT, "front", "customers", "r"),
    ("column", FRONT, "1", "id", ""),
    ("column", FRONT, "2", "email", ""),
]
READS = """@id("reads its own") permit (principal in Role::"support", action == Action::"select",
resource == Table::"shop/shop/front/customers");"""
DROPS = """@id("drops its own") permit (principal in Role::"support", action == Action::"drop",
resource == Table::"shop/shop/front/customers");"""
BEHIND = """@id("reads what is behind") permit (principal in Role::"support", action == Action::"select",
resource == Table::"shop/shop/public/customers");"""


@pytest.fixture
def opened(with_rules: Make, rows: list[Row]) -> Callable[[str], FlowPolicy]:
    def opened(rules: str) -> FlowPolicy:
        decider = Decider(with_rules(rules, shop=False))
        decider.set_catalog("shop", "shop", Catalog.from_rows([*rows, *SHADOW]))
        return decider.open("support-bot", "shop")

    return opened


@pytest.fixture
def ask(statement: Statement) -> Callable[[FlowPolicy, str], tuple[Verdict, bool]]:
    """The verdict, and whether the one column that a SELECT computes comes back as it is."""

    def ask(flow: FlowPolicy, text: str) -> tuple[Verdict, bool]:
        operation = statement(text)
        session = msgspec.structs.replace(operation.session, search_path=("pg_catalog", "front", "public"))
        decision = flow.decide(msgspec.structs.replace(operation, session=session)).decision
        plan = decision.plan
        return decision.verdict, plan is None or plan.computed is None or 0 in plan.clean_positions

    return ask


Ask = Callable[[FlowPolicy, str], tuple[Verdict, bool]]
TEXT = "SELECT lower(email) FROM customers"


def test_who_may_not_take_it_away_is_asked_for_the_first_alone(opened: Callable[[str], FlowPolicy], ask: Ask) -> None:
    """The masks hold all the same: an administrator may."""
    assert ask(opened(READS), TEXT) == (Verdict.ALLOW, False)
    assert ask(opened(READS), "SELECT lower(email) FROM front.customers") == (Verdict.ALLOW, True)


def test_who_may_take_it_away_is_asked_for_what_is_behind(opened: Callable[[str], FlowPolicy], ask: Ask) -> None:
    """Another session of the agent's could drop it while the text waits for its lock."""
    assert ask(opened(READS + DROPS), TEXT)[0] is Verdict.DENY
    assert ask(opened(READS + DROPS + BEHIND), TEXT) == (Verdict.ALLOW, False)
    assert ask(opened(READS + DROPS), "SELECT lower(email) FROM front.customers") == (Verdict.ALLOW, True)


def test_what_the_flow_took_away_stays_so_until_the_catalog_is_read(opened: Callable[[str], FlowPolicy], ask: Ask) -> None:
    flow = opened(READS + DROPS.replace("front/customers", "public/orders"))
    assert ask(flow, TEXT)[0] is Verdict.ALLOW
    assert ask(flow, "DROP TABLE public.orders")[0] is Verdict.ALLOW
    assert ask(flow, TEXT)[0] is Verdict.DENY
    flow.settle()
    assert ask(flow, TEXT)[0] is Verdict.DENY
    flow.read()
    assert ask(flow, TEXT)[0] is Verdict.ALLOW
