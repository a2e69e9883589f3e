"""What of the configuration is a worker's business."""

from __future__ import annotations

import msgspec

from ..policy.credential_sections import Aws, Tls, Vault
from ..policy.document import Document
from ..policy.outlet_sections import Ship
from ..policy.web_sections import Web


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
