"""Which addresses each agent was told for which name, with how long that counts.

This is what makes a connection to an address one to a name. It is kept by agent and network namespace: what one agent was told
says nothing about another's connections. Names that resources have are kept apart, so that no flood of others pushes them out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MAX_PAIRS = 4096
"""(address, name) pairs remembered for one agent beside those of resources."""
MAX_RESOURCE_PAIRS = 4096
MAX_AGENTS = 4096
MAX_ADDRESSES = 64
"""Of one answer."""

Asking = tuple[str, int]
"""An agent with the cookie of a network namespace."""


@dataclass(slots=True)
class _Pairs:
    most: int
    until: OrderedDict[tuple[str, str], float] = field(default_factory=OrderedDict)
    """(address, name) to when it stops counting; those told longest ago first."""
    names: dict[str, list[str]] = field(default_factory=dict)
    """Address to names."""

    def add(self, address: str, name: str, until: float) -> None:
        pair = (address, name)
        if pair not in self.until:
            if len(self.until) >= self.most:
                (old, gone), _ = self.until.popitem(last=False)
                self.names[old].remove(gone)
                if not self.names[old]:
                    del self.names[old]
            self.names.setdefault(address, []).append(name)
        self.until[pair] = max(until, self.until.get(pair, until))
        self.until.move_to_end(pair)


@dataclass(slots=True)
class _Told:
    resources: _Pairs = field(default_factory=lambda: _Pairs(MAX_RESOURCE_PAIRS))
    others: _Pairs = field(default_factory=lambda: _Pairs(MAX_PAIRS))


class KnownNames:
    """What was told to whom."""

    def __init__(self, resource_names: Collection[str]) -> None:
        self.resource_names = resource_names
        """Replaced when the configuration is."""
        self._told: OrderedDict[Asking, _Told] = OrderedDict()

    def learn(self, asking: Asking, name: str, addresses: Iterable[str], until: float) -> None:
        """The asking agent was told these addresses for the name it asked for (not for aliases of it); good `until` then."""
        told = self._told.get(asking)
        if told is None:
            if len(self._told) >= MAX_AGENTS:
                self._told.popitem(last=False)
            told = self._told[asking] = _Told()
        self._told.move_to_end(asking)
        pairs = told.resources if name in self.resource_names else told.others
        for address, _ in zip(addresses, range(MAX_ADDRESSES), strict=False):
            pairs.add(address, name, until)

    def pairs(self) -> list[tuple[Asking, str, str, float]]:
        """(asking, name, address, until when it counts) of all that is known; `learn` takes them in this order."""
        return [
            (asking, name, address, until)
            for asking, told in self._told.items()
            for pairs in (told.resources, told.others)
            for (address, name), until in pairs.until.items()
        ]

    def names_at(self, asking: Asking, address: str) -> list[tuple[str, float]]:
        """(name, until when it counts) of every name for which the agent was told this address, the newest answer first."""
        told = self._told.get(asking)
        if told is None:
            return []
        found = [(name, p.until[address, name]) for p in (told.resources, told.others) for name in p.names.get(address, ())]
        return sorted(found, key=lambda pair: -pair[1])
