"""Journals that a crash left: taken into the log before anything else, each entry once.

The mark in a journal's ``.read`` file says: all before this position of the journal is in the log before this entry. It is
written after the append, so it may be behind: by one append after `kill -9`, by more after a power cut, which loses pages in any
order. What comes from one journal stands in the log in the journal's order. So the log is read from the marked entry on, and as
many of the journal's entries as are found there, in their order, are left out. Which entries they are is told by the fields that
stamp each one: its times, flow and number. (The bytes of a large one may differ: encrypting its payload gives others each time.)

The journal ends with its last whole frame, whether or not that was published: an entry whose append had not returned belongs to
an operation that was not released, and does no harm.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from .admission import SLICE, Flows, NotAdmitted, Piece, check
from .entry import Entry, FlowOpen, JournalEnd
from .frames import LENGTH_BYTES, frames
from .log import Log
from .packing import LogCorrupt, kind_of, tag_of, unpack
from .raw import Cursor
from .ringfile import RingFile, leftover_numbers

END = 1 << 63
_JOURNAL_END = tag_of(JournalEnd).encode()
_CRC = 9
"""The key and the CRC, an entry's last bytes."""
_STAMP = b"\xa7wall_ns"


def take_leftovers(log: Log, living: Container[int] = ()) -> None:
    """Take all journals in the log's folder into the log, put their end on record, remove them.

    living: numbers of journals that are none, since this process has taken them over with their workers.
    Raises JournalBusy when a process still has one, with nothing done; LogUnavailable.
    """
    files = [RingFile(log.folder, number) for number in leftover_numbers(log.folder) if number not in living]
    try:
        for file in files:
            file.claim()
    except BaseException:
        for file in files:
            file.close()
        raise
    for number, file in enumerate(files):
        try:
            _take(log, file)
            log.sync()
            # A crash up to here: the journal's end is on record, and found there next time.
        except BaseException:
            for left in files[number:]:
                left.close()
            raise
        file.remove()


def _take(log: Log, file: RingFile) -> None:
    size = file.size()
    position, entry = file.marked()
    if not size or _has_ended(log.folder, file.number, entry):
        return
    flows = Flows(lambda flow: _last_of(log.folder, file.number, flow))
    begun, pieces, problem = position, [], ""
    walk = _pieces(log, file, size, position)
    try:
        for piece in walk:
            last = flows.admit(piece.entries)
            flows.commit(last)
            pieces.append(piece)
            position += piece.used
    except NotAdmitted as error:
        problem = str(error)
    _append(log, entry, pieces)
    lost = file.written() - position if begun <= file.written() <= begun + size else 0
    rejected = file.read(position, 4096, size) if lost > 0 else b""
    reason = "found at the start" + (f"; {lost} bytes of it are not whole or not allowed: {problem}" if lost > 0 else "")
    log.append(0, JournalEnd(file.number, reason, "crash", position, max(0, lost), rejected))


def _pieces(log: Log, file: RingFile, size: int, position: int) -> Iterator[Piece]:
    """The journal's frames from `position` on, one by one, as long as they are whole."""
    end, wanted = position + size, SLICE
    while position < end:
        length = min(wanted, end - position)
        data = file.read(position, length, size)
        piece = check(data, position, file.number, log.store, 1, log.payload_above)
        if isinstance(piece, int):
            if len(data) < length or piece > end - position:
                raise NotAdmitted("a frame that goes on behind the end")
            wanted = piece
            continue
        wanted = SLICE
        yield piece
        position += piece.used


def _append(log: Log, entry: int, pieces: list[Piece]) -> None:
    """Append the entries that are not in the log yet, from its entry `entry` on."""
    framed = [piece.frames[start - LENGTH_BYTES : end] for piece in pieces for start, end in frames(piece.frames)]
    missing = framed[_found(log.folder, entry, [_stamp_of(data) for data in framed]) :]
    if missing:
        log.append_frames(b"".join(missing), len(missing))


def _found(folder: Path, entry: int, stamps: list[bytes]) -> int:
    """How many of these entries stand in the log from entry `entry` on, in their order."""
    count = 0
    for data in _log_from(folder, entry):
        if count < len(stamps) and _stamp_of(data) == stamps[count]:
            count += 1
    return count


def _stamp_of(data: bytes) -> bytes:
    """What tells a framed entry from others: its kind, times, flow and number."""
    at = data.rfind(_STAMP, 0, len(data) - _CRC)
    return kind_of(data[LENGTH_BYTES:]) + data[at:-_CRC]


def _has_ended(folder: Path, number: int, entry: int) -> bool:
    for data in _log_from(folder, entry):
        if kind_of(data[LENGTH_BYTES:]) == _JOURNAL_END:
            found = unpack(data[LENGTH_BYTES:])
            if isinstance(found, JournalEnd) and found.journal == number:
                return True
    return False


def _log_from(folder: Path, entry: int) -> Iterator[bytes]:
    """The log's frames from entry `entry` on; none when the log ends before it, as a power cut may leave it."""
    try:
        cursor = Cursor(folder, entry)
    except LogCorrupt:
        return
    while found := cursor.read(END):
        yield from found


def _last_of(folder: Path, journal: int, flow: int) -> int | None:
    """-1 when the flow was given to this journal, by its ``flow.open``; None when it was not.

    Its last number would take reading the log from there on. An entry that retention removed can't be asked: it is believed.
    """
    try:
        found = Cursor(folder, flow).read(flow + 1)
    except LogCorrupt:
        return -1 if flow < journal else None
    opened: Entry | object = unpack(found[0][LENGTH_BYTES:]) if found else None
    return -1 if isinstance(opened, FlowOpen) and opened.journal == journal else None
