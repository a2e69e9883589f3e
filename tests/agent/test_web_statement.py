"""A statement as the page shows it: nothing is lost, nothing can be taken for markup, nothing is other than it looks."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.agent.web.statement import MAX_CHARACTERS, show
from hostguard.recorder.visible import visible_lines

TAGS = re.compile(r"<(/?)(span|mark)( class=\"[a-z]+\")?( title=\"U\+[0-9A-F]{4,6}[A-Z0-9 ,()-]*\")?>")
PIECES = st.sampled_from(
    [
        *(
            "SELECT",
            " ",
            "'",
            '"',
            "$$",
            "$1",
            "--",
            "/*",
            "*/",
            "\n",
            "\r",
            "\r\n",
            "\t",
            "<b>",
            "&lt;",
            "</span>",
            "0x1",
            "E'\\",
        ),
        *("\u202e", "\u200b", "\u0430bc", "\x1b[1m", "\x00", "\ud7ff", "\U0001f600", "⟦", ";", "drop table t"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(text=st.lists(PIECES | st.text(max_size=3), max_size=20).map("".join), lexed=st.booleans())
def test_what_is_shown_is_the_text_made_visible(text: str, lexed: bool) -> None:
    lines = show(text, lexed=lexed).lines
    plain = [html.unescape(TAGS.sub("", str(line))) for line in lines]
    assert all(not re.search("[<>]", TAGS.sub("", str(line))) for line in lines)
    # A carriage return before a line's end goes with it, whatever piece of the text either is in.
    assert "\n".join(plain).replace("⟦CR⟧\n", "\n") == "\n".join(visible_lines(text)).replace("⟦CR⟧\n", "\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("DELETE FROM t", '<span class="writes">DELETE</span> <span class="word">FROM</span> t'),
        ("SELECT 'a''b'", '<span class="word">SELECT</span> <span class="string">&#39;a&#39;&#39;b&#39;</span>'),
        ("SELECT $1 -- x", '<span class="word">SELECT</span> <span class="number">$1</span> <span class="comment">-- x</span>'),
        ('SELECT "delete"', '<span class="word">SELECT</span> &#34;delete&#34;'),
        ("SELECT 'open", "SELECT &#39;open"),
    ],
)
def test_words_have_their_colours(text: str, shown: str) -> None:
    assert show(text).lines == (shown,)


def test_a_lone_carriage_return_ends_a_comment_as_it_does_for_the_server() -> None:
    shown = show("SELECT 1 -- harmless\rDROP TABLE t")
    (line,) = shown.lines
    assert '<span class="comment">-- harmless</span>' in line
    assert '<span class="writes">DROP</span>' in line
    assert any("carriage return" in warning for warning in shown.warnings)


def test_where_backslashes_mean_something_else_nothing_is_coloured() -> None:
    (line,) = show(r"SELECT 'it\'s'; DROP TABLE t --'", lexed=False).lines
    assert "<span" not in line


@pytest.mark.parametrize(
    ("text", "warnings"),
    [
        ("SELECT 1\n\t+ 1", 0),
        ("SELECT '\u00e9'", 1),
        ("SELECT \u0430bc", 2),
        ("SELECT \u0441\u043e\u043d", 1),
        ("SELECT '\u202e'", 1),
    ],
)
def test_what_could_be_overlooked_is_told(text: str, warnings: int) -> None:
    assert len(show(text).warnings) == warnings


def test_a_long_text_is_shown_as_cut() -> None:
    assert not show("x" * MAX_CHARACTERS).cut
    shown = show("x" * (MAX_CHARACTERS + 1))
    assert shown.cut
    assert len(shown.lines[0]) == MAX_CHARACTERS
