"""One attempt to attach the redirect: all hooks, or the host as it was.

Each hook's link reaches the new program in one of three ways: a link pinned for the same cgroup swaps its program, which no
connect can fall between; a missing one is made; one for another cgroup (or for a removed one, which runs nothing) is replaced.
A tracepoint's link can't swap its program: a new one is made beside it, and both run for a moment. Each step registers how to
undo it, and a failure of any step undoes all of them in reverse. A hook that this host can't have and need not have is left out,
and said.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from . import bcc, libbpf
from .errors import KernelError
from .hooks import HOOKS, Place
from .layouts import SETTINGS
from .mounts import require_tracefs
from .pins import EXPENDABLE, MAPS, detach_link, link_path, map_path, open_map, opened, read_hook, remove_empty, unfinished

_FOREIGN = (
    "another version's map has another layout and says whom to guard; `hostguard uninstall`, or a restart of the host, ends it"
)


class Attempt:
    """The state of one attempt: `always` closes what only the attempt needs; the caller drops `undo` when all has gone well."""

    def __init__(self, cgroup: Path, pin_dir: Path, always: ExitStack, undo: ExitStack) -> None:
        self.remarks: list[str] = []
        """What was found and what was done about it, a sentence each."""
        self.loader = "libbpf"
        """Which loader loaded the required programs."""
        self._replaced: list[tuple[int, str]] = []
        self._aside: list[Path] = []
        self._pin_dir = pin_dir
        self._always = always
        self._undo = undo
        self._cgroup_fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        always.callback(os.close, self._cgroup_fd)
        self._cgroup_id = os.fstat(self._cgroup_fd).st_ino

    def make_directories(self) -> None:
        """The pin directories, for root alone."""
        self._undo.callback(remove_empty, self._pin_dir)
        for directory in (self._pin_dir, self._pin_dir / "links", self._pin_dir / "maps"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def lock(self) -> int:
        """Descriptor that holds the pins for this process. Raises KernelError EWOULDBLOCK when another process has it."""
        fd = os.open(self._pin_dir, os.O_RDONLY | os.O_DIRECTORY)
        self._undo.callback(os.close, fd)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KernelError.of(error, str(self._pin_dir), "another hostguard daemon holds these pins") from error
        return fd

    def attach_all(self, heartbeat_limit_ms: int, loader: str) -> None:
        """Load the objects, maps made or taken over, then bring every hook to its new program.

        loader: "libbpf", "bcc", or "auto" for the first that can.
        """
        settings = SETTINGS.pack(heartbeat_limit_ms * 1_000_000, self._cgroup_id)
        programs = self._load_required(settings, loader)
        for path in dict.fromkeys(place.path for place in HOOKS.values() if not place.required):
            names = [name for name, place in HOOKS.items() if not place.required and place.path == path]
            programs |= self._load_optional(path, names, settings)
        # A link that an attempt pinned beside another, then died, is attached as well.
        for path in unfinished(self._pin_dir):
            detach_link(path)
        for hook, place in HOOKS.items():
            if hook not in programs:
                continue
            try:
                self._attach(hook, programs[hook])
            except KernelError as error:
                if place.required:
                    raise
                self.remarks.append(f"{hook}: not attached, {place.remedy}: {error}")

    def _load_required(self, settings: bytes, loader: str) -> dict[str, int]:
        """By one loader, or by the other: never some by each."""
        if loader != "bcc":
            try:
                return self._load_each(libbpf.Object, settings)
            except KernelError as error:
                if loader == "libbpf":
                    raise
                self.remarks.append(f"libbpf does not load the programs, bcc is tried: {str(error).splitlines()[0]}")
        programs = self._load_each(bcc.Object, settings)
        self.loader = "bcc"
        self.remarks.append(
            "loaded by bcc: start times, executables, cgroups of sockets are not known at connect, nor who sends at the fence"
        )
        return programs

    def _load_each(self, kind: Callable[[Path], libbpf.Object | bcc.Object], settings: bytes) -> dict[str, int]:
        programs: dict[str, int] = {}
        for path in dict.fromkeys(place.path for place in HOOKS.values() if place.required):
            names = [name for name, place in HOOKS.items() if place.required and place.path == path]
            programs |= self._load(kind, path, names, settings)
        return programs

    def _load(
        self, kind: Callable[[Path], libbpf.Object | bcc.Object], path: Path, names: list[str], settings: bytes
    ) -> dict[str, int]:
        """Program descriptors by hook."""
        loaded = kind(path)
        self._always.callback(loaded.close)
        loaded.only({f"hg_{name}" for name in names})
        for name in names:
            if HOOKS[name].retyped and isinstance(loaded, libbpf.Object):
                loaded.set_attach_type(f"hg_{name}", HOOKS[name].attach_type)
        for name in MAPS:
            self._pin_map(loaded, name)
        loaded.set_data(".rodata.settings", settings)
        loaded.load()
        return {name: loaded.program_fd(f"hg_{name}") for name in names}

    def _load_optional(self, path: Path, names: list[str], settings: bytes) -> dict[str, int]:
        """All of an object at once; each by itself where this kernel does not take them all."""
        try:
            return self._load(libbpf.Object, path, names, settings)
        except KernelError as error:
            if len(names) > 1:
                found: dict[str, int] = {}
                for name in names:
                    found |= self._load_optional(path, [name], settings)
                return found
            (name,) = names
            self.remarks.append(f"{name}: not loaded, {HOOKS[name].remedy}: {str(error).splitlines()[0]}")
            return {}

    def _pin_map(self, loaded: libbpf.Object | bcc.Object, name: str) -> None:
        path = map_path(self._pin_dir, name)
        with opened(path) as fd:
            if fd is None:
                self._undo.callback(path.unlink, missing_ok=True)
            elif libbpf.map_shape(fd, str(path)) != loaded.map_shape(f"hg_{name}"):
                if name not in EXPENDABLE:
                    raise KernelError(errno.EINVAL, str(path), _FOREIGN)
                aside = path.with_name(f"{name}-old")
                os.replace(path, aside)
                self._undo.callback(os.replace, aside, path)
                self._aside.append(aside)
                self.remarks.append(f"{name}: begun anew, because an earlier version's has another layout")
        loaded.pin_map(f"hg_{name}", path)

    def open_maps(self) -> dict[str, libbpf.Map]:
        """The pinned maps, by name; the caller closes their descriptors."""
        maps = {}
        for name in MAPS:
            fd = libbpf.pinned(map_path(self._pin_dir, name))
            if fd is None:
                raise KernelError(errno.ENOENT, name, "the map's pin vanished while attaching")
            self._undo.callback(os.close, fd)
            maps[name] = open_map(fd, name)
        return maps

    def finish(self) -> None:
        """End the links that were replaced. The last step: they can't be attached again."""
        for held, hook in self._replaced:
            if HOOKS[hook].at_cgroup:
                libbpf.link_detach(held, hook)
        for aside in self._aside:
            aside.unlink()

    def _attach(self, hook: str, program: int) -> None:
        path = link_path(self._pin_dir, hook)
        with opened(path) as link:
            if link is None:
                self._pin_new(hook, program, path)
                return
            held = os.dup(link)
        self._always.callback(os.close, held)
        before = read_hook(self._pin_dir, hook)
        if before.attached and HOOKS[hook].at_cgroup and before.cgroup_id == self._cgroup_id:
            self._swap(hook, held, program, before.program_id)
            return
        self._replace(hook, held, program, path)
        if HOOKS[hook].at_cgroup:
            self.remarks.append(f"{hook}: re-attached, because {before.detail or f'the link was for {before.cgroup}'}")

    def _pin_new(self, hook: str, program: int, path: Path) -> None:
        place = HOOKS[hook]
        link = libbpf.link_create(program, self._target(place), place.attach_type, hook)
        self._always.callback(os.close, link)
        if place.at_cgroup:
            self._undo.callback(libbpf.link_detach, link, hook)
        libbpf.pin(link, path)
        self._undo.callback(path.unlink, missing_ok=True)

    def _target(self, place: Place) -> int:
        """What a link is made to: the cgroup, a tracepoint's descriptor, or nothing where the program itself knows."""
        if place.at_cgroup:
            return self._cgroup_fd
        if not place.tracepoint:
            return 0
        identifier = require_tracefs() / "events" / place.tracepoint / "id"
        fd = libbpf.tracepoint_open(int(identifier.read_text()), place.tracepoint)
        self._always.callback(os.close, fd)
        return fd

    def _swap(self, hook: str, held: int, program: int, previous_id: int) -> None:
        # The previous program lives as long as this descriptor: the link lets go of it at once.
        previous = libbpf.program_by_id(previous_id, hook)
        self._always.callback(os.close, previous)
        libbpf.link_update(held, program, hook)
        self._undo.callback(libbpf.link_update, held, previous, hook)

    def _replace(self, hook: str, held: int, program: int, path: Path) -> None:
        """The old link stays attached through `held` until the attempt ends, so undoing only has to pin it again.

        Where the old cgroup lies above or below the new one, both programs may run for that moment; the second then records the
        listener itself as destination, which the loop refuses.
        """
        beside = path.with_name(f"{hook}-new")
        self._pin_new(hook, program, beside)
        os.replace(beside, path)
        self._undo.callback(libbpf.pin, held, path)
        self._undo.callback(path.unlink)
        self._replaced.append((held, hook))
