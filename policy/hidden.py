"""The columns that an agent may not see, each with the mask that it sees instead."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from ..protocols.disclosure import Mask
from .asks import Ask
from .catalogs import SAMPLE_COLUMNS
from .document import Document
from .judge import Asker
from .paths import path, split
from .sections import MaskRule

Hidden = Mapping[tuple[str, str], Mapping[str, Mask]]
"""(schema, table) to the hidden columns of that table with their masks."""

Column = tuple[str, str, str]
"""Schema, table, column."""
USES = ("match", "derive")
"""What may be permitted with a hidden column without seeing it."""
Permits = Mapping[str, frozenset[Column]]
"""One of `USES` to the hidden columns with which the agent may do that."""

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


def hides_anything(document: Document, asker: Asker, resource: str) -> bool:
    """Whether any column of any database of the resource is tagged and not to be seen by the agent."""
    return any(True for _ in _unrevealed(document, asker, path(resource)))


def permitted_uses(document: Document, asker: Asker, resource: str, database: str, hidden: Hidden) -> Permits:
    """What the agent may do with hidden columns. Each of a column's tags has to permit it, as in `hidden_columns`."""
    prefix = path(resource, database) + "/"
    asked: dict[Column, list[str]] = {}
    for name, tag in document.tags.items():
        for column in tag.columns:
            if column.startswith(prefix):
                _, _, schema, table, attribute = split(column)
                if attribute in hidden.get((schema, table), {}):
                    asked.setdefault((schema, table, attribute), []).append(name)
    return {use: frozenset(_permitted(use, asker, prefix, asked)) for use in USES}


def _permitted(use: str, asker: Asker, prefix: str, asked: Mapping[Column, list[str]]) -> Iterator[Column]:
    for column, tags in asked.items():
        asks = [Ask(use, "Column", prefix + path(*column), (), (("Tag", name),)) for name in tags]
        if all(answer.allowed for answer in asker.ask(asks, ())):
            yield column


def _unrevealed(document: Document, asker: Asker, below: str) -> Iterator[tuple[str, str]]:
    for name, tag in document.tags.items():
        columns = [column for column in tag.columns if column.startswith(below + "/")]
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


def origins_of(hidden: Hidden) -> dict[Column, frozenset[Column]]:
    """Without a catalog: the tagged columns themselves, and ``*`` for the rows that hold them."""
    found: dict[Column, frozenset[Column]] = {}
    for (schema, table), columns in hidden.items():
        found.update({(schema, table, column): frozenset([(schema, table, column)]) for column in columns})
        found[schema, table, "*"] = frozenset((schema, table, column) for column in columns)
    return found


def origins_of_samples() -> dict[Column, frozenset[Column]]:
    """The columns of catalogs that hold samples of data."""
    columns = [("pg_catalog", relation, column) for relation, listed in SAMPLE_COLUMNS.items() for column in listed]
    return {column: frozenset([column]) for column in columns}
