"""What is looked for in the replies to one agent, beside what tags say of columns."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from ..protocols.detector import Detector
from ..protocols.disclosure import Mask, ReplyPlan
from .asks import Ask
from .document import Document
from .hidden import mask_of
from .judge import Asker
from .paths import split
from .sql.catalog import Catalog


class Net(msgspec.Struct, frozen=True):
    """The detector for one agent on one database, and the masks for what it finds."""

    detector: Detector
    masks: dict[str, Mask]
    skipped: frozenset[tuple[int, int]]

    def over(self, plan: ReplyPlan | None) -> ReplyPlan:
        """`plan` with the replies looked through as well."""
        return msgspec.structs.replace(plan or ReplyPlan(), detector=self.detector, detected=self.masks, undetected=self.skipped)


def net(document: Document, asker: Asker, resource: str, database: str, catalog: Catalog | None, hash_key: bytes) -> Net | None:
    """What the agent's policies leave to look for; None for nothing. Asks for `reveal` on each tag that detects."""
    place = document.resources[resource]
    if not place.detect:
        return None
    masks: dict[str, Mask] = {}
    for name, tag in document.tags.items():
        if tag.detect and not asker.ask([Ask("reveal", "Tag", name)], ())[0].allowed:
            mask = mask_of(tag.mask, name, hash_key)
            for entity in tag.detect:
                masks.setdefault(entity, mask)
    if not masks:
        return None
    skipped = frozenset(_columns(place.detect_skip, database, catalog)) if catalog is not None else frozenset()
    return Net(_scanner(tuple(sorted(masks)), place.phone_regions), masks, skipped)


# A scanner takes milliseconds to make; policies name a handful of sets of entities.
@functools.lru_cache(maxsize=32)
def _scanner(entities: tuple[str, ...], regions: tuple[str, ...]) -> Detector:
    from .detect.scanner import Scanner  # only workers look through replies; they have imported it before their cage closed

    return Scanner(entities, regions)


def _columns(paths: Sequence[str], database: str, catalog: Catalog) -> list[tuple[int, int]]:
    found = []
    for path in paths:
        where, schema, table, column = split(path)
        for oid in catalog.oids_of(schema, table) if where == database else ():
            number = catalog.attnum(oid, column)
            if number is not None:
                found.append((oid, number))
    return found
