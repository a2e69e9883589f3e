"""PostgreSQL's stored parse trees (``pg_node_tree``) as plain data.

The format is that of outfuncs.c and read.c, the same from release 15 to 18: ``{TYPE :field value …}``, lists in parentheses,
everything else tokens, in which blanks and brackets are escaped with a backslash. Fields are found by name, so that one a release
adds or drops does no harm.
"""

from __future__ import annotations

import re
from typing import Any

Node = dict[str, Any]
"""A node's fields, with its type under ``""``. A field's value is a node, a list, a token, or a list of tokens."""

MAX_CHARACTERS = 200_000
"""Longest tree to read: some 30 ms."""

_TOKENS = re.compile(r"[(){}]|(?:\\.|[^\s(){}\\])+", re.DOTALL).findall


class BadTree(Exception):
    """This is no stored tree."""


def read(text: str) -> Any:
    """The tree in a text. Raises BadTree. O(len(text))."""
    if len(text) > MAX_CHARACTERS:
        raise BadTree("longer than is read")
    stack: list[list[Any]] = [[]]
    closers: list[str] = []
    for token in _TOKENS(text):
        if token in "({":
            stack.append([])
            closers.append(")" if token == "(" else "}")
        elif token in ")}":
            if not closers or closers.pop() != token:
                raise BadTree("brackets do not match")
            inner = stack.pop()
            stack[-1].append(inner if token == ")" else _node(inner))
        else:
            stack[-1].append(token)
    if closers or len(stack[0]) != 1:
        raise BadTree("not one tree")
    return stack[0][0]


def _node(items: list[Any]) -> Node:
    if not items or not isinstance(items[0], str):
        raise BadTree("a node without a type")
    node: Node = {"": items[0]}
    field = ""
    for item in items[1:]:
        if field and field not in node:
            # Whatever it looks like: an alias may be called ":rtable".
            node[field] = item
        elif isinstance(item, str) and item.startswith(":") and item[1:] not in node:
            field = item[1:]
        elif not field:
            raise BadTree("a value without a field")
        else:
            # A constant's bytes; nothing that is looked at has several values.
            node[field] = [*node[field], item] if isinstance(node[field], list) else [node[field], item]
    if field and field not in node:
        raise BadTree("a field without a value")
    return node
