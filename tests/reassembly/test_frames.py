"""Frames come out of a buffer as they went in, however the stream was cut."""

from __future__ import annotations

import pytest
from cuts import single_bytes
from hypothesis import given
from hypothesis import strategies as st
from wire import message

from hostguard.reassembly.frames import FrameBuffer, FrameFault


def frames_of(buffer: FrameBuffer) -> list[bytes]:
    """Whole frames that are here."""
    found = []
    while (head := buffer.head()) is not None and buffer.want(head[1]):
        found.append(buffer.take(head[1]))
    return found


@given(st.lists(st.binary(max_size=20)), st.data())
def test_frames_are_whole_whatever_the_cuts(bodies: list[bytes], data: st.DataObject) -> None:
    frames = [message(b"d", body) for body in bodies]
    stream = b"".join(frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    buffer = FrameBuffer()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer.feed(stream[start:end])
        found += frames_of(buffer)
    assert found == frames
    assert len(buffer) == 0


def test_bytes_behind_a_frame_stay() -> None:
    buffer = FrameBuffer()
    buffer.feed(message(b"S") + b"Q\0\0")
    assert frames_of(buffer) == [message(b"S")]
    assert len(buffer) == 3


def test_what_is_there_can_be_taken_by_pieces() -> None:
    buffer = FrameBuffer()
    for byte in single_bytes(b"abcdef"):
        buffer.feed(byte)
    assert buffer.take_some(4) == b"abcd"
    assert buffer.take_some(4) == b"ef"
    assert buffer.take_some(4) == b""


@pytest.mark.parametrize("length", [b"\0\0\0\0", b"\0\0\0\3", b"\xff\xff\xff\xff", b"\x80\0\0\0"])
def test_impossible_lengths_are_faults_as_soon_as_they_are_here(length: bytes) -> None:
    buffer = FrameBuffer()
    for byte in single_bytes(b"Q" + length[:3]):
        buffer.feed(byte)
        assert buffer.head() is None
    buffer.feed(length[3:])
    with pytest.raises(FrameFault):
        buffer.head()


def test_crumbs_of_a_big_frame_are_joined_once() -> None:
    big = message(b"d", b"x" * 200_000)
    buffer = FrameBuffer()
    for at in range(0, len(big), 50):
        assert frames_of(buffer) == []
        before = buffer.data
        buffer.feed(big[at : at + 50])
        # The front is not copied again for each crumb.
        assert at < 50 or buffer.data is before
    assert frames_of(buffer) == [big]


def test_a_consumed_read_is_let_go() -> None:
    buffer = FrameBuffer()
    buffer.feed(message(b"d", b"x" * 1000))
    assert frames_of(buffer) == [message(b"d", b"x" * 1000)]
    buffer.release()
    assert buffer.data == b""
    buffer.feed(message(b"S") + b"Q")
    assert frames_of(buffer) == [message(b"S")]
    buffer.release()
    assert len(buffer) == 1


def test_a_cleared_buffer_is_empty() -> None:
    buffer = FrameBuffer()
    buffer.feed(b"abc")
    buffer.feed(b"def")
    buffer.clear()
    assert len(buffer) == 0
    assert buffer.head() is None
