"""The composition root: a whole daemon from one configuration, or nothing of it.

Order of start. Nothing may be half up, so each step registers how to undo it, and the daemon says "guarding" only after its own
probe connections have come through its own hooks: configuration, log, kernel hooks, workloads' cgroups, workers, listeners,
self-test, control socket. Until the listeners are known to the kernel every guarded connect is refused, so the order is closed
throughout.

This process is the supervisor: it holds root, and reads no byte of an agent or of a server. The workers do (`crew`, `worker`).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version
from pathlib import Path

import uvloop

from ..identity.users import UserMistake, Users
from ..identity.workload import WorkloadMistake, Workloads
from ..kernel import cgroups, pins
from ..kernel.errors import KernelError
from ..kernel.loader import Redirect
from ..policy.approvals import RequestBook
from ..policy.decide import Decider, Policy
from ..policy.document import Document
from ..policy.workloads import rule_of
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.handover import KEY_DETAIL
from ..recorder.log import Log
from . import modes
from .attribution import Attributor
from .cancels import Cancels
from .containerfiles import ContainerFiles
from .control import Control
from .crew import Crew, user_of
from .desk import Desk
from .dialling import Dialler
from .enrolment import Enrolment
from .entrance import Entrance
from .failures import Failure
from .faults import Faults
from .holds import Holds
from .logwriter import LogWriter, TimedSyncs
from .lookout import Lookout
from .metrics import Metrics
from .modes import Modes
from .names.keeper import START_S, Keeper
from .namespaces import Namespaces
from .notify import Notifier
from .open_log import open_log
from .origins import who_asks
from .paths import Paths, attach_point, made_cgroup, workload_path
from .powers import Powers
from .records import Records
from .reload import Reload, policy_load, uid_of, users_of
from .resources import Resources
from .retention import Retention
from .rotation import finish, keys
from .s3 import place_of
from .sealing import Sealing
from .selftest import EVERY_S, SelfTest
from .shipping import Arrived, arrived
from .status import Status
from .strays import Strays
from .unix_sockets import StandIns
from .witnesses import Witnesses

BEAT_S = 0.1
HEARTBEAT_LIMIT_MS = 2000
"""A loop that did not turn for this long counts as hung: connects are refused until it turns again."""
SWITCH_S = 0.0005
"""How long the log writer's thread keeps the GIL while a connection waits: Python's 5 ms are felt at each connect."""
GRACE_S = 5.0
"""How long busy flows may go on after the daemon was told to stop."""


def run(document: Document) -> None:
    """Guard this host until SIGTERM or SIGINT. Raises Failure when it can't, with nothing left half done."""
    if os.geteuid() != 0:
        raise Failure("the daemon must run as root: it loads eBPF programs and reads other processes' facts")
    sys.setswitchinterval(SWITCH_S)
    uvloop.run(_serve(document))


async def _serve(document: Document) -> None:
    stop = asyncio.Event()
    notifier = Notifier(os.environ)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as undo:
        daemon = await Daemon.start(document, undo)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload.soon)
        print(f"hostguard guards {len(document.workloads)} workloads{_observed(document)}; log at {daemon.paths.log}", flush=True)
        notifier.tell("READY=1")
        _keep(undo, notifier.run(daemon.summary))
        await stop.wait()
        notifier.tell("STOPPING=1")
        await daemon.stop("signal")


class Daemon:
    """One running daemon."""

    def __init__(self, paths: Paths, log: Log, crew: Crew, entrance: Entrance, reload: Reload, status: Status) -> None:
        self.paths = paths
        self._status = status
        self.reload = reload
        self._log = log
        self._crew = crew
        self._entrance = entrance

    @classmethod
    async def start(cls, document: Document, undo: AsyncExitStack) -> Daemon:
        """Bring everything up. Raises Failure."""
        started_at = time.time()
        paths = Paths.of(document)
        workloads, users = _who(document)
        resources = Resources(document.resources, document.dns.grace_s)
        policy = Policy(document)
        paths.make()
        undo.callback(os.close, paths.lock())
        syncs = TimedSyncs()
        log = open_log(document, paths, syncs.syscalls)
        undo.callback(log.close)
        sealing, witnesses = _open_seal(document, paths, log, undo)
        retention = Retention(paths.log, log, sealing, document.log, _shipped(document, paths))
        redirect = _attach(document, paths, undo)
        for remark in redirect.remarks:
            print(remark, flush=True)
        container = ContainerFiles()
        enrolment = _enrol(document, workloads, redirect, container, undo)
        attributor = Attributor(workloads, container)
        undo.callback(attributor.close)
        strays = Strays(redirect, log)
        # What was connected before it was guarded ends before anything is said to be guarded.
        await strays.look()
        # Agents may ask on the control socket, and are told in words that they may not.
        stand_ins = StandIns(redirect, document, paths.control)
        stand_ins.close_all_but_open()
        decider = Decider(policy)
        book = RequestBook(timeout_s=document.approvals.timeout_s, max_held=document.limits.max_held, seed=os.urandom(16))
        faults, records = Faults(), Records(log)
        holds = Holds(book, records, users, decider)
        test = SelfTest(redirect, attach_point(document))
        hash_key = paths.hash_key()
        _record_start(log, document, policy, paths)
        writer = await _write_journals(document, log, lambda number, reason: crew.journal_failed(number, reason), undo)
        crew = Crew(document, writer.drain, policy.epoch, hash_key)
        in_force = Modes(workloads, redirect, decider)
        names = Keeper(document, policy.epoch, user_of(document), log, resources, faults)
        undo.callback(names.close)
        max_flows = document.limits.max_flows
        entrance = Entrance(
            redirect, attributor, in_force, resources, names, crew, records, faults, stand_ins, test.arrived, max_flows
        )
        namespaces = Namespaces(redirect, entrance.open_door, names.answer_at, stand_ins, enrolment.is_guarded)
        dialler = Dialler(namespaces.stream_socket)
        desk = Desk(crew, holds, Cancels(records, dialler), faults, dialler)
        enrolment.on_guarded = [namespaces.soon, strays.soon]
        lookout = Lookout(redirect, workloads, records, strays)
        _keep(undo, _beat(redirect), holds.run(), strays.run())
        undo.push_async_callback(lookout.stop)
        lookout.start()
        _keep(undo, sealing.run(), witnesses.run(), retention.run())
        undo.push_async_callback(crew.close)
        await crew.start(desk.handle, desk.closed)
        await _answer_names(names, redirect, attributor, resources, undo)
        undo.callback(entrance.close)
        entrance.listen()
        _keep(undo, enrolment.run(), namespaces.run())
        await test.run()
        _keep(undo, test.repeat(EVERY_S), stand_ins.run())
        reload = Reload(decider, in_force, crew, names, holds, log)
        status = Status(
            decider=decider,
            redirect=redirect,
            enrolment=enrolment,
            namespaces=namespaces,
            entrance=entrance,
            resources=resources,
            names=names,
            crew=crew,
            drain=writer.drain,
            records=records,
            faults=faults,
            holds=holds,
            test=test,
            strays=strays,
            lookout=lookout,
            powers=Powers(redirect, workloads),
            reload=reload,
            log=log,
            sealing=sealing,
            witnesses=witnesses,
            retention=retention,
            started_at=started_at,
        )
        metrics = Metrics(status, crew, entrance, faults, syncs.latency)
        control = Control(status=status.facts, holds=holds, is_guarded=enrolment.is_guarded, metrics=metrics.text)
        await _open_control(control, paths, document.metrics.address, undo)
        return cls(paths, log, crew, entrance, reload, status)

    async def summary(self) -> str:
        """What the service manager shows: whether the guard holds, and how much passes."""
        facts = await self._status.facts()
        well = f"{len(facts['workloads'])} workloads, {facts['flows']['open']} flows"
        return f"{facts['state']}{_observed(self._status.document)}: {'; '.join(facts['problems']) or well}"

    async def stop(self, reason: str) -> None:
        """Stop in order: no new flows, held operations withdrawn, busy flows get `GRACE_S`, then the log is closed."""
        open_flows = self._crew.count
        self._entrance.close()
        await self._crew.stop(GRACE_S)
        try:
            self._log.append(0, entry.DaemonStop(reason=reason, flows=open_flows))
        except LogUnavailable as error:
            raise Failure(f"the daemon's end could not be put on record: {error}") from None


def _observed(document: Document) -> str:
    """In capitals, since what is only observed is not guarded."""
    names = modes.observed(document)
    return f", {len(names)} ONLY OBSERVED ({', '.join(names)})" if names else ""


def _who(document: Document) -> tuple[Workloads, Users]:
    try:
        workloads = Workloads(rule_of(name, w, uid_of, os.path.realpath) for name, w in document.workloads.items())
        users = users_of(document)
    except (WorkloadMistake, UserMistake) as mistake:
        raise Failure("; ".join(mistake.problems)) from None
    return workloads, users


async def _answer_names(
    names: Keeper, redirect: Redirect, attributor: Attributor, resources: Resources, undo: AsyncExitStack
) -> None:
    """Have a resolver, and look up what the resources' names lead to before anybody connects. Raises Failure."""
    _keep(undo, names.run(who_asks(redirect, attributor)))
    try:
        async with asyncio.timeout(START_S):
            await names.ready.wait()
    except TimeoutError:
        raise Failure("the resolver does not start; its last words are above") from None
    await resources.look_up(names.look_up, time.monotonic)
    _keep(undo, resources.run(names.look_up, time.monotonic))
    redirect.set_resolver(*names.sockets)


def _open_seal(document: Document, paths: Paths, log: Log, undo: AsyncExitStack) -> tuple[Sealing, Witnesses]:
    """The log's tree, with those to whom its heads are shown. The last seal is before the log is closed."""
    finish(paths)
    sealing = Sealing.open(paths.log, paths.log_signer(), log, document.log.seal_s)
    undo.push_async_callback(sealing.stop)
    witnesses = Witnesses(paths.log, keys(paths), sealing, document.witnesses, document.log.witness_s)
    return sealing, witnesses


async def _write_journals(
    document: Document, log: Log, on_failure: Callable[[int, str], None], undo: AsyncExitStack
) -> LogWriter:
    """What workers write goes into the log from here on; the last of it when they have ended."""
    settings = document.log
    strict, batch_s = settings.durability == "strict", settings.batch_ms / 1000
    writer = await LogWriter.start(log, strict=strict, batch_s=batch_s, on_failure=on_failure)
    undo.push_async_callback(writer.stop)
    return writer


def _shipped(document: Document, paths: Paths) -> Callable[[], Arrived] | None:
    """How far the configured bucket has come; None where none is configured."""
    if not document.ship.bucket:
        return None
    place = place_of(document.ship, socket.gethostname())
    return lambda: arrived(paths.ledger, place)


def _attach(document: Document, paths: Paths, undo: AsyncExitStack) -> Redirect:
    """Attach the hooks. They outlive this daemon, unless it fails to start on a host that was not guarded before."""
    try:
        fresh = not any(hook.attached for hook in pins.status(paths.pins).hooks)
        redirect = Redirect.attach(attach_point(document), paths.pins, HEARTBEAT_LIMIT_MS, document.daemon.loader)
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


def _keep(undo: AsyncExitStack, *works: Coroutine[None, None, None]) -> None:
    """Run these for as long as the daemon lives."""
    for work in works:
        task = asyncio.ensure_future(work)
        undo.callback(task.cancel)


async def _beat(redirect: Redirect) -> None:
    while True:
        redirect.beat(time.monotonic_ns())
        await asyncio.sleep(BEAT_S)


def _record_start(log: Log, document: Document, policy: Policy, paths: Paths) -> None:
    durability = document.log.durability if document.log.durability == "strict" else f"batch {document.log.batch_ms} ms"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    details: tuple[tuple[str, str], ...] = (("host", socket.gethostname()), ("kernel", os.uname().release))
    details += ((KEY_DETAIL, str(paths.log_verifier())),)
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
