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
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack

import uvloop

from ..identity.users import UserMistake, Users
from ..identity.workload import WorkloadMistake, Workloads
from ..kernel.hooks import code
from ..policy.decide import Decider, Policy
from ..policy.document import Document, load
from ..policy.workloads import rule_of
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.inheritance import LivingJournal
from ..recorder.log import Log
from . import modes
from .answering import answer_names, begin_names
from .approving import open_holds
from .attaching import attach
from .attribution import Attributor
from .beating import HEARTBEAT_LIMIT_MS, beat
from .beginning import record_start
from .cancels import Cancels
from .concerning import wanted_workers
from .containerfiles import ContainerFiles
from .control import Control, open_control
from .crew import Crew, user_of
from .desk import Desk
from .dialling import Dialler
from .enrolling import enrol
from .entrance import Entrance
from .failures import Failure
from .faults import Faults
from .halt import Halt
from .handover import execute, unblock
from .lease import Lease
from .logwriter import LogWriter, TimedSyncs
from .lookout import Lookout
from .metrics import Metrics
from .modes import Modes
from .names.keeper import Keeper
from .namespaces import Namespaces
from .notify import Notifier
from .open_log import open_log
from .outbox import Outbox
from .paths import Paths, attach_point
from .powers import Powers
from .predecessor import Predecessor, predecessor
from .records import Records
from .reload import Reload, uid_of, users_of
from .replaying import Replaying
from .resources import Resources
from .restart import Parts, Restart
from .restraint import Restraint
from .retention import Retention
from .rights import Rights
from .rotation import finish, keys
from .s3 import shipped
from .sealing import Sealing
from .secrecy import Secrecy
from .selftest import EVERY_S, SelfTest
from .sight import for_anybody
from .status import Status
from .strays import Strays
from .tending import tend
from .unix_sockets import StandIns
from .verifier.calls import Calls
from .verifier.starting import vouch
from .web.calls import SignIns
from .web.opening import open_page
from .witnesses import Witnesses

SWITCH_S = 0.0005
"""How long the log writer's thread keeps the GIL while a connection waits: Python's 5 ms are felt at each connect."""
GRACE_S = 5.0
"""How long busy flows may go on after the daemon was told to stop."""
ONLY_OBSERVED = "ONLY OBSERVED"
"""In capitals, since what is only observed is not guarded."""


def run(document: Document, lease: Lease | None = None) -> None:
    """Guard this host until SIGTERM or SIGINT. Raises Failure when it can't, with nothing left half done.

    `lease`: beats for this daemon until it does so itself.
    """
    if os.geteuid() != 0:
        raise Failure("the daemon must run as root: it loads eBPF programs and reads other processes' facts")
    sys.setswitchinterval(SWITCH_S)
    left = predecessor(lease)
    uvloop.run(_serve(document, left))


def check(file: str) -> Document:
    """The configuration, as far as it can be tried without guarding by it. Raises ConfigErrors, Failure."""
    document = load(file)
    _who(document)
    user_of(document)
    Policy(document)
    Resources(document.resources, document.dns.grace_s)
    attach_point(document)
    return document


async def _serve(document: Document, left: Predecessor | None) -> None:
    stop = asyncio.Event()
    notifier = Notifier(os.environ)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as undo:
        daemon = await Daemon.start(document, undo, left)
        loop.add_signal_handler(signal.SIGHUP, daemon.reload.soon)
        loop.add_signal_handler(signal.SIGUSR2, daemon.restart.soon)
        unblock()
        print(f"hostguard guards {len(document.workloads)} workloads{_observed(document)}; log at {daemon.paths.log}", flush=True)
        notifier.tell("READY=1")
        tend(undo, daemon.faults, notifier.run(daemon.summary))
        ends = [asyncio.ensure_future(event.wait()) for event in (stop, daemon.restart.wanted)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set():
            handover = await daemon.restart.make_way(daemon.control)
            execute(handover, {**os.environ, **notifier.environment})  # nothing of this program runs after it
        notifier.tell("STOPPING=1")
        await daemon.stop("signal")


class Daemon:
    """One running daemon."""

    def __init__(
        self,
        paths: Paths,
        log: Log,
        crew: Crew,
        entrance: Entrance,
        reload: Reload,
        status: Status,
        restart: Restart,
        control: Control,
        faults: Faults,
    ) -> None:
        self.paths = paths
        self.faults = faults
        self.restart = restart
        self.control = control
        self._status = status
        self.reload = reload
        self._log = log
        self._crew = crew
        self._entrance = entrance

    @classmethod
    async def start(cls, document: Document, undo: AsyncExitStack, left: Predecessor | None = None) -> Daemon:
        """Bring everything up; `left`: what there is already, by a predecessor. Raises Failure."""
        started_at = time.time()
        paths = Paths.of(document)
        workloads, users = _who(document)
        resources = Resources(document.resources, document.dns.grace_s)
        policy = Policy(document, left.epoch + 1 if left else 1)
        paths.make()
        lock = left.lock if left else paths.lock()
        undo.callback(os.close, lock)
        syncs = TimedSyncs()
        log = open_log(document, paths, syncs.syscalls)
        undo.callback(log.close)
        sealing, witnesses = _open_seal(document, paths, log, undo)
        retention = Retention(paths.log, log, sealing, document.log, shipped(document, paths))
        redirect = attach(document, paths, left, HEARTBEAT_LIMIT_MS, undo)
        for remark in redirect.remarks:
            print(remark, flush=True)
        container = ContainerFiles()
        enrolment = enrol(document, workloads, redirect, container, undo)
        attributor = Attributor(workloads, container)
        undo.callback(attributor.close)
        strays = Strays(redirect, log)
        unix = StandIns(redirect, document, paths.control, paths.identity)
        # What was connected before it was guarded ends before anything is said to be guarded.
        if left is None:
            await strays.look()
            unix.close_all_but_open()
        decider = Decider(policy)
        restraint = await Restraint.open(paths, decider, wanted_workers(document), undo)
        faults, records = Faults(), Records(log)
        taken = left is not None
        outbox = await Outbox.open(paths.notices, undo) if document.channels else None
        holds = open_holds(document, paths, records, users, decider, restraint.history, faults, outbox, undo, taken_over=taken)
        test = SelfTest(redirect, attach_point(document))
        record_start(log, document, policy, paths, left.details if left else ())
        journals = left.journals if left else ()
        writer = await _write_journals(document, log, lambda number, reason: crew.journal_failed(number, reason), journals, undo)
        crew = Crew(document, writer.drain, policy.epoch, paths.hash_key())
        in_force = Modes(workloads, redirect, decider)
        names = Keeper(document, policy.epoch, user_of(document), log, resources, faults, left.resolver() if left else ())
        undo.callback(names.close)
        lookout = Lookout(redirect, workloads, records, strays)
        secrecy = Secrecy(document, paths, faults, crew, decider)
        secrecy.start(undo)
        vouched = left.vouched if left else None
        vouching = await vouch(document, paths, decider, records, attributor, faults, crew, names, vouched, undo)
        stopped = names.barred = restraint.stops.why
        entrance = Entrance(
            redirect=redirect,
            attributor=attributor,
            modes=in_force,
            resources=resources,
            names=names,
            crew=crew,
            records=records,
            faults=faults,
            stand_ins=unix,
            self_test=test.arrived,
            max_flows=document.limits.max_flows,
            choose=secrecy.logins.choose,
            stopped=stopped,
            standing=vouching.standing,
        )
        namespaces = Namespaces(redirect, entrance.open_door, names.answer_at, unix, enrolment.is_guarded)
        lookout.on_unserved = namespaces.soon
        dialler = Dialler(namespaces.stream_socket)
        cancels = Cancels(records, dialler, secrecy.logins)
        desk = Desk(crew, holds, cancels, secrecy.logins, faults, dialler, restraint)
        halt, rights = Halt(restraint.stops, decider, crew, holds, cancels, log), Rights(decider)
        enrolment.on_guarded = [namespaces.soon, strays.soon]
        tend(undo, faults, beat(redirect), holds.run(), strays.run())
        undo.push_async_callback(lookout.stop)
        lookout.start()
        tend(undo, faults, sealing.run(), witnesses.run(), retention.run())
        undo.push_async_callback(crew.close)
        undo.callback(entrance.close)
        if left is not None:
            await left.take_up(workloads, crew, desk, holds, resources, entrance, namespaces)
        holds.announcer.start()
        begin_names(names, redirect, attributor, vouching.standing, faults, undo)
        await crew.start(desk.handle, desk.closed)
        if left is not None:
            # These have waited long enough; what names lead to is known from before.
            entrance.listen(left.listeners())
        await secrecy.have()
        await answer_names(names, redirect, resources, faults, undo)
        if left is None:
            entrance.listen()
        tend(undo, faults, enrolment.run(), namespaces.run())
        page = await open_page(document, decider, holds, restraint.history, records, rights, faults, secrecy, names, left, undo)
        await test.run()
        tend(undo, faults, test.repeat(EVERY_S), unix.run())
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
            secrecy=secrecy,
            restraint=restraint,
            vouching=vouching,
            page=page,
            started_at=started_at,
            taken_over=dict(left.details) if left else None,
        )
        metrics = Metrics(status, crew, entrance, faults, syncs.latency)
        restart = Restart(
            Parts(
                lock=lock,
                log=log,
                writer=writer,
                redirect=redirect,
                hooks=code(),
                decider=decider,
                crew=crew,
                desk=desk,
                holds=holds,
                names=names,
                broker=secrecy.broker,
                resources=resources,
                entrance=entrance,
                namespaces=namespaces,
                test=test,
                strays=strays,
                vouching=vouching,
                page=page,
            )
        )
        control = Control(
            status=status.facts,
            holds=holds,
            halt=halt,
            history=restraint.history,
            is_guarded=enrolment.is_guarded,
            metrics=metrics.text,
            restart=restart.ask,
            sign_ins=SignIns(page),
            rights=rights,
        )
        control.more += [Calls(vouching).add, Replaying(document.file, paths, records).add]
        await open_control(control, paths.control, document.metrics.address, left.control() if left else None, undo)
        if left is not None:
            left.done()
        return cls(paths, log, crew, entrance, reload, status, restart, control, faults)

    async def summary(self) -> str:
        """What the service manager shows to every user of this host: whether the guard holds, and how much passes."""
        facts = await self._status.facts()
        well = f"{len(facts['workloads'])} workloads, {facts['flows']['open']} flows"
        observed = f", {len(facts['observed'])} {ONLY_OBSERVED}" if facts["observed"] else ""
        return f"{facts['state']}{observed}: {'; '.join(for_anybody(facts['problems'])) or well}"

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
    names = modes.observed(document)
    return f", {len(names)} {ONLY_OBSERVED} ({', '.join(names)})" if names else ""


def _who(document: Document) -> tuple[Workloads, Users]:
    try:
        workloads = Workloads(rule_of(name, w, uid_of, os.path.realpath) for name, w in document.workloads.items())
        users = users_of(document)
    except (WorkloadMistake, UserMistake) as mistake:
        raise Failure("; ".join(mistake.problems)) from None
    return workloads, users


def _open_seal(document: Document, paths: Paths, log: Log, undo: AsyncExitStack) -> tuple[Sealing, Witnesses]:
    """The log's tree, with those to whom its heads are shown. The last seal is before the log is closed."""
    finish(paths)
    sealing = Sealing.open(paths.log, paths.log_signer(), log, document.log.seal_s)
    undo.push_async_callback(sealing.stop)
    witnesses = Witnesses(paths.log, keys(paths), sealing, document.witnesses, document.log.witness_s)
    return sealing, witnesses


async def _write_journals(
    document: Document,
    log: Log,
    on_failure: Callable[[int, str], None],
    living: Sequence[LivingJournal],
    undo: AsyncExitStack,
) -> LogWriter:
    """What workers write goes into the log from here on; the last of it when they have ended."""
    settings = document.log
    strict, batch_s = settings.durability == "strict", settings.batch_ms / 1000
    writer = await LogWriter.start(log, strict=strict, batch_s=batch_s, on_failure=on_failure, living=living)
    undo.push_async_callback(writer.stop)
    return writer
