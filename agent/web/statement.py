"""A statement as HTML in which nothing is other than it looks: coloured by PostgreSQL's own lexer, odd characters marked.

The lexer gets the text as it is, before anything in it is made visible: whether a word is in a comment is what the server thinks
of it (a lone carriage return ends a comment there), not what it looks like. Where the lexer can't be sure nothing is coloured.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

import pglast.parser
from markupsafe import Markup, escape

from ...recorder.visible import visible

MAX_CHARACTERS = 256 * 1024
"""Of a text that is shown; who decides about a longer one does so where all of it can be read."""
MAX_ODD = 20
"""Different characters that are named below a statement."""

_STRINGS = ("SCONST", "USCONST", "BCONST", "XCONST")
_NUMBERS = ("ICONST", "FCONST", "PARAM")
_COMMENTS = ("SQL_COMMENT", "C_COMMENT")
_WRITES = frozenset(
    {
        *("ALTER", "CALL", "COPY", "CREATE", "DELETE_P", "DO", "DROP", "EXECUTE", "GRANT", "INSERT", "MERGE", "REASSIGN"),
        *("REINDEX", "REVOKE", "SET", "TRUNCATE", "UPDATE"),
    }
)
_FOREIGN = re.compile(r"[^\x20-\x7e]")
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Shown:
    """A text, ready to be put into a page."""

    lines: tuple[Markup, ...]
    warnings: tuple[str, ...]
    cut: bool
    """Whether it goes on."""


def show(text: str, *, lexed: bool = True) -> Shown:
    """The text in lines. `lexed`: whether the server reads it by the lexer's rules (standard_conforming_strings)."""
    shown = text[:MAX_CHARACTERS]
    pieces = list(_tokens(shown)) if lexed else []
    if not pieces:
        pieces = [("", shown)]
    lines: list[list[Markup]] = [[]]
    for kind, piece in pieces:
        for number, part in enumerate(piece.replace("\r\n", "\n").split("\n")):
            if number:
                lines.append([])
            if part:
                lines[-1].append(_span(kind, part))
    return Shown(tuple(Markup("").join(line) for line in lines), tuple(_warnings(shown)), len(text) > len(shown))


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """(class, piece) of the whole text; none where it can't be read."""
    try:
        tokens = pglast.parser.scan(text)
    except (pglast.parser.ParseError, ValueError):
        return
    at = 0
    for token in tokens:
        if token.start > at:
            yield "", text[at : token.start]
        yield _class(token.name, token.kind), text[token.start : token.end + 1]
        at = token.end + 1
    if at < len(text):
        yield "", text[at:]


def _class(name: str, kind: str) -> str:
    if name in _COMMENTS:
        return "comment"
    if name in _STRINGS:
        return "string"
    if name in _NUMBERS:
        return "number"
    if kind == "NO_KEYWORD":
        return ""
    return "writes" if name in _WRITES else "word"


def _span(kind: str, text: str) -> Markup:
    marked = Markup("").join(_marked(text))
    return Markup('<span class="{}">{}</span>').format(kind, marked) if kind else marked


def _marked(text: str) -> Iterator[Markup]:
    at = 0
    for match in _FOREIGN.finditer(text):
        yield escape(text[at : match.start()])
        char = match[0]
        if char == "\t":
            yield Markup("    ")
        else:
            shown = visible(char)
            kind = "foreign" if shown == char else "odd"
            yield Markup('<mark class="{}" title="{}">{}</mark>').format(kind, _name(char), shown)
        at = match.end()
    yield escape(text[at:])


def _warnings(text: str) -> Iterator[str]:
    """What a reader could overlook, a sentence each."""
    odd = sorted(set(_FOREIGN.findall(text)) - set("\n\r\t"))
    if odd:
        named = ", ".join(f"{visible(char)} {_name(char)}" for char in odd[:MAX_ODD])
        more = f" and {len(odd) - MAX_ODD} others" if len(odd) > MAX_ODD else ""
        yield f"Not all of it is plain ASCII; marked are: {named}{more}."
    mixed = sorted({word for word in _WORD.findall(text) if _is_mixed(word)})
    if mixed:
        yield f"Letters of several alphabets stand in one word: {', '.join(map(visible, mixed[:MAX_ODD]))}."
    if "\r" in text.replace("\r\n", "\n"):
        yield "A lone carriage return is in it, at which the server begins another line."


def _is_mixed(word: str) -> bool:
    """Whether a word has Latin letters of ASCII beside letters of another script."""
    letters = [char for char in word if char.isalpha()]
    scripts = {"LATIN" if char.isascii() else unicodedata.name(char, "?").split()[0] for char in letters}
    return len(scripts) > 1


def _name(char: str) -> str:
    return f"U+{ord(char):04X} {unicodedata.name(char, '')}".rstrip()
