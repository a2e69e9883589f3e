r"""The shape of a text: the same for texts that differ only in the values of simple literals, found without parsing.

Plans are cached by shape, so that a statement with other numbers in it costs no parse. The danger is two texts of one shape that
the server reads differently. Therefore only texts whose lexing needs no context have a shape; any other is None, and gets parsed.

Theory of operation
-------------------
1. Strings. Cut at its quotes, a text alternates between outside and inside, as long as nothing else can hold a quote. Backslashes
   and quoted names that aren't simple are refused beforehand; comments and dollar quotes afterwards, in the outside parts: the
   first of them in a text always stands outside, whatever quotes follow it. Refused as well: an odd quote; a quote right behind
   a word (``E''``, ``B''``, ``X''``, ``N''``, ``U&''``); two strings with only blanks between them, which the lexer may join.
2. Numbers. Those that are an ICONST to the grammar (they fit 32 bits) become one mark, plain decimals that are an FCONST another.
   Everything else that begins with a digit is refused (``1e5``, ``0x1F``, ``1_000``, ``.5``, ``1.``, ``1a``: releases read them
   differently). A minus sign is no part of a number, for the lexer neither.
3. What is left must hold no comment, and no dollar sign but those of parameters.

The marks are control characters, which no text with a shape may hold.

What a literal's value does to the meaning is not the shape's business: an Analysis for which a value mattered is
``literal_sensitive``, and is not kept by shape. Where the grammar refuses a value (``float(0)``) the server refuses the text,
too.
"""

from __future__ import annotations

import re

MAX_TEXT = 8192
"""Longer texts have no shape: a plan kept for one would seldom be met again, and costs memory."""

STRING, INTEGER, DECIMAL, DOUBTFUL = "\x01", "\x02", "\x03", "\x04"

_REFUSED = re.compile(r"[^\t\n\r -\[\]-~]").search
"""A backslash, a control character, anything but ASCII."""

_NAMES = re.compile(r'"([A-Za-z_][A-Za-z0-9_]*)"(?!["\'])').sub
_NUMBERS = re.compile(r"[0-9](?<![\w$][0-9])[\w$.]*", re.ASCII).sub
_INTEGER = re.compile(r"[0-9]{1,9}|1[0-9]{9}").fullmatch
_DECIMAL = re.compile(r"[0-9]{1,99}\.[0-9]{1,99}|[3-9][0-9]{9}|[1-9][0-9]{10,99}").fullmatch
_NOT_A_PARAMETER = re.compile(r"\w\$|\$(?![0-9]{1,5}(?![\w$.]))", re.ASCII).search


def shape(text: str) -> str | None:
    """The text with marks in place of its literals; None where only parsing can tell what they are."""
    if len(text) > MAX_TEXT or _REFUSED(text):
        return None
    if '"' in text and ('&"' in text or '"' in _NAMES("", text)):
        return None
    marked = _without_strings(text) if "'" in text else text
    if marked is None or "--" in marked or "/*" in marked or ("$" in marked and _NOT_A_PARAMETER(marked)):
        return None
    marked = _NUMBERS(_number, marked)
    return None if DOUBTFUL in marked else marked


def _without_strings(text: str) -> str | None:
    """The outside parts with a mark for each string; a doubled quote is a string's own."""
    parts = text.split("'")
    if not len(parts) % 2:
        return None
    outside = [parts[0]]
    for part in parts[2:-1:2]:
        if part:
            if part.isspace():
                return None
            outside.append(part)
    outside.append(parts[-1])
    for part in outside[:-1]:
        if part and (part[-1].isalnum() or part[-1] in '_&$"'):
            return None
    return STRING.join(outside)


def _number(match: re.Match[str]) -> str:
    text, start = match[0], match.start()
    if start and match.string[start - 1] == ".":
        return DOUBTFUL
    return INTEGER if _INTEGER(text) else DECIMAL if _DECIMAL(text) else DOUBTFUL
