"""What the programs' maps hold of who is guarded: brought to exactly what is wanted.

Each function takes the map's descriptor and the whole wanted content. What is new is written before what is not wanted any more
is removed, so that nothing is unguarded in between.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from . import libbpf
from .errors import KernelError
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
from .pins import read_map


def file_users(fd: int, wanted: Mapping[int, int]) -> None:
    """Real uids (of the initial user namespace) to workload numbers."""
    _bring(fd, {UID.pack(uid): WORKLOAD.pack(number) for uid, number in wanted.items()}, UID.size, WORKLOAD.size, "users")


def file_programs(fd: int, wanted: Mapping[Path, int]) -> None:
    """Executables to workload numbers. Raises KernelError for a file that can't be looked at.

    The kernel compares device with inode. The bytes may change behind them: whoever needs a hash takes it at connect.
    """
    entries = {program_key(path): WORKLOAD.pack(number) for path, number in wanted.items()}
    _bring(fd, entries, PROGRAM_KEY.size, WORKLOAD.size, "programs")


def file_modes(fd: int, wanted: Mapping[int, Mode]) -> None:
    """Workload numbers to modes; one that is not named is enforced in full."""
    entries = {WORKLOAD.pack(number): MODE.pack(mode) for number, mode in wanted.items()}
    _bring(fd, entries, WORKLOAD.size, MODE.size, "modes")


def file_paths(fd: int, wanted: Mapping[str, int]) -> None:
    """Paths of cgroups below the cgroup2 mount, as ``/agents/a``, to the numbers that they get when they are made."""
    entries = {path_key(path): WORKLOAD.pack(number) for path, number in wanted.items()}
    _bring(fd, entries, len(path_key("/")), WORKLOAD.size, "paths")


def file_unix(fd: int, wanted: Mapping[bytes, bytes | None]) -> None:
    """Addresses of UNIX sockets to None (allowed) or to the name of the stand-in that is connected to instead.

    An address is the bytes that the process passes: a path without its NUL, or an abstract name with its leading NUL.
    """
    entries = {unix_key(name): _rule(UNIX_STAND_IN, address) for address, name in wanted.items() if name is not None}
    for address, name in wanted.items():
        entries[unix_key(address)] = _rule(UNIX_ALLOW, b"") if name is None else _rule(UNIX_REDIRECT, name)
    _bring(fd, entries, len(unix_key(b"/")), UNIX_RULE.size, "unix")


def program_key(path: Path) -> bytes:
    """`struct hg_program_key` of an executable: its inode with the device as the kernel writes it (major << 20 | minor)."""
    try:
        facts = path.stat()
    except OSError as error:
        raise KernelError.of(error, str(path), "the executable can't be looked at") from error
    return PROGRAM_KEY.pack(facts.st_ino, os.major(facts.st_dev) << 20 | os.minor(facts.st_dev))


def _rule(verdict: int, to: bytes) -> bytes:
    return UNIX_RULE.pack(verdict, len(to), to)


def _bring(fd: int, wanted: Mapping[bytes, bytes], key_size: int, value_size: int, subject: str) -> None:
    held = read_map(fd, key_size, value_size, subject)
    for key, value in wanted.items():
        if held.get(key) != value:
            libbpf.map_update(fd, key, value, subject)
    for key in held.keys() - wanted.keys():
        libbpf.map_delete(fd, key, subject)
