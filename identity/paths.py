"""A pattern over cgroup paths, component by component.

``*`` stands for any characters within a component, ``?`` for one, ``**`` as a whole component for any number of components, none
included. ``agents/*/tool-*`` is two levels below ``agents``; ``**/agent-*`` is at any depth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

ANY_DEPTH = "**"
MAX_PARTS = 64
"""The kernel side refuses cgroups that lie deeper than this."""


class PatternMistake(ValueError):
    """The text is no pattern; the message says why."""


def components(path: str) -> tuple[str, ...]:
    """The parts of a cgroup path; the root has none."""
    return tuple(part for part in path.split("/") if part)


class Pattern:
    """One pattern. A path without ``*`` and ``?`` is a pattern for itself alone."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        """Raises PatternMistake."""
        parts = text.strip("/").split("/") if text.strip("/") else []
        mistake = _mistake(text, parts)
        if mistake:
            raise PatternMistake(mistake)
        self.text = "/".join(parts)
        self._parts = tuple(None if part == ANY_DEPTH else glob(part) for part in parts)

    @property
    def exact(self) -> str | None:
        """The only path that it matches, with a leading slash; None when it has ``*`` or ``?``."""
        return None if is_glob(self.text) else f"/{self.text}"

    def matches(self, path: Sequence[str]) -> bool:
        """Whether the cgroup with these components is one of it."""
        return len(self._parts) in self._positions(path)

    def may_lie_below(self, path: Sequence[str]) -> bool:
        """Whether a cgroup strictly below this one can be one of it."""
        return any(position < len(self._parts) for position in self._positions(path))

    def _positions(self, path: Sequence[str]) -> set[int]:
        """How many parts of the pattern can have been used up by the path: O(parts of the path x parts of the pattern)."""
        positions = self._closure({0})
        for name in path:
            following = set()
            for position in positions:
                if position < len(self._parts):
                    part = self._parts[position]
                    if part is None:
                        following.add(position)
                    elif part.fullmatch(name):
                        following.add(position + 1)
            positions = self._closure(following)
        return positions

    def _closure(self, positions: set[int]) -> set[int]:
        """With the positions behind ``**``, which may stand for nothing."""
        reached = set(positions)
        for position in positions:
            while position < len(self._parts) and self._parts[position] is None:
                position += 1
                reached.add(position)
        return reached


def is_glob(text: str) -> bool:
    """Whether the text has ``*`` or ``?``."""
    return "*" in text or "?" in text


def glob(text: str) -> re.Pattern[str]:
    """The text, with ``*`` and ``?``, as a regular expression for `fullmatch` of one component, or of any text."""
    words = {"*": ".*", "?": "."}
    return re.compile("".join(words.get(char) or re.escape(char) for char in text), re.DOTALL)


def _mistake(text: str, parts: list[str]) -> str:
    if not parts:
        return "the root cgroup can't be a workload, hostguard itself would be part of it"
    if any(part in ("", ".", "..") for part in parts):
        return f'"{text}" is not a plain path: no empty part, no "." and no ".."'
    if len(parts) > MAX_PARTS:
        return f'"{text}" has more than {MAX_PARTS} parts'
    if any(ANY_DEPTH in part and part != ANY_DEPTH for part in parts):
        return f'"{text}": ** is a part of its own, between slashes'
    if parts[-1] == ANY_DEPTH:
        return f'"{text}" ends in **: what is below a workload\'s cgroup belongs to it anyway, so leave it away'
    return ""
