"""Where a trigger's function in PL/pgSQL puts values: which columns it fills, with what.

The function's text is read by PL/pgSQL's own grammar (libpg_query); each statement and expression in it is followed as any other
SQL, with the function's variables, ``NEW`` and ``OLD`` as rows around it (PostgreSQL 18 docs §41.10). The order of its statements
is not looked at: a variable holds whatever any of them gives it, and what any condition looks at is in all that is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from ..sql.analysis import Name
from ..sql.parse import Unreadable, parse
from .bodies import Body
from .rows import Range, Rows
from .table import Scope, rows
from .uses import TooComplex, Uses
from .value import CLEAN, UNSURE, Value, computed, union

MAX_TEXT = 10_000
"""Characters of a function, as `sql.catalog_queries` reads it."""
MAX_ROUNDS = 8
"""Passes until the variables settle."""
_TAG = "$hostguard$"
_ROW_TYPE = re.compile(r"[\w.\"]+\s*%\s*rowtype\b", re.IGNORECASE)
"""The grammar has no catalog, so it takes such a variable for one without fields; a record has any."""
_RETURNED = re.compile(r"\breturn\s+(\w+)\s*;", re.IGNORECASE)
_ASSIGNED = re.compile(r"^[^:=]*:?=")
_FOLLOWED = frozenset(["SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"])
_CONDITIONS = frozenset(["cond", "t_expr", "lower", "upper", "step"])
_ERRORS = frozenset(["sqlerrm", "sqlstate"])
_ROW_COUNTS = frozenset(["ROW_COUNT", "PG_ROUTINE_OID"])
_UNFOLLOWED = frozenset(
    str.split(
        """
        PLpgSQL_stmt_dynexecute PLpgSQL_stmt_dynfors PLpgSQL_stmt_call PLpgSQL_stmt_return_next PLpgSQL_stmt_return_query
        PLpgSQL_stmt_set
        """
    )
)


class Unfollowed(Exception):
    """What the function does can't be told from its text."""


class Filled(msgspec.Struct, frozen=True):
    """What a function gives to columns of a relation."""

    relation: Name | None
    """None: the row that fired the trigger."""
    column: str | None
    """None: any of them."""
    value: Value


class Told(msgspec.Struct, frozen=True):
    """What a function does with values."""

    fills: tuple[Filled, ...]
    kept: Value
    """What it gives to functions that keep or tell what they get."""
    takes: Value
    """Everything that it looks at."""


def follow_trigger(
    code: str, row: Rows, relation: Callable[[Name, str], Range], bodies: Callable[[Name], Sequence[Body] | None]
) -> Told:
    """Where a trigger's function puts what. `row`: that of its table. `relation`, `bodies`: as `Uses` has them.

    Raises Unfollowed.
    """
    function = _read(code)
    if function is None:
        raise Unfollowed("not read by the grammar")
    try:
        return _Function(function, code, row, Uses(relation, bodies)).told()
    except (KeyError, IndexError, TypeError, AttributeError, TooComplex, RecursionError) as error:
        raise Unfollowed(f"a tree of another shape: {error!r}") from error


@lru_cache(1000)
def _read(code: str) -> dict[str, Any] | None:
    """The tree of a function's body; None for what the grammar does not read."""
    import pglast.parser  # see `sql.parse`

    if len(code) > MAX_TEXT or _TAG in code or "#" in code or "\0" in code:
        return None
    # A "#" may be an option by which a variable is meant where a column's name stands.
    body = _ROW_TYPE.sub("record", code)
    try:
        found = msgspec.json.decode(
            pglast.parser.parse_plpgsql_json(f"CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS {_TAG}{body}{_TAG}")
        )
    except (pglast.parser.ParseError, msgspec.DecodeError):
        return None
    tree: dict[str, Any] = found[0]["PLpgSQL_function"]
    return tree


class _Function:
    def __init__(self, tree: dict[str, Any], code: str, row: Rows, uses: Uses) -> None:
        self._tree, self._row, self._uses = tree, row, uses
        self._datums = [next(iter(datum.values())) for datum in tree["datums"]]
        self._held: dict[str, Value] = {}
        """Variables by name; those of one name in several blocks are one."""
        self._own: dict[str | None, Value] = {}
        self._fills: list[Filled] = []
        if not {name.lower() for name in _RETURNED.findall(code)} <= {"new", "old", "null"}:
            raise Unfollowed("it returns another row")

    def told(self) -> Told:
        for _ in range(MAX_ROUNDS):
            before = dict(self._held), dict(self._own)
            self._uses.filled.clear()
            self._declared()
            self._statement(self._tree["action"])
            if before == (self._held, self._own):
                break
        else:
            raise Unfollowed("its variables do not settle")
        uses = self._uses
        if uses.lost or uses.skipped or uses.unknown_call or any(not value.sure for _, value in uses.stashed):
            raise Unfollowed("it calls what can't be followed")
        chosen = Value(frozenset(uses.matched), False, not uses.unsure_match)
        fills = [Filled(name, column, union([value, chosen])) for name, column, value in uses.filled]
        fills += [Filled(None, column, union([value, chosen])) for column, value in self._own.items()]
        taken = Value(frozenset(uses.used), False, not uses.unsure_use)
        kept = union([value for _, value in uses.stashed])
        return Told(tuple(fills), kept, union([chosen, taken, uses.assigned, *self._held.values()]))

    def _declared(self) -> None:
        for datum in self._datums:
            for field in ("default_val", "cursor_explicit_expr"):
                if field in datum:
                    self._hold(datum["refname"], self._expression(datum[field]))
            if datum.get("refname") in _ERRORS:
                self._held[datum["refname"]] = UNSURE
        self._held["found"] = Value(frozenset(self._uses.matched), False, not self._uses.unsure_match)

    def _statement(self, node: Mapping[str, Any]) -> None:
        for kind, body in node.items():
            if kind in _UNFOLLOWED:
                raise Unfollowed(kind)
            handler = getattr(self, "_" + kind.removeprefix("PLpgSQL_stmt_"), None) if "_stmt_" in kind else None
            if handler is not None:
                handler(body)
            self._inside(body, handled=handler is not None)

    def _inside(self, body: Any, *, handled: bool) -> None:
        """Every expression and statement below one, whatever holds it."""
        for field, item in body.items() if isinstance(body, dict) else ():
            for part in item if isinstance(item, list) else [item]:
                if not isinstance(part, dict):
                    continue
                if "PLpgSQL_expr" in part:
                    if not handled or field in _CONDITIONS:
                        self._uses.match(self._expression(part), "a condition")
                elif field not in ("target", "var"):
                    self._statement(part)

    def _assign(self, body: Mapping[str, Any]) -> None:
        self._give(body.get("varno", 0), self._expression(body["expr"], _ASSIGNED))

    def _execsql(self, body: Mapping[str, Any]) -> None:
        found = self._run(body["sqlstmt"]["PLpgSQL_expr"]["query"])
        if body.get("into"):
            self._into(body["target"], found)

    def _fors(self, body: Mapping[str, Any]) -> None:
        self._into(body["var"], self._run(body["query"]["PLpgSQL_expr"]["query"]))

    def _forc(self, body: Mapping[str, Any]) -> None:
        self._into(body["var"], Rows(each=self._cursor(body["curvar"])))

    def _fetch(self, body: Mapping[str, Any]) -> None:
        if "target" in body:
            self._into(body["target"], Rows(each=self._cursor(body["curvar"])))

    def _open(self, body: Mapping[str, Any]) -> None:
        if "dynquery" in body or "argquery" in body:
            raise Unfollowed("a cursor of a text, or with arguments")
        if "query" in body:
            self._give(body["curvar"], self._run(body["query"]["PLpgSQL_expr"]["query"]).whole())

    def _foreach_a(self, body: Mapping[str, Any]) -> None:
        found = self._expression(body["expr"])
        self._uses.match(found, "a loop")
        self._give(body["varno"], found)

    def _getdiag(self, body: Mapping[str, Any]) -> None:
        for item in body["diag_items"]:
            told = item["PLpgSQL_diag_item"]
            self._give(told["target"], self._held["found"] if told["kind"] in _ROW_COUNTS else UNSURE)

    def _perform(self, body: Mapping[str, Any]) -> None:
        self._run(body["expr"]["PLpgSQL_expr"]["query"])

    def _raise(self, body: Mapping[str, Any]) -> None:
        for node in _expressions(body):
            self._uses.use(self._expression(node))

    def _return(self, body: Mapping[str, Any]) -> None:
        if "expr" in body and body["expr"]["PLpgSQL_expr"]["query"].strip().lower() != "null":
            raise Unfollowed("it returns a row of its making")

    def _case(self, body: Mapping[str, Any]) -> None:
        if "t_expr" in body:
            self._give(body["t_varno"], self._expression(body["t_expr"]))
        for item in body.get("case_when_list", []):
            self._uses.match(self._expression(item["PLpgSQL_case_when"]["expr"]), "CASE")

    def _cursor(self, number: int) -> Value:
        return self._held.get(self._datums[number]["refname"], CLEAN)

    def _into(self, target: Mapping[str, Any], found: Rows) -> None:
        for kind, body in target.items():
            if kind == "PLpgSQL_row":
                fields = body["fields"]
                apart = found.each is None and len(found.columns) == len(fields)
                for place, field in enumerate(fields):
                    self._give(field["varno"], found.columns[place][1] if apart else found.whole())
            else:
                self._give(body.get("dno", 0), found.whole())

    def _give(self, number: int, value: Value) -> None:
        """A variable, a field of a record gets a value."""
        value = computed(value)
        datum = self._datums[number]
        if "fieldname" in datum:
            record = self._datums[datum.get("recparentno", 0)]["refname"]
            if record == "new":
                field = datum["fieldname"]
                self._own[field] = union([self._own.get(field, CLEAN), value])
                return
        else:
            record = datum["refname"]
            if record == "new":
                self._own[None] = union([self._own.get(None, CLEAN), value])
                return
        self._hold(record, value)

    def _hold(self, name: str, value: Value) -> None:
        self._held[name] = union([self._held.get(name, CLEAN), value])

    def _expression(self, node: Mapping[str, Any], before: re.Pattern[str] | None = None) -> Value:
        query: str = node["PLpgSQL_expr"]["query"]
        if before is not None:
            query = before.sub("", query, count=1)
        return self._run(query if node["PLpgSQL_expr"].get("parseMode", 2) == 0 else f"SELECT {query}").whole()

    def _run(self, query: str) -> Rows:
        try:
            statements = parse(query)
        except Unreadable as error:
            raise Unfollowed(f"{query!r} is not read") from error
        if len(statements) != 1 or next(iter(statements[0].tree)) not in _FOLLOWED:
            raise Unfollowed(query)
        frame = (
            Range("new", Rows(tuple((c, union([v, self._given(c)])) for c, v in self._row.columns), self._row.each), aside=True),
            Range("old", self._row, aside=True),
            Range("", Rows(tuple(self._variables()))),
            *(Range(name, Rows(each=value), aside=True) for name, value in self._variables()),
        )
        return rows(statements[0].tree, Scope((frame,)), self._uses)

    def _given(self, column: str) -> Value:
        return union([self._own.get(column, CLEAN), self._own.get(None, CLEAN)])

    def _variables(self) -> Iterator[tuple[str, Value]]:
        for datum in self._datums:
            name = datum.get("refname", "")
            if name and name not in ("new", "old"):
                yield name, self._held.get(name, CLEAN)


def _expressions(node: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict):
        if "PLpgSQL_expr" in node:
            yield node
        else:
            for item in node.values():
                yield from _expressions(item)
    elif isinstance(node, list):
        for item in node:
            yield from _expressions(item)
