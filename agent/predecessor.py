"""What the daemon before left, taken up piece by piece while this one starts in its place."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..identity.workload import Workloads
from ..kernel.errors import KernelError
from ..kernel.hooks import code
from ..kernel.loader import Redirect
from ..recorder.inheritance import TAKEN_OVER, LivingJournal
from .child import Child
from .crew import Crew
from .desk import Desk
from .entrance import Entrance
from .handover import BadHandover, Handover, renounce, take
from .holds import Holds
from .lease import Lease
from .namespaces import Namespaces
from .resources import Resources
from .verifier.service import Left as VouchedLeft
from .web.sessions import Session


def predecessor(lease: Lease | None) -> Predecessor | None:
    """The daemon that executed this one in its place; None at a start like any other. `lease`: what it left to beat with.

    What can't be taken over as a whole is given up as a whole: then this is a start like the one after a crash.
    """
    try:
        handover = take(os.environ)
        return Predecessor(handover, lease) if handover is not None else None
    except BadHandover as error:
        print(f"{error}; its flows end, and it is started anew", file=sys.stderr, flush=True)
        if lease is not None:
            lease.end()
        renounce()
        return None


class Predecessor:
    """Its handover; what of it is not taken up yet closes with this process."""

    def __init__(self, handover: Handover, lease: Lease | None) -> None:
        """`lease`: beats until `done`."""
        self._handover = handover
        self._lease = lease

    @property
    def lock(self) -> int:
        """The descriptor that holds the run folder."""
        return self._handover.lock

    @property
    def vouched(self) -> VouchedLeft:
        """What is verified."""
        return self._handover.vouched

    @property
    def epoch(self) -> int:
        """Of the policy that was in force."""
        return self._handover.epoch

    @property
    def journals(self) -> Sequence[LivingJournal]:
        """Those of the workers that live."""
        return self._handover.journals

    def redirect(self, cgroup: Path, pin_dir: Path) -> Redirect | None:
        """The hooks as they are; None where they have to be attached again, since this code's are others."""
        left = self._handover
        if left.hooks != code():
            return None
        try:
            return Redirect.resume(cgroup, pin_dir, left.loader, left.remarks)
        except KernelError as error:
            print(f"the hooks are attached again: {error}", file=sys.stderr, flush=True)
            return None

    @property
    def details(self) -> tuple[tuple[str, str], ...]:
        """For the record of this daemon's start."""
        return (TAKEN_OVER, str(len(self._handover.crew.flows))), ("taken over from", self._handover.release)

    def resolver(self) -> list[socket.socket]:
        """The sockets to which guarded processes' questions come."""
        return _sockets(self._handover.resolver)

    def listeners(self) -> list[socket.socket]:
        """Those of the daemon's own network namespace."""
        return _sockets(self._handover.listeners)

    def control(self) -> socket.socket:
        """The listening control socket."""
        (sock,) = _sockets([self._handover.control])
        return sock

    def page(self, address: tuple[str, int] | None) -> socket.socket | None:
        """The web page's listening socket, if it listens there; else it is closed."""
        for sock in _sockets(self._handover.page):
            if sock.getsockname()[:2] == address:
                return sock
            sock.close()
        return None

    @property
    def sessions(self) -> list[Session]:
        """Who has signed in."""
        return self._handover.sessions

    async def take_up(
        self,
        workloads: Workloads,
        crew: Crew,
        desk: Desk,
        holds: Holds,
        resources: Resources,
        entrance: Entrance,
        namespaces: Namespaces,
    ) -> None:
        """Go on with its workers, their flows, what users are asked, other namespaces. Raises OSError, KernelError."""
        left = self._handover
        resources.take_up(left.names)
        entrance.opened, entrance.refused = left.opened, left.refused
        for pid, pidfd in left.ending:
            Child(pid, pidfd)  # somebody has to wait for it
        flows = {flow.id: flow for flow in crew.take_up(left.crew, desk.handle, {rule.name: rule for rule in workloads.rules})}
        for flow in flows.values():
            desk.take_up(flow)
        for hold in left.holds:
            holds.take_up(hold, flows.get(hold.flow))
        await namespaces.take_up(left.namespaces)

    def done(self) -> None:
        """The daemon beats by itself, and serves."""
        if self._lease is not None:
            self._lease.end()


def _sockets(descriptors: Iterable[int]) -> list[socket.socket]:
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for sock in found:
        sock.setblocking(False)
    return found
