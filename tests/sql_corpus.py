"""The corpus of statements with what each amounts to, read from policy/sql/corpus/*.sql."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent / "policy" / "sql" / "corpus"


class Case(NamedTuple):
    """One statement, with each expectation as a sorted tuple."""

    place: str
    text: str
    effects: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    flags: tuple[str, ...]


def cases() -> list[Case]:
    """Every case of every file; a case is a line ``--= effects | reads | writes | flags`` with the statement below it."""
    return [case for file in sorted(FOLDER.glob("*.sql")) for case in _of(file)]


def _of(file: Path) -> list[Case]:
    _, *blocks = file.read_text().split("\n--= ")
    found = []
    for block in blocks:
        header, _, text = block.partition("\n")
        effects, reads, writes, flags = (tuple(column.split()) for column in header.split("|"))
        found.append(Case(f"{file.stem}: {text.strip()}", text.strip(), effects, _names(reads), _names(writes), flags))
    return found


def _names(words: tuple[str, ...]) -> tuple[str, ...]:
    """Names with blanks in them are written with ``~``."""
    return tuple(word.replace("~", " ") for word in words)
