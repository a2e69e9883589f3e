"""What the supervisor itself puts on record about flows: their beginning, who decided their requests, who cancelled what.

All else of a flow is its worker's to record.
"""

from __future__ import annotations

from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log


class Records:
    """Appends, and keeps why it could not."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.failure = ""
        """Why the last append failed; empty when it did not."""

    def refuse(self, refused: entry.FlowRefused) -> None:
        """A connection that does not become a flow; it is refused whether or not that can be written."""
        try:
            self._log.open_flow(refused)
        except LogUnavailable as error:
            self.failure = str(error)
        else:
            self.failure = ""

    def note(self, flow: int, *entries: entry.Entry) -> bool:
        """Put entries on record; whether they are."""
        try:
            self._log.append(flow, *entries)
        except LogUnavailable as error:
            self.failure = str(error)
            return False
        self.failure = ""
        return True
