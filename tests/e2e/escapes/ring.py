"""io_uring by its system calls: one operation at a time, as small as it goes (io_uring(7))."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import time

from road import PATIENCE_S

SETUP, ENTER = 425, 426
OFF_SQ_RING, OFF_SQES = 0, 0x10000000
ENTER_GETEVENTS, ENTER_SQ_WAKEUP = 1, 2
SETUP_SQPOLL = 2
NEED_WAKEUP = 1
OP_SENDMSG, OP_CONNECT, OP_SEND, OP_SOCKET = 9, 16, 26, 45
SQE_ASYNC = 16
ENTRIES = 4
_PARAMS_BYTES = 120
_SQE = struct.Struct("=BBHiQQIIQHHiQQ")
_CQE = struct.Struct("=Qii")


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


class Ring:
    """One ring."""

    def __init__(self, flags: int = 0) -> None:
        params = ctypes.create_string_buffer(struct.pack("=III", 0, 0, flags) + struct.pack("=II", 0, 1000), _PARAMS_BYTES)
        self.fd = _call(SETUP, ENTRIES, params)
        sq = struct.unpack_from("=7I", params, 40)
        cq = struct.unpack_from("=6I", params, 80)
        entries = struct.unpack_from("=II", params, 0)
        size = max(sq[6] + 4 * entries[0], cq[5] + 16 * entries[1])
        self._ring = mmap.mmap(self.fd, size, offset=OFF_SQ_RING)
        self._sqes = mmap.mmap(self.fd, 64 * entries[0], offset=OFF_SQES)
        self._tail, self._mask, self._flags, self._array = sq[1], sq[2], sq[4], sq[6]
        self._cq_head, self._cq_tail, self._cq_mask, self._cqes = cq[0], cq[1], cq[2], cq[5]
        self._polled = bool(flags & SETUP_SQPOLL)

    def _get(self, offset: int) -> int:
        return int(struct.unpack_from("=I", self._ring, offset)[0])

    def do(self, opcode: int, fd: int, *, flags: int = 0, off: int = 0, addr: int = 0, length: int = 0, extra: int = 0) -> int:
        """Submit one operation, wait for its result. Raises OSError, TimeoutError."""
        tail = self._get(self._tail)
        slot = tail & self._get(self._mask)
        _SQE.pack_into(self._sqes, 64 * slot, opcode, flags, 0, fd, off, addr, length, 0, 1, 0, 0, extra, 0, 0)
        struct.pack_into("=I", self._ring, self._array + 4 * slot, slot)
        struct.pack_into("=I", self._ring, self._tail, tail + 1)
        if not self._polled:
            _call(ENTER, self.fd, 1, 0, 0, None, 0)
        elif self._get(self._flags) & NEED_WAKEUP:
            _call(ENTER, self.fd, 1, 0, ENTER_SQ_WAKEUP, None, 0)
        return self._result()

    def _result(self) -> int:
        head, end = self._get(self._cq_head), time.monotonic() + PATIENCE_S
        while self._get(self._cq_tail) == head:
            if time.monotonic() > end:
                raise TimeoutError
            time.sleep(0.001)
        _, result, _ = _CQE.unpack_from(self._ring, self._cqes + 16 * (head & self._get(self._cq_mask)))
        struct.pack_into("=I", self._ring, self._cq_head, head + 1)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return int(result)


def address_of(data: ctypes.Array[ctypes.c_char]) -> int:
    """Where a buffer lies, for a field of an operation."""
    return ctypes.addressof(data)
