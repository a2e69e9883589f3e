"""What of the configuration is a worker's business."""

from __future__ import annotations

import os

import msgspec

from ..policy.credential_sections import Aws, Tls, Vault
from ..policy.document import Document
from ..policy.outlet_sections import Ship
from ..policy.web_sections import Web

MAX_WORKERS = 16


def concerning_workers(document: Document) -> Document:
    """The document without what only the supervisor needs to know: where keys, logs and witnesses are is no worker's business."""
    return msgspec.structs.replace(
        document,
        ship=Ship(),
        forward={},
        witnesses={},
        tls=Tls(),
        web=Web(),
        sign_in={},
        credentials={},
        vault=Vault(),
        aws=Aws(),
    )


def wanted_workers(document: Document) -> int:
    """How many there are to be."""
    return document.daemon.workers or min(len(os.sched_getaffinity(0)), MAX_WORKERS)
