"""What holds secrets, made together: the broker, the logins that go to it, the trust in its certificates."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack

from ..policy.decide import Decider
from ..policy.document import Document
from .broker.keeper import Keeper
from .crew import Crew
from .failures import Failure
from .faults import Faults
from .kept import START_S
from .logins import Logins
from .paths import Paths
from .tending import tend
from .trust import Trust


class Secrecy:
    """Of one daemon."""

    def __init__(self, document: Document, paths: Paths, faults: Faults, crew: Crew, decider: Decider) -> None:
        """The crew's workers hear from now on what TLS takes. Raises Failure."""
        self._faults = faults
        self.trust = Trust(document, paths.bundle, paths.authorities)
        self.broker = Keeper(document, paths, socket.gethostname(), faults, self.trust.changed)
        self.logins = Logins(self.broker, decider, lambda: self.trust.tls.roots)
        self.trust.serve(self.broker, crew.broadcast)
        crew.tls = lambda: self.trust.tls

    def start(self, undo: AsyncExitStack) -> None:
        """Start the broker; `undo` ends it."""
        undo.callback(self.broker.close)
        tend(undo, self._faults, self.trust.run(), self.broker.run())

    async def have(self) -> None:
        """Wait for certificates, and for credentials as far as their sources answer. Raises Failure."""
        try:
            async with asyncio.timeout(START_S):
                await self.broker.ready.wait()
        except TimeoutError:
            raise Failure("the broker does not start; its last words are above") from None
