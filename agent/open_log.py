"""The log opened for writing, as the configuration says."""

from __future__ import annotations

import time

from ..identity.auditors import Recipients
from ..policy.document import Document
from ..recorder.durable import LogBusy, LogUnavailable, Syscalls
from ..recorder.log import Log
from .failures import Failure
from .paths import Paths


def open_log(document: Document, paths: Paths, syscalls: Syscalls | None = None) -> Log:
    """With the keys of those who may read payloads: whoever appends may have to store one. Raises Failure."""
    auditors = Recipients(document.log.payload_recipients)
    try:
        return Log(
            paths.log,
            lambda: (time.time_ns(), time.monotonic_ns()),
            syscalls=syscalls,
            encrypt=auditors.encrypt if auditors else None,
            payload_above=document.log.payload_above_bytes,
        )
    except LogBusy as error:
        raise Failure(f"stop the daemon first: {error}") from None
    except (LogUnavailable, OSError) as error:
        raise Failure(f"the log can't be opened: {error}") from None
