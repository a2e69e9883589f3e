"""The whole cage, closed in the order in which the parts allow each other."""

from __future__ import annotations

import contextlib
import os

import msgspec

from . import landlock, seccomp
from .privileges import StillPrivileged, give_up, lock_memory


class Cage(msgspec.Struct, frozen=True):
    """What the supervisor wants a worker to give up."""

    uid: int
    gid: int
    files: int
    """Descriptors that it may have."""
    parent: int
    """Process id of the supervisor; a worker that finds another parent came too late."""
    program: bytes
    """The compiled filter of system calls; empty when this host can't have one."""
    early: bytes = b""
    """A filter for the time before, as `seccomp.compiled_early` makes it."""
    name: str = "hostguard-work"
    dials: bool = False
    """Whether it may connect sockets of its own: the resolver's process asks name servers."""
    reads: tuple[str, ...] = ()
    """Files, or folders, that it may read."""
    writes: tuple[str, ...] = ()
    """Folders in which it may make and remove files."""
    locked: bool = False
    """Whether nothing of its memory may ever be swapped out: what it holds is nobody else's."""


class Applied(msgspec.Struct, frozen=True):
    """What a worker says of its cage."""

    uid: int
    seccomp: bool
    landlock: int
    """ABI; 0 without."""
    missing: tuple[str, ...] = ()
    """What could not be had, a sentence each."""

    def __str__(self) -> str:
        parts = [f"uid {self.uid}", "no capabilities", "seccomp" if self.seccomp else "NO seccomp"]
        return ", ".join([*parts, f"Landlock ABI {self.landlock}" if self.landlock else "no Landlock"])


def prepare(cage: Cage) -> None:
    """What comes before the event loop is made. Raises NoSeccomp."""
    if cage.early:
        seccomp.install(cage.early)


def close(cage: Cage) -> Applied:
    """Close it around this process. Raises StillPrivileged, and nothing for what a host may lack."""
    missing = []
    if len(os.listdir("/proc/self/task")) > 1:
        raise StillPrivileged("there are other threads, which would stay outside")
    if cage.program and any(link.startswith("anon_inode:[io_uring") for link in _descriptors()):
        raise StillPrivileged("an io_uring is open, which no filter sees through")
    if cage.locked and (reason := lock_memory()):
        missing.append(f"locked memory: {reason}")
    give_up(cage.uid, cage.gid, cage.files, cage.name, locked=cage.locked)
    try:
        version = landlock.deny_all(dials=cage.dials, reads=cage.reads, writes=cage.writes)
    except landlock.NoLandlock as error:
        version = 0
        missing.append(f"Landlock: {error}")
    # The signal at the parent's death was asked for a moment ago; a parent that died before it would never be noticed by it.
    if os.getppid() != cage.parent:
        raise SystemExit(1)
    # Last: it forbids what the others need.
    filtered = False
    if cage.program:
        try:
            seccomp.install(cage.program)
            filtered = True
        except seccomp.NoSeccomp as error:
            missing.append(f"seccomp: {error}")
    return Applied(cage.uid, filtered, version, tuple(missing))


def _descriptors() -> list[str]:
    """What this process has open."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that lists them
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found
