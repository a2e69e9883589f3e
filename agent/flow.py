"""One redirected connection as its worker knows it: whose it is, what it has done so far."""

from __future__ import annotations

import dataclasses
from typing import Final

from ..protocols.events import Verdict
from ..protocols.postgres.standin import Credential
from ..recorder.entry import Entry

# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global.
_ALLOW: Final = Verdict.ALLOW
_DENY: Final = Verdict.DENY


@dataclasses.dataclass(slots=True)
class Tally:
    """Operations of one flow, or of a whole worker, by verdict."""

    allowed: int = 0
    denied: int = 0
    held: int = 0
    would_deny: int = 0
    """Went on all the same, because their workload is only observed."""
    would_hold: int = 0

    def count(self, verdict: Verdict, *, observed: bool) -> None:
        """Add one operation with this verdict of policy."""
        if observed and verdict is not _ALLOW:
            if verdict is _DENY:
                self.would_deny += 1
            else:
                self.would_hold += 1
        elif verdict is _ALLOW:
            self.allowed += 1
        elif verdict is _DENY:
            self.denied += 1
        else:
            self.held += 1


@dataclasses.dataclass(slots=True, eq=False)
class Flow:
    """The facts of one flow. They are fixed when it opens, all but the counters; who opened it only the supervisor knows."""

    id: int
    """Its number in the log: unique on this host for good."""
    workload: str
    agent: str
    resource: str
    """Empty when where it goes is none: then nobody reads it."""
    observed: bool = False
    """Its workload is: whatever policy says goes on record, and nothing is refused. Changes with the configuration."""
    names: tuple[str, ...] = ()
    """For which name servers gave its agent the address that it connected to."""
    database: str = ""
    user: str = ""
    credential: Credential | None = None
    """Whose login its server is to see; None: the agent's own."""
    holding: str = ""
    """Id of the request for approval that this flow waits for; empty when it waits for none."""
    tally: Tally = dataclasses.field(default_factory=Tally)
    notes: list[Entry] = dataclasses.field(default_factory=list)
    """Entries that are not written yet; the gate's."""
    client_bytes: int = 0
    server_bytes: int = 0
