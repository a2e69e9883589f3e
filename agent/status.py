"""What ``hostguard status`` shows: facts read back from where they are true, with everything that is not fine as a problem."""

from __future__ import annotations

import dataclasses
import os
import time
from importlib.metadata import version
from typing import Any

from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..policy.document import Document
from .holds import Holds
from .loop import Loop
from .paths import Paths, attach_point, workload_path
from .reload import Reload
from .retention import Retention
from .sealing import Sealing
from .selftest import SelfTest
from .witnesses import Witnesses

MAX_FLOWS_SHOWN = 200
NEWS_S = 3600.0
"""An unexpected event counts as a problem for this long; it stays on record for good."""


class Status:
    """Collects the facts of one daemon."""

    def __init__(
        self,
        loop: Loop,
        holds: Holds,
        test: SelfTest,
        reload: Reload,
        sealing: Sealing,
        witnesses: Witnesses,
        retention: Retention,
        started_at: float,
    ) -> None:
        self._reload = reload
        self._loop = loop
        self._holds = holds
        self._test = test
        self._sealing = sealing
        self._witnesses = witnesses
        self._retention = retention
        self._started_at = started_at

    @property
    def _document(self) -> Document:
        return self._loop.services.decider.policy.document

    def facts(self) -> dict[str, Any]:
        """Everything as JSON; `state` is ``guarding`` when `problems` is empty, else ``degraded``."""
        services, document = self._loop.services, self._document
        hooks = [dataclasses.asdict(hook) | {"cgroup": str(hook.cgroup or "")} for hook in services.redirect.hooks()]
        workloads = self._workloads()
        problems = self._problems(hooks, workloads)
        return {
            "state": "degraded" if problems else "guarding",
            "problems": problems,
            "version": version("hostguard"),
            "pid": os.getpid(),
            "config": document.file,
            "started_at": self._started_at,
            "attach": str(attach_point(document)),
            "hooks": hooks,
            "loader": services.redirect.loader,
            "listeners": [f"{sock.getsockname()[0]}:{sock.getsockname()[1]}" for sock in self._loop.listeners],
            "self_test": {"ok": not self._test.failure, "at": self._test.passed_at, "failure": self._test.failure},
            "workloads": workloads,
            "resources": [
                {
                    "name": name,
                    "protocol": resource.protocol,
                    "addresses": list(resource.addresses),
                    "capture_replies": resource.capture_replies,
                }
                for name, resource in document.resources.items()
            ],
            "flows": {
                "open": len(self._loop.relays),
                "refused": self._loop.refused,
                "shown": [relay.flow.facts() for relay, _ in zip(self._loop.relays, range(MAX_FLOWS_SHOWN), strict=False)],
            },
            "operations": dataclasses.asdict(services.tally),
            "requests": {"pending": self._holds.pending},
            "policy": {
                "epoch": services.decider.policy.epoch,
                "policies": len(services.decider.policy.rules),
                "files": [s.file for s in document.sources],
            },
            "log": self._log(),
            "kernel": services.redirect.counters(),
            "faults": list(self._loop.faults),
        }

    def _log(self) -> dict[str, Any]:
        log, durable = self._loop.services.log, self._loop.durable
        return {
            "folder": str(Paths.of(self._document).log),
            "entries": log.position,
            "synced": log.synced_position,
            "durability": "strict" if durable.strict else "batch",
            "window_ms": 0 if durable.strict else self._document.log.batch_ms,
            "payload_recipients": len(self._document.log.payload_recipients),
            "payload_above_bytes": self._document.log.payload_above_bytes,
            "failure": self._loop.gate.failure or durable.failure,
            "sealed": self._sealing.checkpoint.size,
            "sealed_at": self._sealing.sealed_at,
            "seal_failure": self._sealing.failure,
            "retention_waits": str(self._retention.waiting or ""),
            "witnessed": max((shown.size for shown in self._witnesses.shown), default=0),
            "witnesses": [
                {"name": shown.name, "size": shown.size, "at": shown.at, "failure": shown.failure}
                for shown in self._witnesses.shown
            ],
        }

    def _workloads(self) -> list[dict[str, Any]]:
        document = self._document
        guarded = self._loop.services.redirect.guarded()
        return [
            {
                "name": name,
                "agent": workload.agent,
                "owner": document.agents[workload.agent].owner,
                "roles": list(document.agents[workload.agent].roles),
                "cgroup": workload.cgroup,
                "loosened": list(workload.loosened),
                **_cgroup_facts(document, workload.cgroup, guarded),
                "flows": sum(relay.flow.workload == name for relay in self._loop.relays),
            }
            for name, workload in document.workloads.items()
        ]

    def _problems(self, hooks: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> list[str]:
        found = [f"hook {hook['name']} is not attached: {hook['detail']}" for hook in hooks if not hook["attached"]]
        found += [f"workload {w['name']} is not guarded: {w['problem']}" for w in workloads if not w["guarded"]]
        if self._test.failure:
            found.append(f"self-test: {self._test.failure}")
        if self._reload.failure:
            found.append(f"the last reload was refused, the configuration before it is in force: {self._reload.failure}")
        log = self._log()
        if log["failure"]:
            found.append(f"the log can't be written, operations are refused: {log['failure']}")
        if log["seal_failure"]:
            found.append(f"the log can't be sealed; it is written all the same: {log['seal_failure']}")
        if Paths.of(self._document).next_key.exists():
            found.append("a change of the log's key broke off, the old one is in force: `hostguard log rotate-key` completes it")
        if self._retention.failure:
            found.append(f"old segments can't be removed: {self._retention.failure}")
        if self._retention.stuck:
            found.append(f"retention waits for shipping, the disk fills up meanwhile: {self._retention.waiting}")
        found += [f"witness {w['name']} did not take the log's head: {w['failure']}" for w in log["witnesses"] if w["failure"]]
        recent = [fault for fault in self._loop.faults if time.time() - fault["at"] < NEWS_S and fault["fault"] == "internal"]
        if recent:
            found.append(f"{len(recent)} flows ended by an internal error in the last hour: {recent[-1]['reason']}")
        return found


def _cgroup_facts(document: Document, cgroup: str, guarded: dict[int, int]) -> dict[str, Any]:
    """Whether the cgroup that has the path now is one that the kernel guards: a directory made again has another id."""
    path = workload_path(document, cgroup)
    try:
        identifier = cgroups.cgroup_id(path)
        processes = len(cgroups.pids(path))
    except (OSError, KernelError) as error:
        return {"guarded": False, "processes": 0, "problem": f"its cgroup is gone: {error}"}
    if identifier not in guarded:
        return {
            "guarded": False,
            "processes": processes,
            "problem": "its cgroup was made again and is not the guarded one; restart the daemon",
        }
    return {"guarded": True, "processes": processes, "problem": ""}
