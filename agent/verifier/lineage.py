"""The ids of a cgroup, then of all above it."""

from __future__ import annotations

from ...kernel import cgroups
from ...kernel.errors import KernelError

MAX_KNOWN = 4096


class Lineages:
    """By the innermost id. Asked of the kernel once for each: cgroup2 has no rename, and an id is never given twice."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[int, ...]] = {}

    def of(self, identifier: int) -> tuple[int, ...]:
        """Innermost first. Of a cgroup that is gone, and was not asked for before, its own alone."""
        known = self._known.get(identifier)
        if known is not None:
            return known
        found = _above(identifier)
        if len(found) > 1:
            if len(self._known) >= MAX_KNOWN:
                self._known.clear()
            self._known[identifier] = found
        return found


def _above(identifier: int) -> tuple[int, ...]:
    try:
        path, mount = cgroups.path_of(identifier), cgroups.mount_point()
        if path is None or not path.is_relative_to(mount):
            return (identifier,)
        above = [at.stat().st_ino for at in path.parents if at.is_relative_to(mount)]
    except (KernelError, OSError):
        return (identifier,)
    return (identifier, *above)
