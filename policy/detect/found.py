"""What a detector finds in a text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

ENTITIES = ("email", "phone", "card", "iban", "national_id", "ip", "key", "jwt", "private_key")
"""All that can be detected without plug-ins."""
LEFT = r"(?<![0-9A-Za-z_])(?<![0-9A-Za-z][-.:/])"
"""Not in the middle of a word, nor behind a joint of a longer token (a UUID, a version, a path)."""
RIGHT = r"(?![0-9A-Za-z_])(?![-.:/][0-9A-Za-z])"


class Found(NamedTuple):
    """One finding; from `start` to before `end`, in characters."""

    start: int
    end: int
    entity: str


class Detector(NamedTuple):
    """One kind of value."""

    entity: str
    suspects: tuple[str, ...]
    """Expressions for the one pass over all bytes. At least one must match wherever `find` finds anything, without looking at
    what is around: there the values of other columns may stand."""
    find: Callable[[str], Iterator[tuple[int, int]]]


def whole(
    pattern: str, flags: int = 0, check: Callable[[str], bool] = lambda _: True
) -> Callable[[str], Iterator[tuple[int, int]]]:
    """A `find` for matches of `pattern` that pass `check`."""
    compiled = re.compile(pattern, flags)

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in compiled.finditer(text):
            if check(match[0]):
                yield match.span()

    return find
