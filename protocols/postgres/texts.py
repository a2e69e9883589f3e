"""Masks of characters.

Each mask is a function from text to text, None where the text can't be shaped so; the caller then redacts. `partial` does to
text what ``rows.c`` does to a column's bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from ..disclosure import Mask
from .permute import reshape

MAX_KEY_BYTES = 64
DIGEST_BYTES = 16
_ADDRESS_END = re.compile(r"@(?=[^@]*\.)[A-Za-z0-9.\-\u0080-\U0010ffff\udc80-\udcff]*\Z")
_ISO_DATE = re.compile(r"(\d{4,7})-\d\d-\d\d(?:([ T])\d\d:\d\d(?::\d\d(?:\.\d+)?)?([+-]\d\d(?::\d\d){0,2}|Z)?)?( BC)?")
# SQL and German DateStyle, day or month first: the first of January looks the same in both.
_OTHER_DATE = re.compile(r"\d\d?([/.-])\d\d?([/.-])(\d{4,7})(?: \d\d:\d\d(?::\d\d(?:\.\d+)?)?)?( [A-Z]{1,5})?( BC)?")

Masking = Callable[[str], str | None]


def digest(key: bytes) -> Callable[[bytes], bytes]:
    """The keyed hash (BLAKE2b, 16 bytes) of values."""
    # The keyed state is made once and copied for each value: half the work of short values is the key's own block.
    keyed = hashlib.blake2b(digest_size=DIGEST_BYTES, key=key[:MAX_KEY_BYTES])

    def of(value: bytes) -> bytes:
        state = keyed.copy()
        state.update(value)
        return state.digest()

    return of


def masking(mask: Mask) -> Masking:
    """What `mask` does to a text; what can't be shaped, and every other kind, becomes the mask's text."""
    stand_in = mask.text or "[redacted]"
    shape = _shaping(mask)
    if shape is None:
        return lambda _: stand_in

    def apply(text: str) -> str:
        fresh = shape(text)
        return stand_in if fresh is None else fresh

    return apply


def _shaping(mask: Mask) -> Masking | None:
    match mask.kind:
        case "partial":
            return lambda text: partial(text, mask.keep)
        case "hash":
            of = digest(mask.key)
            return lambda text: of(text.encode("utf-8", "surrogateescape")).hex()
        case "format":
            key = mask.key[:MAX_KEY_BYTES]
            return lambda text: reshape(text, key)
        case "date_year":
            return date_year
        case _:
            return None


def partial(text: str, keep: int) -> str:
    """All but the last `keep` characters starred; of an e-mail address the first character and the domain stay."""
    address = _ADDRESS_END.search(text)
    if address is not None and address.start() > 0:
        local = text[: address.start()]
        return (local[0] + "*" * (len(local) - 1) if len(local) > 1 else "*") + address[0]
    hidden = len(text) - keep if keep < len(text) else len(text)
    return "*" * hidden + text[hidden:]


def date_year(text: str) -> str | None:
    """The first of January of a date's year, at midnight, in the form that the date had."""
    found = _ISO_DATE.fullmatch(text)
    if found is not None:
        year, gap, zone, era = (part or "" for part in found.groups())
        return f"{year}-01-01" + (f"{gap}00:00:00{zone}" if gap else "") + era
    found = _OTHER_DATE.fullmatch(text)
    if found is not None:
        timed = ":" in text
        return f"01{found[1]}01{found[2]}{found[3]}" + (f" 00:00:00{found[4] or ''}" if timed else "") + (found[5] or "")
    return None
