"""How many rows a statement would touch: the question that asks for them, by the statement's own words.

Only what is plain is asked about: one UPDATE or DELETE of one relation, with a condition of comparisons on columns, constants and
parameters, or none. Nothing in it calls a function by name or reads another relation, so that asking has no effects.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pglast.parser

from .parse import Unreadable, parse

_PLAIN = frozenset(
    {
        *("A_Expr", "A_Const", "A_ArrayExpr", "BoolExpr", "BooleanTest", "CoalesceExpr", "ColumnRef", "Integer", "List"),
        *("MinMaxExpr", "NullTest", "ParamRef", "SQLValueFunction", "String", "TypeCast", "TypeName"),
    }
)
_JOINED = ("usingClause", "fromClause", "withClause")


class Question(msgspec.Struct, frozen=True):
    """What to ask."""

    rows: str
    """Which: what stands behind a SELECT list."""
    parameters: tuple[int, ...]
    """The statement's parameters that it takes, in order: numbers from 1."""

    @property
    def count(self) -> str:
        """Counts them."""
        return f"SELECT pg_catalog.count(*) {self.rows}"

    @property
    def explain(self) -> str:
        """Asks only how many the server takes them for, and what reading them would cost."""
        return f"EXPLAIN (FORMAT JSON) SELECT 1 {self.rows}"


def question(text: str, types: Sequence[int] = (), *, standard_conforming_strings: bool = True) -> Question | None:
    """The question for a statement; None for one that is not plain. Raises nothing.

    `types`: OIDs that were declared for its parameters. One without a type that stands elsewhere in the statement as well gets
    its type from there, so what it means here can't be told.
    """
    try:
        statements = parse(text, standard_conforming_strings=standard_conforming_strings)
        if len(statements) != 1:
            return None
        ((kind, node),) = statements[0].tree.items()
        if kind not in ("UpdateStmt", "DeleteStmt") or any(key in node for key in _JOINED) or not _plain(node.get("whereClause")):
            return None
        return _asked(text, kind, types)
    except (Unreadable, RecursionError, pglast.parser.ParseError):
        return None


def _plain(tree: Any) -> bool:
    if isinstance(tree, list):
        return all(map(_plain, tree))
    if not isinstance(tree, dict):
        return True
    # The grammar's nodes have names in capitals, their fields have not.
    if any(key not in _PLAIN for key in tree if key[0].isupper()):
        return False
    # OPERATOR(schema.=) may be anybody's.
    if len(tree.get("A_Expr", {}).get("name", ())) > 1:
        return False
    return all(map(_plain, tree.values()))


def _asked(text: str, kind: str, types: Sequence[int]) -> Question | None:
    """Cut out of the text by PostgreSQL's own lexer, so that nothing of it is read in another way than the server does."""
    tokens = [token for token in pglast.parser.scan(text) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    begin, ends = ("FROM", ("WHERE", "RETURNING")) if kind == "DeleteStmt" else ("UPDATE", ("SET",))
    marks = list(_outermost(tokens))
    relation = next(token.end + 1 for token in marks if token.name == begin)
    behind = next((token.start for token in marks if token.start >= relation and token.name in (*ends, "ASCII_59")), len(text))
    where = next((token for token in marks if token.name == "WHERE"), None)
    last = next((token.start for token in marks if token.name in ("RETURNING", "ASCII_59")), len(text))
    condition = ""
    parameters: tuple[int, ...] = ()
    if where is not None:
        inside = [token for token in tokens if where.end < token.start < last]
        numbers = [int(text[token.start + 1 : token.end + 1]) for token in inside if token.name == "PARAM"]
        parameters = tuple(dict.fromkeys(numbers))
        others = {int(text[t.start + 1 : t.end + 1]) for t in tokens if t.name == "PARAM" and t not in inside}
        if any(number in others and not (types[number - 1] if number <= len(types) else 0) for number in parameters):
            return None
        condition = _renumbered(text, where.start, last, [t for t in inside if t.name == "PARAM"], parameters)
    # A comment in it that goes to the end of the line ends there.
    return Question(f"FROM {text[relation:behind].strip()}\n{condition}".strip(), parameters)


def _outermost(tokens: Sequence[Any]) -> Iterator[Any]:
    depth = 0
    for token in tokens:
        depth += token.name in ("ASCII_40", "ASCII_91")
        if depth == 0:
            yield token
        depth -= token.name in ("ASCII_41", "ASCII_93")


def _renumbered(text: str, start: int, end: int, marks: Sequence[Any], parameters: tuple[int, ...]) -> str:
    pieces, at = [], start
    for mark in marks:
        pieces += [text[at : mark.start], f"${parameters.index(int(text[mark.start + 1 : mark.end + 1])) + 1}"]
        at = mark.end + 1
    return "".join([*pieces, text[at:end]]).strip()
