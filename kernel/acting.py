"""Does one thing as another user, in a thread that ends with it.

Credentials are a thread's in Linux; only the C library makes them a process's (nptl(7)), so the system calls are made directly.
The real and the saved uid stay ours: nobody else may trace or signal the thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from .errors import KernelError

T = TypeVar("T")

# setgroups, setresgid, setresuid (asm/unistd.h)
_CALLS = {"x86_64": (116, 119, 117), "aarch64": (159, 149, 147)}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Whom the kernel takes a thread for; numbers of the initial user namespace."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    """Supplementary ones."""


def acting_as(who: Credentials, work: Callable[[], T]) -> T:
    """What `work` returns or raises, with its effective ids those of `who`. Blocks. Raises KernelError where it can't."""
    answers: list[tuple[T | None, BaseException | None]] = []

    def act() -> None:
        try:
            _become(who)
            answers.append((work(), None))
        except BaseException as error:  # raised again in the thread that asked
            answers.append((None, error))

    thread = threading.Thread(target=act)
    thread.start()
    thread.join()
    ((value, error),) = answers
    if error is not None:
        raise error
    return value  # type: ignore[return-value]


def _become(who: Credentials) -> None:
    calls = _CALLS.get(platform.machine())
    if calls is None:
        raise KernelError(errno.ENOSYS, platform.machine(), "its system calls' numbers are not known here")
    setgroups, setresgid, setresuid = calls
    groups: Sequence[int] = who.groups
    array = (ctypes.c_uint32 * len(groups))(*groups)
    _call(setgroups, ctypes.c_size_t(len(groups)), array)
    _call(setresgid, ctypes.c_uint32(0xFFFF_FFFF), ctypes.c_uint32(who.gid), ctypes.c_uint32(0xFFFF_FFFF))
    _call(setresuid, ctypes.c_uint32(0xFFFF_FFFF), ctypes.c_uint32(who.uid), ctypes.c_uint32(0xFFFF_FFFF))


def _call(number: int, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(ctypes.c_long(number), *arguments):
        code = ctypes.get_errno()
        raise KernelError(code, "credentials", f"a thread can't have them: {os.strerror(code)}")
