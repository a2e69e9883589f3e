"""What hostguard asks a database for itself: its catalog, with the session's search_path, through the agent's own session.

The questions run at moments when the session is idle and outside a transaction (`Conversation.probe`), so the agent sees nothing
of them and can't lose a transaction by them. A database's catalog is shared by all flows to it and read again when a new flow
finds it older than `FRESH_S`, or after an operation that changes it. Where it can't be read the policy works without one,
which means closed: what it can't prove harmless is masked or refused.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..policy.decide import Decider
from ..policy.sql import catalog
from ..policy.sql.analysis import Analysis
from ..protocols.events import Effect, Probed
from ..recorder import entry
from .gate import Gate

if TYPE_CHECKING:
    from .relay import Relay

FRESH_S = 30.0
"""A new flow trusts a catalog of this age. What others change in the database meanwhile is seen with that delay."""
SESSION = "session"
CATALOG = "catalog"
CHANGES_CATALOG = frozenset({"create", "alter", "drop"})
CHANGES_SESSION = frozenset({"set", "discard"})
NAMES_DEPEND_ON = frozenset({"search_path", "role", "session_authorization", "all", ""})
"""Settings by which an unqualified name may come to mean another table ("$user" in a search_path is the role)."""


class Facts:
    """Asks, and hands the answers to the decider."""

    def __init__(self, decider: Decider, gate: Gate) -> None:
        self._decider = decider
        self._gate = gate
        self._read: dict[tuple[str, str], tuple[float, int]] = {}
        """(resource, database) to when its catalog was read, in monotonic seconds, with the hash of the answer."""

    def ready(self, relay: Relay) -> list[Effect]:
        """Before the client hears that the session is ready: learn what names mean in it."""
        effects = relay.conversation.probe(SESSION, catalog.SESSION_QUERY)
        read_at, _ = self._read.get((relay.flow.resource, relay.flow.database), (float("-inf"), 0))
        if time.monotonic() - read_at > FRESH_S:
            effects += relay.conversation.probe(CATALOG, catalog.QUERY)
        return effects + relay.conversation.proceed()

    def released(self, relay: Relay, analysis: Analysis) -> list[Effect]:
        """An operation goes on that may change what names mean: nothing is certain until it was asked for again."""
        effects: list[Effect] = []
        if not CHANGES_SESSION.isdisjoint(analysis.effects) and any(
            access.action in CHANGES_SESSION and access.detail in NAMES_DEPEND_ON for access in analysis.accesses
        ):
            relay.conversation.set_search_path(None)
            effects += relay.conversation.probe(SESSION, catalog.SESSION_QUERY)
        if not CHANGES_CATALOG.isdisjoint(analysis.effects):
            effects += relay.conversation.probe(SESSION, catalog.SESSION_QUERY)
            effects += relay.conversation.probe(CATALOG, catalog.QUERY)
        return effects

    def probed(self, relay: Relay, effect: Probed) -> None:
        """An answer is in."""
        place = relay.flow.resource, relay.flow.database
        if effect.error:
            self._gate.note(relay.flow, entry.ProbeFailed(probe=effect.name, error=effect.error))
            if effect.name == CATALOG:
                self._read.pop(place, None)
                self._decider.set_catalog(*place, None)
        elif effect.name == SESSION:
            relay.conversation.set_search_path(catalog.search_path(_texts(effect.rows)))
        else:
            self._keep(place, effect.rows)

    def _keep(self, place: tuple[str, str], rows: list[tuple[bytes | None, ...]]) -> None:
        """Hand a catalog on, unless nothing has changed: every decision made with the old one would be made anew."""
        _, known = self._read.get(place, (0.0, 0))
        found = hash(tuple(rows))
        if found != known:
            self._decider.set_catalog(*place, catalog.Catalog.from_rows(_texts(rows)))
        self._read[place] = (time.monotonic(), found)


def _texts(rows: list[tuple[bytes | None, ...]]) -> list[tuple[str | None, ...]]:
    """Names as text. Bytes that are no UTF-8 become lone surrogates: such a name matches nothing, which is closed."""
    return [tuple(None if value is None else value.decode("utf-8", "surrogateescape") for value in row) for row in rows]
