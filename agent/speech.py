"""What two versions must have in common for one's workers to serve under the other's supervisor.

A worker's messages, what it may put on record, how its journal lies in memory. Nobody has to remember to count a number up:
the words themselves are hashed, fields with their types. A worker of another speech is never adopted.
"""

from __future__ import annotations

import hashlib
import json

import msgspec

from ..recorder.entry import FORMAT_VERSION, KINDS
from ..recorder.ringfile import MAGIC
from .messages import FromWorker, ToWorker
from .sandbox.cage import Applied, Cage


def speech() -> str:
    """Of the code that runs: SHA-256 in hex."""
    schemas = msgspec.json.schema_components((ToWorker, FromWorker, Cage, Applied, *KINDS))
    return hashlib.sha256(json.dumps((schemas, FORMAT_VERSION, MAGIC.hex()), sort_keys=True).encode()).hexdigest()
