"""Children that have ended, and that nobody has waited for."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path


def unnoticed(pid: int) -> list[str]:
    """Names of the process's children that have ended, and that it has not waited for (proc(5): state Z).

    A child that ends right now stands there for a moment: what is gone within some seconds was noticed.
    """
    deadline = time.monotonic() + 10
    while (found := zombies(pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def zombies(pid: int) -> list[str]:
    """Names of those that stand there now."""
    names = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            name, _, rest = Path(f"/proc/{child}/stat").read_text(encoding="ascii").rpartition(")")
            if rest.split()[0] == "Z":
                names.append(name)
    return names
