"""What judging a statement costs: one of a new shape, one that was judged before. No server, no network."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

from hostguard.policy.asks import Ask
from hostguard.policy.bearers import UNVERIFIED
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.policy.judge import Asker
from hostguard.policy.scope import Scope
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, OperationKind, Session

SHOP = Path(__file__).resolve().parent.parent / "examples" / "shop" / "hostguard.toml"
COLUMNS = {"customers": "id name email card", "orders": "id customer total state placed"}
SESSION = Session("shop", "app", search_path=("pg_catalog", "public"))
NEW = """
SELECT c.name AS n{0}, lower(c.email) AS e{0}, count(*), sum(o.total) FROM customers c JOIN orders o ON o.customer = c.id
WHERE o.state = 'open' AND o.placed > now() - interval '1 day' GROUP BY c.id, c.name, c.email ORDER BY n{0} LIMIT 10
"""
NEW_MS, KNOWN_US = 1.0, 5.0
"""The bars."""
ROUNDS = 400


def shop() -> Decider:
    """The example's decider with a catalog."""
    rows: list[tuple[str, str, str, str, str]] = []
    for oid, (table, columns) in enumerate(COLUMNS.items(), 20000):
        rows.append(("relation", str(oid), "public", table, "r"))
        rows += [("column", str(oid), str(number), column, "") for number, column in enumerate(columns.split(), 1)]
    decider = Decider(Policy(load(SHOP)))
    decider.set_catalog("shop", "shop", Catalog.from_rows(rows))
    return decider


def median_us(run: Callable[[int], object]) -> float:
    """Microseconds of a call, the median of some."""
    took = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        run(number)
        took.append((time.perf_counter() - start) * 1e6)
    return statistics.median(took)


def main() -> None:
    flow = shop().open("support-bot", "shop")
    decider = shop()
    scope = decider.scope("support-bot", "shop", SESSION, UNVERIFIED, made=())
    assert isinstance(scope, Scope)

    def new(number: int) -> object:
        return flow.decide(Operation(number, OperationKind.QUERY, NEW.format(number).replace(", c.email", ""), SESSION))

    def lineage(number: int) -> object:
        return scope.flow(NEW.format(number))

    asks = [Ask("select", "Table", f"shop/shop/public/{table}", (("detail", ""),)) for table in COLUMNS]

    def first(_: int) -> object:
        return Asker(decider.policy.book, "support-bot", decider.policy.document.agents["support-bot"].roles).ask(asks, ())

    known = Operation(1, OperationKind.QUERY, "SELECT id, email FROM customers WHERE id = 1", SESSION)
    flow.decide(known)
    print(f"new shape, judged      {median_us(new) / 1000:6.3f} ms   bar {NEW_MS}")
    print(f"  of which its lineage {median_us(lineage) / 1000:6.3f} ms")
    print(f"  more, where its agent did not use its tables so far {median_us(first) / 1000:6.3f} ms")
    print(f"known statement        {median_us(lambda _: flow.decide(known)):6.2f} µs   bar {KNOWN_US}")


if __name__ == "__main__":
    main()
