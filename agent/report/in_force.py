"""Which configuration was in force at which place of the log, by the texts that are on record."""

from __future__ import annotations

import bisect
from dataclasses import dataclass

from ...policy.decide import Policy
from ...policy.document import ConfigErrors, of_texts
from ...policy.rules import Source
from ...recorder.entry import PolicyLoad
from ...recorder.packing import Fetch, restore
from ...recorder.stored import Stored


@dataclass(frozen=True, slots=True)
class Configuration:
    """What was in force from one entry on."""

    entry: int
    """The ``policy.load`` that says so; -1 for none."""
    wall_ns: int
    policy: Policy


class InForce:
    """The configurations of a period; where the log does not have one, today's stands in, and `gaps` says so."""

    def __init__(self, today: Policy, fetch: Fetch) -> None:
        self._today = today
        self._fetch = fetch
        self._loads: list[tuple[int, PolicyLoad]] = []
        self._made: dict[tuple[tuple[str, str], ...], Policy] = {}
        self._configurations: dict[int, Configuration] = {}
        self._gaps: dict[int, str] = {}

    def add(self, index: int, load: PolicyLoad) -> None:
        """From here on this one is in force; entries come in order."""
        self._loads.append((index, load))

    def forget(self) -> None:
        """Those added so far were over before the period began."""
        self._loads.clear()

    def at(self, index: int) -> Configuration:
        """What was in force for entry `index`; the first that is known for entries before it."""
        place = bisect.bisect_right(self._loads, index, key=lambda load: load[0]) - 1
        if not self._loads:
            self._gaps[-1] = f"up to entry {index} the log has no load of a policy"
            return Configuration(-1, 0, self._today)
        return self._opened(*self._loads[max(0, place)])

    def all(self) -> list[Configuration]:
        """In order; today's alone when the log has none."""
        return [self._opened(*load) for load in self._loads] or [Configuration(-1, 0, self._today)]

    @property
    def gaps(self) -> list[str]:
        """Why today's configuration had to stand in, a sentence each."""
        return [f"{why}: today's configuration stands in" for _, why in sorted(self._gaps.items())]

    def _opened(self, index: int, load: PolicyLoad) -> Configuration:
        if index not in self._configurations:
            self._configurations[index] = Configuration(index, load.wall_ns, self._policy(index, load))
        return self._configurations[index]

    def _policy(self, index: int, load: PolicyLoad) -> Policy:
        restored = restore(load, self._fetch)
        assert isinstance(restored, PolicyLoad)
        texts = restored.texts
        if isinstance(texts, Stored) or not texts:
            lost = "its files' texts are not on record" if not texts else "its files' texts can't be read"
            self._gaps[index] = f"entry {index}: {lost}"
            return self._today
        if texts not in self._made:
            try:
                self._made[texts] = Policy(of_texts(*texts[0], [Source(*text) for text in texts[1:]]))
            except ConfigErrors as mistakes:
                # Another version wrote it.
                self._gaps[index] = f"entry {index}: this version does not understand it ({mistakes.errors[0]})"
                return self._today
        return self._made[texts]
