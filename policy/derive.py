"""Where a statement could put a hidden value so that it can be read back later."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from .sql.analysis import Analysis

WRITES = frozenset(
    [
        "insert",
        "update",
        "merge",
        "create",
        "alter",
        "refresh",
        "copy_in",
        "notify",
        "set",
        "alter_system",
        "comment",
        "do",
        "security_label",
    ]
)
"""Effects that keep what they are given."""
KEEPS_NOTHING = frozenset(["pure", "reads_catalog", "reads_settings", "reads_activity", "sleeps"])
"""Classes of functions that don't; see `sql.functions`."""


def keeps_values(analysis: Analysis) -> str:
    """What of the statement could keep a value that it reads: an effect, a function; empty when nothing could."""
    kept = sorted(WRITES & set(analysis.effects))
    if kept:
        return kept[0]
    return next((f"{name}()" for name, kind in analysis.functions if kind not in KEEPS_NOTHING), "")


def assigned_columns(trees: Any, hidden: Collection[str] | None) -> Iterator[str]:
    """The references in assignments (UPDATE, ON CONFLICT, MERGE) that may carry the value of a column in `hidden`; None is any.

    `trees`: libpg_query's JSON of the text. A reference carries one when it names a hidden column, ``*``, or a whole row; the
    new row of ON CONFLICT, ``excluded``, holds only what the statement brought.
    """
    rows = set(_range_names(trees))
    for target in _targets(trees):
        for reference in _nodes(target, "ColumnRef"):
            fields = [field.get("String", {}).get("sval", "*") for field in reference.get("fields", [])]
            if fields[:1] == ["excluded"]:
                continue
            if hidden is None or fields[-1] == "*" or fields[-1] in hidden or fields[-1] in rows:
                yield ".".join(fields)


def _targets(trees: Any) -> Iterator[Any]:
    for kind in ("UpdateStmt", "onConflictClause", "MergeWhenClause"):
        for node in _nodes(trees, kind):
            yield node.get("targetList", [])
            yield node.get("values", [])


def _range_names(trees: Any) -> Iterator[str]:
    for kind in ("RangeVar", "relation"):
        for node in _nodes(trees, kind):
            if isinstance(node, dict) and "relname" in node:
                yield node["relname"]
    for node in _nodes(trees, "alias"):
        yield node.get("aliasname", "")


def _nodes(tree: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, at any depth."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for name, value in node.items():
                if name == key:
                    yield value
                waiting.append(value)
        elif isinstance(node, list):
            waiting.extend(node)
