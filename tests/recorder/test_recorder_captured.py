"""Captured replies read back: right when they are right, and never a stumble over what they are not."""

from __future__ import annotations

import pytest
import wire
from hypothesis import given
from hypothesis import strategies as st

from hostguard.recorder.captured import results
from hostguard.recorder.recording import Result

INT4, TEXT = 23, 25
DESCRIBED = wire.row_description(wire.column("id", type_oid=INT4, code=1), wire.column("mail", type_oid=TEXT))
ROWS = wire.data_row(b"\0\0\0\x07", b"a****@example.com") + wire.data_row(None, b"it's")
WHOLE = DESCRIBED + ROWS + wire.complete("SELECT 2")
READ = Result(("id", "mail"), (("7", "'a****@example.com'"), ("NULL", "'it's'")), "SELECT 2")


def test_rows_are_read_with_their_types_and_formats() -> None:
    assert results(WHOLE) == (READ,)
    assert results(WHOLE + wire.complete("DELETE 1") + WHOLE) == (READ, READ)
    assert results(b"") == ()


def test_copied_rows_and_a_functions_result_are_read() -> None:
    copied = wire.message(b"H", b"\0\0\1\0\0") + wire.copy_data(b"1\n") + wire.copy_data(b"2\n") + wire.message(b"c")
    assert results(copied + wire.complete("COPY 2")) == (Result((), (("1",), ("2",)), "COPY 2"),)
    assert results(wire.message(b"V", b"\0\0\0\1x")) == (Result((), (("'x'",),), ""),)


def test_a_reply_cut_anywhere_gives_its_whole_rows() -> None:
    for at in range(len(WHOLE)):
        rows = tuple(row for result in results(WHOLE[:at]) for row in result.rows)
        assert rows == READ.rows[: len(rows)]


def test_what_a_terminal_would_obey_is_made_visible() -> None:
    nasty = wire.row_description(wire.column("\x1b[2J")) + wire.data_row(b"\x1b]0;x\x07") + wire.complete("SELECT \x1b1")
    assert "\x1b" not in repr(results(nasty)).replace("\\x1b", "") + "".join(results(nasty)[0].columns)


@pytest.mark.parametrize("tag", [b"T", b"D", b"d", b"V", b"C", b"H", b"?"])
@given(body=st.binary(max_size=60), before=st.booleans())
def test_no_bytes_make_it_stumble(tag: bytes, body: bytes, before: bool) -> None:
    results((DESCRIBED if before else b"") + wire.message(tag, body) + WHOLE)
    results(body + WHOLE)
