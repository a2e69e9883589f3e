"""The pins of the redirect: which maps there are, where all pins lie, what the kernel says of them.

Pins outlive the daemon, so everything in here works on a host where none runs. Below the pin directory: ``links/HOOK`` (each
holds one attachment) with ``maps/MAP``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cgroups, libbpf
from .errors import KernelError
from .hooks import HOOKS, LINK_CGROUP
from .layouts import CGROUP_ID, COUNTERS, INDEX, LISTENER_KEY, MAP_SIZES, U64, WORKLOAD
from .mounts import mounts

MAPS = tuple(MAP_SIZES)
SHOWN = ("guarded", "listeners", "resolvers", "heartbeat", "counters")
"""Those that `status` reads."""
EXPENDABLE = frozenset({"counters", "rates", "events", "sockets", "origins", "queries", "listeners", "resolvers", "heartbeat"})
"""Maps that a new one replaces where another version's has another layout: an empty one lets nothing pass that it would not.

Without the approvals in ``sockets`` the fence drops what is open, without the others connects and questions are refused.
What says whom to guard is not among them: a map of these that can't be taken over ends the attempt, the hooks stay as they were.
"""


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
    required: bool = True
    """Without it nothing is guarded; the others close one road each (`remedy` in kernel/hooks.py)."""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything about a redirect that the kernel can tell, with or without a daemon."""

    hooks: list[Hook]
    guarded: dict[int, int]
    """Guarded cgroup ids to workload numbers."""
    listeners: dict[tuple[int, int], int]
    """(netns cookie, family) to the socket cookie of the listener that lives there."""
    resolvers: dict[tuple[int, int], int]
    """The same for the resolver's sockets."""
    heartbeat_ns: int
    """CLOCK_MONOTONIC of the daemon's last beat; 0 when it never did."""
    counters: dict[str, int]

    @property
    def attached(self) -> bool:
        """All required hooks hold."""
        return all(hook.attached for hook in self.hooks if hook.required)


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


def open_map(fd: int, name: str) -> libbpf.Map:
    """The content of the map of this name, through its descriptor. Raises KernelError for one that another version made."""
    return libbpf.Map(fd, name, *MAP_SIZES[name])


def unfinished(pin_dir: Path) -> list[Path]:
    """Pins among the links that are no hook's: an attempt to attach died between two steps."""
    return [path for path in (pin_dir / "links").glob("*") if path.name not in HOOKS]


def read_hook(pin_dir: Path, name: str) -> Hook:
    """Ask the kernel about one hook."""
    place = HOOKS[name]
    with opened(link_path(pin_dir, name)) as fd:
        if fd is None:
            return Hook(name, False, 0, 0, None, "no link is pinned", place.required)
        info = libbpf.link_info(fd, name)
    path = cgroups.path_of(info.cgroup_id) if info.cgroup_id else None
    if (info.type == LINK_CGROUP) != place.at_cgroup:
        detail = f"the pinned link is of type {info.type}"
    elif not place.at_cgroup:
        detail = ""
    elif info.attach_type != place.attach_type:
        detail = f"the pinned link is of attach type {info.attach_type}, not {place.attach_type}"
    elif not info.cgroup_id:
        detail = "the link was detached"
    else:
        detail = "" if path else f"cgroup {info.cgroup_id} was removed, its programs with it"
    return Hook(name, not detail, info.program_id, info.cgroup_id, path, detail, place.required)


def read_counters(counters: libbpf.Map, names: Iterable[str] = COUNTERS) -> dict[str, int]:
    """Counters by name, since the maps were made. One that an earlier version's map has no room for is 0."""
    return {name: read_u64(counters, COUNTERS.index(name)) for name in names}


def read_guarded(guarded: libbpf.Map) -> dict[int, int]:
    """Cgroup ids to workload numbers, or to `WATCHED` or `CLEARED`."""
    return {CGROUP_ID.unpack(key)[0]: WORKLOAD.unpack(value)[0] for key, value in guarded.content().items()}


def read_listeners(listeners: libbpf.Map) -> dict[tuple[int, int], int]:
    """(netns cookie, family) to socket cookie, of listeners or resolvers that live."""
    found = {}
    for key, value in listeners.content().items():
        netns_cookie, family, _ = LISTENER_KEY.unpack(key)
        found[netns_cookie, family] = U64.unpack(value)[0]
    return found


def read_u64(numbers: libbpf.Map, index: int) -> int:
    """One number of an array map."""
    value = numbers.lookup(INDEX.pack(index))
    return int(U64.unpack(value)[0]) if value is not None else 0


def status(pin_dir: Path) -> Status:
    """What is pinned under `pin_dir`, as the kernel tells it; all hooks off when nothing is. Raises KernelError."""
    if not any(pin_dir.resolve().is_relative_to(mount.path) for mount in mounts("bpf")):
        missing = f"{pin_dir} is not on a bpf file system"
        hooks = [Hook(name, False, 0, 0, None, missing, place.required) for name, place in HOOKS.items()]
        return Status(hooks, {}, {}, {}, 0, dict.fromkeys(COUNTERS, 0))
    with ExitStack() as stack:
        fds = {name: stack.enter_context(opened(map_path(pin_dir, name))) for name in SHOWN}
        maps = {name: open_map(fd, name) for name, fd in fds.items() if fd is not None}
        guarded, listeners, resolvers, heartbeat, counters = (maps.get(name) for name in SHOWN)
        return Status(
            hooks=[read_hook(pin_dir, name) for name in HOOKS],
            guarded=read_guarded(guarded) if guarded is not None else {},
            listeners=read_listeners(listeners) if listeners is not None else {},
            resolvers=read_listeners(resolvers) if resolvers is not None else {},
            heartbeat_ns=read_u64(heartbeat, 0) if heartbeat is not None else 0,
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
    for path in (pin_dir / "maps").glob("*"):
        path.unlink()
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

    Removing the pin alone would do it, but some milliseconds later: the kernel frees the inode after an RCU grace period. For a
    tracepoint's link there is no other way.
    """
    try:
        with opened(path) as fd:
            if fd is None:
                return
            if libbpf.link_info(fd, path.name).type == LINK_CGROUP:
                libbpf.link_detach(fd, path.name)
        path.unlink()
    except OSError as error:
        raise KernelError.of(error, str(path), "cannot remove the pin") from error
