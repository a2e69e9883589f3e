"""The open flows as the supervisor knows them: who opened each, where it was going, which worker carries it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

from ..identity.process import Process
from ..identity.workload import WorkloadRule
from ..kernel.layouts import Origin
from ..policy.bearers import UNVERIFIED, Bearer
from .messages import FlowFacts

if TYPE_CHECKING:
    from .berth import Berth


class FlowLeft(msgspec.Struct, frozen=True, kw_only=True):
    """An open flow as one supervisor leaves it to the next; the fields are `OpenFlow`'s."""

    id: int
    origin: Origin
    process: Process
    workload: str
    """Name of its rule, which a restart can't change."""
    resource: str
    journal: int
    """Number of its worker's journal."""
    shown: tuple[int, int] | None = None
    barred: str
    observed: bool
    unread: str
    cancel_key: bytes
    dialled: bool
    dialling: bool
    cancelled: bool
    bearer: Bearer = UNVERIFIED


_SAME = tuple(name for name in FlowLeft.__struct_fields__ if name not in ("journal", "workload"))


@dataclasses.dataclass(slots=True, eq=False)
class OpenFlow:
    """One redirected connection. Nothing in here comes from a worker but what says so."""

    id: int
    """Its number in the log: unique on this host for good."""
    origin: Origin
    process: Process
    rule: WorkloadRule
    resource: str
    berth: Berth
    """The worker that carries it."""
    shown: tuple[int, int] | None = None
    """Of a UNIX socket: user and group that the process was shown as its server's."""
    barred: str = ""
    """Why its server must not be dialled, a sentence for the agent; empty when it may be."""
    observed: bool = False
    """Its workload is only observed. Changes with the configuration."""
    unread: str = ""
    """Why it would have been refused, of one that nobody reads from its beginning on; else empty."""
    holding: str = ""
    """Id of the request for approval that it waits for; empty when it waits for none."""
    cancel_key: bytes = b""
    """As the worker told it."""
    dialled: bool = False
    """Its server was dialled, which happens once."""
    user: str = ""
    """Of the server, as whom hostguard logs in; empty where the agent's own login passes through."""
    credential: str = ""
    """Its name in the configuration."""
    variant: str = ""
    """What of it this agent gets, as the broker knows it (`policy.credentials`)."""
    carried: bool = False
    """Whether the broker speaks TLS with the server in the worker's place, since it takes a secret."""
    dialling: bool = False
    """It is being dialled now."""
    names: tuple[str, ...] = ()
    """For which name servers gave its agent the address that it connected to."""
    bearer: Bearer = UNVERIFIED
    """What is verified of its agent; fixed when it opens."""
    ending: bool = False
    """Its worker was told to end it."""
    cancelled: bool = False
    """It has asked to cancel what another flow does, which happens once as well."""

    @classmethod
    def of(cls, left: FlowLeft, berth: Berth, rule: WorkloadRule) -> OpenFlow:
        """What an earlier supervisor knew of a flow; it holds nothing until `Holds.take_up`, nor can be cancelled."""
        return cls(**{name: getattr(left, name) for name in _SAME}, berth=berth, rule=rule)

    def leave(self) -> FlowLeft:
        """For the next supervisor."""
        return FlowLeft(**{name: getattr(self, name) for name in _SAME}, journal=self.berth.journal, workload=self.rule.name)

    @property
    def agent(self) -> str:
        """The agent that it is attributed to."""
        return self.rule.agent

    @property
    def destination(self) -> str:
        """Where the process asked to connect to."""
        return self.origin.destination

    def process_facts(self) -> dict[str, object]:
        """Who opened it, for the person who decides a request."""
        return {
            "pid": self.process.pid,
            "executable": self.process.exe,
            "command": " ".join(self.process.cmdline),
            "uid": self.process.uid,
            "workload": self.rule.name,
        }

    def facts(self, told: FlowFacts | None) -> dict[str, Any]:
        """What a list of flows shows of it. `told`: what its worker says of it."""
        return {
            "id": self.id,
            "agent": self.agent,
            "workload": self.rule.name,
            "resource": self.resource,
            "destination": self.destination,
            "database": told.database if told else "",
            "user": told.user if told else "",
            "pid": self.process.pid,
            "executable": self.process.exe,
            "holding": self.holding,
            "observed": self.observed,
            "unread": self.unread,
            "worker": self.berth.pid,
            "operations": {
                "allowed": told.allowed if told else 0,
                "denied": told.denied if told else 0,
                "held": told.held if told else 0,
                "would_deny": told.would_deny if told else 0,
                "would_hold": told.would_hold if told else 0,
            },
        }
