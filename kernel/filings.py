"""What the programs' maps hold of who is guarded: brought to exactly what is wanted.

Each function takes the map and the whole wanted content. What is new is written before what is not wanted any more
is removed, so that nothing is unguarded in between.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from . import libbpf
from .errors import KernelError
from .inodes import kernel_key
from .layouts import (
    MODE,
    PROGRAM_KEY,
    UID,
    UNIX_ALLOW,
    UNIX_REDIRECT,
    UNIX_RULE,
    UNIX_STAND_IN,
    WORKLOAD,
    Mode,
    path_key,
    unix_key,
)


def file_users(users: libbpf.Map, wanted: Mapping[int, int]) -> None:
    """Real uids (of the initial user namespace) to workload numbers."""
    _bring(users, {UID.pack(uid): WORKLOAD.pack(number) for uid, number in wanted.items()})


def file_programs(programs: libbpf.Map, wanted: Mapping[Path, int]) -> None:
    """Executables to workload numbers. Raises KernelError for a file that can't be looked at.

    The kernel compares device with inode. The bytes may change behind them: whoever needs a hash takes it at connect.
    """
    entries = {program_key(path): WORKLOAD.pack(number) for path, number in wanted.items()}
    _bring(programs, entries)


def file_modes(modes: libbpf.Map, wanted: Mapping[int, Mode]) -> None:
    """Workload numbers to modes; one that is not named is enforced in full."""
    entries = {WORKLOAD.pack(number): MODE.pack(mode) for number, mode in wanted.items()}
    _bring(modes, entries)


def file_paths(paths: libbpf.Map, wanted: Mapping[str, int]) -> None:
    """Paths of cgroups below the cgroup2 mount, as ``/agents/a``, to the numbers that they get when they are made."""
    entries = {path_key(path): WORKLOAD.pack(number) for path, number in wanted.items()}
    _bring(paths, entries)


def file_unix(unix: libbpf.Map, wanted: Mapping[bytes, bytes | None]) -> None:
    """Addresses of UNIX sockets to None (allowed) or to the name of the stand-in that is connected to instead.

    An address is the bytes that the process passes: a path without its NUL, or an abstract name with its leading NUL.
    """
    entries = {unix_key(name): _rule(UNIX_STAND_IN, address) for address, name in wanted.items() if name is not None}
    for address, name in wanted.items():
        entries[unix_key(address)] = _rule(UNIX_ALLOW, b"") if name is None else _rule(UNIX_REDIRECT, name)
    _bring(unix, entries)


def program_key(path: Path) -> bytes:
    """`struct hg_program_key` of an executable: what the kernel knows it by. Raises KernelError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KernelError.of(error, str(path), "the executable can't be looked at") from error
    try:
        key = kernel_key(fd)
    finally:
        os.close(fd)
    if not key[0]:
        raise KernelError(errno.ENOEXEC, str(path), "no executable: it can't be mapped")
    return PROGRAM_KEY.pack(*key)


def _rule(verdict: int, to: bytes) -> bytes:
    return UNIX_RULE.pack(verdict, len(to), to)


def _bring(filed: libbpf.Map, wanted: Mapping[bytes, bytes]) -> None:
    held = filed.content()
    for key, value in wanted.items():
        if held.get(key) != value:
            filed.update(key, value)
    for key in held.keys() - wanted.keys():
        filed.delete(key)
