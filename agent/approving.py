"""Holds with all that they take: the book of requests, the store of grants."""

from __future__ import annotations

import os
import pwd
from contextlib import AsyncExitStack

from ..identity.users import Users
from ..policy.approvals import RequestBook, Times
from ..policy.decide import Decider
from ..policy.document import Document
from .announcing import Announcer
from .crew import user_of
from .failures import Failure
from .faults import Faults
from .granting import Granting
from .grants import SCHEMA, Grants
from .history import History
from .holds import Holds
from .ledger import Ledger, LedgerUnavailable
from .notices.keeper import Keeper
from .outbox import Outbox
from .paths import Paths
from .records import Records
from .spool import Spool
from .ticketing import Ticketing
from .tickets import Tickets


def open_holds(
    document: Document,
    paths: Paths,
    records: Records,
    users: Users,
    decider: Decider,
    history: History,
    faults: Faults,
    outbox: Outbox | None,
    undo: AsyncExitStack,
    *,
    taken_over: bool,
) -> Holds:
    """Open the store until `undo`, take up its tickets; channels are told from `Announcer.start` on.

    `outbox`: None without channels. `taken_over`: from another daemon, with requests. Raises Failure.
    """
    settings = document.approvals
    ledger = Ledger.open(paths.grants, SCHEMA)
    undo.callback(ledger.close)
    times = Times(settings.timeout_s, settings.ticket_s, settings.use_s, tuple(sorted(settings.escalate_s)))
    book = RequestBook(times, max_held=document.limits.max_held, seed=os.urandom(16))
    granting = Granting(Grants(ledger, settings.max_grants), records, users, decider, faults)
    try:
        ticketing = Ticketing(Tickets(ledger), book, granting, records, decider, faults)
    except LedgerUnavailable as error:
        raise Failure(str(error)) from None
    announcer = _announcer(document, faults, outbox, book)
    undo.push_async_callback(announcer.stop)
    return Holds(book, records, decider, history, granting, ticketing, Spool(paths.held, keep=taken_over), announcer)


def _announcer(document: Document, faults: Faults, outbox: Outbox | None, book: RequestBook) -> Announcer:
    channels, ours = document.channels, user_of(document)
    users = {name: _ids(document, name, channel.run_as) if channel.run_as else ours for name, channel in channels.items()}
    posts = any(not channel.command for channel in channels.values())
    return Announcer(channels, users, Keeper(ours, faults) if posts else None, outbox, book.waits, faults)


def _ids(document: Document, name: str, user: str) -> tuple[int, int]:
    try:
        found = pwd.getpwnam(user)
    except KeyError:
        raise Failure(f"{document.file}: channels.{name}.run_as: this host has no user {user}") from None
    return found.pw_uid, found.pw_gid
