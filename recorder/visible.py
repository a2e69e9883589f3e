"""Text from others, made safe to show.

What an agent sent must not move the cursor of whoever reads it, hide in invisible characters, or look like something else
through a change of direction (Unicode TR 36 §3; "Trojan Source", CVE-2021-42574). Each such character is shown by its name or
number between white brackets: ``⟦ESC⟧``, ``⟦U+202E⟧``. The bracket that opens such a name is itself shown as ``⟦U+27E6⟧``: what
is shown can't be forged by somebody who types it. Backslashes stay as they are, because statements are full of them.
"""

from __future__ import annotations

import re

_NAMES = {"\0": "NUL", "\a": "BEL", "\b": "BS", "\t": "TAB", "\n": "LF", "\r": "CR", "\x1b": "ESC", "\x7f": "DEL"}
# Printable by Unicode's categories, yet not to be seen (DerivedCoreProperties: Default_Ignorable_Code_Point); Braille's blank.
_INVISIBLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef"
_OPENING = "⟦"
_SUSPECT = re.compile(f"[{_OPENING}{_INVISIBLE}]")


def visible(text: str) -> str:
    """The text on one line, with every character that isn't plainly visible named. O(len(text))."""
    if text.isprintable() and not _SUSPECT.search(text):
        return text
    return "".join(char if char.isprintable() and not _SUSPECT.match(char) else _named(char) for char in text)


def visible_lines(text: str) -> tuple[str, ...]:
    """As `visible`, but a line each for the lines of the text; a tab is four spaces.

    Whoever prints them marks or indents every one, or a statement could add lines that look like ours.
    """
    return tuple(visible(line.replace("\t", "    ")) for line in text.replace("\r\n", "\n").split("\n"))


def _named(char: str) -> str:
    return f"{_OPENING}{_NAMES.get(char) or f'U+{ord(char):04X}'}⟧"
