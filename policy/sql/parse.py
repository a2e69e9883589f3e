"""Text to statement trees, by PostgreSQL's own grammar.

libpg_query is the raw parser of PostgreSQL 18 cut out of the server, so what it reads is what the server reads, keywords as
identifiers and nested comments included. Its JSON decoded with msgspec costs 20 µs for a short statement; its AST classes 160 µs.

It can't follow everything, and what it can't follow is refused here rather than guessed:

- it always reads with ``standard_conforming_strings = on``. With ``off`` a backslash inside quotes is an escape, and a text
  could hide a statement in what looks like a string: under ``off`` any backslash at all is refused;
- it takes a C string: a NUL byte would end the text early (the wire protocol can't carry one either);
- nesting costs stack. PostgreSQL gives up on its own near 10,000 levels; decoding and walking give up earlier, at some hundreds.
"""

from __future__ import annotations

import itertools
import re
from functools import lru_cache
from typing import Any

import msgspec

from .found import Tree

MAX_TEXT = 1 << 20
"""Longest text to read, in characters. Reading costs about a microsecond for ten characters, and the loop waits for it."""

MAX_KEPT = 16_384
"""Longest text of which the trees are kept until the next one is read, in characters."""

MAX_COPIES = 1 << 20
"""Most characters by which `copied` may grow a tree."""

OPERATORS_RUN = re.compile(r"[-+*/<>=~!@#%^&|`?]{1000}").search
"""The lexer takes a run of operator characters whole, then gives back all but the comment mark it begins with: 100 kB of
``/*/*/*`` cost it ten seconds."""

MULTIPLE = re.compile(r"\bset\b.*\)", re.IGNORECASE | re.DOTALL).search
"""Whether a text may assign to several columns at once."""

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Unreadable(Exception):
    """This text can't be read the way the server would; its message is the reason."""


class Misspelt(Unreadable):
    """PostgreSQL's grammar refuses the text; the message is the server's own, `position` where it points to."""

    def __init__(self, message: str, index: int | None = None) -> None:
        super().__init__(message)
        self.position = -1 if index is None else index + 1
        """In characters, from 1; -1: at the text's end."""


class Statement(msgspec.Struct, frozen=True):
    """One statement of a text."""

    tree: Tree
    """The wrapped node: ``{"SelectStmt": {…}}``."""
    start: int
    """Offset of its first byte in the UTF-8 text; leading blanks and comments belong to it."""
    length: int
    """Length in bytes; 0 means up to the end of the text."""

    def part_of(self, octets: bytes) -> str:
        """The statement's own part of the text, which is given as UTF-8."""
        return octets[self.start : self.start + self.length if self.length else None].decode()


def parse(text: str, *, standard_conforming_strings: bool = True) -> tuple[Statement, ...]:
    """The statements of a text, empty ones left out.

    Raises Unreadable for everything that isn't SQL of PostgreSQL 18 as the server would read it. The trees are shared: a text
    that is read again at once gets the same.
    """
    return (_once if len(text) <= MAX_KEPT else _parse)(text, standard_conforming_strings)


def _parse(text: str, standard_conforming_strings: bool) -> tuple[Statement, ...]:
    import pglast.parser  # after a worker's start at no cost; a process that decides of no statement never has it

    _check(text, standard_conforming_strings)
    try:
        document = _decode(pglast.parser.parse_sql_json(text))
    except pglast.parser.ParseError as error:
        raise Misspelt(*error.args) from error
    except (UnicodeError, msgspec.DecodeError) as error:
        raise Unreadable(f"not valid text: {error}") from error
    except RecursionError as error:
        raise Unreadable("nested too deeply") from error
    return tuple(
        Statement(item["stmt"], item.get("stmt_location", 0), item.get("stmt_len", 0))
        for item in document["stmts"]
        if "stmt" in item
    )


# The effects of a text are told from its tree, then where its values go: one after the other.
_once = lru_cache(maxsize=1)(_parse)


def _check(text: str, standard_conforming_strings: bool) -> None:
    if len(text) > MAX_TEXT:
        raise Unreadable(f"longer than {MAX_TEXT} characters")
    if "\0" in text:
        raise Unreadable("holds a NUL byte")
    if OPERATORS_RUN(text):
        raise Unreadable("holds a run of a thousand operator characters")
    if not standard_conforming_strings and "\\" in text:
        raise Unreadable("holds a backslash while standard_conforming_strings is off")
    if text.count(",") * len(text) > MAX_COPIES and MULTIPLE(text) and _copied(text) > MAX_COPIES:
        raise Unreadable("assigns a long expression to too many columns at once")


def _copied(text: str) -> int:
    """How many characters the grammar's tree repeats.

    ``SET (a, b, c) = (expression)`` puts the expression into the tree once for each column: 7 kB of text can make 200 MB of JSON.
    What counts is every parenthesis in front of an ``=``, with its commas times the rest of the text.
    """
    import pglast.parser

    total, opened = 0, []
    try:
        tokens = [token for token in pglast.parser.scan(text) if token.name not in ("SQL_COMMENT", "C_COMMENT")]
    except pglast.parser.ParseError as error:
        raise Unreadable(str(error)) from error
    for token, following in itertools.pairwise(tokens):
        if token.name == "ASCII_40":
            opened.append(0)
        elif token.name == "ASCII_44" and opened:
            opened[-1] += 1
        elif token.name == "ASCII_41" and opened:
            commas = opened.pop()
            if following.name == "ASCII_61":
                total += commas * (len(text) - token.end)
    return total
