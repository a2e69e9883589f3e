"""No file, no TCP connection, no signal to others: Landlock (landlock(7)), as far as the kernel has it.

A ruleset that handles every right and grants none, or only those to the files that a process is there for. Unlike the filter of
system calls it does not depend on the way in which something is asked for: an open through io_uring is refused as well.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

from . import libc

# Numbers of the system calls are the same on all architectures (landlock_create_ruleset(2)).
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_PATH_BENEATH = 1
_VERSION_FLAG = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""ABI to how many file rights it has: refer since 2, truncate since 3, ioctl on devices since 5 (landlock.h)."""
_NET_RIGHTS = 0b11
"""Bind and connect TCP, since ABI 4."""
_BIND = 0b01
_WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 5, 1 << 8, 1 << 14
_OF_FILES = _WRITE_FILE | _READ_FILE | _TRUNCATE
"""What can be granted on what is no folder."""
_READ = _READ_FILE | _READ_DIR
_WRITE = _READ | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE
_SCOPES = 0b11
"""Abstract UNIX sockets, signals: since ABI 6."""


class NoLandlock(Exception):
    """This kernel has no Landlock, or not enabled; the message says so."""


class _Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """``struct landlock_path_beneath_attr``."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The kernel's version of Landlock. Raises NoLandlock."""
    try:
        return libc.syscall(_CREATE_RULESET, 0, 0, _VERSION_FLAG)
    except OSError as error:
        raise NoLandlock(f"the kernel has none, or it is not enabled ({error.strerror})") from None


def deny_all(*, dials: bool = False, reads: Sequence[str] = (), writes: Sequence[str] = ()) -> int:
    """Give up all that Landlock knows, for this thread and what it starts; returns the ABI. Raises NoLandlock.

    `dials`: connecting by TCP stays allowed. `reads`, `writes`: files, or folders with all below them, that stay readable, or in
    which files may be made and removed as well; what is not there is left out.
    """
    version = abi()
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    rules = _Ruleset((1 << rights) - 1, (_BIND if dials else _NET_RIGHTS) if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    # An older kernel takes a longer struct as long as what it doesn't know is zero.
    try:
        ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0)
        try:
            for places, wanted in ((reads, _READ), (writes, _WRITE)):
                for place in places:
                    _grant(ruleset, place, wanted & rules.files)
            libc.syscall(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise NoLandlock(str(error)) from None
    return version


def _grant(ruleset: int, place: str, rights: int) -> None:
    try:
        fd = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            rights &= _OF_FILES
        rule = _PathBeneath(rights, fd)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(fd)
