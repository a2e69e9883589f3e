"""Relations that a flow makes: what it is known to have in them, until the catalog is read again.

The catalog is read between transactions, so a table that was made in one that is open is in none. What an agent puts into it is
looked at as it writes, so it holds nothing hidden, and neither does a view that selects nothing hidden. Under a name that no
other relation has, nothing else can be meant.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import msgspec

from ..protocols.disclosure import ReplyPlan
from .lineage.follow import Flow
from .sql.analysis import Analysis
from .sql.catalog import Catalog
from .sql.found import Tree, strings
from .sql.functions import UNKNOWN
from .sql.names import created_in

MAX_MADE = 64
"""Relations of one flow that are known at a time."""
_DEFINES = frozenset(["create", "alter", "comment", "grant", "security_label"])
_ADDS_COLUMNS = ("inhRelations", "partbound", "ofTypename", "partspec")


class Making(msgspec.Struct, frozen=True):
    """A relation with nothing hidden in it."""

    schema: str | None
    """None: where the search_path has it made."""
    name: str
    columns: tuple[str, ...]


Made = tuple[Making, ...]
Place = tuple[str, str]


def defines(analysis: Analysis) -> bool:
    """Whether it makes or changes what later statements mean."""
    return not _DEFINES.isdisjoint(analysis.effects)


def making(tree: Tree, outputs: Callable[[Tree], tuple[str, ...] | None], analysis: Analysis) -> Making | None:
    """What a statement makes with nothing hidden in it; None for any other statement.

    `outputs`: the names of a query's columns, None where one of them may be hidden.
    """
    if any(kind == UNKNOWN for _, kind in analysis.functions):
        return None
    kind, body = next(iter(tree.items()))
    match kind:
        case "CreateStmt" if not any(field in body for field in _ADDS_COLUMNS):
            items = body.get("tableElts", [])
            if all("ColumnDef" in item or "Constraint" in item for item in items):
                return _of(body["relation"], tuple(item["ColumnDef"]["colname"] for item in items if "ColumnDef" in item), ())
        case "CreateTableAsStmt" if "SelectStmt" in body["query"]:
            return _of(body["into"]["rel"], outputs(body["query"]), strings(body["into"].get("colNames", [])))
        case "SelectStmt" if "intoClause" in body:
            query = {field: item for field, item in body.items() if field != "intoClause"}
            return _of(body["intoClause"]["rel"], outputs({kind: query}), ())
        case "ViewStmt" if not body.get("replace"):
            return _of(body["view"], outputs(body["query"]), strings(body.get("aliases", [])))
    return None


def _of(relation: Tree, columns: tuple[str, ...] | None, renamed: tuple[str, ...]) -> Making | None:
    if columns is None:
        return None
    return Making(relation.get("schemaname"), relation["relname"], (*renamed, *columns[len(renamed) :]))


def beside(catalog: Catalog, made: Made, search_path: tuple[str, ...] | None) -> tuple[Catalog, frozenset[Place]]:
    """The catalog with what was made, where it does not know the name; with the places of what was added."""
    new = [each for each in made if not catalog.named(each.name)] if search_path is not None else []
    places = {(each.schema or created_in(search_path), each.name): each.columns for each in new}
    return (catalog.beside(places) if places else catalog), frozenset(places)


def fresh(plan: ReplyPlan, flows: Iterable[Flow], made: Collection[Place]) -> ReplyPlan:
    """The plan with the columns that are those of relations just made, of which the server names numbers that no catalog has."""
    answering = [flow for flow in flows if flow.outputs is not None]
    if not made or len(answering) != 1 or answering[0].lost:
        return plan
    outputs = answering[0].outputs or ()
    positions = {
        n for n, (_, value) in enumerate(outputs) if value.plain and value.sure and all(c[:2] in made for c in value.columns)
    }
    return msgspec.structs.replace(plan, fresh=frozenset(positions), columns=len(outputs)) if positions else plan
