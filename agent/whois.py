"""Who a process of this host is to hostguard, with what that rests on; needs no daemon."""

from __future__ import annotations

import os
from contextlib import closing
from typing import Any

from ..identity.containers import Container, container_of
from ..identity.executable import Hashes, Program
from ..identity.paths import components
from ..identity.process import Process, process_of
from ..identity.workload import Refusal, Who, WorkloadMistake, WorkloadRule, Workloads
from ..kernel import cgroups, netns, pins
from ..kernel.errors import KernelError
from ..kernel.layouts import CLEARED, WATCHED
from ..policy.document import Document
from ..policy.workloads import rule_of, workload_text
from .containerfiles import ContainerFiles
from .failures import Failure
from .paths import Paths
from .reload import uid_of


def whois(document: Document, pid: int) -> dict[str, Any]:
    """The facts, as JSON. Raises Failure when there is no such process."""
    process = process_of(pid, None)
    if process is None:
        raise Failure(f"there is no process {pid}")
    sha256, here = _program(process)
    ref = container_of(components(process.cgroup))
    container = ContainerFiles()(ref) if ref is not None else None
    who = Who(process.cgroup, process.uid, process.exe, here, sha256, container)
    try:
        workloads = Workloads(rule_of(name, w, uid_of, os.path.realpath) for name, w in document.workloads.items())
    except WorkloadMistake as mistake:
        raise Failure(f"{document.file}: {'; '.join(mistake.problems)}") from None
    number = workloads.number_of(who)
    answer = workloads.workload_of(number, who) if number else None
    return {
        "pid": process.pid,
        "start_ticks": process.start_ticks,
        "executable": process.exe,
        "sha256": sha256,
        "command": list(process.cmdline),
        "uid": process.uid,
        "gid": process.gid,
        "cgroup": process.cgroup,
        "network_namespace": netns.identity(pid),
        "container": _container(container),
        "ancestors": [f"{ancestor.pid} {ancestor.exe}" for ancestor in process.ancestors],
        **_attributed(document, answer),
        "kernel": _kernel(document, process),
    }


def _program(process: Process) -> tuple[str, bool]:
    program = Program.of(process.pid, process.start_ticks)
    if program is None:
        return "", False
    with closing(program):
        return Hashes().take(program) or "", program.is_here


def _container(found: Container | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "runtime": found.runtime,
        "id": found.id,
        "name": found.name,
        "image": found.image,
        "labels": dict(found.labels or ()),
    }


def _attributed(document: Document, answer: WorkloadRule | Refusal | None) -> dict[str, Any]:
    """Workload and agent with the reason for it."""
    nobody = {"workload": "", "agent": "", "owner": "", "roles": []}
    if answer is None:
        return nobody | {"why": "no workload's selectors hold of it"}
    if isinstance(answer, Refusal):
        return nobody | {"why": f"its connections are refused: {answer.reason}"}
    agent = document.agents[answer.agent]
    return {
        "workload": answer.name,
        "agent": answer.agent,
        "owner": agent.owner,
        "roles": list(agent.roles),
        "why": workload_text(document.workloads[answer.name]),
    }


def _kernel(document: Document, process: Process) -> dict[str, Any]:
    """What the kernel's map of cgroups says, whether or not a daemon runs: the innermost cgroup that is filed decides."""
    try:
        status = pins.status(Paths.of(document).pins)
        mount = cgroups.mount_point()
        filed = _innermost(status.guarded, mount.joinpath(process.cgroup.lstrip("/")).relative_to(mount).parts)
    except (KernelError, OSError, ValueError) as error:
        return {"hooks": False, "cgroup": "", "filed": "", "problem": str(error)}
    return {
        "hooks": status.attached,
        **filed,
        "problem": "" if status.attached else "the hooks are not attached: nothing is guarded",
    }


def _innermost(guarded: dict[int, int], parts: tuple[str, ...]) -> dict[str, str]:
    mount = cgroups.mount_point()
    for depth in range(len(parts), -1, -1):
        try:
            value = guarded.get(mount.joinpath(*parts[:depth]).stat().st_ino)
        except OSError:
            continue
        if value is not None:
            below = "watched" if depth == len(parts) else "pending"
            return {
                "cgroup": "/" + "/".join(parts[:depth]),
                "filed": {WATCHED: below, CLEARED: "cleared"}.get(value, f"workload {value}"),
            }
    return {"cgroup": "", "filed": ""}
