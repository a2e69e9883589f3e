"""What two versions must have in common for one's workers to serve under the other's supervisor.

A worker's messages, what it may put on record, how its journal lies in memory. Nobody has to remember to count a number up:
the words themselves are hashed, fields with their types. A worker of another speech is never adopted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import msgspec

from ..recorder.entry import FORMAT_VERSION
from ..recorder.kinds import KINDS
from ..recorder.ringfile import MAGIC
from .messages import FromWorker, ToWorker
from .sandbox.cage import Applied, Cage


def speech() -> str:
    """Of the code that runs: SHA-256 in hex."""
    return hash_of((ToWorker, FromWorker, Cage, Applied, *KINDS), FORMAT_VERSION, MAGIC.hex())


def hash_of(kinds: Iterable[Any], *more: object) -> str:
    """SHA-256 in hex of these types with all that they are made of: names, types, limits, defaults; not what is said of them."""
    schemas = msgspec.json.schema_components(kinds, schema_hook=lambda kind: {"type": kind.__name__})
    return hashlib.sha256(json.dumps((_undescribed(schemas), more), sort_keys=True).encode()).hexdigest()


def _undescribed(schema: Any) -> Any:
    """Without docstrings."""
    if isinstance(schema, dict):
        return {key: _undescribed(value) for key, value in schema.items() if key != "description" or not isinstance(value, str)}
    if isinstance(schema, list | tuple):
        return [_undescribed(value) for value in schema]
    return schema
