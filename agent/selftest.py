"""The daemon's proof to itself that the guard holds: connections of its own, through its own hooks, must arrive."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

from ..kernel import cgroups, probe
from ..kernel.errors import KernelError
from ..kernel.layouts import Origin
from ..kernel.loader import Redirect
from .failures import Failure

WORKLOAD = 0xFFFF_FFFF
"""Number of the probe's cgroup in the kernel's map; configured workloads count from 1."""
TARGETS = (("127.0.0.1", 9), ("::1", 9), ("::ffff:127.0.0.1", 9))
"""Loopback with the discard port (RFC 863): should a hook be missing, the probe reaches nobody."""
TIMEOUT_S = 10.0
EVERY_S = 60.0
"""Between two probes of a daemon that guards."""


class SelfTest:
    """Runs the probe and matches what arrives with what was sent."""

    def __init__(self, redirect: Redirect, attach_point: Path) -> None:
        self._redirect = redirect
        self._cgroup = attach_point / f"hostguard-probe-{os.getpid()}"
        self._arrived: list[tuple[str, int]] = []
        self.passed_at = 0.0
        """Wall time of the last success, 0 before the first."""
        self.failure = ""
        self.turn = asyncio.Lock()
        """Held while a probe runs; whoever takes it keeps the next one from beginning."""

    def arrived(self, origin: Origin) -> bool:
        """Whether the accepted connection is the probe's."""
        if origin.workload != WORKLOAD:
            return False
        self._arrived.append((origin.host, origin.port))
        return True

    async def run(self) -> None:
        """Probe once. Raises Failure when a connection did not arrive, or arrived with other facts."""
        async with self.turn:
            await self._run()

    async def _run(self) -> None:
        self._arrived.clear()
        try:
            self._redirect.guard(cgroups.create(self._cgroup), WORKLOAD)
            try:
                results = await self._probe()
            finally:
                self._redirect.unguard(cgroups.cgroup_id(self._cgroup))
                await asyncio.to_thread(cgroups.remove, self._cgroup)
        except (KernelError, OSError, ValueError) as error:
            self.failure = f"the probe could not run: {error}"
            raise Failure(f"self-test: {self.failure}") from None
        self.failure = self._judge(results)
        if self.failure:
            raise Failure(f"self-test: {self.failure}")
        self.passed_at = time.time()

    async def repeat(self, every_s: float) -> None:
        """Probe again and again; runs until cancelled. What goes wrong is kept in `failure` until a probe goes well."""
        while True:
            await asyncio.sleep(every_s)
            with contextlib.suppress(Failure):
                await self.run()

    async def _probe(self) -> list[probe.ProbeResult]:
        argv = probe.command(self._cgroup, TARGETS)
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                output, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            raise ValueError(f"no answer within {TIMEOUT_S:.0f} s") from None
        if process.returncode:
            raise ValueError(errors.decode("utf-8", "replace").strip()[-500:])
        return probe.parse(output)

    def _judge(self, results: list[probe.ProbeResult]) -> str:
        """What is wrong, in a sentence; empty when nothing is."""
        if len(results) != len(TARGETS):
            return f"only {len(results)} of {len(TARGETS)} probe connections were tried"
        for result in results:
            if not result.connected:
                return f"a guarded connect to {result.host} was not redirected ({os.strerror(result.errno)})"
            if not result.peer_kept:
                seen = f"{result.peer_host}:{result.peer_port}"
                return f"a guarded process sees {seen} as its peer instead of {result.host}:{result.port}"
        wanted = sorted((host.removeprefix("::ffff:"), port) for host, port in TARGETS)
        if sorted(self._arrived) != wanted:
            return f"the loop saw {sorted(self._arrived)} instead of {wanted}"
        return ""
