"""Values of PostgreSQL's scalar types, on the wire as in Python.

Each `read` raises ValueError (or struct.error) for what is no value of its type; each `write` gives the form that the server
would send. Forms: the `*_send` and `*_out` functions in PostgreSQL 18, src/backend/utils/adt. Text dates are in ISO's style.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

TEXT, BINARY = 0, 1
_EPOCH = datetime.date(2000, 1, 1).toordinal()
_MICROSECONDS_A_DAY = 86_400_000_000
_NUMERIC = struct.Struct(">HhHH")
_NEGATIVE = 0x4000
_MAX_NUMBER_CHARS = 1000
_INET_V4, _INET_V6 = 2, 3
_TIMESTAMP = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[ T](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?)?(?:Z|\+00)?")


class Scalar(NamedTuple):
    """One type, or several with the same values."""

    family: str
    read: Callable[[bytes, int], Any]
    write: Callable[[Any, int], bytes]
    limit: int = 0
    """Integers: the greatest."""


def _integer(size: int, signed: bool = True) -> Scalar:
    limit = (1 << (8 * size - signed)) - 1

    def read(value: bytes, code: int) -> int:
        if code == BINARY:
            if len(value) != size:
                raise ValueError("size")
            return int.from_bytes(value, "big", signed=signed)
        # The longest int8 has 20 characters; int() of more would cost more than it is worth.
        if len(value) > 20 or not value.removeprefix(b"-").isdigit():
            raise ValueError("no number")
        return int(value)

    def write(number: int, code: int) -> bytes:
        if not -limit - 1 <= number <= limit:
            raise ValueError("too large")
        return number.to_bytes(size, "big", signed=signed) if code == BINARY else b"%d" % number

    return Scalar("integer", read, write, limit)


def _float(form: str, digits: int) -> Scalar:
    def read(value: bytes, code: int) -> float:
        return float(struct.unpack(form, value)[0]) if code == BINARY else float(_ascii(value))

    def write(number: float, code: int) -> bytes:
        return struct.pack(form, number) if code == BINARY else b"%.*g" % (digits, number)

    return Scalar("float", read, write)


def _ascii(value: bytes) -> str:
    if len(value) > _MAX_NUMBER_CHARS:
        raise ValueError("too long")
    return value.decode("ascii")


def _read_numeric(value: bytes, code: int) -> Decimal:
    if code == TEXT:
        number = Decimal(_ascii(value).replace("_", "?"))
    else:
        count, weight, sign, scale = _NUMERIC.unpack_from(value)
        if len(value) != _NUMERIC.size + 2 * count or count > _MAX_NUMBER_CHARS or sign not in (0, _NEGATIVE):
            raise ValueError("no number")
        digits = 0
        for digit in struct.unpack_from(f">{count}H", value, _NUMERIC.size):
            digits = digits * 10_000 + digit
        exponent = 4 * (weight - count + 1)
        if abs(exponent) > 4 * _MAX_NUMBER_CHARS or scale > _MAX_NUMBER_CHARS:
            raise ValueError("too long")
        text = f"{'-' if sign else ''}{digits}E{exponent}"
        # Scaled as text would show it: 1.50 is another text than 1.5.
        number = Decimal(f"{Decimal(text):.{scale}f}")
    if not number.is_finite():
        raise ValueError("not finite")
    return number


def _write_numeric(number: Decimal, code: int) -> bytes:
    text = f"{number:f}"
    if code == TEXT:
        return text.encode("ascii")
    whole, _, fraction = text.removeprefix("-").partition(".")
    whole = whole.lstrip("0")
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    packed = whole + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    digits = [int(packed[at : at + 4]) for at in range(0, len(packed), 4)]
    weight = len(whole) // 4 - 1
    while digits and digits[0] == 0:
        digits.pop(0)
        weight -= 1
    while digits and digits[-1] == 0:
        digits.pop()
    sign = _NEGATIVE if number < 0 else 0
    return _NUMERIC.pack(len(digits), weight if digits else 0, sign, len(fraction)) + struct.pack(f">{len(digits)}H", *digits)


def _read_uuid(value: bytes, code: int) -> bytes:
    raw = bytes.fromhex(value.replace(b"-", b"").decode("ascii")) if code == TEXT else value
    if len(raw) != 16:
        raise ValueError("size")
    return raw


def _write_uuid(raw: bytes, code: int) -> bytes:
    text = raw.hex()
    return raw if code == BINARY else f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}".encode("ascii")


def _read_bytea(value: bytes, code: int) -> bytes:
    if code == BINARY:
        return value
    if not value.startswith(b"\\x"):  # bytea_output = escape
        raise ValueError("not in hex")
    return bytes.fromhex(value[2:].decode("ascii"))


def _write_bytea(raw: bytes, code: int) -> bytes:
    return raw if code == BINARY else b"\\x" + raw.hex().encode("ascii")


def _read_bool(value: bytes, code: int) -> bool:
    if code == BINARY:
        return {b"\0": False, b"\1": True}[value]
    return {b"t": True, b"true": True, b"f": False, b"false": False}[value]


def _write_bool(flag: bool, code: int) -> bytes:
    return bytes([flag]) if code == BINARY else (b"t" if flag else b"f")


def _read_inet(value: bytes, code: int) -> Any:
    if code == TEXT:
        return ipaddress.ip_interface(_ascii(value))
    family, bits, _, size = value[:4]
    if (family, size, len(value)) not in ((_INET_V4, 4, 8), (_INET_V6, 16, 20)):
        raise ValueError("no address")
    return ipaddress.ip_interface((value[4:], bits))


def _write_inet(address: Any, code: int, cidr: bool) -> bytes:
    bits = address.network.prefixlen
    if code == TEXT:
        whole = bits == address.max_prefixlen and not cidr
        return (str(address.ip) if whole else str(address)).encode("ascii")
    packed = address.ip.packed
    return bytes([_INET_V4 if address.version == 4 else _INET_V6, bits, cidr, len(packed)]) + bytes(packed)


def _mac(size: int) -> Scalar:
    def read(value: bytes, code: int) -> bytes:
        raw = bytes.fromhex(value.replace(b":", b"").decode("ascii")) if code == TEXT else value
        if len(raw) != size:
            raise ValueError("size")
        return raw

    return Scalar("mac", read, lambda raw, code: raw if code == BINARY else raw.hex(":").encode("ascii"))


def _read_date(value: bytes, code: int) -> int:
    """Days since 2000-01-01."""
    if code == BINARY:
        return int(struct.unpack(">i", value)[0])
    return datetime.date.fromisoformat(_ascii(value)).toordinal() - _EPOCH


def _write_date(days: int, code: int) -> bytes:
    return struct.pack(">i", days) if code == BINARY else _iso(days).encode("ascii")


def _iso(days: int) -> str:
    return datetime.date.fromordinal(days + _EPOCH).isoformat()


def _timestamp(zone: bytes) -> Scalar:
    """Microseconds since 2000-01-01 00:00 (UTC where there is a zone)."""

    def read(value: bytes, code: int) -> int:
        if code == BINARY:
            return int(struct.unpack(">q", value)[0])
        match = _TIMESTAMP.fullmatch(_ascii(value))
        if match is None:
            raise ValueError("no timestamp")
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        days = datetime.date(year, month, day).toordinal() - _EPOCH
        seconds = (hour * 60 + minute) * 60 + second
        return days * _MICROSECONDS_A_DAY + seconds * 1_000_000 + int((match[7] or "").ljust(6, "0"))

    def write(moment: int, code: int) -> bytes:
        if code == BINARY:
            return struct.pack(">q", moment)
        days, rest = divmod(moment, _MICROSECONDS_A_DAY)
        seconds, micro = divmod(rest, 1_000_000)
        fraction = f".{micro:06}".rstrip("0") if micro else ""
        return f"{_iso(days)} {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{fraction}".encode("ascii") + zone

    return Scalar("timestamp", read, write)


def year_start(days: int) -> int:
    """The first day of the year of a day, both since 2000-01-01. Raises ValueError outside the years 1 to 9999."""
    return datetime.date(datetime.date.fromordinal(days + _EPOCH).year, 1, 1).toordinal() - _EPOCH


def moment_year_start(moment: int) -> int:
    """The same for microseconds."""
    return year_start(moment // _MICROSECONDS_A_DAY) * _MICROSECONDS_A_DAY


SCALARS: dict[int, Scalar] = {
    16: Scalar("bool", _read_bool, _write_bool),
    17: Scalar("bytea", _read_bytea, _write_bytea),
    20: _integer(8),
    21: _integer(2),
    23: _integer(4),
    26: _integer(4, signed=False),
    650: Scalar("cidr", _read_inet, lambda address, code: _write_inet(address, code, True)),
    700: _float(">f", 9),
    701: _float(">d", 17),
    774: _mac(8),
    829: _mac(6),
    869: Scalar("inet", _read_inet, lambda address, code: _write_inet(address, code, False)),
    1082: Scalar("date", _read_date, _write_date),
    1114: _timestamp(b""),
    1184: _timestamp(b"+00"),
    1700: Scalar("numeric", _read_numeric, _write_numeric),
    2950: Scalar("uuid", _read_uuid, _write_uuid),
}
"""By type OID (``pg_type.dat``)."""
