"""Texts of JSON with new values in the place of some, everything between them byte for byte.

Parsed by one regular expression for each token (RFC 8259), so numbers keep their digits, and keys that stand twice are met twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

Path = tuple[str, ...]
Leaf = Callable[[str, Path], str | None]
"""(text of a string, number or boolean; keys above it, ``*`` for an array's place) to the JSON in its place; None leaves it."""

_TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([{}\[\],:])|(-?\d[-+.\deE]*|true|false|null))')
_END = re.compile(r"\s*\Z")
ANY = "*"
MAX_DEPTH = 512


def rewrite(text: str, leaf: Leaf, *, keys: bool = False) -> str:
    """`text` with the leaves that `leaf` changes; with `keys` the keys are met too. Raises ValueError for what is no JSON."""
    fresh: list[str] = []
    path: list[str] = []
    in_object: list[bool] = []
    kept = at = 0
    expects_key = False
    while not _END.match(text, at):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError("no JSON")
        string, mark, value = token.groups()
        at = token.end()
        if mark:
            expects_key = _follow(mark, path, in_object)
        elif value != "null":
            plain = json.loads(string) if string is not None else value
            is_key = expects_key and string is not None
            if is_key:
                path[-1] = plain
            new = leaf(plain, tuple(path)) if keys or not is_key else None
            if new is not None:
                fresh += (text[kept : at - len(string or value)], new)
                kept = at
    if path:
        raise ValueError("no JSON")
    return "".join((*fresh, text[kept:]))


def _follow(mark: str, path: list[str], in_object: list[bool]) -> bool:
    """Follow a mark; whether a key comes next. An object's place in the path is its key of the moment, empty before the first."""
    if mark in "{[":
        if len(path) >= MAX_DEPTH:
            raise ValueError("too deep")
        path.append("" if mark == "{" else ANY)
        in_object.append(mark == "{")
        return mark == "{"
    if mark in "}]":
        if not path:
            raise ValueError("no JSON")
        path.pop()
        in_object.pop()
        return False
    return mark == "," and bool(in_object) and in_object[-1]


def under(paths: Sequence[Path], path: Path) -> bool:
    """Whether a leaf at `path` is one of `paths` or below one; ``*`` in them stands for any key or place."""
    return any(len(want) <= len(path) and all(w in (ANY, p) for w, p in zip(want, path, strict=False)) for want in paths)
