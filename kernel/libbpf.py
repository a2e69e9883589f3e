"""libbpf, as thinly typed as it goes: objects, maps, links.

Descriptors are plain ints that the caller closes; keys and values are bytes of the map's exact sizes (kernel/layouts.py makes
them). libbpf 1.x returns NULL with errno for pointers and a negative errno for ints; here both become `KernelError`.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ._libbpf_cffi import ffi, lib
from .errors import KernelError


@dataclass(frozen=True, slots=True)
class LinkInfo:
    """What the kernel says of a link."""

    id: int
    program_id: int
    cgroup_id: int
    """0 once the link was detached, and for a link to anything else."""
    attach_type: int
    """`enum bpf_attach_type` of a link to a cgroup."""
    type: int
    """`enum bpf_link_type`."""


@dataclass(frozen=True, slots=True)
class MapShape:
    """What two maps must have in common for the one to take the other's place."""

    type: int
    """`enum bpf_map_type`."""
    key_size: int
    value_size: int
    max_entries: int


def version() -> str:
    """Version of the libbpf in use, as ``v1.1``."""
    return _text(lib.libbpf_version_string())


PER_CPU = frozenset({5, 6, 10, 21})
"""`enum bpf_map_type` of the hash, array, LRU hash, cgroup storage that keep a value for each processor."""


class Object:
    """An eBPF object file: open, adjust, load. Raises `KernelError` with the verifier's log when the kernel refuses it.

    libbpf's log is one buffer for the process: load from one thread at a time.
    """

    def __init__(self, path: Path) -> None:
        lib.hg_log_start()
        self._path = path
        self._object: Any = lib.bpf_object__open_file(os.fsencode(path), ffi.NULL)
        if self._object == ffi.NULL:
            raise KernelError(ffi.errno, str(path), f"the eBPF object does not open\n{log()}")

    def programs(self) -> list[str]:
        """Names of all programs, in the order of the file."""
        names = []
        program = lib.bpf_object__next_program(self._object, ffi.NULL)
        while program != ffi.NULL:
            names.append(_text(lib.bpf_program__name(program)))
            program = lib.bpf_object__next_program(self._object, program)
        return names

    def only(self, names: set[str]) -> None:
        """Load these programs alone."""
        for name in self.programs():
            lib.bpf_program__set_autoload(self._program(name), name in names)

    def set_attach_type(self, name: str, attach_type: int) -> None:
        """Load this program for a hook that the object's section names do not tell."""
        result = lib.bpf_program__set_expected_attach_type(self._program(name), attach_type)
        _check(result, name, f"attach type {attach_type} not taken")

    def map_shape(self, name: str) -> MapShape:
        """Of a map as the object declares it."""
        found = self._map(name)
        sizes = (lib.bpf_map__type, lib.bpf_map__key_size, lib.bpf_map__value_size, lib.bpf_map__max_entries)
        return MapShape(*(size(found) for size in sizes))

    def pin_map(self, name: str, path: Path) -> None:
        """At load, take over the map pinned at `path`, or pin a new one there."""
        _check(lib.bpf_map__set_pin_path(self._map(name), os.fsencode(path)), name, f"no pin path {path}")

    def set_data(self, section: str, data: bytes) -> None:
        """Set the initial bytes of a data section; `data` has its exact size."""
        _check(lib.bpf_map__set_initial_value(self._map(section), data, len(data)), section, "initial value not taken")

    def load(self) -> None:
        """Verify and load the programs, make or reuse the maps."""
        lib.hg_log_start()
        result = lib.bpf_object__load(self._object)
        if result < 0:
            raise KernelError(-result, self._path.name, f"the eBPF object does not load\n{log()}")

    def program_fd(self, name: str) -> int:
        """Descriptor of a loaded program, owned by this object."""
        return _check(lib.bpf_program__fd(self._program(name)), name, "program not loaded")

    def close(self) -> None:
        """Release programs and maps; what is attached or pinned stays."""
        if self._object != ffi.NULL:
            lib.bpf_object__close(self._object)
            self._object = ffi.NULL

    def __enter__(self) -> Object:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _program(self, name: str) -> Any:
        program = lib.bpf_object__find_program_by_name(self._object, name.encode())
        if program == ffi.NULL:
            raise KernelError(ffi.errno, name, f"no such program in {self._path.name}")
        return program

    def _map(self, name: str) -> Any:
        found = lib.bpf_object__find_map_by_name(self._object, name.encode())
        if found == ffi.NULL:
            raise KernelError(ffi.errno, name, f"no such map in {self._path.name}")
        return found


def log() -> str:
    """What libbpf said since the last open or load, without its debug output."""
    return _text(lib.hg_log_text()).strip()


def pinned(path: Path) -> int | None:
    """Descriptor (close-on-exec) of the map, program or link pinned at `path`; None when nothing is."""
    fd = lib.bpf_obj_get(os.fsencode(path))
    if fd == -errno.ENOENT:
        return None
    return _check(fd, str(path), "the pin does not open")


def pin(fd: int, path: Path) -> None:
    """Give a link, map or program a name in a bpf file system, where nothing may be yet."""
    _check(lib.bpf_obj_pin(fd, os.fsencode(path)), str(path), "cannot pin")


def map_shape(fd: int, subject: str) -> MapShape:
    """Of a map that exists."""
    out = ffi.new("struct hg_map *")
    _check(lib.hg_map_info(fd, out), subject, "not a map")
    return MapShape(out.type, out.key_size, out.value_size, out.max_entries)


def link_create(program_fd: int, target_fd: int, attach_type: int, subject: str) -> int:
    """Attach a program to a cgroup or a tracepoint; returns the link, whose last descriptor or pin holds the attachment."""
    return _check(lib.bpf_link_create(program_fd, target_fd, attach_type, ffi.NULL), subject, "cannot attach")


def tracepoint_open(identifier: int, subject: str) -> int:
    """Descriptor of a tracepoint, for `link_create`. identifier: what tracefs has in the tracepoint's file ``id``."""
    return _check(lib.hg_tracepoint_open(identifier), subject, "cannot open the tracepoint")


def link_update(link_fd: int, program_fd: int, subject: str) -> None:
    """Swap the program of a link; connects meanwhile run the old or the new one, never neither."""
    _check(lib.bpf_link_update(link_fd, program_fd, ffi.NULL), subject, "cannot swap the program")


def link_detach(link_fd: int, subject: str) -> None:
    """End the attachment even while others hold the link."""
    _check(lib.bpf_link_detach(link_fd), subject, "cannot detach")


def link_info(link_fd: int, subject: str) -> LinkInfo:
    """What the kernel says of a link. Raises KernelError for a descriptor of anything else."""
    # Asked for its info, a map answers as well, in numbers of other meanings.
    if "link" not in os.readlink(f"/proc/self/fd/{link_fd}"):
        raise KernelError(errno.EINVAL, subject, "not a link")
    out = ffi.new("struct hg_link *")
    _check(lib.hg_link_info(link_fd, out), subject, "not a link")
    return LinkInfo(out.id, out.program_id, out.cgroup_id, out.attach_type, out.type)


def program_by_id(program_id: int, subject: str) -> int:
    """Descriptor (close-on-exec) of a loaded program."""
    return _check(lib.bpf_prog_get_fd_by_id(program_id), subject, f"program {program_id} is gone")


class Map:
    """The content of a map. Raises KernelError for one whose keys or values have other sizes than its users think.

    The kernel copies as many bytes as the map's values have into whatever buffer it is given: a shorter one would be written past
    its end. Here every buffer is as long as the kernel itself says, and no key or value of another length gets there.
    """

    def __init__(self, fd: int, subject: str, key_size: int, value_size: int) -> None:
        """fd: stays the caller's, to be closed after the last use."""
        shape = map_shape(fd, subject)
        if (shape.key_size, shape.value_size) != (key_size, value_size):
            found = f"keys of {shape.key_size} bytes, values of {shape.value_size}"
            wanted = f"{key_size}, {value_size} are expected; another version of hostguard made it"
            raise KernelError(errno.EINVAL, subject, f"the map has {found}, where {wanted}")
        if shape.type in PER_CPU:
            raise KernelError(errno.EINVAL, subject, "the map has a value for each processor, which can't be read here")
        self.fd = fd
        self.subject = subject
        self._key_size = key_size
        self._value_size = value_size

    def lookup(self, key: bytes) -> bytes | None:
        """A copy of the value, None when there is no such key."""
        value = ffi.new("char[]", self._value_size)
        return self._found(lib.bpf_map_lookup_elem(self.fd, self._key(key), value), value, "lookup failed")

    def take(self, key: bytes) -> bytes | None:
        """The value, which is gone from the map at the same instant; None when there is no such key."""
        value = ffi.new("char[]", self._value_size)
        return self._found(lib.bpf_map_lookup_and_delete_elem(self.fd, self._key(key), value), value, "lookup-and-delete failed")

    def update(self, key: bytes, value: bytes) -> None:
        """Add or overwrite an entry."""
        if len(value) != self._value_size:
            raise KernelError(errno.EINVAL, self.subject, f"a value has {len(value)} bytes instead of {self._value_size}")
        _check(lib.bpf_map_update_elem(self.fd, self._key(key), value, 0), self.subject, "update failed")

    def delete(self, key: bytes) -> bool:
        """Remove an entry; False when there was none."""
        result = lib.bpf_map_delete_elem(self.fd, self._key(key))
        if result in (-errno.ENOENT, -errno.EINVAL):  # sockhash says EINVAL of a key that it does not hold
            return False
        _check(result, self.subject, "delete failed")
        return True

    def keys(self) -> Iterator[bytes]:
        """All keys. With concurrent writers a key may be missed or seen twice, as the kernel's iteration goes."""
        key, following = ffi.NULL, ffi.new("char[]", self._key_size)
        while (result := lib.bpf_map_get_next_key(self.fd, key, following)) == 0:
            found = bytes(ffi.buffer(following))
            yield found
            key = found
        if result != -errno.ENOENT:
            _check(result, self.subject, "iteration failed")

    def content(self) -> dict[bytes, bytes]:
        """All that it holds."""
        pairs = ((key, self.lookup(key)) for key in self.keys())
        return {key: value for key, value in pairs if value is not None}

    def _key(self, key: bytes) -> bytes:
        if len(key) != self._key_size:
            raise KernelError(errno.EINVAL, self.subject, f"a key has {len(key)} bytes instead of {self._key_size}")
        return key

    def _found(self, result: int, value: Any, message: str) -> bytes | None:
        if result == -errno.ENOENT:
            return None
        _check(result, self.subject, message)
        return bytes(ffi.buffer(value))


def _text(pointer: Any) -> str:
    return str(ffi.string(pointer).decode(errors="replace"))


def _check(result: int, subject: str, message: str) -> int:
    if result < 0:
        raise KernelError(-result, subject, message)
    return result
