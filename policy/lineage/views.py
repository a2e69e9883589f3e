"""The columns that each column of a view comes from, by the tree that the server stored of its query.

There a column is a ``VAR``: the number of a range, that of a column in it, how many queries further out. So no name has to be
resolved, and no lock is taken to read it, as ``pg_get_viewdef`` would. What isn't told apart here depends on all that it holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from .nodetree import BadTree, Node, read

Place = tuple[int, int]
"""OID of a relation, attribute number; 0 is the whole row."""
NOTHING: frozenset[Place] = frozenset()
FIRST_USER_OID = 16384
"""PostgreSQL 18, access/transam.h, FirstNormalObjectId: what PostgreSQL brings is numbered below."""
SELECT, MERGE = "1", "5"
WRITING = ("2", "3", "4")
"""CmdType: UPDATE, INSERT, DELETE (PostgreSQL 18, nodes/nodes.h)."""
NO_QUERIES = ("<>", "()")
"""The action of a rule that does nothing."""
COUNT_OF_VALUES = "2147"
"""OID of ``count("any")`` (PostgreSQL 18, pg_proc.dat)."""
MAX_DEPTH = 60
MAX_STEPS = 200_000
RELATION, SUBQUERY, JOIN, FUNCTION, TABLEFUNC, VALUES, CTE, GROUP = "0", "1", "2", "3", "4", "5", "6", "9"
"""RangeTblEntry.rtekind (PostgreSQL 18, nodes/parsenodes.h)."""


class Sources(msgspec.Struct, frozen=True):
    """Where one column comes from."""

    places: frozenset[Place] = NOTHING
    plain: bool = False
    """It is the one column in `places`, unchanged."""


def sources(definition: str) -> list[Sources]:
    """For each column of a view, in order, what it comes from. `definition`: pg_rewrite.ev_action of its ``_RETURN`` rule.

    Raises BadTree for what can't be followed.
    """
    tree = read(definition)
    query = tree[0] if isinstance(tree, list) and len(tree) == 1 else tree
    try:
        return _Follower().columns(query, ())
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadTree(f"a tree of another shape: {error!r}") from error


def written(rule: str) -> list[tuple[int, int, Sources]]:
    """What the queries of a rule give: (OID of a relation, attribute number, all that it may come of).

    `rule`: pg_rewrite.ev_action. What is looked at, or returned, without being written goes to relation 0. Raises BadTree for
    what can't be followed.
    """
    tree = read(rule) if rule not in NO_QUERIES else []
    try:
        return [item for query in tree for item in _Follower().given(query)]
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadTree(f"a tree of another shape: {error!r}") from error


class _Follower:
    def __init__(self) -> None:
        self._left = MAX_STEPS

    def columns(self, query: Node, outer: tuple[Node, ...]) -> list[Sources]:
        if len(outer) > MAX_DEPTH or query[""] != "QUERY":
            raise BadTree("nested too deeply, or no query")
        stack = (query, *outer)
        if isinstance(query.get("setOperations"), dict):
            arms = [self.columns(r["subquery"], stack) for r in query["rtable"] if r["rtekind"] == SUBQUERY]
            return [Sources(frozenset().union(*(arm[n].places for arm in arms))) for n in range(len(arms[0]))]
        targets = query["targetList"]
        # ``EXISTS (SELECT FROM …)`` has none: an empty list is written like a null.
        return [self._value(entry["expr"], stack) for entry in targets if entry["resjunk"] == "false"] if targets != "<>" else []

    def given(self, query: Node) -> list[tuple[int, int, Sources]]:
        """As `written` has it, for one query."""
        if query[""] != "QUERY" or query["commandType"] not in (*WRITING, SELECT) or isinstance(query["cteList"], list):
            raise BadTree("no query that is followed")
        stack = (query,)
        fields = ("jointree", "havingQual", "limitOffset", "limitCount", "onConflict", "mergeActionList")
        chosen = frozenset().union(*(self._all(query[f], stack) for f in fields if isinstance(query.get(f), (dict, list))))
        result = int(query["resultRelation"])
        target = int(query["rtable"][result - 1]["relid"]) if result else 0
        entries = query["targetList"] if isinstance(query["targetList"], list) else []
        if isinstance(query["onConflict"], dict) or query["commandType"] == MERGE:
            raise BadTree("more than one kind of write")
        found = [(target, int(e["resno"]), Sources(self._all(e["expr"], stack) | chosen)) for e in entries]
        returned = self._all(query["returningList"], stack) if isinstance(query["returningList"], list) else NOTHING
        return [*found, (0, 0, Sources(chosen | returned))]

    def _value(self, node: Any, stack: tuple[Node, ...]) -> Sources:
        if isinstance(node, dict) and node[""] == "VAR":
            return self._var(node, stack)
        return Sources(self._all(node, stack))

    def _var(self, node: Node, stack: tuple[Node, ...]) -> Sources:
        self._spend()
        stack = stack[int(node["varlevelsup"]) :]
        entry, number = stack[0]["rtable"][int(node["varno"]) - 1], int(node["varattno"])
        kind = entry["rtekind"]
        if kind == RELATION:
            return Sources(frozenset([(int(entry["relid"]), number)]), number > 0) if number >= 0 else Sources()
        if kind == SUBQUERY:
            return self._of(self.columns(entry["subquery"], stack), number)
        if kind == CTE:
            return self._cte(entry, number, stack)
        if kind in (JOIN, GROUP, VALUES) and number > 0:
            if kind == VALUES:
                return Sources(frozenset().union(*(self._all(row[number - 1], stack) for row in entry["values_lists"])))
            found = self._value(entry["joinaliasvars" if kind == JOIN else "groupexprs"][number - 1], stack)
            return found if kind == GROUP or found.plain else Sources(found.places)
        if kind in (JOIN, GROUP, VALUES, FUNCTION, TABLEFUNC):
            return Sources(self._all(entry, stack))
        return Sources()

    @staticmethod
    def _of(found: list[Sources], number: int) -> Sources:
        if number > 0:
            return found[number - 1]
        return Sources(frozenset().union(*(item.places for item in found)))

    def _cte(self, entry: Node, number: int, stack: tuple[Node, ...]) -> Sources:
        level = int(entry["ctelevelsup"])
        holders = stack[level:]
        cte = next(item for item in holders[0]["cteList"] if item["ctename"] == entry["ctename"])
        if entry["self_reference"] == "true":
            return Sources()
        if cte["cterecursive"] == "true":
            return Sources(self._all(cte["ctequery"], holders))
        return self._of(self.columns(cte["ctequery"], holders), number)

    def _all(self, node: Any, stack: tuple[Node, ...]) -> frozenset[Place]:
        """Every column that stands anywhere below a node."""
        self._spend()
        if isinstance(node, list):
            return frozenset().union(*(self._all(item, stack) for item in node if not isinstance(item, str)))
        if not isinstance(node, dict):
            return NOTHING
        kind = node[""]
        if kind == "VAR":
            return self._var(node, stack).places
        if kind == "QUERY":
            return self._inside(node, stack)
        if kind == "AGGREF" and node["aggfnoid"] == COUNT_OF_VALUES and self._counts_a_column(node, stack):
            return NOTHING
        if kind in ("OPEXPR", "SCALARARRAYOPEXPR") and int(node["opno"]) >= FIRST_USER_OID:
            raise BadTree("an operator of unknown body")
        if kind == "FUNCEXPR" and int(node["funcid"]) >= FIRST_USER_OID:
            raise BadTree("a function of unknown body")
        found = [self._all(item, stack) for item in node.values() if not isinstance(item, str)]
        if kind == "WINDOWFUNC":
            # The order and parts of its window are entries of the target list.
            found += [
                self._all(entry["expr"], stack)
                for entry in stack[0]["targetList"]
                if entry["expr"] is not node and entry.get("ressortgroupref", "0") != "0"
            ]
        return frozenset().union(*found)

    def _counts_a_column(self, node: Node, stack: tuple[Node, ...]) -> bool:
        expr = node["args"][0]["expr"]
        return isinstance(expr, dict) and expr[""] == "VAR" and node["aggfilter"] == "<>" and node["aggdistinct"] == "<>"

    def _inside(self, query: Node, outer: tuple[Node, ...]) -> frozenset[Place]:
        """A subquery in an expression: what it returns, and what chooses its rows."""
        stack = (query, *outer)
        columns = frozenset().union(*(item.places for item in self.columns(query, outer)))
        fields = ("jointree", "havingQual", "limitOffset", "limitCount", "rtable")
        chosen = [self._all(query[field], stack) for field in fields if isinstance(query.get(field), (dict, list))]
        return columns.union(*chosen)

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise BadTree("too complex")


def settle(
    view: int, definition: Callable[[int], str | None], known: dict[int, list[Sources] | None], depth: int = 0
) -> list[Sources] | None:
    """A view's columns by base tables' columns, through views over views; None where they can't be told. Fills `known`."""
    if view in known:
        return known[view]
    text = definition(view)
    if text is None or depth > MAX_DEPTH:
        return None
    known[view] = None
    try:
        known[view] = [_settled(column, definition, known, depth) for column in sources(text)]
    except BadTree:
        return None
    return known[view]


def _settled(
    column: Sources, definition: Callable[[int], str | None], known: dict[int, list[Sources] | None], depth: int
) -> Sources:
    places: set[Place] = set()
    plain = column.plain
    for oid, number in column.places:
        if definition(oid) is None:
            places.add((oid, number))
            continue
        below = settle(oid, definition, known, depth + 1)
        if below is None:
            raise BadTree("a view that can't be followed")
        found = below[number - 1 : number] if number else below
        places.update(place for item in found for place in item.places)
        plain = plain and bool(number) and found[0].plain
    return Sources(frozenset(places), plain)
