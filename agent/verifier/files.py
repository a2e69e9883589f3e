"""Follows files that tokens are in, as the platform replaces them."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from ...identity.verified import MAX_TOKEN_BYTES

ABSENT_S = 0.4
"""A file that is away, or empty, for longer was taken away: less is somebody who is replacing it."""
AGAIN_S = 5.0
"""After so long a token that was refused is tried again: its issuer may be there by then."""


@dataclass(slots=True)
class Followed:
    """One file. Times are monotonic."""

    path: str
    state: tuple[int, ...] = ()
    """Of the file when it was read last; empty when it was not there."""
    absent_since: float | None = None
    again_at: float | None = None
    """When it is to be read again although it has not changed."""

    def look(self, now: float) -> bytes | str | None:
        """The token if it is to be verified; a sentence if the file has been away for long enough; None for nothing new."""
        try:
            found = os.stat(self.path)
            why = "" if found.st_size and stat.S_ISREG(found.st_mode) else "it is empty, or no file"
        except OSError as error:
            why = error.strerror or str(error)
        if why:
            self.state, self.again_at = (), None
            self.absent_since = now if self.absent_since is None else self.absent_since
            return f"{self.path}: {why}" if now - self.absent_since >= ABSENT_S else None
        self.absent_since = None
        state = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if state == self.state and (self.again_at is None or now < self.again_at):
            return None
        self.state, self.again_at = state, None
        try:
            # Whoever may replace the file must not make us wait, as a pipe in its place would.
            with open(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                return file.read(MAX_TOKEN_BYTES + 1)
        except OSError:
            self.state = ()
            return None
