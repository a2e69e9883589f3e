"""Cgroups that become a workload's, or nobody's, as they come.

Why no process slips through. Workloads that are known by path are in the kernel's map before the daemon says that it guards.
For those that are found by a pattern, a unit, a container, every cgroup below which one may appear is filed as WATCHED: the
kernel refuses whatever connects from a cgroup below it that is not filed itself. So a new cgroup is refused from its first
instant, without us, and stays refused until it is filed here under a workload's number, or as CLEARED. The order in which we
learn of it is therefore a matter of delay, never of safety:

- A verdict depends on the path alone (for containers also on the runtime's file), and a cgroup can't change its path: there is
  no rename in cgroup2. It is filed by its id, which is read together with the path (one stat), and never comes again.
- WATCHED is filed before the watch for children is set, which is set before the children are listed: a child is listed, or
  reported, or both; being looked at twice changes nothing.
- Reports that were lost (inotify's queue is bounded), a full map, too many watches, a container whose name isn't known yet: the
  cgroup stays refused, `pending` or `failure` says so, and the next `resync` tries again.
- CLEARED is filed only for a cgroup below which nothing of ours can appear, whatever is made there.

What an agent may write itself (a delegated subtree) lies below its workload's cgroup, which has its number already.

Still ugly: a process that has moved into a guarded cgroup keeps what it had connected before, unless the kernel side ends it;
and what is cleared stays so, also when a container gets another name.
"""

from __future__ import annotations

import asyncio
import collections
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ..identity.containers import Container, ContainerRef, container_of
from ..identity.paths import components
from ..identity.process import process_of
from ..identity.workload import Standing, Workloads
from ..kernel import cgroups
from ..kernel.cgroupwatch import OVERFLOW, CgroupWatch, child_names
from ..kernel.errors import KernelError
from ..kernel.layouts import CLEARED, WATCHED
from .failures import Failure
from .programs import ProgramMap, Programs

PROGRAMS_S = 1.0
"""Executables' paths are looked at this often, should another file lie there."""
RESYNC_S = 10.0
"""Everything is looked at again this often, should a report have been lost or a step have failed."""
REPORTS_A_TURN = 50
RETRY_S = 0.1
"""As long as something is pending it is looked at this often: a process waits for it."""
PROBE_PREFIX = "hostguard-probe-"
"""The self-test files its own cgroup, directly below the attach point."""
MAX_PENDING_SHOWN = 32


_VALUES = {Standing.WATCH: WATCHED, Standing.CLEAR: CLEARED, Standing.INSIDE: 0}
"""0: not filed, its parent's number counts."""


class Filing(ProgramMap, Protocol):
    """The kernel's maps of cgroups and programs; `Redirect` in real life. All raise KernelError."""

    def guard(self, cgroup_id: int, workload: int) -> None:
        """File a cgroup under a workload's number."""

    def watch(self, cgroup_id: int) -> None:
        """Refuse what is below it and not filed itself."""

    def clear(self, cgroup_id: int) -> None:
        """Let go what is in it and below."""

    def unguard(self, cgroup_id: int) -> bool:
        """Take it out."""

    def guarded(self) -> dict[int, int]:
        """Everything in it."""


class Enrolment:
    """What every cgroup below the attach point is filed as."""

    def __init__(
        self, filing: Filing, workloads: Workloads, attach: Path, container: Callable[[ContainerRef], Container]
    ) -> None:
        """attach: the cgroup that the hooks are attached to; what lies beside it is none of ours. Raises Failure."""
        self._filing = filing
        self._workloads = workloads
        self._mount = cgroups.mount_point()
        self._attach = attach
        self._container = container
        self._filed: dict[Path, tuple[int, int]] = {}
        self._programs = Programs(filing, workloads.executables)
        self._watch = CgroupWatch()
        self._news: collections.deque[Path] = collections.deque()
        self.pending: dict[Path, str] = {}
        """Cgroups that can't be told yet, with the reason; their processes are refused."""
        self.failure = ""
        """Why a cgroup could not be filed; empty when all are. Its processes are refused."""
        self.on_guarded: list[Callable[[], None]] = []
        """Called when a cgroup has just become a workload's."""

    # -- the whole --------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """File everything that there is; what an earlier daemon filed and is none of it any more goes. Raises KernelError."""
        self.resync()
        if self.failure:
            raise Failure(self.failure)
        kept = {identifier for identifier, _ in self._filed.values()}
        for identifier in self._filing.guarded():
            if identifier not in kept:
                self._filing.unguard(identifier)

    def resync(self) -> None:
        """Look at everything again."""
        self._programs.refresh()
        self.failure = self._programs.failure
        self.pending.clear()
        for path in [path for path in self._filed if not path.exists()]:
            self._forget(path)
        for text in self._workloads.paths:
            path = self._mount / text.lstrip("/")
            self._guarding(self._watch.add, path.parent)
            self._enrol(path)
        if self._workloads.searches:
            self._enrol(self._attach)

    async def run(self) -> None:
        """Follow what comes and goes, until cancelled."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._watch.fileno(), self._hear)
        next_resync = loop.time() + RESYNC_S
        try:
            while True:
                await asyncio.sleep(RETRY_S if self.pending else PROGRAMS_S)
                self._programs.refresh()
                for path in list(self.pending):
                    self._enrol(path)
                if loop.time() >= next_resync:
                    self.resync()
                    next_resync = loop.time() + RESYNC_S
        finally:
            loop.remove_reader(self._watch.fileno())

    def close(self) -> None:
        """Watch no longer. What is filed stays."""
        self._watch.close()
        self._programs.close()

    def cgroups_of(self, number: int) -> list[Path]:
        """The cgroups that are filed under a workload's number."""
        return [path for path, (_, filed) in self._filed.items() if filed == number]

    def count(self) -> dict[str, int]:
        """How many cgroups are filed as what."""
        kinds = collections.Counter(
            {WATCHED: "watched", CLEARED: "cleared"}.get(value, "guarded") for _, value in self._filed.values()
        )
        return {"guarded": 0, "watched": 0, "cleared": 0, **kinds}

    def facts(self, number: int, made: Path | None) -> dict[str, Any]:
        """For ``status``: whether a workload is guarded, in which cgroups. made: the one that we made for it."""
        places = self.cgroups_of(number)
        facts = {
            "guarded": True,
            "cgroups": len(places),
            "cgroup": str(places[0].relative_to(self._mount)) if places else "",
            "problem": "",
        }
        if made is None:
            return facts
        try:
            guarded = self._filing.guarded().get(cgroups.cgroup_id(made)) == number
        except KernelError as error:
            return facts | {"guarded": False, "problem": f"its cgroup is gone: {error}"}
        return facts if guarded else facts | {"guarded": False, "problem": "its cgroup was made again and is not filed yet"}

    def pending_facts(self) -> list[dict[str, str]]:
        """For ``status``: what waits, the first `MAX_PENDING_SHOWN`."""
        shown = itertools.islice(self.pending.items(), MAX_PENDING_SHOWN)
        return [{"cgroup": str(path), "reason": reason} for path, reason in shown]

    def is_guarded(self, pid: int) -> bool:
        """Whether the kernel guards a process now; one that is gone counts as guarded, since nobody can vouch for it."""
        process = process_of(pid, None)
        if process is None:
            return True
        if process.uid in self._workloads.users or process.exe in self._workloads.executables:
            return True
        parts = components(process.cgroup)
        for depth in range(len(parts), -1, -1):
            filed = self._filed.get(self._mount.joinpath(*parts[:depth]))
            if filed is not None:
                return filed[1] != CLEARED and (filed[1] != WATCHED or depth < len(parts))
        return False

    # -- one report, one cgroup -------------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        """Take the reports in."""
        try:
            for child in self._watch.read():
                if child == OVERFLOW:
                    self._news.clear()
                    self.resync()
                else:
                    self._news.append(child.parent / child.name)
        except KernelError as error:
            self.failure = str(error)
        self._look()

    def _look(self) -> None:
        """Look at what was reported, a few at a time: a storm of cgroups must not stop the flows."""
        for _ in range(min(len(self._news), REPORTS_A_TURN)):
            self._enrol(self._news.popleft())
        if self._news:
            asyncio.get_running_loop().call_soon(self._look)

    def _enrol(self, path: Path) -> None:
        """File the cgroup, with all below it where something of ours may lie."""
        waiting = [path]
        while waiting:
            place = waiting.pop()
            if self._file(place):
                waiting += [place / name for name in child_names(place)]

    def _file(self, path: Path) -> bool:
        """File one cgroup; whether those in it are to be looked at."""
        if path.parent == self._attach and path.name.startswith(PROBE_PREFIX):
            return False
        parts = path.relative_to(self._mount).parts
        try:
            identifier = path.stat().st_ino
        except OSError:
            self._forget(path)
            return False
        ref = container_of(parts) if self._workloads.knows_containers else None
        standing = self._workloads.standing(parts, self._container(ref) if ref is not None else None)
        self.pending.pop(path, None)
        if standing is Standing.PENDING:
            self.pending[path] = f"its {ref.runtime if ref else ''} container is not known well enough yet"
            return False
        value = _VALUES[standing] if isinstance(standing, Standing) else standing
        if value and not self._put(path, identifier, value):
            return False
        below = self._workloads.searches_below(parts)
        return below and self._guarding(self._watch.add, path)

    def _put(self, path: Path, identifier: int, value: int) -> bool:
        before = self._filed.get(path)
        if before == (identifier, value):
            return True
        step = {WATCHED: self._filing.watch, CLEARED: self._filing.clear}.get(value)
        if not (self._guarding(step, identifier) if step else self._guarding(self._filing.guard, identifier, value)):
            return False
        self._filed[path] = (identifier, value)
        if before is not None and before[0] != identifier:
            self._guarding(self._filing.unguard, before[0])
        if value not in (WATCHED, CLEARED):
            for told in self.on_guarded:
                told()
        return True

    def _forget(self, path: Path) -> None:
        """The cgroup is gone."""
        self.pending.pop(path, None)
        self._guarding(self._watch.remove, path)
        filed = self._filed.pop(path, None)
        if filed is not None:
            self._guarding(self._filing.unguard, filed[0])

    def _guarding(self, step: Callable[..., object], *arguments: object) -> bool:
        """Whether a step went well; a failure is kept for `status`, and what it concerns stays refused."""
        try:
            return step(*arguments) is not False
        except KernelError as error:
            self.failure = str(error)
            return False
