"""What the rows of a COPY hold, field by field, in each of its forms.

Text (``CopyAttributeOutText``, PostgreSQL 18, src/backend/commands/copyto.c): in a value a newline, the delimiter, a backslash
stand behind a backslash, so that a bare newline ends a row and a bare delimiter a field. CSV (``CopyAttributeOutCSV``): a value
that holds the delimiter, a quote or the end of a line is quoted as a whole; in quotes the escape stands before each quote and
each escape. A server that speaks protocol 3 ends each row with a newline alone. Binary (PostgreSQL 18 docs, COPY, "Binary
Format"): a header, for each row the number of its fields and each with its size, the number -1. All raise ValueError for what is
none of them.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from ..copies import CopyShape

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEAD = struct.Struct(">11sII")
_COUNT, _SIZE = struct.Struct(">h"), struct.Struct(">i")
_ESCAPES = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


class Piece(NamedTuple):
    """Bytes of the data that belong together."""

    data: bytes
    is_row: bool
    """Else what stands before the rows, or behind them."""


class Form(Protocol):
    """One of the three; follows one COPY."""

    def __init__(self, shape: CopyShape) -> None: ...

    def feed(self, data: bytes) -> Iterator[Piece]:
        """What is whole now. O(bytes), however they are cut."""

    def complete(self) -> bool:
        """Whether the data may end here."""

    def waiting(self) -> int:
        """Bytes of the row that is not whole yet."""

    def fields(self, row: bytes) -> list[bytes | None]:
        """The fields of a row as they stand there."""

    def value(self, field: bytes | None) -> bytes | None:
        """What a field holds; None for NULL."""

    def field(self, value: bytes | None, position: int) -> bytes | None:
        """A field that holds `value`, as the server would write it."""

    def row(self, fields: Sequence[bytes | None]) -> bytes:
        """A row of these fields."""


def form(shape: CopyShape) -> Form:
    """The form that `shape` has. Raises KeyError for one that there is not."""
    forms: dict[str, type[Form]] = {"text": TextForm, "csv": CsvForm, "binary": BinaryForm}
    return forms[shape.form](shape)


class _Lines:
    """What text and CSV have in common: a row is a line."""

    def __init__(self, shape: CopyShape) -> None:
        self._delimiter = shape.delimiter
        self._head = shape.header
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[Piece]:
        at = 0
        for end in self._ends(data):
            line = bytes(self._rest) + data[at:end]
            self._rest.clear()
            at = end
            yield Piece(line, not self._head)
            self._head = False
        self._rest += data[at:]

    def _ends(self, data: bytes) -> Iterator[int]:
        """The places in `data`, which goes on where that of the last call ended, behind each row that ends in it."""
        raise NotImplementedError

    def complete(self) -> bool:
        return not self._rest

    def waiting(self) -> int:
        return len(self._rest)

    def row(self, fields: Sequence[bytes | None]) -> bytes:
        return self._delimiter.join([field or b"" for field in fields]) + b"\n"

    def _split(self, row: bytes, one: re.Pattern[bytes]) -> list[bytes | None]:
        """The fields of a row that has more in it than fields and delimiters."""
        found: list[bytes | None] = []
        at, end = -1, len(row) - 1
        while at < end:
            match = one.match(row, at + 1, end)
            assert match is not None
            found.append(match[0])
            at = match.end()
            if at < end and row[at : at + 1] != self._delimiter:
                raise ValueError("something that can't stand in a field")
        return found


class TextForm(_Lines):
    """The text form."""

    def __init__(self, shape: CopyShape) -> None:
        super().__init__(shape)
        self._null = shape.null
        self._one = re.compile(rb"[^\\%b]*(?:\\.[^\\%b]*)*" % ((re.escape(shape.delimiter),) * 2), re.DOTALL)
        marks = {bytes([c]): b"\\" + letter for letter, plain in _ESCAPES.items() for c in plain}
        marks |= {b"\\": b"\\\\", shape.delimiter: marks.get(shape.delimiter, b"\\" + shape.delimiter)}
        self._marks = marks
        self._marked = re.compile(b"[%b]" % b"".join(map(re.escape, marks)))

    def _ends(self, data: bytes) -> Iterator[int]:
        at = 0
        while (found := data.find(b"\n", at)) >= 0:
            at = found + 1
            yield at

    def fields(self, row: bytes) -> list[bytes | None]:
        return self._split(row, self._one) if b"\\" in row else [*row[:-1].split(self._delimiter)]

    def value(self, field: bytes | None) -> bytes | None:
        if field is None or field == self._null:
            return None
        return _ESCAPED.sub(lambda mark: _ESCAPES.get(mark[1], mark[1]), field) if b"\\" in field else field

    def field(self, value: bytes | None, position: int) -> bytes:
        return self._null if value is None else self._marked.sub(lambda mark: self._marks[mark[0]], value)


class CsvForm(_Lines):
    """The CSV form."""

    def __init__(self, shape: CopyShape) -> None:
        super().__init__(shape)
        self._null = shape.null
        self._quote, self._escape = shape.quote, shape.escape
        self._forced = shape.forced
        self._alone = len(shape.names) == 1
        quote, escape, delimiter = map(re.escape, (shape.quote, shape.escape, shape.delimiter))
        plain = rb"[^%b%b]*" % (quote, escape)
        within = rb"%b(?:%b[%b%b]%b)*" % (plain, escape, quote, escape, plain)
        self._one = re.compile(rb"%b%b%b|[^%b%b\r\n]*" % (quote, within, quote, quote, delimiter), re.DOTALL)
        self._escaped = re.compile(rb"%b([%b%b])" % (escape, quote, escape))
        self._marked = re.compile(rb"[%b%b]" % (quote, escape))
        self._needs = re.compile(rb"[%b%b\r\n]" % (quote, delimiter))
        self._inside = False
        """Within quotes, at the place up to which was looked."""
        self._skip = 0
        """Bytes of what comes next that are escaped already."""

    def _ends(self, data: bytes) -> Iterator[int]:
        at, self._skip = self._skip, 0
        doubles = self._escape != self._quote
        while at < len(data):
            if self._inside:
                quote = data.find(self._quote, at)
                escape = data.find(self._escape, at, quote if quote >= 0 else len(data)) if doubles else -1
                if escape >= 0:
                    at = escape + 2
                elif quote >= 0:
                    self._inside = False
                    at = quote + 1
                else:
                    return
                # An escape that is the last byte takes the first of what comes next with it.
                self._skip = max(0, at - len(data))
            else:
                end = data.find(b"\n", at)
                quote = data.find(self._quote, at, end if end >= 0 else len(data))
                if quote >= 0:
                    self._inside = True
                    at = quote + 1
                elif end >= 0:
                    at = end + 1
                    yield at
                else:
                    return

    def fields(self, row: bytes) -> list[bytes | None]:
        return self._split(row, self._one) if self._quote in row else [*row[:-1].split(self._delimiter)]

    def value(self, field: bytes | None) -> bytes | None:
        if field is not None and field.startswith(self._quote):
            return self._escaped.sub(rb"\1", field[1:-1])
        return None if field == self._null else field

    def field(self, value: bytes | None, position: int) -> bytes:
        if value is None:
            return self._null
        if position in self._forced or value == self._null or self._needs.search(value) or (self._alone and value == b"\\."):
            return self._quote + self._marked.sub(lambda mark: self._escape + mark[0], value) + self._quote
        return value


class BinaryForm:
    """The binary form."""

    def __init__(self, shape: CopyShape) -> None:
        self._columns = len(shape.types)
        self._rest = bytearray()
        self._at = 0
        """Up to where `_rest` was looked at."""
        self._left = -1
        """Fields of the row that were not; -1 between rows."""
        self._began = self._over = False

    def feed(self, data: bytes) -> Iterator[Piece]:
        self._rest += data
        while self._step():
            if self._left > 0:
                continue
            is_row = self._left == 0
            self._left = -1
            piece = bytes(self._rest[: self._at])
            del self._rest[: self._at]
            self._at = 0
            yield Piece(piece, is_row)
        if self._over and self._rest:
            raise ValueError("something behind its end")

    def _step(self) -> bool:
        """Go on by a header, the number of fields, a field; False when it is not here in whole."""
        rest, at = self._rest, self._at
        if self._over:
            return False
        if not self._began:
            return self._header()
        if self._left < 0:
            if len(rest) < _COUNT.size:
                return False
            (count,) = _COUNT.unpack_from(rest)
            self._at = _COUNT.size
            if count == -1:
                self._over = True
            elif count != self._columns:
                raise ValueError(f"{count} fields instead of {self._columns}")
            else:
                self._left = count
            return True
        if len(rest) < at + _SIZE.size:
            return False
        (size,) = _SIZE.unpack_from(rest, at)
        if size < -1:
            raise ValueError("a size below nothing")
        after = at + _SIZE.size + max(0, size)
        if len(rest) < after:
            return False
        self._at = after
        self._left -= 1
        return True

    def _header(self) -> bool:
        if len(self._rest) < _HEAD.size:
            return False
        signature, flags, extension = _HEAD.unpack_from(self._rest)
        # No flag has had a meaning since PostgreSQL 12, no extension ever had one: neither can be followed.
        if signature != _SIGNATURE or flags or extension:
            raise ValueError("another header")
        self._at = _HEAD.size
        self._began = True
        return True

    def complete(self) -> bool:
        return self._over

    def waiting(self) -> int:
        return len(self._rest)

    def fields(self, row: bytes) -> list[bytes | None]:
        found: list[bytes | None] = []
        at = _COUNT.size
        for _ in range(self._columns):
            (size,) = _SIZE.unpack_from(row, at)
            at += _SIZE.size
            found.append(row[at : at + size] if size >= 0 else None)
            at += max(0, size)
        return found

    def value(self, field: bytes | None) -> bytes | None:
        return field

    def field(self, value: bytes | None, position: int) -> bytes | None:
        return value

    def row(self, fields: Sequence[bytes | None]) -> bytes:
        parts = [_COUNT.pack(len(fields))]
        for field in fields:
            parts.append(_SIZE.pack(-1 if field is None else len(field)))
            parts.append(field or b"")
        return b"".join(parts)
