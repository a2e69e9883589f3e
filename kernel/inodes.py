"""The number that the kernel itself has for an open file."""

from __future__ import annotations

import ctypes
import mmap


def kernel_key(fd: int) -> tuple[int, int]:
    """Inode and device (major << 20 | minor) of a regular file as eBPF programs see them; (0, 0) when they can't be told.

    stat(2) gives other numbers on file systems that are made of several (overlayfs, btrfs). proc_pid_maps(5) shows the kernel's
    own, so one page is mapped, its line looked up. fd: open for reading. O(mappings of this process).
    """
    try:
        page = mmap.mmap(fd, 1, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE)
    except (OSError, ValueError):  # no file that can be mapped, or an empty one
        return 0, 0
    with page:
        view = ctypes.c_char.from_buffer(page)
        start = f"{ctypes.addressof(view):x}-".encode()
        with open("/proc/self/maps", "rb") as maps:
            line = next((line for line in maps if line.startswith(start)), b"")
        del view
    fields = line.split(None, 5)
    if len(fields) < 5:
        return 0, 0
    major, _, minor = fields[3].partition(b":")
    return int(fields[4]), int(major, 16) << 20 | int(minor, 16)
