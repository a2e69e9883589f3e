"""The columns that an agent may not see, each with the mask that it sees instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..protocols.events import Mask
from .asks import Ask
from .document import Document
from .judge import Asker
from .paths import path, split
from .sections import MaskRule

Hidden = Mapping[tuple[str, str], Mapping[str, Mask]]
"""(schema, table) to the hidden columns of that table with their masks."""

_STRICTEST = ("null", "redact", "constant", "hash", "partial")
"""Of several tags' masks the one that tells least."""


def hidden_columns(document: Document, asker: Asker, resource: str, database: str, hash_key: bytes) -> Hidden:
    """The tagged columns of a database that the agent may not `reveal`.

    A column of several tags must be revealed for each: the permit to see ``pii`` is none for a card number that is ``pii`` too.
    """
    found: dict[tuple[str, str], dict[str, Mask]] = {}
    for tag, column in _unrevealed(document, asker, path(resource, database)):
        _, _, schema, table, name = split(column)
        masks = found.setdefault((schema, table), {})
        mask = _mask(document.tags[tag].mask, tag, hash_key)
        masks[name] = min(masks.get(name, mask), mask, key=lambda m: _STRICTEST.index(m.kind))
    return found


def _unrevealed(document: Document, asker: Asker, database: str) -> Iterator[tuple[str, str]]:
    for name, tag in document.tags.items():
        columns = [column for column in tag.columns if column.startswith(database + "/")]
        # Asked for one tag at a time, in no other tag: see `hidden_columns`.
        asks = [Ask("reveal", "Column", column, (), (("Tag", name),)) for column in columns]
        for column, answer in zip(columns, asker.ask(asks, ()), strict=True):
            if not answer.allowed:
                yield name, column


def _mask(rule: MaskRule, tag: str, hash_key: bytes) -> Mask:
    return Mask(rule.kind, tag, rule.keep, rule.text, hash_key if rule.kind == "hash" else b"")
