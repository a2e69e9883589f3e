"""Where the command line keeps the secret of a sign-in: a file of the user's own, one for each daemon."""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

import msgspec

from . import wholefile


class Kept(msgspec.Struct, frozen=True):
    """A sign-in as it is kept."""

    secret: str
    user: str
    provider: str
    until: float


def place(control: Path) -> Path:
    """The file for the daemon with that control socket."""
    state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(state) / "hostguard" / f"session-{hashlib.sha256(str(control).encode()).hexdigest()[:16]}.json"


def keep(control: Path, kept: Kept) -> None:
    """Write it down. Raises OSError."""
    file = place(control)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    wholefile.write(file, json.dumps(msgspec.to_builtins(kept)).encode())


def kept(control: Path) -> Kept | None:
    """What is kept, unless it is over by now; None for nothing, and for a file that is none."""
    try:
        found = msgspec.json.decode(place(control).read_bytes(), type=Kept)
    except (OSError, RuntimeError, msgspec.MsgspecError):
        return None
    return found if time.time() < found.until else None


def forget(control: Path) -> None:
    """Remove it. Raises OSError."""
    place(control).unlink(missing_ok=True)
