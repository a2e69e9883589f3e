"""The ways to cut a stream into reads: whole, once at every position, into single bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

Pieces = list[bytes]


def single_bytes(data: bytes) -> Pieces:
    return [data[at : at + 1] for at in range(len(data))]


def ways(streams: Sequence[bytes]) -> Iterator[list[Pieces]]:
    """For a dialogue of several streams: all whole; each cut once at each inner position, the others whole; all byte by byte."""
    whole = [[stream] for stream in streams]
    yield whole
    for index, stream in enumerate(streams):
        for at in range(1, len(stream)):
            yield [*whole[:index], [stream[:at], stream[at:]], *whole[index + 1 :]]
    yield [single_bytes(stream) for stream in streams]
