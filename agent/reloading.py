"""Changes the configuration of a running daemon: its file, whole or not at all, until the daemon has it in force."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

from .client import Client, DaemonDown
from .failures import Failure

LIMIT_S = 30.0
POLL_S = 0.1


def replace_text(file: Path, text: str) -> None:
    """The file with other text, its owner and mode kept. A crash leaves the old text or the new. Raises Failure."""
    beside = file.with_name(f".{file.name}.new")
    try:
        with beside.open("w", encoding="utf-8") as new:
            shutil.copymode(file, beside)
            status = file.stat()
            os.chown(beside, status.st_uid, status.st_gid)
            new.write(text)
            new.flush()
            os.fsync(new.fileno())
        beside.replace(file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise Failure(f"{file}: {error.strerror}") from None


def reloaded(control: Path) -> int | None:
    """Have the daemon read its configuration: the epoch in which that is in force; None where no daemon runs. Raises Failure."""
    client = Client(control)
    try:
        before = client.get("/v1/status")
    except DaemonDown:
        return None
    try:
        os.kill(before["pid"], signal.SIGHUP)
    except OSError as error:
        raise Failure(f"the daemon, process {before['pid']}, can't be told to reload: {error.strerror}") from None
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        epoch: int = client.get("/v1/status")["policy"]["epoch"]
        if epoch > before["policy"]["epoch"]:
            return epoch
        time.sleep(POLL_S)
    raise Failure(f"the file is changed, but the daemon keeps epoch {before['policy']['epoch']}: `hostguard status` says why")
