"""No file, no TCP connection, no signal to others: Landlock (landlock(7)), as far as the kernel has it.

A ruleset that handles every right and grants none. Unlike the filter of system calls it does not depend on the way in which
something is asked for: an open through io_uring is refused as well.
"""

from __future__ import annotations

import ctypes
import os

from . import libc

# Numbers of the system calls are the same on all architectures (landlock_create_ruleset(2)).
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION_FLAG = 1
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}
"""ABI to how many file rights it has: refer since 2, truncate since 3, ioctl on devices since 5 (landlock.h)."""
_NET_RIGHTS = 0b11
"""Bind and connect TCP, since ABI 4."""
_BIND = 0b01
_SCOPES = 0b11
"""Abstract UNIX sockets, signals: since ABI 6."""


class NoLandlock(Exception):
    """This kernel has no Landlock, or not enabled; the message says so."""


class _Ruleset(ctypes.Structure):
    """``struct landlock_ruleset_attr``."""

    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


def abi() -> int:
    """The kernel's version of Landlock. Raises NoLandlock."""
    try:
        return libc.syscall(_CREATE_RULESET, 0, 0, _VERSION_FLAG)
    except OSError as error:
        raise NoLandlock(f"the kernel has none, or it is not enabled ({error.strerror})") from None


def deny_all(*, dials: bool = False) -> int:
    """Give up all that Landlock knows, for this thread and what it starts; returns the ABI. Raises NoLandlock.

    `dials`: connecting by TCP stays allowed.
    """
    version = abi()
    rights = max(count for since, count in _FILE_RIGHTS.items() if since <= version)
    rules = _Ruleset((1 << rights) - 1, (_BIND if dials else _NET_RIGHTS) if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    # An older kernel takes a longer struct as long as what it doesn't know is zero.
    try:
        ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(rules), ctypes.sizeof(rules), 0)
        try:
            libc.syscall(_RESTRICT_SELF, ruleset, 0)
        finally:
            os.close(ruleset)
    except OSError as error:
        raise NoLandlock(str(error)) from None
    return version
