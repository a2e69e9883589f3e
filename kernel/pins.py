"""The pins of the redirect: which there are (hooks, maps), where they lie, what the kernel says of them.

Pins outlive the daemon, so everything in here works on a host where none runs. Below the pin directory: ``links/HOOK`` (each
holds one attachment) with ``maps/MAP``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, libbpf
from .errors import KernelError
from .layouts import CGROUP_ID, COUNTERS, INDEX, LISTENER_KEY, U64, WORKLOAD
from .mounts import mounts

OBJECT = Path(__file__).parent / "bpf" / "redirect.bpf.o"

# enum bpf_attach_type (linux/bpf.h). The order is the order of attachment: what restores and publishes stands before what
# redirects, so that no connection is ever redirected without a record.
HOOKS = {
    "getpeername4": 29,
    "getpeername6": 30,
    "sockops": 3,
    "connect4": 10,
    "connect6": 11,
}
MAPS = ("guarded", "listeners", "heartbeat", "sockets", "origins", "counters")


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook, read back from the kernel."""

    name: str
    attached: bool
    """The link is pinned and holds a program at a cgroup that still exists."""
    program_id: int
    """0 when there is no link; `bpftool prog show id N` tells more."""
    cgroup_id: int
    """0 when there is no link, or it was detached."""
    cgroup: Path | None
    """Where that cgroup is; None when it is gone."""
    detail: str
    """Why it is not attached; empty when it is."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything about a redirect that the kernel can tell, with or without a daemon."""

    hooks: list[Hook]
    guarded: dict[int, int]
    """Guarded cgroup ids to workload numbers."""
    listeners: dict[tuple[int, int], int]
    """(netns cookie, family) to the socket cookie of the listener that lives there."""
    heartbeat_ns: int
    """CLOCK_MONOTONIC of the daemon's last beat; 0 when it never did."""
    counters: dict[str, int]

    @property
    def attached(self) -> bool:
        """All hooks hold."""
        return all(hook.attached for hook in self.hooks)


def link_path(pin_dir: Path, hook: str) -> Path:
    """Where a hook's link is pinned."""
    return pin_dir / "links" / hook


def map_path(pin_dir: Path, name: str) -> Path:
    """Where a map is pinned."""
    return pin_dir / "maps" / name


@contextmanager
def opened(path: Path) -> Iterator[int | None]:
    """Descriptor of a pin for the length of a block; None when there is no pin."""
    fd = libbpf.pinned(path)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def unfinished(pin_dir: Path) -> list[Path]:
    """Pins among the links that are no hook's: an attempt to attach died between two steps."""
    return [path for path in (pin_dir / "links").glob("*") if path.name not in HOOKS]


def read_hook(pin_dir: Path, name: str) -> Hook:
    """Ask the kernel about one hook."""
    with opened(link_path(pin_dir, name)) as fd:
        if fd is None:
            return Hook(name, False, 0, 0, None, "no link is pinned")
        info = libbpf.link_info(fd, name)
    path = cgroups.path_of(info.cgroup_id) if info.cgroup_id else None
    if info.attach_type != HOOKS[name]:
        detail = f"the pinned link is of attach type {info.attach_type}, not {HOOKS[name]}"
    elif not info.cgroup_id:
        detail = "the link was detached"
    else:
        detail = "" if path else f"cgroup {info.cgroup_id} was removed, its programs with it"
    return Hook(name, not detail, info.program_id, info.cgroup_id, path, detail)


def read_counters(fd: int) -> dict[str, int]:
    """All counters by name, since the maps were made."""
    return {name: read_u64(fd, index, "counters") for index, name in enumerate(COUNTERS)}


def read_guarded(fd: int) -> dict[int, int]:
    """Guarded cgroup ids to workload numbers."""
    found = {}
    for key in libbpf.map_keys(fd, CGROUP_ID.size, "guarded"):
        value = libbpf.map_lookup(fd, key, WORKLOAD.size, "guarded")
        if value is not None:
            found[CGROUP_ID.unpack(key)[0]] = WORKLOAD.unpack(value)[0]
    return found


def read_listeners(fd: int) -> dict[tuple[int, int], int]:
    """(netns cookie, family) to socket cookie, of listeners that live."""
    found = {}
    for key in libbpf.map_keys(fd, LISTENER_KEY.size, "listeners"):
        value = libbpf.map_lookup(fd, key, U64.size, "listeners")
        if value is not None:
            netns_cookie, family, _ = LISTENER_KEY.unpack(key)
            found[netns_cookie, family] = U64.unpack(value)[0]
    return found


def read_u64(fd: int, index: int, subject: str) -> int:
    """One number of an array map."""
    value = libbpf.map_lookup(fd, INDEX.pack(index), U64.size, subject)
    return int(U64.unpack(value)[0]) if value is not None else 0


def status(pin_dir: Path) -> Status:
    """What is pinned under `pin_dir`, as the kernel tells it; all hooks off when nothing is. Raises KernelError."""
    if not any(pin_dir.resolve().is_relative_to(mount.path) for mount in mounts("bpf")):
        hooks = [Hook(name, False, 0, 0, None, f"{pin_dir} is not on a bpf file system") for name in HOOKS]
        return Status(hooks, {}, {}, 0, dict.fromkeys(COUNTERS, 0))
    hooks = [read_hook(pin_dir, name) for name in HOOKS]
    with (
        opened(map_path(pin_dir, "guarded")) as guarded,
        opened(map_path(pin_dir, "listeners")) as listeners,
        opened(map_path(pin_dir, "heartbeat")) as heartbeat,
        opened(map_path(pin_dir, "counters")) as counters,
    ):
        return Status(
            hooks=hooks,
            guarded=read_guarded(guarded) if guarded is not None else {},
            listeners=read_listeners(listeners) if listeners is not None else {},
            heartbeat_ns=read_u64(heartbeat, 0, "heartbeat") if heartbeat is not None else 0,
            counters=read_counters(counters) if counters is not None else dict.fromkeys(COUNTERS, 0),
        )


def detach(pin_dir: Path) -> bool:
    """Detach all hooks, remove all pins; False when there was nothing. Guarded processes then connect freely.

    The connect hooks go first: a redirected connection without getpeername would puzzle its process, an unredirected one not.
    The links are detached by force, so that it works even while a daemon holds them. Raises KernelError, having done what it
    could.
    """
    if not os.path.exists(pin_dir):
        return False
    links = [*(link_path(pin_dir, hook) for hook in reversed(HOOKS)), *unfinished(pin_dir)]
    failures = []
    for path in links:
        try:
            detach_link(path)
        except KernelError as error:
            failures.append(error)
    if failures:
        raise failures[0]
    for name in MAPS:
        map_path(pin_dir, name).unlink(missing_ok=True)
    remove_empty(pin_dir)
    return True


def remove_empty(pin_dir: Path) -> None:
    """Remove the pin directories that hold nothing."""
    for directory in (pin_dir / "links", pin_dir / "maps", pin_dir):
        try:
            directory.rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise KernelError.of(error, str(directory), "cannot remove the pin directory") from error


def detach_link(path: Path) -> None:
    """Detach the link pinned at `path`, remove the pin; nothing to do is fine. Raises KernelError.

    Removing the pin alone would do it, but some milliseconds later: the kernel frees the inode after an RCU grace period.
    """
    try:
        with opened(path) as fd:
            if fd is None:
                return
            libbpf.link_detach(fd, path.name)
        path.unlink()
    except OSError as error:
        raise KernelError.of(error, str(path), "cannot remove the pin") from error
