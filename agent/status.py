"""What ``hostguard status`` shows: facts read back from where they are true, with everything that is not fine as a problem."""

from __future__ import annotations

import dataclasses
import os
import time
from importlib.metadata import version
from typing import Any

from ..policy.document import Document
from ..policy.workloads import workload_text
from .enrolment import Enrolment
from .holds import Holds
from .loop import Loop
from .paths import Paths, attach_point, made_cgroup
from .reload import Reload
from .retention import Retention
from .sealing import Sealing
from .selftest import SelfTest
from .strays import Strays
from .witnesses import Witnesses

MAX_FLOWS_SHOWN = 200
NEWS_S = 3600.0
"""An unexpected event counts as a problem for this long; it stays on record for good."""


class Status:
    """Collects the facts of one daemon."""

    def __init__(
        self,
        loop: Loop,
        enrolment: Enrolment,
        strays: Strays,
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
        self._enrolment = enrolment
        self._strays = strays
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
            "listeners": [f"{sock.getsockname()[0]}:{sock.getsockname()[1]}" for sock in self._loop.listeners],
            "self_test": {"ok": not self._test.failure, "at": self._test.passed_at, "failure": self._test.failure},
            "workloads": workloads,
            "cgroups": {**self._enrolment.count(), "pending": self._enrolment.pending_facts()},
            "strays": list(self._strays.shown),
            "namespaces": self._loop.namespaces.facts() if self._loop.namespaces else [],
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
            "witnessed": max((shown.size for shown in self._witnesses.shown), default=0),
            "witnesses": [
                {"name": shown.name, "size": shown.size, "at": shown.at, "failure": shown.failure}
                for shown in self._witnesses.shown
            ],
        }

    def _workloads(self) -> list[dict[str, Any]]:
        document = self._document
        return [
            {
                "name": name,
                "agent": workload.agent,
                "owner": document.agents[workload.agent].owner,
                "roles": list(document.agents[workload.agent].roles),
                "selectors": workload_text(workload),
                **self._enrolment.facts(number, made_cgroup(document, name)),
                "flows": sum(relay.flow.workload == name for relay in self._loop.relays),
            }
            for number, (name, workload) in enumerate(document.workloads.items(), 1)
        ]

    def _problems(self, hooks: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> list[str]:
        found = [f"hook {hook['name']} is not attached: {hook['detail']}" for hook in hooks if not hook["attached"]]
        found += [f"workload {w['name']} is not guarded: {w['problem']}" for w in workloads if not w["guarded"]]
        if self._enrolment.failure:
            found.append(f"a cgroup can't be filed, its processes are refused: {self._enrolment.failure}")
        if self._strays.failure:
            found.append(
                f"sockets that were connected before their process was guarded can't be looked for: {self._strays.failure}"
            )
        if self._strays.open:
            found.append(f"{self._strays.open} sockets of guarded processes, connected before, can't be ended: end the processes")
        if self._enrolment.pending:
            path, reason = next(iter(self._enrolment.pending.items()))
            found.append(f"{len(self._enrolment.pending)} cgroups wait and are refused: {path}: {reason}")
        if self._loop.namespaces:
            found += [f"network namespace {n['inode']}: {n['problem']}" for n in self._loop.namespaces.facts() if n["problem"]]
        if self._test.failure:
            found.append(f"self-test: {self._test.failure}")
        if self._reload.failure:
            found.append(f"the last reload was refused, the configuration before it is in force: {self._reload.failure}")
        log = self._log()
        if log["failure"]:
            found.append(f"the log can't be written, operations are refused: {log['failure']}")
        if log["seal_failure"]:
            found.append(f"the log can't be sealed; it is written all the same: {log['seal_failure']}")
        if self._retention.failure:
            found.append(f"old segments can't be removed: {self._retention.failure}")
        found += [f"witness {w['name']} did not take the log's head: {w['failure']}" for w in log["witnesses"] if w["failure"]]
        recent = [fault for fault in self._loop.faults if time.time() - fault["at"] < NEWS_S and fault["fault"] == "internal"]
        if recent:
            found.append(f"{len(recent)} flows ended by an internal error in the last hour: {recent[-1]['reason']}")
        return found
