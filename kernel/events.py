"""What the programs tell of what they refused, read from their ring buffer."""

from __future__ import annotations

from typing import Any

from ._libbpf_cffi import ffi, lib
from .errors import KernelError
from .layouts import EVENT, Event, read_event


class Events:
    """The reading end of the ring. One reader at a time: two would share the events between them."""

    def __init__(self, map_fd: int) -> None:
        """map_fd: of the map ``events``, which may be closed afterwards. Raises KernelError."""
        self._arrived: list[Event] = []
        self._handle = ffi.new_handle(self._arrived)
        self._ring: Any = lib.ring_buffer__new(map_fd, lib.hg_event_arrived, self._handle, ffi.NULL)
        if self._ring == ffi.NULL:
            raise KernelError(ffi.errno, "events", "the ring buffer does not open")

    def fileno(self) -> int:
        """Readable when there are events: for `loop.add_reader`."""
        return int(lib.ring_buffer__epoll_fd(self._ring))

    def read(self) -> list[Event]:
        """All events that wait, oldest first; empty when none does. Never blocks. Raises KernelError."""
        result = lib.ring_buffer__consume(self._ring)
        if result < 0:
            raise KernelError(-result, "events", "the ring buffer can't be read")
        events = self._arrived[:]
        self._arrived.clear()
        return events

    def close(self) -> None:
        """Let go of the ring; what comes meanwhile waits in it for the next reader."""
        if self._ring != ffi.NULL:
            lib.ring_buffer__free(self._ring)
            self._ring = ffi.NULL


@ffi.def_extern()  # type: ignore[untyped-decorator]
def hg_event_arrived(handle: Any, data: Any, size: int) -> int:
    """libbpf's callback for one event; the bytes are the kernel's until it returns."""
    if size >= EVENT.size:
        ffi.from_handle(handle).append(read_event(bytes(ffi.buffer(data, EVENT.size))))
    return 0
