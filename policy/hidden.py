"""The columns that an agent may not see, each with the mask that it sees instead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from ..protocols.events import Mask
from .asks import Ask
from .document import Document
from .judge import Asker
from .paths import path, split
from .sections import MaskRule

Hidden = Mapping[tuple[str, str], Mapping[str, Mask]]
"""(schema, table) to the hidden columns of that table with their masks."""

_STRICTEST = ("null", "redact", "constant", "hash", "format", "date_year", "partial")
"""Of several tags' masks the one that tells least; one that leaves parts of a document tells more than any that does not."""
_KEYED = ("hash", "format")


def hidden_columns(document: Document, asker: Asker, resource: str, database: str, hash_key: bytes) -> Hidden:
    """The tagged columns of a database that the agent may not `reveal`.

    A column of several tags must be revealed for each: the permit to see ``pii`` is none for a card number that is ``pii`` too.
    """
    found: dict[tuple[str, str], dict[str, Mask]] = {}
    for tag, column in _unrevealed(document, asker, path(resource, database)):
        _, _, schema, table, name = split(column)
        masks = found.setdefault((schema, table), {})
        mask = mask_of(document.tags[tag].mask, tag, hash_key)
        masks[name] = min(masks.get(name, mask), mask, key=_tells)
    return found


def _unrevealed(document: Document, asker: Asker, database: str) -> Iterator[tuple[str, str]]:
    for name, tag in document.tags.items():
        columns = [column for column in tag.columns if column.startswith(database + "/")]
        # Asked for one tag at a time, in no other tag: see `hidden_columns`.
        asks = [Ask("reveal", "Column", column, (), (("Tag", name),)) for column in columns]
        for column, answer in zip(columns, asker.ask(asks, ()), strict=True):
            if not answer.allowed:
                yield name, column


def _tells(mask: Mask) -> tuple[bool, int]:
    return bool(mask.leaves), _STRICTEST.index(mask.kind)


def mask_of(rule: MaskRule, tag: str, hash_key: bytes) -> Mask:
    """The mask of a tag, with its key where it is a keyed one."""
    key = generation_key(hash_key, rule.generation) if rule.kind in _KEYED else b""
    return Mask(rule.kind, tag, rule.keep, rule.text, key, tuple(tuple(leaf.split(".")) for leaf in rule.leaves))


def generation_key(hash_key: bytes, generation: int) -> bytes:
    """The key of one generation: generation 0 is the deployment's key itself, no other one tells anything of it."""
    if generation == 0:
        return hash_key
    return hashlib.blake2b(b"generation %d" % generation, key=hash_key, digest_size=32).digest()
