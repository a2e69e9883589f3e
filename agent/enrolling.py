"""The kernel's maps, made to say what the configuration says when a daemon starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from ..identity.workload import Workloads
from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..policy.document import Document
from . import modes
from .containerfiles import ContainerFiles
from .enrolment import Enrolment
from .failures import Failure
from .paths import attach_point, made_cgroup, workload_path


def enrol(
    document: Document, workloads: Workloads, redirect: Redirect, container: ContainerFiles, undo: AsyncExitStack
) -> Enrolment:
    """Make the kernel's maps say what the configuration says; numbers of an earlier run mean nothing any more. Raises Failure."""
    attach = attach_point(document)
    for name in document.workloads:
        path = made_cgroup(document, name)
        if path is None:
            continue
        try:
            if not path.exists():
                undo.push(_remove_on_failure(path))
            cgroups.create(path)
        except (OSError, KernelError) as error:
            raise Failure(f"the cgroup {path} can't be made: {error}") from None
    try:
        enrolment = Enrolment(redirect, workloads, attach, container)
        undo.callback(enrolment.close)
        # Before the numbers get another meaning: what one may do more must not become another's.
        modes.tell(document, workloads, redirect)
        # Then the paths: a cgroup that is removed and made again from here on is guarded when it is made.
        redirect.set_paths({workload_path(document, path): number for path, number in workloads.paths.items()})
        redirect.set_users(dict(workloads.users))
        enrolment.start()
    except KernelError as error:
        raise Failure(f"the workloads can't be guarded: {error}") from None
    return enrolment


def _remove_on_failure(path: Path) -> Callable[..., None]:
    """Takes a cgroup that this start made away again if the start fails; one that holds processes stays."""

    def leave(kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with suppress(OSError):
                path.rmdir()

    return leave
