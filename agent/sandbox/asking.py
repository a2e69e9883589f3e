"""The cage of a process that asks others over the network, by libraries that read files of the system."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from . import seccomp
from .cage import Cage

SYSTEM_FILES = (
    "/usr", "/lib", "/lib64", "/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/resolv.conf", "/run/systemd/resolve",
    "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf", "/etc/services", "/etc/localtime", "/etc/ld.so.cache",
)  # fmt: skip
"""What libraries read to look up a name, to verify a server, to load more of themselves."""


def asking(
    name: str,
    user: tuple[int, int],
    files: int,
    *,
    reads: Iterable[str] = (),
    writes: tuple[str, ...] = (),
    locked: bool = False,
) -> Cage:
    """What such a process gives up, a child of this one. `user`: its ids. `files`: descriptors. `reads`: beside the system's."""
    try:
        program = seccomp.compiled_asking()
    except seccomp.NoSeccomp:
        program = b""
    uid, gid = user
    return Cage(
        uid=uid,
        gid=gid,
        files=files,
        parent=os.getpid(),
        program=program,
        name=name,
        dials=True,
        reads=(*SYSTEM_FILES, *_own_files(), *reads),
        writes=writes,
        locked=locked,
    )


def _own_files() -> list[str]:
    """Where Python, hostguard, the libraries lie."""
    return sorted({sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]), *(path for path in sys.path if path)})
