"""The composition root: a whole daemon from one configuration, or nothing of it.

Order of start. Nothing may be half up, so each step registers how to undo it, and the daemon says "guarding" only after its own
probe connections have come through its own hooks: configuration, log, kernel hooks, workloads' cgroups, listeners, self-test,
control socket. Until the listeners are known to the kernel every guarded connect is refused, so the order is closed throughout.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from pathlib import Path

import uvloop

from ..identity.auditors import Recipients
from ..identity.users import UserMistake, Users
from ..identity.workload import WorkloadMistake, Workloads
from ..kernel import cgroups, pins
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..policy.approvals import RequestBook
from ..policy.decide import Decider, Policy
from ..policy.document import Document
from ..policy.workloads import rule_of
from ..protocols.postgres.limits import Limits
from ..recorder import entry
from ..recorder.durable import LogBusy, LogUnavailable
from ..recorder.log import Log
from .attribution import Attributor
from .containerfiles import ContainerFiles
from .control import Control
from .durability import Durability
from .enrolment import Enrolment
from .failures import Failure
from .flow import Tally
from .gate import Gate
from .holds import Holds
from .loop import Loop, Services
from .metrics import Metrics
from .namespaces import Namespaces
from .paths import Paths, attach_point, made_cgroup, workload_path
from .reload import Reload, policy_load, uid_of, users_of
from .resources import AddressTaken, Resources
from .retention import Retention
from .sealing import Sealing
from .selftest import SelfTest
from .status import Status
from .strays import Strays
from .witnesses import Witnesses

BEAT_S = 0.1
HEARTBEAT_LIMIT_MS = 2000
"""A loop that did not turn for this long counts as hung: connects are refused until it turns again."""
GRACE_S = 5.0
"""How long busy flows may go on after the daemon was told to stop."""


def run(document: Document) -> None:
    """Guard this host until SIGTERM or SIGINT. Raises Failure when it can't, with nothing left half done."""
    if os.geteuid() != 0:
        raise Failure("the daemon must run as root: it loads eBPF programs and reads other processes' facts")
    uvloop.run(_serve(document))


async def _serve(document: Document) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as undo:
        daemon = await Daemon.start(document, undo)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload.soon)
        print(f"hostguard guards {len(document.workloads)} workloads; log at {daemon.paths.log}", flush=True)
        await stop.wait()
        await daemon.stop("signal")


class Daemon:
    """One running daemon."""

    def __init__(self, paths: Paths, log: Log, loop: Loop, reload: Reload) -> None:
        self.paths = paths
        self.reload = reload
        self._log = log
        self._loop = loop

    @classmethod
    async def start(cls, document: Document, undo: AsyncExitStack) -> Daemon:
        """Bring everything up. Raises Failure."""
        started_at = time.time()
        paths = Paths.of(document)
        workloads, users = _who(document)
        resources = await _resolved(document)
        policy = Policy(document)
        paths.make()
        undo.callback(os.close, paths.lock())
        log = _open_log(document, paths, undo)
        sealing, witnesses = _open_seal(document, paths, log, undo)
        retention = Retention(paths.log, log, sealing, document.log)
        redirect = _attach(document, paths, undo)
        for remark in redirect.remarks:
            print(remark, flush=True)
        container = ContainerFiles()
        enrolment = _enrol(document, workloads, redirect, container, undo)
        attributor = Attributor(workloads, container)
        undo.callback(attributor.close)
        tally = Tally()
        gate = Gate(log, tally)
        durable = Durability(log, gate, strict=document.log.durability == "strict", batch_s=document.log.batch_ms / 1000)
        decider = Decider(policy, hash_key=paths.hash_key())
        book = RequestBook(timeout_s=document.approvals.timeout_s, max_held=document.limits.max_held, seed=os.urandom(16))
        holds = Holds(book, log, users, decider)
        test = SelfTest(redirect, attach_point(document))
        limits = Limits(max_message_bytes=document.limits.max_message_bytes)
        captures = {name: one.capture_max_bytes for name, one in document.resources.items() if one.capture_replies}
        max_flows = document.limits.max_flows
        services = Services(log, gate, durable, decider, redirect, attributor, resources, tally, limits, max_flows, captures)
        loop = Loop(services, holds, test.arrived)
        namespaces = loop.namespaces = Namespaces(redirect, loop.accept_on, enrolment.is_guarded)
        strays = Strays(redirect, log)
        enrolment.on_guarded = [namespaces.soon, strays.soon]
        _keep(undo, _beat(redirect), durable.run(), holds.run(), loop.refresh())
        _keep(undo, sealing.run(), witnesses.run(), retention.run())
        _record_start(log, document, policy)
        await strays.look()
        await loop.listen()
        _keep(undo, enrolment.run(), namespaces.run(), strays.run())
        await test.run()
        reload = Reload(decider, holds, log)
        status = Status(loop, enrolment, strays, holds, test, reload, sealing, witnesses, retention, started_at)
        metrics = Metrics(status.facts, loop)
        control = Control(status=status.facts, holds=holds, is_guarded=enrolment.is_guarded, metrics=metrics.text)
        await _open_control(control, paths, document.metrics.address, undo)
        return cls(paths, log, loop, reload)

    async def stop(self, reason: str) -> None:
        """Stop in order: no new flows, held operations withdrawn, busy flows get `GRACE_S`, then the log is closed."""
        open_flows = len(self._loop.relays)
        await self._loop.stop(GRACE_S)
        self._loop.gate.flush()
        try:
            self._log.append(0, entry.DaemonStop(reason=reason, flows=open_flows))
        except LogUnavailable as error:
            raise Failure(f"the daemon's end could not be put on record: {error}") from None


def _who(document: Document) -> tuple[Workloads, Users]:
    try:
        workloads = Workloads(rule_of(name, w, uid_of, os.path.realpath) for name, w in document.workloads.items())
        users = users_of(document)
    except (WorkloadMistake, UserMistake) as mistake:
        raise Failure("; ".join(mistake.problems)) from None
    return workloads, users


async def _resolved(document: Document) -> Resources:
    try:
        return await Resources.resolve(document.resources)
    except AddressTaken as error:
        raise Failure(f"{document.file}: {error}") from None


def _open_log(document: Document, paths: Paths, undo: AsyncExitStack) -> Log:
    auditors = Recipients(document.log.payload_recipients)
    try:
        log = Log(
            paths.log,
            lambda: (time.time_ns(), time.monotonic_ns()),
            encrypt=auditors.encrypt if auditors else None,
            payload_above=document.log.payload_above_bytes,
        )
    except LogBusy as error:
        raise Failure(f"another daemon writes this log: {error}") from None
    except (LogUnavailable, OSError) as error:
        raise Failure(f"the log can't be opened: {error}") from None
    undo.callback(log.close)
    return log


def _open_seal(document: Document, paths: Paths, log: Log, undo: AsyncExitStack) -> tuple[Sealing, Witnesses]:
    """The log's tree, with those to whom its heads are shown. The last seal is before the log is closed."""
    signer = paths.log_signer()
    sealing = Sealing.open(paths.log, signer, log, document.log.seal_s)
    undo.push_async_callback(sealing.stop)
    witnesses = Witnesses(paths.log, signer.verifier, sealing, document.witnesses, document.log.witness_s)
    return sealing, witnesses


def _attach(document: Document, paths: Paths, undo: AsyncExitStack) -> Redirect:
    """Attach the hooks. They outlive this daemon, unless it fails to start on a host that was not guarded before."""
    try:
        fresh = not any(hook.attached for hook in pins.status(paths.pins).hooks)
        redirect = Redirect.attach(attach_point(document), paths.pins, HEARTBEAT_LIMIT_MS)
    except KernelError as error:
        raise Failure(f"the kernel hooks can't be attached: {error}") from None

    def leave(kind: type[BaseException] | None, *_: object) -> None:
        if fresh and kind is not None:
            redirect.detach()
        else:
            redirect.close()

    undo.push(leave)
    return redirect


def _enrol(
    document: Document, workloads: Workloads, redirect: Redirect, container: ContainerFiles, undo: AsyncExitStack
) -> Enrolment:
    """Make the kernel's maps say what the configuration says; numbers of an earlier run mean nothing any more."""
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
        # First the paths: a cgroup that is removed and made again from here on is guarded when it is made.
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


def _keep(undo: AsyncExitStack, *works: Coroutine[None, None, None]) -> None:
    """Run these for as long as the daemon lives."""
    for work in works:
        task = asyncio.ensure_future(work)
        undo.callback(task.cancel)


async def _beat(redirect: Redirect) -> None:
    while True:
        redirect.beat(time.monotonic_ns())
        await asyncio.sleep(BEAT_S)


def _record_start(log: Log, document: Document, policy: Policy) -> None:
    durability = document.log.durability if document.log.durability == "strict" else f"batch {document.log.batch_ms} ms"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    details: tuple[tuple[str, str], ...] = (("host", socket.gethostname()), ("kernel", os.uname().release))
    details += tuple(("payloads encrypted to", recipient) for recipient in document.log.payload_recipients)
    try:
        log.append(
            0,
            entry.DaemonStart(
                version=version("hostguard"), pid=os.getpid(), boot_id=boot_id, durability=durability, details=details
            ),
            policy_load(policy),
        )
    except LogUnavailable as error:
        raise Failure(f"the log can't be written: {error}") from None


async def _open_control(control: Control, paths: Paths, scraped: tuple[str, int] | None, undo: AsyncExitStack) -> None:
    try:
        await control.start(paths.control)
    except OSError as error:
        raise Failure(f"the control socket {paths.control} can't be opened: {error.strerror or error}") from None
    undo.push_async_callback(control.stop)
    if scraped is None:
        return
    try:
        await control.listen_metrics(*scraped)
    except OSError as error:
        raise Failure(f"metrics.listen: {scraped[0]}:{scraped[1]} can't be listened on: {error.strerror or error}") from None
