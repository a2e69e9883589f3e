"""Cuts a Cedar text into its policies, each with the line it starts on."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

# Cedar grammar (docs.cedarpolicy.com, "Grammar specification"): the only places where a ";" is not the end of a policy
# are strings and comments.
_TOKEN = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|;|\s+|[^";/\s]+|.', re.DOTALL)


class Piece(msgspec.Struct, frozen=True):
    """The text of one policy."""

    text: str
    line: int
    """Line of its first token, from 1."""


def pieces(text: str) -> Iterator[Piece]:
    """The policies of `text` in order; what follows the last ``;`` is a piece too unless it is only space and comments."""
    start, line, begun = 0, 1, 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        blank = word.isspace() or word.startswith("//")
        if not blank and not begun:
            start, begun = token.start(), line
        line += word.count("\n")
        if word == ";":
            yield Piece(text[start : token.end()], begun)
            begun = 0
    if begun:
        yield Piece(text[start:], begun)


def line_within(piece: Piece, words: str) -> int:
    """The line on which `words` stands, if it stands there just once; the piece's first line otherwise."""
    if words and piece.text.count(words) == 1:
        return piece.line + piece.text[: piece.text.index(words)].count("\n")
    return piece.line
