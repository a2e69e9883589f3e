"""What hostguard asks a database for itself: its catalog, with the session's search_path, through the agent's own session.

The questions run at moments when the session is idle and outside a transaction (`Conversation.probe`), so the agent sees nothing
of them and can't lose a transaction by them. A database's catalog is shared by all flows to it. It is read again when a new flow
finds it older than `limits.catalog_s`, through an idle flow while flows stay open, and after an operation that changes it. Where
it can't be read the policy works without one, which means closed: what it can't prove harmless is masked or refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ..policy.accesses import CHANGES_CATALOG
from ..policy.decide import Decider
from ..policy.judgement import Judgement
from ..policy.sql import catalog, catalog_queries
from ..protocols.events import Effect, Probed
from ..recorder import entry
from .gate import Gate

if TYPE_CHECKING:
    from .relay import Relay

LOOKS = 6
"""How often it is looked for catalogs that are too old, in the time that one is trusted."""
SESSION = "session"
CATALOG = "catalog"
PROBES = {SESSION: catalog_queries.SESSION_QUERY, CATALOG: catalog_queries.QUERY}


class Facts:
    """Asks, and hands the answers to the decider."""

    def __init__(
        self,
        decider: Decider,
        gate: Gate,
        tell: Callable[[str, str, bool], None],
        fresh_s: float,
        others: Callable[[Probed], bool],
    ) -> None:
        """`tell`: what other workers must hear of a catalog; resource, database, `seen` of `messages.CatalogChanged`.

        `fresh_s`: a catalog is trusted for this long. What others change in the database meanwhile is seen with that delay.
        `others`: takes the answer to somebody else's question, and says whether it was one.
        """
        self.look_s = fresh_s / LOOKS
        """How often it is to be looked for catalogs that are older."""
        self._fresh_s = fresh_s
        self._decider = decider
        self._gate = gate
        self._others = others
        self._tell = tell
        self._read: dict[tuple[str, str], tuple[float, int]] = {}
        """(resource, database) to when its catalog was read, in monotonic seconds, with the hash of the answer."""

    def ready(self, relay: Relay) -> list[Effect]:
        """Before the client hears that the session is ready: learn what names mean in it."""
        effects = self.ask_again(relay, (SESSION,))
        read_at, _ = self._read.get((relay.flow.resource, relay.flow.database), (float("-inf"), 0))
        if time.monotonic() - read_at > self._fresh_s:
            effects += self.ask_again(relay, (CATALOG,))
        return effects + relay.conversation.proceed()

    def stale(self, relays: Iterable[Relay]) -> list[Relay]:
        """One idle flow of each database whose catalog is older than that: through it the catalog is to be read again.

        Without this a pool's long-lived connections would never learn of a table that somebody else made.
        """
        now = time.monotonic()
        found: dict[tuple[str, str], Relay] = {}
        for relay in relays:
            place = relay.flow.resource, relay.flow.database
            read_at, _ = self._read.get(place, (now, 0))
            if now - read_at > self._fresh_s and place not in found and relay.conversation.idle:
                found[place] = relay
        return list(found.values())

    def changed(self, resource: str, database: str, seen: bool, relays: Iterable[Relay]) -> Relay | None:
        """Another worker says that this catalog is another, or may be soon: it is stale for every flow that begins from now on.

        Returns an idle flow to read it through, if it is worth while already.
        """
        place = resource, database
        known = self._read.get(place)
        if known is None:
            return None
        self._read[place] = (float("-inf"), known[1])
        fit = (relay for relay in relays if (relay.flow.resource, relay.flow.database) == place and relay.conversation.idle)
        return next(fit, None) if seen else None

    def shifts(self, judgement: Judgement) -> tuple[str, ...]:
        """Which answers an operation makes stale: names of the probes to ask again after it. Empty for nearly all."""
        # What could not be read runs where it is only observed, and may have changed anything.
        if judgement.analysis is None or not CHANGES_CATALOG.isdisjoint(judgement.analysis.effects):
            return (SESSION, CATALOG)
        return (SESSION,) if judgement.moves_path else ()

    def doubt(self, relay: Relay, judgement: Judgement) -> None:
        """Before such an operation goes on: later texts of the same read can't be sure of the search_path any more."""
        if judgement.moves_path:
            relay.conversation.set_search_path(None)
        if CATALOG in self.shifts(judgement):
            self._tell(relay.flow.resource, relay.flow.database, False)

    def ask_again(self, relay: Relay, stale: tuple[str, ...]) -> list[Effect]:
        """After it went on: the probes run at the next idle moment, so also after the transaction that it may be part of."""
        effects: list[Effect] = []
        for name in stale:
            effects += relay.conversation.probe(name, PROBES[name])
        return effects

    def probed(self, relay: Relay, effect: Probed) -> None:
        """An answer is in."""
        if self._others(effect):
            return
        place = relay.flow.resource, relay.flow.database
        if effect.error:
            self._gate.note(relay.flow, entry.ProbeFailed(probe=effect.name, error=effect.error))
            if effect.name == CATALOG:
                self._read.pop(place, None)
                self._decider.set_catalog(*place, None)
        elif effect.name == SESSION:
            # Asked only where no transaction is open: what the flow made is in the catalog by now, or gone.
            relay.policy.settle()
            relay.conversation.set_search_path(catalog.search_path(_texts(effect.rows)))
        else:
            self._keep(place, effect.rows)
            relay.policy.read()

    def _keep(self, place: tuple[str, str], rows: list[tuple[bytes | None, ...]]) -> None:
        """Hand a catalog on, unless nothing has changed: every decision made with the old one would be made anew."""
        before = self._read.get(place)
        found = hash(tuple(rows))
        if before is None or found != before[1]:
            self._decider.set_catalog(*place, catalog.Catalog.from_rows(_texts(rows)))
            if before is not None:
                self._tell(*place, True)
        self._read[place] = (time.monotonic(), found)


def _texts(rows: list[tuple[bytes | None, ...]]) -> list[tuple[str | None, ...]]:
    """Names as text. Bytes that are no UTF-8 become lone surrogates: such a name matches nothing, which is closed."""
    return [tuple(None if value is None else value.decode("utf-8", "surrogateescape") for value in row) for row in rows]
