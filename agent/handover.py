"""What a supervisor leaves to the program that it executes in its own place.

The successor is the same process: it has the same children and, where that was asked for, the same descriptors (execve(2)). All
else that it has to know is in a sealed memfd, whose number is in its environment. Descriptors close by themselves at the execve
unless they are named here, so what a successor doesn't know of can't leak into it.

Versions: a field that is added gets a default, and `VERSION` is counted up for any other change. A successor of another version
says so before anything is given up (`preflight`).
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from ..recorder.inheritance import LivingJournal
from . import lease
from .bequest import CrewLeft
from .broker.environment import VARIABLE as SECRETS
from .namespaces import NamespaceLeft
from .resources import NamesLeft
from .verifier.service import Left as VouchedLeft
from .waiting import HoldLeft
from .web.sessions import Session

VERSION = 1
VARIABLE = "HOSTGUARD_HANDOVER"
MAX_BYTES = 1 << 30
_HELD_BACK = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)
"""Signals that wait from the execve on until somebody handles them: by default each of them would kill."""


class BadHandover(Exception):
    """What was left can't be taken over; says why."""


class Handover(msgspec.Struct, frozen=True, kw_only=True):
    """Everything, as it was when nothing ran any more."""

    version: int = VERSION
    release: str
    """Version of hostguard that left it."""
    hooks: str
    """What it had attached (`kernel.hooks.code`)."""
    loader: str
    remarks: tuple[str, ...]
    """As `Redirect` has them."""
    heartbeat: int
    """Descriptor of the map to beat in (`lease`)."""
    lock: int
    """Descriptor that holds the run folder."""
    control: int
    """The control socket."""
    listeners: tuple[int, ...]
    """Of the daemon's own network namespace."""
    namespaces: list[NamespaceLeft]
    """The others."""
    resolver: tuple[int, ...]
    """The resolver's sockets."""
    ending: tuple[tuple[int, int], ...]
    """Pids and pidfds of processes that were ended, and not waited for yet."""
    epoch: int
    """Of the policy that was in force."""
    crew: CrewLeft
    journals: list[LivingJournal]
    holds: list[HoldLeft]
    names: NamesLeft
    opened: int
    """Flows since the first start."""
    refused: int
    vouched: VouchedLeft = VouchedLeft()
    page: tuple[int, ...] = ()
    """The web page's listening socket."""
    sessions: list[Session] = []
    """Who has signed in."""

    def descriptors(self) -> Iterator[int]:
        """All that have to stay open."""
        yield from (self.lock, self.control, *self.listeners, *self.resolver, *self.page)
        for namespace in self.namespaces:
            yield from namespace.descriptors
        for journal in self.journals:
            yield from journal.descriptors
        for berth in self.crew.berths:
            yield berth.pidfd
            yield from berth.channel.descriptors
        yield from (pidfd for _, pidfd in self.ending)


def execute(handover: Handover, environment: Mapping[str, str]) -> NoReturn:
    """Become the program that is installed now. Raises OSError."""
    memfd = os.memfd_create("hostguard-handover", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(memfd, "wb", closefd=False) as file:
        file.write(msgspec.msgpack.encode(handover))
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    secrets = environment.get(SECRETS, "")
    for descriptor in (memfd, handover.heartbeat, *handover.descriptors(), *([int(secrets)] if secrets else [])):
        os.set_inheritable(descriptor, True)
    told = {VARIABLE: str(memfd), lease.VARIABLE: str(handover.heartbeat)}
    sys.stdout.flush()
    # A crash up to here or right after: workers end with this process, and their journals are what the next start finds.
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**environment, **told})


def take(environment: MutableMapping[str, str]) -> Handover | None:
    """What a predecessor left; None for a start like any other. Raises BadHandover."""
    text = environment.pop(VARIABLE, "")
    if not text:
        return None
    try:
        with open(int(text), "rb") as file:
            file.seek(0)  # the offset is shared with whoever wrote
            handover = msgspec.msgpack.decode(file.read(MAX_BYTES), type=Handover)
        for descriptor in handover.descriptors():
            os.set_inheritable(descriptor, False)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise BadHandover(f"what the daemon before left can't be read: {error}") from None
    if handover.version != VERSION:
        raise BadHandover(f"the daemon before left version {handover.version} of its state, this one knows {VERSION}")
    return handover


def unblock() -> None:
    """Somebody handles the signals that were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_BACK)


def renounce() -> None:
    """End what a predecessor left as a whole, workers and listeners, so that a cold start finds no more than a crash leaves."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    for pid in map(int, children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
