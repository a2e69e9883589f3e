"""The certificates of the resources, each made anew in time."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from pathlib import Path

from ..authority.names import Names
from ..authority.store import BadStore, Store, Terms
from ..leaves import Leaf
from .messages import Authority, Begin, Subject


class Minting:
    """Signs for all resources, and has the authorities that it takes."""

    def __init__(self, begin: Begin) -> None:
        terms = Terms(begin.ca_days, begin.leaf_hours, begin.overlap_hours)
        self._store = Store(Path(begin.folder), terms, begin.host)
        self._subjects = {subject.resource: _names(subject) for subject in begin.subjects}
        self._renew_after_s = begin.leaf_hours * 3600 * 2 / 3
        self._known: list[tuple[int, bool]] = []
        self._signed_at = 0.0
        self.failure = ""
        """Why certificates can't be made; empty when they can."""
        self.leaves: tuple[Leaf, ...] = ()
        self.authorities: tuple[Authority, ...] = ()

    def turn(self) -> bool:
        """Do what is due now; whether there are other leaves, or authorities, than before."""
        now = datetime.datetime.now(datetime.UTC)
        try:
            changed = self._turn(now)
        except BadStore as error:
            self.failure = str(error)
            return False
        self.failure = ""
        return changed

    def _turn(self, now: datetime.datetime) -> bool:
        names = _all(list(self._subjects.values()))
        self._store.ensure(names, now)
        self._store.settle(names, now)
        signing = self._store.signing(names, now)
        held = self._store.authorities()
        known = [(each.number, each.number == (signing.number if signing else 0)) for each in held]
        if known == self._known and time.time() < self._signed_at + self._renew_after_s:
            return False
        self.leaves = tuple(self._leaf(resource, own, now) for resource, own in self._subjects.items())
        self.authorities = tuple(
            Authority(each.pem, signs, each.ends_at.timestamp()) for each, (_, signs) in zip(held, known, strict=True)
        )
        self._known, self._signed_at = known, time.time()
        return True

    def _leaf(self, resource: str, names: Names, now: datetime.datetime) -> Leaf:
        made = self._store.sign(names, now)
        return Leaf(resource, made.chain, made.key, made.until)


def _names(subject: Subject) -> Names:
    return Names(subject.dns, subject.ips)


def _all(names: Sequence[Names]) -> Names:
    found = Names((), ())
    for each in names:
        found += each
    return found
