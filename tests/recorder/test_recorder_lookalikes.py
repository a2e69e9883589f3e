"""What looks like another letter is shown for what it is; what people write in their own script stays readable."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.recorder.lookalikes import unmistakable, unmistakable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE FROM payments", "DELETE FROM payments"),
        ("p\u0430yments", "p⟦U+0430⟧yments"),  # Cyrillic
        ("\u0440\u0430\u0443", "⟦U+0440⟧⟦U+0430⟧⟦U+0443⟧"),  # nothing but look-alikes
        ("\u039f\u039d", "⟦U+039F⟧⟦U+039D⟧"),  # Greek capitals
        ("ord\u03b5rs_1", "ord⟦U+03B5⟧rs_1"),
        ("п\u0440ивет мир", "п\u0440ивет мир"),
        ("'Müller', 'Zürich', 'naïve'", "'Müller', 'Zürich', 'naïve'"),
        ("日本語 καλημέρα שלום", "日本語 καλημέρα שלום"),
        ("\uff44\uff52\uff4f\uff50", "⟦U+FF44⟧⟦U+FF52⟧⟦U+FF4F⟧⟦U+FF50⟧"),  # full width
        ("\U0001d41d\U0001d42b\U0001d428\U0001d429", "⟦U+1D41D⟧⟦U+1D42B⟧⟦U+1D428⟧⟦U+1D429⟧"),  # mathematical bold
        ("users\u0131d", "users⟦U+0131⟧d"),  # dotless i
        ("x \u2212\u2212 1", "x ⟦U+2212⟧⟦U+2212⟧ 1"),
        ("\u2019 OR 1=1", "⟦U+2019⟧ OR 1=1"),
        ("a\u037e DROP TABLE b", "a⟦U+037E⟧ DROP TABLE b"),  # Greek question mark
        ("\u2044\u2217 hidden \u2217\u2044", "⟦U+2044⟧⟦U+2217⟧ hidden ⟦U+2217⟧⟦U+2044⟧"),
        ("\x1b[2K p\u0430y", "⟦ESC⟧[2K p⟦U+0430⟧y"),
        ("⟦U+0430⟧", "⟦U+27E6⟧U+0430⟧"),
    ],
)
def test_what_misleads_is_named(text: str, shown: str) -> None:
    assert unmistakable(text) == shown


def test_lines_stay_lines() -> None:
    assert unmistakable_lines("SELECT 1\n\tFROM \u0430b") == ("SELECT 1", "    FROM ⟦U+0430⟧b")


@given(st.text())
@settings(deadline=None)
def test_what_is_shown_is_never_another_text(text: str) -> None:
    """Two texts are never shown alike, and nothing of what is shown is a form of an ASCII character."""
    shown = unmistakable(text)
    assert _read(shown) == text
    assert [char for char in shown if not char.isascii() and unicodedata.normalize("NFKC", char).isascii() and char != ""] == []


def _read(shown: str) -> str:
    """What was shown, by its names."""
    names = {"NUL": 0, "BEL": 7, "BS": 8, "TAB": 9, "LF": 10, "CR": 13, "ESC": 27, "DEL": 127}
    found, rest = "", shown
    while rest:
        head, opening, rest = rest.partition("⟦")
        found += head
        if opening:
            name, _, rest = rest.partition("⟧")
            found += chr(names[name] if name in names else int(name.removeprefix("U+"), 16))
    return found
