"""Detectors of e-mail addresses, telephones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import phonenumbers

from .found import Detector, whole

# Atoms of RFC 5322 and names of RFC 1034, letters of any script: no quoted local parts, no bare hosts.
_ATOM = r"[\w!#$%&'*+/=?^`{|}~-]{1,64}"
_EMAIL = rf"(?<![\w.!#$%&'*+/=?^`{{|}}~-]){_ATOM}(?:\.{_ATOM}){{0,8}}@(?:[^\W_][\w-]{{0,62}}\.){{1,8}}[^\W\d_][\w-]{{1,62}}"
_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,6})?"
_INTERNATIONAL = rf"(?<![\w+.])(?:\+|00)[1-9](?:[ ().\-/]{{0,2}}\d){{6,14}}{_EXTENSION}(?![\w]|[.-]\d)"
# Within a country only as people write it, in groups: a bare number is an id, unless a word before it says what it is.
# Without the 0 or bracket of an area code two groups are a house with its post code.
_GROUPED = (
    r"(?<![\w+.:/-])(?:\(\d{1,5}\)[ -]?\d{2,5}(?:[ .\-/]?\d{2,5}){0,3}|0\d{1,4}[ .\-/]\d{2,5}(?:[ .\-/]?\d{2,5}){0,3}"
    rf"|[1-9]\d{{1,2}}(?:[ .-]\d{{2,4}}){{2,3}}){_EXTENSION}(?![\w]|[.:/-]\d)"
)
_BARE = r"(?<![\w+.:/-])\d{9,11}(?![\w]|[.:/-]\d)"
_SAID = re.compile(r"phone|\btel\b|\btel\.|mobile|\bcell|\bcall|\bfax\b", re.IGNORECASE)
_SAID_CHARS = 40
_DATE = re.compile(r"\d{4}([-./])\d\d?\1\d\d?(?:\D|\Z)|\d\d?([-./])\d\d?\2\d{4}(?:\D|\Z)")
_GROUPS = re.compile(r"\d+")


def warm() -> None:
    """Load the tables of every country, which are else read when they are first needed."""
    phonenumbers.PhoneMetadata.load_all()
    _is_number("+44 20 7946 0958", None)


def _is_number(text: str, region: str | None) -> bool:
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return False
    return bool(phonenumbers.is_valid_number(number))


def phone(regions: Sequence[str]) -> Detector:
    """Telephones in international form, and in the national ones of `regions` (ISO 3166)."""
    international, grouped, bare = re.compile(_INTERNATIONAL), re.compile(_GROUPED), re.compile(_BARE)

    def find(text: str) -> Iterator[tuple[int, int]]:
        for match in international.finditer(text):
            if _is_number("+" + match[0].removeprefix("00").removeprefix("+"), None):
                yield match.span()
        for match in grouped.finditer(text):
            if _DATE.match(match[0]) or len(_GROUPS.findall(match[0])) < 2:
                continue
            if any(_is_number(match[0], region) for region in regions):
                yield match.span()
        for match in bare.finditer(text):
            said = _SAID.search(text, max(0, match.start() - _SAID_CHARS), match.start())
            if said and any(_is_number(match[0], region) for region in regions):
                yield match.span()

    return Detector("phone", (r"\d[ ().\-/]{0,2}\d(?:[ ().\-/]{0,2}\d){4}",), find)


EMAIL = Detector("email", (r"[^\s@]@[^\s@]",), whole(_EMAIL))
