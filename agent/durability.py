"""When a worker's records are on disk, by the configured mode: before each release, or soon."""

from __future__ import annotations

import asyncio
import collections

from ..protocols.events import Decision, Verdict
from ..recorder.journal import Journal
from .gate import LOG_REFUSAL, Gate


class Durability:
    """``strict``: whoever waits in `synced` shares the log writer's next sync with all others that wait (group commit).

    ``batch``: nobody waits; the log writer syncs within the stated window by itself.
    """

    def __init__(self, journal: Journal, gate: Gate, *, strict: bool, batch_s: float) -> None:
        self.strict = strict
        self._journal = journal
        self._gate = gate
        self._batch_s = batch_s
        self._waiting: collections.deque[tuple[int, asyncio.Future[str]]] = collections.deque()
        """Positions of the journal with who waits for them, ascending; one for each flow at most."""
        asyncio.get_running_loop().add_reader(journal.synced_fd, self._moved)

    async def synced(self) -> Decision | None:
        """Wait until everything appended so far is on disk. Returns None then, else the refusal to carry out."""
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.append((self._journal.position, future))
        self._journal.request_sync()
        failure = await future
        if not failure:
            return None
        return Decision(
            Verdict.DENY,
            reason=f"hostguard can't sync its record, so this is refused: {failure}",
            refusal=LOG_REFUSAL,
            hint="The log of this host must be writable; `hostguard status` tells its state.",
        )

    def _moved(self) -> None:
        """The log writer says how far it is, or that it can't go on."""
        reached, failure = self._journal.take_synced(), self._journal.failure
        while self._waiting and (failure or self._waiting[0][0] <= reached):
            position, future = self._waiting.popleft()
            if not future.done():
                future.set_result("" if position <= reached else failure)

    async def run(self) -> None:
        """Write waiting notes every `batch_s` seconds; runs until cancelled."""
        while True:
            await asyncio.sleep(self._batch_s)
            self._gate.flush()
