"""The shop as policy sees it: its document, its catalog, operations on it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import Document, load
from hostguard.policy.rules import Source
from hostguard.policy.sql.catalog import Catalog
from hostguard.protocols.events import Operation, OperationKind, Session

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"
SESSION = Session("shop", "app", search_path=("pg_catalog", "public"))

Row = tuple[str, str, str, str, str]

CUSTOMERS, ORDERS, NOTES, NAMES, EMAILS, ARCHIVE, EVERYONE = range(20000, 20007)


def relation(oid: int, name: str, columns: str, kind: str = "r", schema: str = "public") -> list[Row]:
    """The catalog's rows of one relation; columns in order, from attribute number 1."""
    rows: list[Row] = [("relation", str(oid), schema, name, kind)]
    return rows + [("column", str(oid), str(n), column, "") for n, column in enumerate(columns.split(), 1)]


SHOP_ROWS: list[Row] = [
    *relation(CUSTOMERS, "customers", "id name email card"),
    *relation(ORDERS, "orders", "id customer total"),
    *relation(NOTES, "notes", "id text"),
    *relation(NAMES, "names", "id name", "v"),
    ("view", str(NAMES), str(CUSTOMERS), "2", ""),
    *relation(EMAILS, "emails", "address", "v"),
    ("view", str(EMAILS), str(CUSTOMERS), "3", ""),
    *relation(ARCHIVE, "archive", "email id name card extra"),
    ("child", str(CUSTOMERS), str(ARCHIVE), "", ""),
    *relation(EVERYONE, "everyone", "id name email"),
    ("child", str(EVERYONE), str(CUSTOMERS), "", ""),
]

Statement = Callable[..., Operation]


@pytest.fixture(scope="session")
def document() -> Document:
    return load(SHOP)


@pytest.fixture
def with_rules(document: Document) -> Callable[..., Policy]:
    """Policies with further rules on the shop's document: ``with_rules(cedar, base=False, shop=False, tags=…)``."""

    def make(cedar: str = "", *, shop: bool = True, base: bool = True, **changes: object) -> Policy:
        chosen = [source for source, wanted in zip(document.sources, (base, shop), strict=True) if wanted]
        sources = (*chosen, Source("test.cedar", cedar))
        return Policy(msgspec.structs.replace(document, sources=sources, **changes))

    return make


@pytest.fixture
def rows() -> list[Row]:
    """The rows of the shop's catalog."""
    return list(SHOP_ROWS)


@pytest.fixture
def catalog(rows: list[Row]) -> Catalog:
    return Catalog.from_rows(rows)


@pytest.fixture
def decider(document: Document, catalog: Catalog) -> Decider:
    """The shop's decider, which knows the shop's catalog."""
    found = Decider(Policy(document), hash_key=b"key")
    found.set_catalog("shop", "shop", catalog)
    return found


@pytest.fixture
def statement() -> Statement:
    """Makes operations with numbers of their own."""
    numbers = itertools.count(1)

    def make(
        text: str | None, kind: OperationKind = OperationKind.QUERY, session: Session = SESSION, **fields: object
    ) -> Operation:
        return Operation(next(numbers), kind, text, session, **fields)  # type: ignore[arg-type]

    return make
