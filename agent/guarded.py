"""Whether a process is guarded now."""

from __future__ import annotations

from collections.abc import Callable

from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect


def guarded_by(redirect: Redirect) -> Callable[[int], bool]:
    """Whether a process is in a guarded cgroup now; one that is gone counts as guarded, since nobody can vouch for it."""

    def is_guarded(pid: int) -> bool:
        try:
            path = cgroups.of_process(pid)
            ids = {cgroups.cgroup_id(place) for place in (path, *path.parents) if place.is_relative_to(cgroups.mount_point())}
        except (OSError, KernelError):
            return True
        return not ids.isdisjoint(redirect.guarded())

    return is_guarded
