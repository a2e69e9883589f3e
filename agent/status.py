"""What ``hostguard status`` shows: facts read back from where they are true, with everything that is not fine as a problem."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from ..kernel.enrol import guarded_processes
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..policy.credentials import agent_of
from ..policy.decide import Decider
from ..policy.document import Document
from ..policy.workloads import workload_text
from ..recorder.drain import Drain
from ..recorder.log import Log
from .crew import Crew
from .enrolment import Enrolment
from .entrance import Entrance
from .faults import Faults
from .holds import Holds
from .lookout import Lookout
from .modes import observed
from .names.keeper import Keeper
from .namespaces import Namespaces
from .paths import Paths, attach_point, made_cgroup
from .powers import Powers
from .records import Records
from .reload import Reload
from .resources import Resources
from .restraint import Restraint
from .retention import Retention
from .sealing import Sealing
from .secrecy import Secrecy
from .selftest import SelfTest
from .sight import ANY, About
from .strays import Strays
from .trust import link_facts
from .verifier.service import Vouching
from .web.keeper import Keeper as Page
from .witnesses import Witnesses

MAX_FLOWS_SHOWN = 200
NEWS_S = 3600.0
"""An unexpected event counts as a problem for this long; it stays on record for good."""


class Status:
    """Collects the facts of one daemon."""

    def __init__(
        self,
        *,
        decider: Decider,
        redirect: Redirect,
        enrolment: Enrolment,
        namespaces: Namespaces,
        entrance: Entrance,
        resources: Resources,
        names: Keeper,
        crew: Crew,
        drain: Drain,
        records: Records,
        faults: Faults,
        holds: Holds,
        test: SelfTest,
        strays: Strays,
        lookout: Lookout,
        powers: Powers,
        reload: Reload,
        log: Log,
        sealing: Sealing,
        witnesses: Witnesses,
        retention: Retention,
        secrecy: Secrecy,
        restraint: Restraint,
        vouching: Vouching,
        page: Page | None,
        started_at: float,
        taken_over: Mapping[str, str] | None,
    ) -> None:
        """`taken_over`: what is on record of a predecessor whose flows went on; None at a start like any other."""
        self._decider = decider
        self._redirect = redirect
        self._enrolment = enrolment
        self._namespaces = namespaces
        self._entrance = entrance
        self._resources = resources
        self._names = names
        self._crew = crew
        self._drain = drain
        self._records = records
        self._faults = faults
        self._holds = holds
        self._test = test
        self._strays = strays
        self._lookout = lookout
        self._powers = powers
        self._reload = reload
        self._written = log
        self._sealing = sealing
        self._witnesses = witnesses
        self._retention = retention
        self._secrecy = secrecy
        self._restraint = restraint
        self._vouching = vouching
        self._page = page
        self._started_at = started_at
        self._taken_over = taken_over

    @property
    def document(self) -> Document:
        """The configuration in force."""
        return self._document

    @property
    def _document(self) -> Document:
        return self._decider.policy.document

    async def facts(self) -> dict[str, Any]:
        """Everything as JSON; `state` is ``guarding`` when `problems` is empty, else ``degraded``. Asks the workers first."""
        told = await self._crew.reports(MAX_FLOWS_SHOWN)
        names = await self._names.facts()
        powers = await self._powers.facts()
        broker = await self._secrecy.broker.facts()
        budgets = await self._restraint.budgets.facts()
        page = await self._page.facts() if self._page is not None else None
        shipped = await asyncio.to_thread(self._shipped)
        document, policy, test = self._document, self._decider.policy, self._test
        hooks = [dataclasses.asdict(hook) | {"cgroup": str(hook.cgroup or "")} for hook in self._redirect.hooks()]
        workloads = self._workloads(await asyncio.to_thread(self._processes))
        problems = self._problems(hooks, workloads)
        return {
            "state": "degraded" if problems else "guarding",
            "problems": problems,
            "observed": [About(name, [document.workloads[name].agent]) for name in observed(document)],
            "version": version("hostguard"),
            "pid": os.getpid(),
            "config": document.file,
            "started_at": self._started_at,
            "taken_over": self._taken_over,
            "attach": str(attach_point(document)),
            "hooks": hooks,
            "loader": self._redirect.loader,
            "listeners": [self._entrance.name_of(sock) for sock in self._entrance.listeners],
            "self_test": {"ok": not test.failure, "at": test.passed_at, "failure": test.failure},
            "strays": {"open": self._strays.open, "shown": list(self._strays.shown)},
            "denied": self._lookout.facts(),
            "workers": {"wanted": self._crew.wanted, "ended": self._crew.died, "running": self._crew.facts()},
            "workloads": workloads,
            "cgroups": {**self._enrolment.count(), "pending": self._enrolment.pending_facts()},
            "namespaces": self._namespaces.facts(),
            "resources": [
                {
                    "name": name,
                    "protocol": resource.protocol,
                    "addresses": list(resource.addresses),
                    "capture_replies": resource.capture_replies,
                    **link_facts(document, name),
                }
                for name, resource in document.resources.items()
            ],
            "flows": {
                "open": self._crew.count,
                "refused": self._entrance.refused,
                "shown": [flow.facts(told.get(flow.id)) for flow in self._crew.flows[:MAX_FLOWS_SHOWN]],
            },
            "operations": dataclasses.asdict(self._crew.tally),
            "stops": self._restraint.stops.facts(),
            "budgets": budgets,
            "requests": {"pending": self._holds.pending},
            "channels": self._holds.announcer.facts(),
            "policy": {"epoch": policy.epoch, "policies": len(policy.rules), "files": [s.file for s in document.sources]},
            "names": names | {"redirected": len(self._redirect.resolvers())},
            "powers": powers,
            "broker": broker,
            "identity": self._vouching.facts(),
            "page": page,
            "trust": self._secrecy.trust.facts(),
            "log": self._log(),
            "shipped": shipped,
            "kernel": self._redirect.counters(),
            "faults": [_told(fault) for fault in self._faults.latest],
        }

    def _identity_problems(self) -> list[str]:
        enrolment = self._enrolment
        unfiled = "a cgroup can't be filed, its processes are refused"
        found: list[str] = [About(f"{unfiled}: {enrolment.failure}", ANY, unfiled)] if enrolment.failure else []
        if enrolment.pending:
            path, reason = next(iter(enrolment.pending.items()))
            waiting = f"{len(enrolment.pending)} cgroups wait and are refused"
            found.append(About(f"{waiting}: {path}: {reason}", ANY, waiting))
        return found + [f"network namespace {n['inode']}: {n['problem']}" for n in self._namespaces.facts() if n["problem"]]

    def _name_problems(self) -> list[str]:
        resources, names = self._resources, self._names
        found = [] if names.ready.is_set() else ["the resolver is not running: guarded processes' names are not answered"]
        found += [f"the name {name} of a resource can't be looked up: {why}" for name, why in resources.failures.items()]
        found += [said for said, at in resources.disputes.values() if time.monotonic() - at < NEWS_S]
        if names.figures is not None and names.figures.failure:
            found.append(f"no name server answers: {names.figures.failure}")
        return found

    def _broker_problems(self) -> list[str]:
        broker, trust = self._secrecy.broker, self._secrecy.trust
        if not broker.ready.is_set():
            return ["the broker is not running: nobody can log in with a credential"]
        told = broker.told
        found = [f"certificates can't be made: {told.failure}"] if told is not None and told.failure else []
        for secret in (each for each in told.secrets if each.failure) if told is not None else ():
            unread = f"the secret of credential {secret.variant} can't be read: {secret.failure}"
            found.append(About(unread, [agent_of(secret.variant)]))
        return [*found, trust.failure] if trust.failure else found

    def _log(self) -> dict[str, Any]:
        log, strict = self._written, self._document.log.durability == "strict"
        return {
            "folder": str(Paths.of(self._document).log),
            "entries": log.position,
            "synced": log.synced_position,
            "durability": "strict" if strict else "batch",
            "window_ms": 0 if strict else self._document.log.batch_ms,
            "payload_recipients": len(self._document.log.payload_recipients),
            "payload_above_bytes": self._document.log.payload_above_bytes,
            "journals_behind_bytes": self._drain.behind,
            "failure": self._drain.failure or self._crew.log_failure or ("" if log.available else self._records.failure),
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

    def _shipped(self) -> dict[str, Any] | None:
        """How far the bucket has come; None where nothing is shipped. Reads the ledger of `hostguard ship`."""
        if self._retention.arrived is None:
            return None
        try:
            has = self._retention.arrived()
        except sqlite3.Error as error:
            return {"entries": 0, "tried_at": 0.0, "failure": f"its ledger can't be read: {error}"}
        return {"entries": has.reached, "tried_at": has.tried_at, "failure": has.failure}

    def _processes(self) -> dict[int, int]:
        """Workload numbers to how many processes the kernel guards under them. O(processes of the host)."""
        try:
            return Counter(number for _, number in guarded_processes(self._redirect))
        except (KernelError, OSError):
            return {}  # what keeps the kernel from telling is among the hooks' own problems

    def _workloads(self, processes: dict[int, int]) -> list[dict[str, Any]]:
        document = self._document
        return [
            {
                "name": name,
                "agent": workload.agent,
                "owner": document.agents[workload.agent].owner,
                "roles": list(document.agents[workload.agent].roles),
                "selectors": workload_text(workload),
                "mode": workload.mode,
                "loosened": list(workload.loosened),
                **self._enrolment.facts(number, made_cgroup(document, name)),
                "processes": processes.get(number, 0),
                "flows": sum(flow.rule.name == name for flow in self._crew.flows),
            }
            for number, (name, workload) in enumerate(document.workloads.items(), 1)
        ]

    def _problems(self, hooks: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> list[str]:
        found: list[str] = [f"hook {hook['name']} is not attached: {hook['detail']}" for hook in hooks if not hook["attached"]]
        unguarded = [workload for workload in workloads if not workload["guarded"]]
        found += [About(f"workload {w['name']} is not guarded: {w['problem']}", [w["agent"]]) for w in unguarded]
        found += [About(stop["says"], [stop["agent"]]) for stop in self._restraint.stops.facts()]
        found += self._identity_problems()
        if self._test.failure:
            found.append(f"self-test: {self._test.failure}")
        if self._entrance.problem:
            found.append(self._entrance.problem)
        if self._strays.open:
            found.append(
                f"{self._strays.open} sockets of guarded processes that no hook has seen can't be ended: see `strays` in --json"
            )
        if self._strays.failure:
            found.append(f"the sockets of guarded processes can't be looked through: {self._strays.failure}")
        if self._lookout.failure:
            found.append(f"what the hooks refuse can't be read, it is only counted: {self._lookout.failure}")
        if self._reload.failure:
            refused = "the last reload was refused, the configuration before it is in force"
            found.append(About(f"{refused}: {self._reload.failure}", ANY, refused))
        found += self._name_problems()
        found += self._broker_problems()
        found += self._vouching.problems()
        found += self._page.problems() if self._page is not None else []
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
        if self._holds.announcer.failure:
            found.append(f"notices to channels are told, but would not outlive this daemon: {self._holds.announcer.failure}")
        found += self._crew.problems()
        found += [About(text, ANY, "something that goes on all the time has ended by an error") for text in self._faults.stopped]
        recent = self._faults.internal_since(time.time() - NEWS_S)
        if recent:
            ended = f"{len(recent)} flows ended by an internal error in the last hour"
            last = recent[-1]
            found.append(About(f"{ended}: {last['reason']}", [last["agent"]] if last["agent"] else ANY, ended))
        return found


def _told(fault: dict[str, Any]) -> dict[str, Any]:
    """A fault as it may be told. One that is no agent's may be about any, as what an exception says."""
    return fault if fault["agent"] else {**fault, "reason": About(fault["reason"], ANY)}
