"""Whose an accepted connection is: the kernel's record, with what /proc shows of that process, held against the workloads."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass

from ..identity.containers import Container, ContainerRef, container_of
from ..identity.executable import MAX_HASHES, FileKey, Hashes, Program
from ..identity.paths import components
from ..identity.process import Process, Seen, process_of
from ..identity.workload import NEEDS_HASH, Refusal, Who, WorkloadRule, Workloads
from ..kernel import cgroups
from ..kernel.inodes import kernel_key
from ..kernel.layouts import Origin

HASH_LIMIT_S = 10.0
"""A connection whose workload demands a hash waits for it this long, then it is refused."""
EVIDENCE_LIMIT_S = 0.1
"""One whose workload doesn't waits this long at most, once for each program, so that its first flow has the hash on record."""
HASH_THREADS = 2
MAX_PATHS = 4096
UNKNOWN_EXE = (0, 0)
"""As the kernel's record has it where its hooks can't tell (the second loader)."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who opened a connection."""

    process: Process
    rule: WorkloadRule | None
    """None: nobody's, to be refused with `reason`."""
    reason: str = ""
    sha256: str = ""
    """Of the program; empty if it could not be taken in time."""
    container: Container | None = None
    replaced: bool = False
    """It has begun another program since it connected: `process` has nothing of that one."""

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """What the fields of a flow's record have no place for."""
        found = [("exe_sha256", self.sha256)] if self.sha256 else []
        found += [("exe_replaced", "it has begun another program since it connected")] if self.replaced else []
        if self.container is not None:
            shown = {"runtime": self.container.runtime, "id": self.container.id}
            known = {"name": self.container.name, "image": self.container.image}
            found += [(f"container_{key}", text) for key, text in (shown | known).items() if text]
        return tuple(found)


class Attributor:
    """Attributes connections; `close` it."""

    def __init__(self, workloads: Workloads, container: Callable[[ContainerRef], Container]) -> None:
        self._workloads = workloads
        self._container = container
        self._hashes = Hashes()
        self._cgroups = CgroupPaths()
        self._kernel_keys: dict[FileKey, tuple[int, int]] = {}
        self._taking: dict[FileKey, asyncio.Future[str | None]] = {}
        self._threads = ThreadPoolExecutor(HASH_THREADS, thread_name_prefix="hostguard-hash")

    async def attribute(self, origin: Origin) -> Attribution:
        """Who it is. Waits only for the hash of a program that was not seen before."""
        with self._seen(origin) as (process, program, replaced):
            who = self._who(origin, process, program)
            answer = self._workloads.workload_of(origin.workload, who)
            if program is not None and not who.sha256:
                limit_s = HASH_LIMIT_S if answer is NEEDS_HASH else EVIDENCE_LIMIT_S
                who = dataclasses.replace(who, sha256=await self._hash(program, limit_s))
                answer = self._workloads.workload_of(origin.workload, who)
        return _attribution(process, who, answer, replaced)

    def attribute_now(self, origin: Origin) -> Attribution:
        """Who it is as far as can be told without waiting: nobody, where a hash is demanded that was not taken before."""
        with self._seen(origin) as (process, program, replaced):
            who = self._who(origin, process, program)
        return _attribution(process, who, self._workloads.workload_of(origin.workload, who), replaced)

    async def attribute_peer(self, pid: int) -> tuple[Process | None, WorkloadRule | None, str]:
        """The process with this number, its workload, why it has none: as `attribute`, without a record of the kernel's."""
        process = process_of(pid, None)
        if process is None:
            return None, None, "it has ended"
        ref = container_of(components(process.cgroup)) if self._workloads.knows_containers else None
        container = self._container(ref) if ref is not None else None
        who = Who(process.cgroup, process.uid, process.exe, False, "", container)
        number = self._workloads.number_of(who)
        if not number:
            return process, None, "no workload's selectors hold of it"
        program = Program.of(process.pid, process.start_ticks)
        with closing(program) if program is not None else nullcontext():
            sha256 = await self._hash(program, HASH_LIMIT_S) if program is not None else ""
            here = program is not None and program.is_here
        answer = self._workloads.workload_of(number, dataclasses.replace(who, exe_here=here, sha256=sha256))
        return (process, None, answer.reason) if isinstance(answer, Refusal) else (process, answer, "")

    @contextmanager
    def _seen(self, origin: Origin) -> Iterator[tuple[Process, Program | None, bool]]:
        """The process, its program, whether that is another one than at connect: then nothing of it is told."""
        process = self._process(origin)
        program = None if process.gone else Program.of(process.pid, process.start_ticks)
        try:
            if program is not None and origin.exe != UNKNOWN_EXE and self._kernel_key(program) != origin.exe:
                yield dataclasses.replace(process, exe="", comm=origin.comm, cmdline=(), cmdline_cut=False), None, True
            else:
                yield process, program, False
        finally:
            if program is not None:
                program.close()

    def close(self) -> None:
        """Take no further hash."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _process(self, origin: Origin) -> Process:
        """As /proc shows it, or as the kernel saw it when it has ended since."""
        seen = Seen(origin.comm, origin.uid, origin.gid, self._cgroups.of(origin.cgroup_id))
        process = process_of(origin.pid, origin.start_ticks, seen)
        assert process is not None
        return process

    def _who(self, origin: Origin, process: Process, program: Program | None) -> Who:
        path = self._cgroups.deciding(origin)
        ref = container_of(components(path)) if self._workloads.knows_containers else None
        return Who(
            cgroup=path,
            uid=origin.uid,
            # What it runs by now proves nothing of what connected, where the kernel doesn't say.
            exe=process.exe if origin.exe != UNKNOWN_EXE else "",
            exe_here=program is not None and program.is_here,
            sha256=(self._hashes.known(program) or "") if program is not None else "",
            container=self._container(ref) if ref is not None else None,
        )

    def _kernel_key(self, program: Program) -> tuple[int, int]:
        """The same as `kernel_key`, asked once for each file."""
        key = self._kernel_keys.get(program.key)
        if key is None:
            if len(self._kernel_keys) >= MAX_HASHES:
                self._kernel_keys.clear()
            key = self._kernel_keys[program.key] = kernel_key(program.fileno())
        return key

    async def _hash(self, program: Program, limit_s: float) -> str:
        """The program's hash; empty when there is no telling, or not in time. A file is read once, however many wait for it."""
        taking = self._taking.get(program.key)
        if taking is None:
            # A descriptor of its own: the thread goes on reading when nobody waits any more.
            taking = asyncio.get_running_loop().run_in_executor(self._threads, self._take, program.again())
            self._taking[program.key] = taking
            taking.add_done_callback(self._taken_of(program.key))
        try:
            async with asyncio.timeout(limit_s):
                return await asyncio.shield(taking) or ""
        except TimeoutError:
            return ""

    def _taken_of(self, key: FileKey) -> Callable[[asyncio.Future[str | None]], None]:
        def taken(_: asyncio.Future[str | None]) -> None:
            del self._taking[key]

        return taken

    def _take(self, program: Program) -> str | None:
        with closing(program):
            return self._hashes.take(program)


def _attribution(process: Process, who: Who, answer: WorkloadRule | Refusal, replaced: bool) -> Attribution:
    if isinstance(answer, Refusal):
        return Attribution(process, None, answer.reason, who.sha256, who.container, replaced)
    return Attribution(process, answer, "", who.sha256, who.container, replaced)


class CgroupPaths:
    """Where cgroups lie, by their ids: below the cgroup2 mount, with a leading slash.

    Asked of the kernel once for each: cgroup2 has no rename, and an id is never given twice, so a path stays true for ever.
    """

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def of(self, identifier: int) -> str:
        """Empty when the cgroup is gone and was not asked for before. Raises KernelError."""
        known = self._known.get(identifier)
        if known is not None:
            return known
        path, mount = cgroups.path_of(identifier), cgroups.mount_point()
        if path is None or not path.is_relative_to(mount):
            return ""
        if len(self._known) >= MAX_PATHS:
            self._known.clear()
        found = self._known[identifier] = f"/{path.relative_to(mount)}"
        return found

    def deciding(self, origin: Origin) -> str:
        """The task's cgroup at connect, or the guarded one where only the socket was made there."""
        task = self.of(origin.cgroup_id)
        guarded = self.of(origin.guarded_cgroup_id) if origin.guarded_cgroup_id else task
        inside = task and guarded and components(task)[: len(components(guarded))] == components(guarded)
        return task if inside else guarded
