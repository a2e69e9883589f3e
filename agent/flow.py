"""One redirected connection: who opened it, where it was going, what it has done so far."""

from __future__ import annotations

import dataclasses
from typing import Final

from ..identity.process import Process
from ..kernel.layouts import Origin
from ..protocols.events import Verdict
from ..recorder.entry import Entry

# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global.
_ALLOW: Final = Verdict.ALLOW
_DENY: Final = Verdict.DENY


@dataclasses.dataclass(slots=True)
class Tally:
    """Operations of one flow, or of the whole daemon, by verdict."""

    allowed: int = 0
    denied: int = 0
    held: int = 0

    def count(self, verdict: Verdict) -> None:
        """Add one operation with this verdict."""
        if verdict is _ALLOW:
            self.allowed += 1
        elif verdict is _DENY:
            self.denied += 1
        else:
            self.held += 1


@dataclasses.dataclass(slots=True, eq=False)
class Flow:
    """The facts of one flow. They are fixed when it opens, all but the counters."""

    id: int
    """Its number in the log: unique on this host for good."""
    origin: Origin
    process: Process
    workload: str
    agent: str
    resource: str
    opened_at: float
    """Monotonic seconds."""
    barred: str = ""
    """Why its server must not be dialled; empty when it may be."""
    database: str = ""
    user: str = ""
    holding: str = ""
    """Id of the request for approval that this flow waits for; empty when it waits for none."""
    tally: Tally = dataclasses.field(default_factory=Tally)
    notes: list[Entry] = dataclasses.field(default_factory=list)
    """Entries that are not written yet; the gate's."""
    client_bytes: int = 0
    server_bytes: int = 0

    def process_facts(self) -> dict[str, object]:
        """Who opened it, for the person who decides a request."""
        return {
            "pid": self.process.pid,
            "executable": self.process.exe,
            "command": " ".join(self.process.cmdline),
            "uid": self.process.uid,
            "workload": self.workload,
        }

    def facts(self) -> dict[str, object]:
        """What a list of flows shows of it."""
        return {
            "id": self.id,
            "agent": self.agent,
            "workload": self.workload,
            "resource": self.resource,
            "destination": f"{self.origin.host}:{self.origin.port}",
            "database": self.database,
            "user": self.user,
            "pid": self.process.pid,
            "executable": self.process.exe,
            "holding": self.holding,
            "operations": dataclasses.asdict(self.tally),
        }
