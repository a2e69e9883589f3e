"""Keyed permutations of values that keep their shape.

A Feistel network over mixed radices, as FF1 (NIST SP 800-38G) is one over a single radix: the places of a value are cut into two
halves, and each round adds a keyed function of one half to the other. It is a bijection on the values of one shape, so different
values stay different and joins stay what they were. The round function is SHAKE256 over
the key and what it is given (FIPS 202: a sponge needs no more to be a keyed function); ten rounds as in FF1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

_ROUNDS = 10
_DIGITS, _LOWER, _UPPER = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LEADING = "123456789"
MAX_PLACES = 256
"""Longer values are not permuted: their numbers would cost more than a text is worth."""
# ISO/IEC 7812-1: the numbers that carry a check digit by Luhn's rule.
_CARD_DIGITS = range(12, 20)


def permute(key: bytes, shape: bytes, number: int, left: int, right: int) -> int:
    """A permutation of 0 .. left*right-1 that `key` and `shape` choose."""
    a, b = divmod(number, right)
    for turn in range(_ROUNDS):
        if turn % 2:
            b = (b + _round(key, shape, turn, a, right)) % right
        else:
            a = (a + _round(key, shape, turn, b, left)) % left
    return a * right + b


def _round(key: bytes, shape: bytes, turn: int, half: int, modulus: int) -> int:
    """Close to uniform below `modulus`: 16 bytes more than it has."""
    state = hashlib.shake_256(b"hostguard format %d|%d|%d|%x|" % (len(key), len(shape), turn, half))
    state.update(key)
    state.update(shape)
    return int.from_bytes(state.digest(modulus.bit_length() // 8 + 17), "big")


def reshape(text: str, key: bytes) -> str | None:
    """`text` with other letters for its letters and other digits for its digits; a number that passes Luhn still does.

    What is neither stays where it is. Letters outside ASCII become ASCII ones. None where nothing can be permuted.
    """
    digits = "".join(c for c in text if c in _DIGITS)
    if len(digits) in _CARD_DIGITS and _is_number(text) and luhn(digits):
        fresh = _permuted(digits[:-1], [_DIGITS] * (len(digits) - 1), key, b"luhn")
        if fresh is None:
            return None
        fresh += _check_digit(fresh)
        spare = iter(fresh)
        return "".join(next(spare) if c in _DIGITS else c for c in text)
    alphabets = [_alphabet(c) for c in text]
    places = [alphabet for alphabet in alphabets if alphabet]
    moved = _permuted("".join(_plain(c, a) for c, a in zip(text, alphabets, strict=True) if a), places, key, _shape(alphabets))
    if moved is None:
        return None
    spare = iter(moved)
    return "".join(next(spare) if alphabet else c for c, alphabet in zip(text, alphabets, strict=True))


def renumber(number: int, key: bytes, limit: int) -> int | None:
    """Another number of as many digits and the same sign, at most `limit`; Luhn is kept. None where none is found."""
    text, sign = str(abs(number)), -1 if number < 0 else 1
    card = len(text) in _CARD_DIGITS and luhn(text)
    # Walking the cycle keeps it a bijection (Black, Rogaway: Ciphers with Arbitrary Finite Domains): at most some ten steps here.
    for _ in range(256):
        if card:
            body = _permuted(text[:-1], [_LEADING] + [_DIGITS] * (len(text) - 2), key, b"luhn number")
            text = body + _check_digit(body) if body is not None else ""
        elif len(text) == 1:
            text = _permuted(text, [_DIGITS], key, b"digit") or ""
        else:
            text = _permuted(text, [_LEADING] + [_DIGITS] * (len(text) - 1), key, b"number") or ""
        if not text:
            return None
        if int(text) <= limit:
            return sign * int(text)
    return None


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of those before it (ISO/IEC 7812-1, annex B)."""
    return len(digits) > 1 and _check_digit(digits[:-1]) == digits[-1]


def _check_digit(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 - place % 2)
        total += value - 9 if value > 9 else value
    return str(-total % 10)


def _is_number(text: str) -> bool:
    return all(c in _DIGITS or c in " -" for c in text)


def _alphabet(c: str) -> str:
    if c in _DIGITS:
        return _DIGITS
    if c.isalpha():
        return _UPPER if c.isupper() else _LOWER
    return ""


def _plain(c: str, alphabet: str) -> str:
    """The character itself, or for one outside the alphabet its stand-in there."""
    return c if c in alphabet else alphabet[ord(c) % len(alphabet)]


def _shape(alphabets: Sequence[str]) -> bytes:
    """What the shape of a text depends on, for the round function."""
    return "".join(alphabet[0] if alphabet else "." for alphabet in alphabets).encode("ascii")


def _permuted(text: str, places: Sequence[str], key: bytes, shape: bytes) -> str | None:
    if not text or len(text) > MAX_PLACES:
        return None
    half = len(text) // 2
    number, sizes = 0, [1, 1]
    for place, (c, alphabet) in enumerate(zip(text, places, strict=True)):
        number = number * len(alphabet) + alphabet.index(c)
        sizes[place >= half] *= len(alphabet)
    number = permute(key, shape + b"%d" % len(text), number, sizes[0], sizes[1])
    fresh: list[str] = []
    for alphabet in reversed(places):
        number, digit = divmod(number, len(alphabet))
        fresh.append(alphabet[digit])
    return "".join(reversed(fresh))
