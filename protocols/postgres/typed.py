"""Masks of values that are not characters: numbers, dates, addresses, UUIDs.

Each shaper reads a value, masks what it means, writes it in the same form: so text and binary of one value are masked alike.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Any

from ..disclosure import Mask
from .permute import permute, renumber, reshape
from .scalars import SCALARS, TEXT, Scalar, moment_year_start, year_start
from .texts import MAX_KEY_BYTES, date_year, digest

Shaper = Callable[[bytes], bytes | None]
Change = Callable[[Any], Any]

# What stays of an address: its network, as those who anonymise logs cut it.
_NETWORK_BITS = {4: 24, 6: 48}


def constant(text: str, type_oid: int, code: int) -> bytes | None:
    """`text` as a value of that type; None when it is none."""
    scalar = SCALARS.get(type_oid)
    if scalar is None:
        return None
    try:
        return scalar.write(scalar.read(text.encode("ascii"), TEXT), code)
    except (ValueError, ArithmeticError, LookupError):
        return None


def shaper(mask: Mask, scalar: Scalar, code: int) -> Shaper | None:
    """What `mask` makes of the values of one type in one format; None where there is no such mask."""
    if mask.kind == "date_year" and code == TEXT and scalar.family in ("date", "timestamp"):
        return _text_date_year
    change = _change(mask, scalar)
    if change is None:
        return None
    return lambda value: scalar.write(change(scalar.read(value, code)), code)


def _text_date_year(value: bytes) -> bytes:
    """By the text alone: DateStyle is the client's, and so is the year that its time zone shows."""
    fresh = date_year(value.decode("ascii"))
    if fresh is None:
        raise ValueError("no date")
    return fresh.encode("ascii")


def _change(mask: Mask, scalar: Scalar) -> Change | None:
    key = mask.key[:MAX_KEY_BYTES]
    match mask.kind, scalar.family:
        case "date_year", "date":
            return year_start
        case "date_year", "timestamp":
            return moment_year_start
        case "hash", "integer":
            return lambda number: _number(digest(key)(b"%d" % number)) % (scalar.limit + 1)
        case "hash", "numeric":
            # Without trailing zeros: 1.50 and 1.5 are equal for the server.
            return lambda number: Decimal(_number(digest(key)(f"{number.normalize():f}".encode())) % (1 << 63))
        case "hash", "float":
            return lambda number: float(_number(digest(key)(repr(number).encode())) % (1 << 24))
        case (("hash" | "format"), "uuid"):
            return digest(key)
        case "hash", "bytea":
            return digest(key)
        case (("hash" | "format"), "mac"):
            # The second bit of the first byte says that nobody was assigned this address (IEEE 802: locally administered).
            return lambda raw: bytes([raw[0] & 0 | 2]) + digest(key)(raw)[1 : len(raw)]
        case "format", "integer":
            return lambda number: _found(renumber(number, key, scalar.limit))
        case "format", "numeric":
            return lambda number: _renumbered(number, key)
        case "format", "inet":
            return lambda address: _moved(address, key)
        case "partial", "integer":
            return lambda number: _tail(number, mask.keep)
        case "partial", "numeric":
            return lambda number: Decimal(_tail(int(number), mask.keep)) if number == number.to_integral_value() else Decimal(0)
        case "partial", ("inet" | "cidr"):
            return _network
        case "partial", "mac":
            return lambda raw: raw[:3] + bytes(len(raw) - 3)
        case _:
            return None


def _number(hashed: bytes) -> int:
    return int.from_bytes(hashed, "big")


def _found(number: int | None) -> int:
    if number is None:
        raise ValueError("no number of that shape")
    return number


def _tail(number: int, keep: int) -> int:
    """The last `keep` digits, all others 0; 0 for a number that has no more than these."""
    return abs(number) % 10**keep if len(str(abs(number))) > keep else 0


@cache
def _max_numeric() -> int:
    """Beyond PostgreSQL's numeric; ten milliseconds to work out, for a mask that few have."""
    return 10**131072


def _renumbered(number: Decimal, key: bytes) -> Decimal:
    if number == number.to_integral_value() and number.as_tuple().exponent == 0:
        return Decimal(_found(renumber(int(number), key, _max_numeric())))
    fresh = reshape(f"{number:f}", key)
    if fresh is None:
        raise ValueError("too long")
    return Decimal(fresh)


def _network(address: Any) -> Any:
    bits = min(_NETWORK_BITS[address.version], address.network.prefixlen)
    network = ipaddress.ip_network((int(address.ip), bits), strict=False)
    return ipaddress.ip_interface((network.network_address, address.network.prefixlen))


def _moved(address: Any, key: bytes) -> Any:
    half = 1 << (address.max_prefixlen // 2)
    moved = permute(key, b"inet%d" % address.version, int(address.ip), half, half)
    make = ipaddress.IPv4Address if address.version == 4 else ipaddress.IPv6Address
    return ipaddress.ip_interface((make(moved), address.network.prefixlen))
