"""Where systemd puts the cgroups of its units.

The scheme (systemd.slice(5), systemd.unit(5), "Control Groups" in org.freedesktop.systemd1): a slice ``a-b.slice`` lies in
``a.slice``, which lies in the root slice; a service or scope lies in its slice, in a directory of its own name. So the path of a
unit of the system manager is slices, each inside the one that its name says, then the unit. Only root writes there. Below
``user@UID.service`` users make what they like, also directories named like a unit; such a path is no unit's here, because it has
something other than slices before the name.

A name that the kernel could take for a file of its own (``cgroup.procs``, ``memory.max``) or that begins with ``_`` or ``.`` gets
``_`` in front (cg_escape in systemd's src/basic/cgroup-util.c); reading takes one ``_`` away.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .paths import glob, is_glob

SLICE = ".slice"
_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids")
_UNIT_NAME = re.compile(r"[A-Za-z0-9:_.\\@*?-]{1,255}\.(service|scope|slice|socket|mount|swap)", re.ASCII)


class UnitMistake(ValueError):
    """The text can't be the name of such a unit; the message says why."""


def unescaped(directory: str) -> str:
    """The unit's name of a directory's name."""
    return directory.removeprefix("_")


def escaped(name: str) -> str:
    """The directory's name of a unit's name."""
    taken = ("notify_on_release", "release_agent", "tasks")
    if name.startswith(("_", ".", "cgroup.", *(f"{controller}." for controller in _CONTROLLERS))) or name in taken:
        return f"_{name}"
    return name


def slice_chain(name: str) -> tuple[str, ...]:
    """The slices from the outermost to this one: ``a-b.slice`` is ``("a.slice", "a-b.slice")``; ``-.slice`` is the root, ``()``.

    Raises UnitMistake for what is no slice's name.
    """
    stem = name.removesuffix(SLICE)
    if name == f"-{SLICE}":
        return ()
    words = stem.split("-")
    if stem == name or "" in words:
        raise UnitMistake(f'"{name}" is not the name of a slice, such as agents.slice or agents-shop.slice')
    return tuple("-".join(words[: count + 1]) + SLICE for count in range(len(words)))


def is_in_slices(path: Sequence[str]) -> bool:
    """Whether all these directories are slices of the system manager, each inside the one that its name says."""
    names = tuple(map(unescaped, path))
    try:
        return not names or slice_chain(names[-1]) == names
    except UnitMistake:
        return False


class Unit:
    """A unit of the system manager by name, with ``*`` and ``?`` as in ``agent@*.service``; in whatever slice it is."""

    __slots__ = ("_name", "text")
    exact = None
    """Its slice is the unit file's business, so its path can't be told beforehand."""

    def __init__(self, text: str) -> None:
        """Raises UnitMistake."""
        if not _UNIT_NAME.fullmatch(text) or text.endswith(SLICE):
            raise UnitMistake(f'"{text}" is not the name of a unit with processes, such as agent.service or agent@*.service')
        self.text = text
        self._name = glob(text)

    def matches(self, path: Sequence[str]) -> bool:
        """Whether the cgroup with these components is such a unit's."""
        return bool(path) and self._name.fullmatch(unescaped(path[-1])) is not None and is_in_slices(path[:-1])

    def may_lie_below(self, path: Sequence[str]) -> bool:
        """Whether such a unit can have its cgroup strictly below this one."""
        return is_in_slices(path)


class Slice:
    """A slice by name, with all units in it; ``*`` and ``?`` only behind the last dash: ``agents-*.slice``."""

    __slots__ = ("_parts", "exact", "text")

    def __init__(self, text: str) -> None:
        """Raises UnitMistake."""
        if not _UNIT_NAME.fullmatch(text):
            raise UnitMistake(f'"{text}" is not the name of a slice, such as agents.slice or agents-shop.slice')
        chain = slice_chain(text)
        if not chain:
            raise UnitMistake("-.slice is the root, hostguard itself would be part of it")
        if any(is_glob(part) for part in chain[:-1]):
            raise UnitMistake(f'"{text}": * and ? may only stand behind the last dash')
        self.text = text
        self._parts = tuple(map(glob, chain))
        self.exact = None if is_glob(text) else "/" + "/".join(map(escaped, chain))

    def matches(self, path: Sequence[str]) -> bool:
        """Whether the cgroup with these components is such a slice's."""
        return len(path) == len(self._parts) and is_in_slices(path) and self._begins(path)

    def may_lie_below(self, path: Sequence[str]) -> bool:
        """Whether such a slice can lie strictly below this cgroup."""
        return len(path) < len(self._parts) and self._begins(path)

    def _begins(self, path: Sequence[str]) -> bool:
        return all(part.fullmatch(unescaped(name)) for part, name in zip(self._parts, path, strict=False))
