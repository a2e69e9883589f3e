"""The line on which a key of a TOML text stands."""

from __future__ import annotations

import re
import tomllib

_HEADER = re.compile(r"^\s*\[\[?(?P<key>[^\]]*)\]\]?\s*(#.*)?$")
# TOML 1.0.0, Keys: bare keys, quoted keys, dotted keys.
_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_PAIR = re.compile(rf"^\s*(?P<key>{_PART}(?:\s*\.\s*{_PART})*)\s*=")


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Key path to line number, from 1, of every header and every ``key =`` line.

    It reads line by line and looks into no value, so a key within an inline table has the line of the key that holds the
    table, and a line within a multi-line string can pass for a key. The numbers are for messages only.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header["key"])
            for end in range(1, len(table) + 1):
                lines.setdefault(table[:end], number)
        elif pair := _PAIR.match(line):
            lines.setdefault((*table, *_parts(pair["key"])), number)
    return lines


def line_of(path: tuple[str, ...], lines: dict[tuple[str, ...], int]) -> int:
    """The line of the key, or of the nearest table that holds it; 0 when there is none."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 0


def _parts(key: str) -> tuple[str, ...]:
    try:
        node = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return (key,)
    parts: list[str] = []
    while isinstance(node, dict):
        name = next(iter(node))
        parts.append(name)
        node = node[name]
    return tuple(parts)


def dotted(path: tuple[str, ...]) -> str:
    """The path as one writes it in TOML: ``tags."pii.email".mask``."""
    return ".".join(part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in path)
