"""One pass over a text for all detectors.

Theory of operation
-------------------
Every detector has loose expressions, which Hyperscan runs all at once in time linear in the bytes, whatever they are. Most texts
end there. Where one matches, the detector's own exact expression (bounded in every repetition) and its check run over that text.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Sequence

import hyperscan

from . import money, national, network, persons, plugins, secrets_found
from .found import ENTITIES, Detector, Found

_WINS = {
    name: number
    for number, name in enumerate(("private_key", "jwt", "key", "email", "iban", "card", "national_id", "ip", "phone"))
}


class Scanner:
    """Finds what some detectors detect."""

    def __init__(self, entities: Collection[str], regions: Sequence[str] = ("US",)) -> None:
        """`entities`: some of ENTITIES, names of plug-ins. `regions`: countries whose national telephone numbers are found (ISO
        3166). Raises plugins.NoPlugin."""
        self._detectors = [each for each in _detectors(regions) if each.entity in entities]
        self._detectors += [plugins.plugin(name) for name in sorted(set(entities) - set(ENTITIES))]
        expressions = [(number, each) for number, detector in enumerate(self._detectors) for each in detector.suspects]
        # JSON may hide any character behind an escape.
        expressions.append((len(self._detectors), r"\\u00"))
        self._database = hyperscan.Database()
        self._database.compile(
            expressions=[expression.encode("ascii") for _, expression in expressions],
            ids=[number for number, _ in expressions],
            flags=hyperscan.HS_FLAG_SINGLEMATCH,
            elements=len(expressions),
        )
        self._hits: set[int] = set()

    def suspects(self, data: bytes) -> bool:
        """Whether `find` may find anything in a text within these bytes. O(bytes)."""
        self._hits.clear()
        self._database.scan(data, match_event_handler=self._hit)
        return bool(self._hits)

    def find(self, text: str) -> list[Found]:
        """What is in `text`, in order, without overlaps."""
        if not self.suspects(text.encode("utf-8", "surrogateescape")):
            return []
        found = [
            Found(start, end, self._detectors[number].entity)
            for number in sorted(self._hits)
            if number < len(self._detectors)
            for start, end in self._detectors[number].find(text)
        ]
        return _without_overlaps(found)

    def _hit(self, number: int, _from: int, _to: int, _flags: int, _context: object) -> None:
        self._hits.add(number)


def warm() -> None:
    """Load all that is else loaded when it is first needed: later there may be no files. Raises plugins.NoPlugin."""
    persons.warm()
    plugins.load_all()
    text = "alice@example.com +44 20 7946 0958 4111 1111 1111 1111 DE89 3704 0044 0532 0130 00 078-05-1120 192.0.2.1 12345678Z"
    # Which expressions Hyperscan compiles loads nothing more: all of them would take a fifth of a second.
    Scanner(["email"]).find(text)
    for detector in _detectors(["US"]):
        list(detector.find(text))


def _detectors(regions: Sequence[str]) -> list[Detector]:
    return [
        persons.EMAIL,
        persons.phone(regions),
        money.CARD,
        money.IBAN,
        national.NATIONAL_ID,
        network.IP,
        secrets_found.KEY,
        secrets_found.JWT,
        secrets_found.PRIVATE_KEY,
    ]


def _without_overlaps(found: list[Found]) -> list[Found]:
    """Of findings that overlap the one whose form says most; what a plug-in finds has none."""
    kept: list[Found] = []
    for each in sorted(found, key=lambda one: (_WINS.get(one.entity, len(_WINS)), one.start - one.end, one.start)):
        at = bisect(kept, each)
        if (at == 0 or kept[at - 1].end <= each.start) and (at == len(kept) or each.end <= kept[at].start):
            kept.insert(at, each)
    return kept
