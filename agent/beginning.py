"""The record of a daemon's start."""

from __future__ import annotations

import os
import socket
from importlib.metadata import version
from pathlib import Path

from ..policy.decide import Policy
from ..policy.document import Document
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.handover import KEY_DETAIL
from ..recorder.log import Log
from .failures import Failure
from .paths import Paths
from .reload import policy_load


def record_start(log: Log, document: Document, policy: Policy, paths: Paths, more: tuple[tuple[str, str], ...]) -> None:
    """Put it on record, with the policy that is in force from it on. `more`: what else is to be said. Raises Failure."""
    durability = document.log.durability if document.log.durability == "strict" else f"batch {document.log.batch_ms} ms"
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    details: tuple[tuple[str, str], ...] = (("host", socket.gethostname()), ("kernel", os.uname().release))
    details += ((KEY_DETAIL, str(paths.log_verifier())),)
    details += tuple(("payloads encrypted to", recipient) for recipient in document.log.payload_recipients)
    details += more
    try:
        log.append(
            0,
            entry.DaemonStart(
                version=version("hostguard"), pid=os.getpid(), boot_id=boot_id, durability=durability, details=details
            ),
            policy_load(policy),
        )
    except LogUnavailable as error:
        raise Failure(f"the log can't be written: {error}") from None
