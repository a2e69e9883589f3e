"""What of the secrets somebody could read in bytes that came back, after the usual decodings."""

from __future__ import annotations

import base64
import binascii
import hashlib
import html
import re
import struct
from collections.abc import Callable, Iterator
from datetime import date
from functools import lru_cache
from urllib.parse import unquote

from leaks.replies import Reply
from leaks.vault import SECRETS, Person, uuid

PIECE = 7
"""Characters of a secret in a row that count as having seen it."""
SHOWN_BY_MASKS = 4
"""A card's last characters; an e-mail's first one and its domain are no part of what is looked for either."""
PATTERNED = 14
"""Characters that a text under another alphabet must have to be recognised by where its characters repeat."""
MAX_TEXT = 100_000
MAX_DISGUISED = 60
MAX_TWICE = 400
"""Characters of a text that is decoded twice."""


def seen(reply: Reply, twin: str) -> set[str]:
    """The secrets of `twin` that the reply tells, each with how it was read."""
    texts = set(_texts(reply))
    found: dict[str, str] = {}
    looked_at = set()
    for how, text in _decoded(texts):
        if text in looked_at:
            continue
        looked_at.add(text)
        for name in _pieces_of(text, twin):
            found.setdefault(name, how)
    for name, values in _exact(twin).items():
        if any(value in reply.raw for value in values):
            found.setdefault(name, "as binary or as a digest")
    for text in texts:
        for name, how in _disguised(text, twin):
            found.setdefault(name, how)
    return {f"{name}, {how}" for name, how in found.items()}


def _pieces_of(text: str, twin: str) -> set[str]:
    """The secrets of which PIECE characters in a row stand in the text, whatever separates them."""
    needles = _needles(twin)
    lower = text.lower()
    forms = (lower, re.sub(r"[^a-z0-9]", "", lower))
    pieces = {form[at : at + PIECE] for form in forms for at in range(len(form) - PIECE + 1)}
    return {needles[piece] for piece in pieces & needles.keys()}


def _texts(reply: Reply) -> Iterator[str]:
    """The bytes as they came, each value, each column from top to bottom, each row from left to right."""
    yield reply.raw.decode("latin-1")[:MAX_TEXT]
    rows = [[cell.decode("latin-1") for cell in row] for row in reply.rows()]
    for row in rows:
        yield from row
        yield "".join(row)
    for position in range(max(map(len, rows), default=0)):
        column = [row[position] for row in rows if len(row) > position]
        yield "".join(column)
        yield " ".join(column)
        yield "".join(reversed(column))
    yield from (text.decode("latin-1") for text in reply.texts())


def _decoded(texts: set[str]) -> Iterator[tuple[str, str]]:
    """(how, text) of every text, of what it decodes to, and of what that decodes to."""
    for text in texts:
        yield "as it is", text
        for how, once in _once(text):
            yield how, once
            if len(once) > MAX_TWICE:
                continue
            for again, twice in _once(once):
                yield f"{how}, then {again}", twice


def _once(text: str) -> Iterator[tuple[str, str]]:
    for how, decoder in DECODERS.items():
        decoded = decoder(text)
        if decoded and decoded != text:
            yield how, decoded


def _hex(text: str) -> str:
    runs = re.findall(r"(?:[0-9a-fA-F]{2}){4,}", text)
    return " ".join(bytes.fromhex(run).decode("latin-1") for run in runs)


def _base64(text: str) -> str:
    joined = text.replace("\\n", "").replace("\n", "").replace("-", "+").replace("_", "/")
    pieces = []
    for run in re.findall(r"[A-Za-z0-9+/]{8,}", joined):
        # A run may begin with what stands before it: four ways to cut it.
        for start in range(4):
            cut = run[start:]
            cut = cut[: len(cut) // 4 * 4]
            try:
                pieces.append(base64.b64decode(cut).decode("latin-1"))
            except binascii.Error:
                continue
    return " ".join(pieces)


def _codes(text: str) -> str:
    numbers = [int(number) for number in re.findall(r"(?<!\d)\d{2,3}(?!\d)", text)]
    return "".join(chr(number) for number in numbers if 32 <= number < 127)


def _escapes(text: str) -> str:
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
    text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _base(prefix: str, base: int) -> Callable[[str], str]:
    digits = {2: "[01]{40,}", 8: "[0-7]{15,}", 16: "[0-9a-fA-F]{12,16}"}[base]
    return lambda text: prefix.join(str(int(run, base)) for run in re.findall(rf"\b{digits}\b", text))


def _rot13(text: str) -> str:
    lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return text.translate(str.maketrans(lower + upper, lower[13:] + lower[:13] + upper[13:] + upper[:13]))


DECODERS: dict[str, Callable[[str], str]] = {
    "backwards": lambda text: text[::-1],
    "hexadecimal": _hex,
    "base64": _base64,
    "character codes": _codes,
    "escapes": _escapes,
    "URL": unquote,
    "HTML": html.unescape,
    "UTF-16 or UTF-32": lambda text: text.replace("\0", ""),
    "UTF-8": lambda text: text.encode("latin-1", "ignore").decode("utf-8", "ignore"),
    "ROT13": _rot13,
    "base 2": _base(" ", 2),
    "base 8": _base(" ", 8),
    "base 16": _base(" ", 16),
}


def _secrets(person: Person) -> dict[str, str]:
    """What of each secret no mask shows."""
    return {
        "email": person.local[1:],
        "card": person.card[:-SHOWN_BY_MASKS],
        "token": person.token,
        "badge": str(person.badge),
        "salary": person.salary,
        "born": person.born,
        "member": uuid(person).replace("-", "")[len(person.card) :],
    }


@lru_cache
def _needles(twin: str) -> dict[str, str]:
    """Pieces to look for in texts in lower case, with and without what is neither letter nor digit, to whose they are."""
    found: dict[str, str] = {}
    for number, person in enumerate(SECRETS[twin], 1):
        for name, value in _secrets(person).items():
            for form in (value.lower(), re.sub(r"[^a-z0-9]", "", value.lower())):
                found |= {form[at : at + PIECE]: f"{name} {number}" for at in range(len(form) - PIECE + 1)}
    return found


@lru_cache
def _exact(twin: str) -> dict[str, tuple[bytes, ...]]:
    """Values in PostgreSQL's binary form, and digests that whoever has a guess can compare."""
    found: dict[str, tuple[bytes, ...]] = {}
    for number, person in enumerate(SECRETS[twin], 1):
        found[f"badge {number}"] = (struct.pack(">q", person.badge), struct.pack("<q", person.badge))
        found[f"born {number}"] = (struct.pack(">i", _days(person.born)),)
        found[f"salary {number}"] = (_numeric(person.salary),)
        found[f"member {number}"] = (bytes.fromhex(uuid(person).replace("-", "")),)
        found[f"span {number}"] = (struct.pack(">i", person.badge % 10**8),)
        for name, value in (("email", f"{person.local}@corvid.example"), ("card", person.card), ("token", person.token)):
            digests = [hashlib.new(kind, value.encode()) for kind in ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")]
            forms = [form for digest in digests for form in (digest.digest(), digest.hexdigest().encode())]
            found[f"{name} {number}"] = tuple(forms)
    return found


def _days(text: str) -> int:
    """A date in binary: days since 2000-01-01."""
    return (date.fromisoformat(text) - date(2000, 1, 1)).days


def _numeric(text: str) -> bytes:
    """The base 10000 digits of a numeric in binary."""
    whole, fraction = text.split(".")
    whole = whole.zfill(-(-len(whole) // 4) * 4)
    digits = whole + fraction.ljust(4, "0")
    return b"".join(struct.pack(">h", int(digits[at : at + 4])) for at in range(0, len(digits), 4))


def _disguised(text: str, twin: str) -> Iterator[tuple[str, str]]:
    """Secrets whose characters stand for others, or in another order."""
    if len(text) > MAX_DISGUISED:
        return
    for name, value in _whole(twin).items():
        length, shape = len(value), _pattern(value)
        for at in range(len(text) - length + 1):
            if _pattern(text[at : at + length]) == shape:
                yield name, "in another alphabet"
        if sorted(text) == sorted(value):
            yield name, "in another order"


@lru_cache
def _whole(twin: str) -> dict[str, str]:
    """Values that are long and repetitive enough to be known by their pattern."""
    found = {}
    for number, person in enumerate(SECRETS[twin], 1):
        for name, value in (("email", person.local), ("card", person.card), ("token", person.token)):
            if len(value) >= PATTERNED and len(value) - len(set(value)) >= 4:
                found[f"{name} {number}"] = value
    return found


def _pattern(text: str) -> tuple[int, ...]:
    """Where each character was first seen."""
    first: dict[str, int] = {}
    return tuple(first.setdefault(character, at) for at, character in enumerate(text))
