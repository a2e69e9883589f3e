"""Which resource a connection is to, by its address or by the name that led there.

An address that the configuration writes belongs to its resource, whatever any name server says. An address that a name server
gave for a resource's name belongs to it for who asked for that name, and for as long as the answer holds (and a grace, since
programs keep what they were told). hostguard looks the names up itself as well, for programs that ask where it does not see them.

Who answers for a name decides where its connections go, and a resource's name may be somebody else's zone. So an address has one
holder for each port: the resource that was there first keeps it for as long as its own name leads there, and another resource's
name that comes to lead to the same place counts for nothing. Otherwise whoever owns that zone, and may do more on that resource,
could have his connections to the first one's server judged by the other's policies.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from ..policy.addresses import UNIX_SCHEME, parse_address
from ..policy.names import is_numeric
from ..policy.sections import Resource
from .names.known import Asking, KnownNames
from .names.upstreams import NoAnswer

OURSELVES: Asking = ("", 0)
"""Who asks for what hostguard looks up by itself."""
LOOK_UP_S = 30.0
OWN_TTL_S = 60
"""How long our own look-ups count: as long as two of them take turns."""
MAX_HELD = 65_536
MAX_DISPUTES = 32
MAX_TOLD = 1024
"""Names of one address that are looked at."""

LookUp = Callable[[str], Awaitable[Sequence[str]]]
"""Addresses of a name; raises NoAnswer."""
Spot = tuple[str, int]
"""An address in its canonical text with a port."""


@dataclass(frozen=True, slots=True)
class Place:
    """What is at an address, for one agent."""

    resource: str | None
    name: str = ""
    """The name that the agent asked for, or else that we looked up; empty for an address that no name led to."""
    reason: str = ""
    """Why it is no resource."""
    instead_of: str = ""
    """The resource that the agent was after, in whose protocol it is to hear the reason; empty where that can't be told."""


@dataclass(slots=True)
class _Hold:
    resource: str
    """Empty: several came at once, so it is nobody's."""
    until: float


class NamesLeft(msgspec.Struct, frozen=True):
    """What one supervisor knows of names, for the next; times are monotonic seconds of this boot."""

    pairs: list[tuple[Asking, str, str, float]]
    """(who was told, name, address, until when it counts)."""
    holds: list[tuple[Spot, str, float]]
    """(place, the resource that holds it, until when)."""


class Resources:
    """The resources of one configuration, with the addresses that their names lead to."""

    def __init__(self, resources: Mapping[str, Resource], grace_s: float) -> None:
        self._grace_s = grace_s
        self._literal: dict[Spot, str] = {}
        self._named: dict[str, dict[int, str]] = {}
        self.protocols = {name: section.protocol for name, section in resources.items()}
        for resource, section in resources.items():
            for address in section.addresses:
                host, port = parse_address(address)
                if is_numeric(host):
                    self._literal[host, port] = resource
                else:
                    self._named.setdefault(host.rstrip("."), {})[port] = resource
        self.known = KnownNames(frozenset(self._named))
        self._holds: OrderedDict[Spot, _Hold] = OrderedDict()
        self.disputes: OrderedDict[tuple[Spot, str], tuple[str, float]] = OrderedDict()
        """(place, resource that does not get it) to a sentence with its monotonic time; the latest last."""
        self.failures: dict[str, str] = {}
        """Names that can't be looked up now, and why."""

    # -- what names lead to -----------------------------------------------------------------------------------------------------

    def learn(self, asking: Asking, name: str, addresses: Iterable[str], ttl_s: int, now: float) -> None:
        """The agent was told these addresses for the name that it asked for; `now`: monotonic seconds."""
        canonical = servers(addresses)
        self.known.learn(asking, name, canonical, now + ttl_s)
        for port, resource in self._named.get(name, {}).items():
            for address in canonical:
                self._claim((address, port), frozenset([resource]), now, now + ttl_s + self._grace_s)

    def _claim(self, spot: Spot, resources: frozenset[str], now: float, until: float) -> None:
        """Names of these resources lead to the spot: of one by an answer, maybe of several by one round of look-ups."""
        literal = self._literal.get(spot)
        hold = self._holds.get(spot)
        if literal is not None:
            holder = literal
        elif hold is None or hold.until < now:
            self._holds.pop(spot, None)
            while len(self._holds) >= MAX_HELD:
                self._holds.popitem(last=False)
            (holder,) = resources if len(resources) == 1 else ("",)
            self._holds[spot] = _Hold(holder, until)
        else:
            holder = hold.resource
            if holder in resources or (not holder and len(resources) > 1):
                hold.until = max(hold.until, until)
                self._holds.move_to_end(spot)
        for resource in resources - {holder}:
            self._dispute(spot, resource, holder, now)

    def _dispute(self, spot: Spot, resource: str, holder: str, now: float) -> None:
        self.disputes.pop((spot, resource), None)
        while len(self.disputes) >= MAX_DISPUTES:
            self.disputes.popitem(last=False)
        whose = f"resource {holder}'s" if holder else "several resources' at once"
        self.disputes[spot, resource] = (f"names of resource {resource} lead to {_text(spot)}, which is {whose}", now)

    def leave(self) -> NamesLeft:
        """All that is known, for the next supervisor."""
        return NamesLeft(self.known.pairs(), [(spot, hold.resource, hold.until) for spot, hold in self._holds.items()])

    def take_up(self, left: NamesLeft) -> None:
        """Go on with what an earlier supervisor knew."""
        for asking, name, address, until in left.pairs:
            self.known.learn(asking, name, (address,), until)
        for spot, resource, until in left.holds:
            self._holds[spot] = _Hold(resource, until)

    # -- whose an address is ----------------------------------------------------------------------------------------------------

    def at(self, asking: Asking, host: str, port: int, now: float) -> Place:
        """The resource at a numeric address for this agent, with the name by which the agent knows it; O(names there)."""
        told = self.known.names_at(asking, host)
        fresh = [name for name, until in told if now <= until + self._grace_s]
        asked = fresh[0] if fresh else ""
        if literal := self._literal.get((host, port)):
            return Place(literal, asked)
        own = [name for name, until in self.known.names_at(OURSELVES, host) if now <= until + self._grace_s]
        hold = self._holds.get((host, port))
        led = [(name, self._named[name][port]) for name in (*fresh, *own) if port in self._named.get(name, {})]
        for name, resource in led:
            if hold is not None and hold.resource == resource:
                return Place(resource, name if name in fresh else asked or name)
        if led:
            return Place(None, led[0][0], _disputed(*led[0], (host, port), hold), led[0][1])
        for name, until in told:
            if port in self._named.get(name, {}):
                return Place(None, name, _expired(name, host, now - until), self._named[name][port])
        known = f", which this agent asked for as {asked}" if asked else ""
        return Place(None, asked, f"no resource has the address {_text((host, port))}{known}")

    def told(self, asking: Asking, host: str) -> tuple[str, ...]:
        """Names for which the agent was told this address, however long ago, the newest answer first."""
        return tuple(name for name, _ in self.known.names_at(asking, host))[:MAX_TOLD]

    # -- our own look-ups -------------------------------------------------------------------------------------------------------

    async def run(self, look_up: LookUp, clock: Callable[[], float]) -> None:
        """Look all names up again and again; runs until cancelled. `clock`: monotonic seconds."""
        while True:
            await asyncio.sleep(LOOK_UP_S)
            await self.look_up(look_up, clock)

    async def look_up(self, look_up: LookUp, clock: Callable[[], float]) -> None:
        """Look all names up once; a name that can't be looked up keeps its addresses while they count."""
        found = await asyncio.gather(*(self._addresses(look_up, name) for name in self._named))
        self.settle(dict(zip(self._named, found, strict=True)), clock())

    async def _addresses(self, look_up: LookUp, name: str) -> Sequence[str]:
        try:
            addresses = await look_up(name)
        except NoAnswer as error:
            self.failures[name] = str(error)
            return ()
        self.failures.pop(name, None)
        return addresses

    def settle(self, found: Mapping[str, Iterable[str]], now: float) -> None:
        """Take in one round of look-ups at once, so that the order of names decides nothing."""
        claims: dict[Spot, set[str]] = {}
        for name, addresses in found.items():
            canonical = servers(addresses)
            self.known.learn(OURSELVES, name, canonical, now + OWN_TTL_S)
            for port, resource in self._named[name].items():
                for address in canonical:
                    claims.setdefault((address, port), set()).add(resource)
        for spot, resources in claims.items():
            self._claim(spot, frozenset(resources), now, now + OWN_TTL_S + self._grace_s)


def servers(addresses: Iterable[str]) -> list[str]:
    """The addresses, in one form, at which a server with a name can be: a cloud's metadata service (link-local) is none."""
    found = [ipaddress.ip_address(canonical_address(address)) for address in addresses]
    return [str(a) for a in found if not (a.is_link_local or a.is_multicast or a.is_unspecified)]


def canonical_address(text: str) -> str:
    """The address as the kernel's record writes it: ``::ffff:192.0.2.1`` as ``192.0.2.1``."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)


def _text(spot: Spot) -> str:
    if spot[0].startswith(UNIX_SCHEME):
        return spot[0]
    return f"[{spot[0]}]:{spot[1]}" if ":" in spot[0] else f"{spot[0]}:{spot[1]}"


def _disputed(name: str, resource: str, spot: Spot, hold: _Hold | None) -> str:
    whose = f"resource {hold.resource}'s" if hold is not None and hold.resource else "several resources' at once"
    return f"{name} of resource {resource} leads to {_text(spot)}, which is {whose}"


def _expired(name: str, host: str, ago_s: float) -> str:
    return f"{name} was at {host} by an answer that ended {ago_s:.0f} s ago: look {name} up again"
