"""The base columns that an expression's value depends on."""

from __future__ import annotations

from typing import Any

from .analysis import Output
from .found import Tree, name_of, relation_name, strings
from .functions import PURE, classify, is_builtin_operator
from .ranges import STAR, UNCERTAIN, Outputs, Range, Scopes, either, merged, reference, starred

KNOWN_CONTENT = frozenset({PURE, "reads_catalog", "reads_settings", "sequences", "locks", "sleeps", "settings", "notifies"})
"""Classes of functions whose result depends on no table beyond their arguments."""

NOTHING_YET: Outputs = (Output(STAR, harmless=True),)
"""The columns of a recursive CTE before its first pass: any, without a source."""

CONSTANTS = frozenset({"A_Const", "ParamRef", "SQLValueFunction", "SetToDefault"})
MAX_ROUNDS = 8
"""Passes over a recursive CTE until its sources settle; a column moves one place a pass."""

NAMED_AFTER = {
    "CaseExpr": "case",
    "CoalesceExpr": "coalesce",
    "A_ArrayExpr": "array",
    "RowExpr": "row",
    "GroupingFunc": "grouping",
    "MergeSupportFunc": "merge_action",
}


MAX_STEPS = 100_000
"""Ranges, queries, expressions to look at for one statement. Recursive CTEs and subqueries within subqueries are looked at
repeatedly, a bare column is looked for in every table: nesting and crossing them could take any time."""


class TooComplex(Exception):
    """More than MAX_STEPS: the columns can't be told."""


class Budget:
    """Counts what one statement costs, over all its parts."""

    def __init__(self) -> None:
        self._left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """Raises TooComplex when nothing is left."""
        self._left -= steps
        if self._left < 0:
            raise TooComplex


class Lineage:
    """Follows one statement. Its CTEs are kept by name, in the order in which they become visible."""

    def __init__(self, ctes: dict[str, Outputs | None] | None = None, budget: Budget | None = None) -> None:
        self.ctes: dict[str, Outputs | None] = ctes or {}
        self._budget = budget if budget is not None else Budget()

    def select(self, body: Tree, outer: Scopes = ()) -> Outputs | None:
        """The columns of a SELECT, VALUES or set operation; None where their number can't be told."""
        self._budget.spend(1)
        inner = self._with(body)
        if "larg" in body:
            return _either_side(inner.select(body["larg"], outer), inner.select(body["rarg"], outer))
        if "valuesLists" in body:
            return inner._values(body["valuesLists"], outer)
        ranges, joined = inner._ranges(body.get("fromClause", []), outer)
        return inner._targets(body.get("targetList", []), (ranges, *outer), joined=joined)

    def returning(self, body: Tree) -> Outputs | None:
        """The columns of RETURNING."""
        inner = self._with(body)
        target = body["relation"]
        base = str(relation_name(target))
        clause = body["returningClause"]
        names = {"old", "new"} | {item["ReturningOption"].get("value", "") for item in clause.get("options", [])}
        others = [
            *body.get("fromClause", []),
            *body.get("usingClause", []),
            *([body["sourceRelation"]] if "sourceRelation" in body else []),
        ]
        ranges, _ = inner._ranges(others, ())
        alias = target.get("alias", {}).get("aliasname") or target["relname"]
        hidden = tuple(Range(name, base, hidden=True) for name in sorted(names))
        return inner._targets(clause["exprs"], ((Range(alias, base), *ranges, *hidden),), joined=False)

    def table(self, relation: Tree, columns: list[Tree]) -> Outputs:
        """The columns of ``COPY table (columns) TO``."""
        base = str(relation_name(relation))
        return tuple(Output(name, (f"{base}.{name}",)) for name in strings(columns)) or (Output(STAR, (f"{base}.*",)),)

    def _with(self, body: Tree) -> Lineage:
        clause = body.get("withClause")
        if clause is None:
            return self
        inner = Lineage(dict(self.ctes), self._budget)
        ctes = [item["CommonTableExpr"] for item in clause["ctes"]]
        self._budget.spend(len(ctes) + len(self.ctes))
        if clause.get("recursive"):
            inner.ctes.update({cte["ctename"]: NOTHING_YET for cte in ctes})
            for _ in range(MAX_ROUNDS):
                before = dict(inner.ctes)
                for cte in ctes:
                    inner.ctes[cte["ctename"]] = inner._cte(cte)
                if inner.ctes == before:
                    return inner
            inner.ctes.update({cte["ctename"]: None for cte in ctes})
            return inner
        for cte in ctes:
            inner.ctes[cte["ctename"]] = inner._cte(cte)
        return inner

    def _cte(self, cte: Tree) -> Outputs | None:
        outputs: Outputs | None = None
        for kind, body in cte["ctequery"].items():
            outputs = self.select(body) if kind == "SelectStmt" else self.returning(body) if "returningClause" in body else ()
        if "search_clause" in cte or "cycle_clause" in cte:
            return None
        return renamed(outputs, strings(cte.get("aliascolnames", [])))

    def _values(self, rows: list[Tree], outer: Scopes) -> Outputs | None:
        result: Outputs | None = None
        for row in rows:
            items = row["List"].get("items", [])
            outputs = tuple(self.value(f"column{place}", item, outer) for place, item in enumerate(items, 1))
            result = outputs if result is None else _either_side(result, outputs)
        return result

    def _ranges(self, items: list[Tree], outer: Scopes) -> tuple[tuple[Range, ...], bool]:
        """The ranges of a FROM list, with whether any join merges columns."""
        ranges: tuple[Range, ...] = ()
        joined = False
        for item in items:
            self._budget.spend(1 + len(ranges))
            for kind, body in item.items():
                if kind == "JoinExpr":
                    left = self._ranges([body["larg"]], (ranges, *outer))
                    right = self._ranges([body["rarg"]], ((*ranges, *left[0]), *outer))
                    added: tuple[Range, ...] = (*left[0], *right[0])
                    joined = joined or left[1] or right[1] or bool(body.get("isNatural") or body.get("usingClause"))
                    if "alias" in body:
                        added = (_aliased_join(body["alias"], added),)
                else:
                    added = (self._range(kind, body, (ranges, *outer)),)
                ranges = (*ranges, *added)
        return ranges, joined

    def _range(self, kind: str, body: Tree, scopes: Scopes) -> Range:
        alias = body.get("alias", {}).get("aliasname", "")
        columns = strings(body.get("alias", {}).get("colnames", []))
        if kind == "RangeTableSample":
            return self._range("RangeVar", body["relation"]["RangeVar"], scopes)
        if kind == "RangeVar":
            return self._relation(body, alias or body["relname"], columns)
        if kind == "RangeSubselect":
            return _derived(alias, renamed(self.select(body["subquery"]["SelectStmt"], scopes), columns))
        functions = _function_name(body)
        return Range(
            alias or functions, each=self.value("?column?", {kind: {k: v for k, v in body.items() if k != "alias"}}, scopes)
        )

    def _relation(self, body: Tree, alias: str, columns: tuple[str, ...]) -> Range:
        if "schemaname" not in body and body["relname"] in self.ctes:
            return _derived(alias, renamed(self.ctes[body["relname"]], columns))
        base = str(relation_name(body))
        # Renamed columns are known by place only, which takes the catalog.
        return Range(alias, each=Output(STAR, (f"{base}.*",))) if columns else Range(alias, base)

    def _targets(self, items: list[Tree], scopes: Scopes, *, joined: bool) -> Outputs:
        outputs: list[Output] = []
        for item in items:
            target = item["ResTarget"]
            fields = target["val"].get("ColumnRef", {}).get("fields")
            if fields is not None and "A_Star" in fields[-1]:
                outputs += starred(strings(fields), scopes[0], joined=joined)
            elif "A_Indirection" in target["val"] and "A_Star" in target["val"]["A_Indirection"]["indirection"][-1]:
                whole = self.value(STAR, target["val"]["A_Indirection"]["arg"], scopes)
                outputs.append(Output(STAR, whole.sources, computed=True, certain=whole.certain))
            else:
                outputs.append(self.value(target.get("name") or column_name(target["val"]), target["val"], scopes))
        return tuple(outputs)

    def value(self, name: str, node: Tree, scopes: Scopes) -> Output:
        """What an expression depends on. Raises TooComplex."""
        if "ColumnRef" in node:
            fields = node["ColumnRef"]["fields"]
            if "A_Star" not in fields[-1]:
                return either(name, self._of_ColumnRef(node["ColumnRef"], scopes))
        return merged(name, self._parts(node, scopes))

    def _parts(self, node: Any, scopes: Scopes) -> list[Output]:
        """The leaves of an expression, as far as they matter."""
        if node.__class__ is list:
            return [part for item in node for part in self._parts(item, scopes)]
        if node.__class__ is not dict:
            return []
        self._budget.spend(1)
        parts: list[Output] = []
        for kind, body in node.items():
            if kind in CONSTANTS or kind in ("typeName", "funcname", "alias"):
                continue
            handler = getattr(self, f"_of_{kind}", None)
            parts += handler(body, scopes) if handler is not None else self._parts(body, scopes)
        return parts

    def _of_ColumnRef(self, body: Tree, scopes: Scopes) -> list[Output]:  # noqa: N802
        fields = strings(body["fields"])
        self._budget.spend(1 + sum(map(len, scopes)))
        if "A_Star" in body["fields"][-1]:
            return [item.row() for ranges in scopes for item in ranges if not fields or item.alias == fields[-1]] or [UNCERTAIN]
        return [reference(fields, scopes)]

    def _of_A_Expr(self, body: Tree, scopes: Scopes) -> list[Output]:  # noqa: N802
        parts = self._parts([body.get("lexpr"), body.get("rexpr")], scopes)
        known = "BETWEEN" in body["kind"] or is_builtin_operator(name_of(strings(body["name"])))
        return parts if known else [*parts, UNCERTAIN]

    def _of_FuncCall(self, body: Tree, scopes: Scopes) -> list[Output]:  # noqa: N802
        name = name_of(strings(body["funcname"]))
        parts = self._parts({key: value for key, value in body.items() if key != "funcname"}, scopes)
        if name.name == "count" and name.schema in (None, "pg_catalog"):
            counted = merged("count", parts)
            return [Output("count", counted.sources, computed=True, certain=counted.certain, harmless=True)]
        kind = classify(name)
        if kind == PURE:
            return parts
        return [*parts, Output(name.name, computed=True, certain=kind in KNOWN_CONTENT)]

    def _of_SubLink(self, body: Tree, scopes: Scopes) -> list[Output]:  # noqa: N802
        inner = body["subselect"]["SelectStmt"]
        parts = list(self.select(inner, scopes) or (UNCERTAIN,))
        if body["subLinkType"] in ("EXPR_SUBLINK", "ARRAY_SUBLINK"):
            return parts
        ranges, _ = self._with(inner)._ranges(inner.get("fromClause", []), scopes)
        tested = [inner.get(field) for field in ("whereClause", "havingClause")]
        rows = [item.row() for item in ranges]
        return [*parts, *rows, *self._parts(tested, (ranges, *scopes)), *self._parts(body.get("testexpr"), scopes)]


def renamed(outputs: Outputs | None, names: tuple[str, ...]) -> Outputs | None:
    """Columns under an alias's names. Behind a ``*`` places can't be told, so all of them become one."""
    if outputs is None or not names:
        return outputs
    stars = [place for place, output in enumerate(outputs) if output.name == STAR]
    if stars and stars[0] < len(names):
        whole = merged(STAR, outputs)
        return tuple(Output(name, whole.sources, computed=True, certain=whole.certain) for name in (*names, STAR))
    named = [either(name, [output]) for name, output in zip(names, outputs, strict=False)]
    return (*named, *outputs[len(named) :])


def _derived(alias: str, outputs: Outputs | None) -> Range:
    return Range(alias, each=UNCERTAIN) if outputs is None else Range(alias, outputs=outputs)


def _aliased_join(alias: Tree, ranges: tuple[Range, ...]) -> Range:
    """A join under one name: any column may be of any side."""
    return Range(alias["aliasname"], each=merged(STAR, [item.row() for item in ranges]))


def _either_side(left: Outputs | None, right: Outputs | None) -> Outputs | None:
    """The columns of a set operation: place by place from either side, under the left's names."""
    if left == () or right == ():
        return left or right
    if left is None or right is None or len(left) != len(right):
        return None
    if any(output.name == STAR for output in (*left, *right)):
        whole = either(STAR, [*left, *right])
        return (Output(STAR, whole.sources, whole.computed, whole.certain),)
    return tuple(either(a.name, [a, b]) if a != b else a for a, b in zip(left, right, strict=True))


def _function_name(body: Tree) -> str:
    for item in body.get("functions", []):
        for call in item.get("List", {}).get("items", []):
            if "FuncCall" in call:
                return strings(call["FuncCall"]["funcname"])[-1]
    return ""


def column_name(node: Tree) -> str:
    """The name PostgreSQL gives a column without AS (FigureColname in parse_target.c)."""
    for kind, body in node.items():
        if kind == "ColumnRef":
            return (strings(body["fields"]) or ("?column?",))[-1]
        if kind == "FuncCall":
            return strings(body["funcname"])[-1]
        if kind == "A_Indirection":
            return (strings(body["indirection"]) or (column_name(body["arg"]),))[-1]
        if kind == "TypeCast":
            inner = column_name(body["arg"])
            return inner if inner != "?column?" else (strings(body["typeName"].get("names", [])) or ("?column?",))[-1]
        if kind == "SubLink":
            return _sublink_name(body)
        return NAMED_AFTER.get(kind, "?column?")
    return "?column?"


def _sublink_name(body: Tree) -> str:
    if body["subLinkType"] == "EXPR_SUBLINK":
        targets = body["subselect"]["SelectStmt"].get("targetList", [])
        if targets:
            target = targets[0]["ResTarget"]
            return str(target.get("name") or column_name(target["val"]))
    return {"EXISTS_SUBLINK": "exists", "ARRAY_SUBLINK": "array"}.get(body["subLinkType"], "?column?")
