"""What is shown to people can't deceive them."""

from __future__ import annotations

import struct
import unicodedata
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.recorder.parameters import plain, render
from hostguard.recorder.visible import visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("SELECT 'é', '漢', '😀' -- \\n stays", "SELECT 'é', '漢', '😀' -- \\n stays"),
        ("\x1b[2J\x1b]0;title\x07", "⟦ESC⟧[2J⟦ESC⟧]0;title⟦BEL⟧"),
        ("a\nb\tc\rd\0", "a⟦LF⟧b⟦TAB⟧c⟦CR⟧d⟦NUL⟧"),
        ("\x9b31m", "⟦U+009B⟧31m"),
        ("user\u202e nimda\u2066", "user⟦U+202E⟧ nimda⟦U+2066⟧"),
        ("ad\u200bmin\ufeff\u00ad", "ad⟦U+200B⟧min⟦U+FEFF⟧⟦U+00AD⟧"),
        ("a\u00a0b\u2028c", "a⟦U+00A0⟧b⟦U+2028⟧c"),
        ("x\u3164\u2800\ufe0f", "x⟦U+3164⟧⟦U+2800⟧⟦U+FE0F⟧"),
        ("\U000e0041", "⟦U+E0041⟧"),
        ("\udcff", "⟦U+DCFF⟧"),
        ("⟦ESC⟧", "⟦U+27E6⟧ESC⟧"),
    ],
)
def test_hidden_characters_are_named(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text(st.characters()))
def test_what_is_shown_is_plain_and_stands_for_one_text_only(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in shown)
    names = {"NUL": 0, "BEL": 7, "BS": 8, "TAB": 9, "LF": 10, "CR": 13, "ESC": 27, "DEL": 127}
    parts = shown.split("⟦")
    back = parts[0]
    for part in parts[1:]:
        name, _, rest = part.partition("⟧")
        back += chr(names[name] if name in names else int(name.removeprefix("U+"), 16)) + rest
    assert back == text


def test_a_statement_keeps_its_lines() -> None:
    assert visible_lines("SELECT\r\n\t1,\n\x1b2") == ("SELECT", "    1,", "⟦ESC⟧2")
    assert visible_lines("") == ("",)


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("value", "form", "oid", "shown"),
    [
        (None, 0, 0, "NULL"),
        (None, 1, 23, "NULL"),
        (b"42", 0, 23, "'42'"),
        (b"it\x1b's", 0, 25, "'it⟦ESC⟧'s'"),
        (b"\xff", 0, 25, "'\\xff'"),
        (b"\x01", 1, 16, "true"),
        (b"\x00", 1, 16, "false"),
        (b"\x02", 1, 16, "\\x02"),
        (struct.pack(">h", -2), 1, 21, "-2"),
        (struct.pack(">i", -3), 1, 23, "-3"),
        (struct.pack(">q", 2**40), 1, 20, str(2**40)),
        (struct.pack(">I", 2**32 - 1), 1, 26, str(2**32 - 1)),
        (struct.pack(">f", 0.5), 1, 700, "0.5"),
        (struct.pack(">d", float("nan")), 1, 701, "nan"),
        (UUID.bytes, 1, 2950, str(UUID)),
        ("é\u202e".encode(), 1, 1043, "'é⟦U+202E⟧'"),
        (b'\x01{"a":1}', 1, 3802, "'{\"a\":1}'"),
        (b'\x02{"a":1}', 1, 3802, "\\x027b2261223a317d"),
        (b"\x00\x01", 1, 23, "\\x0001"),
        (b"\x00\x01", 1, 1114, "\\x0001"),
        (b"\x00\x01", 1, 0, "\\x0001"),
        (b"", 1, 2950, "\\x"),
    ],
)
def test_a_value_is_shown_by_its_type_or_by_its_bytes(value: bytes | None, form: int, oid: int, shown: str) -> None:
    assert render((value,), (form,), (oid,)) == (shown,)


def test_formats_are_none_one_for_all_or_one_each() -> None:
    one = struct.pack(">i", 1)
    assert render((b"a", b"b"), (), ()) == ("'a'", "'b'")
    assert render((one, one), (1,), (23, 23)) == ("1", "1")
    assert render((one, b"b", one), (1, 0, 1), (23,)) == ("1", "'b'", "\\x00000001")


@given(st.lists(st.none() | st.binary()), st.lists(st.integers(-1, 2)), st.lists(st.integers(-1, 4000)))
def test_any_value_can_be_shown(values: list[bytes | None], formats: list[int], types: list[int]) -> None:
    shown = render(values, formats, types)
    assert len(shown) == len(values)
    assert all(text.isprintable() for text in shown)


@pytest.mark.parametrize(
    ("value", "form", "oid", "written"),
    [
        (None, 0, 0, None),
        (b"42", 0, 23, "42"),
        (struct.pack(">i", 42), 1, 23, "42"),
        (struct.pack(">h", -42), 1, 21, "-42"),
        (b"NULL", 0, 25, "NULL"),
        ("é\u202e".encode(), 1, 25, "é\u202e"),
        (b"\x01[]", 1, 3802, "[]"),
        (UUID.bytes, 1, 2950, str(UUID)),
    ],
)
def test_a_value_is_written_as_whoever_types_it_would(value: bytes | None, form: int, oid: int, written: str | None) -> None:
    assert plain((value,), (form,), (oid,)) == (written,)


@pytest.mark.parametrize(("value", "form", "oid"), [(b"\xff", 0, 25), (b"\xff", 1, 25), (b"\0\1", 1, 1114), (b"\0\1", 1, 23)])
def test_a_value_of_which_there_is_no_telling_has_no_text(value: bytes, form: int, oid: int) -> None:
    assert plain((b"1", value), (0, form), (0, oid)) is None
