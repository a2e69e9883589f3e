"""A password as PostgreSQL hashes it: SASLprep the way its server, libpq included, carries it out.

RFC 4013 lets an implementation refuse a password that holds what its tables don't allow. PostgreSQL does not: such a password,
like one that is no UTF-8, is hashed as it stands (``fe-auth-scram.c: scram_init``, ``auth-scram.c: pg_be_scram_build_secret``).
So are all that are pure ASCII, control characters included. And what is checked against the tables is the text before it was
normalized (``saslprep.c: pg_saslprep``). A library that follows the RFC derives other keys for these passwords than the server
did, so this one follows PostgreSQL.
"""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable

# RFC 4013 §2.3 prohibits these tables of RFC 3454; §2.5 unassigned code points (A.1) as well, in what is stored.
_PROHIBITED: tuple[Callable[[str], bool], ...] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def prepare(password: bytes) -> bytes:
    """What takes the password's place in every computation of SCRAM. Never fails."""
    if password.isascii():
        return password
    try:
        text = password.decode("utf-8")
    except UnicodeDecodeError:
        return password
    mapped = "".join(map(_map, text))
    if not mapped or any(prohibits(letter) for letter in mapped for prohibits in _PROHIBITED) or _mixes_directions(mapped):
        return password
    # Not Python's tables of Unicode 3.2, which RFC 3454 means: PostgreSQL normalizes by those of its own release.
    return unicodedata.normalize("NFKC", mapped).encode("utf-8")


def _map(letter: str) -> str:
    """RFC 4013 §2.1. Spaces come first: U+200B is in both tables, and is a space to PostgreSQL."""
    if stringprep.in_table_c12(letter):
        return " "
    return "" if stringprep.in_table_b1(letter) else letter


def _mixes_directions(text: str) -> bool:
    """RFC 3454 §6: text that runs from right to left must do so from its first character to its last."""
    if not any(map(stringprep.in_table_d1, text)):
        return False
    ends = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return not ends or any(map(stringprep.in_table_d2, text))
