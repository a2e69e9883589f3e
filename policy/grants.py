"""Permissions in advance: one agent, one exact operation or shape, so many uses, until a time.

A grant is evidence, as an approval is: it enters as ``context.approval`` of the users who issued it, and never widens what a
policy closes to their approval. What it is good for is a digest, so that what a user was shown is what is used:

- ``operation``: the digest of a request (`requests.operation_digest`), everything that made that operation this very one;
- ``statement``: text and parameter values, as whoever issues it by hand can know them, in a session that reads texts plainly;
- ``shape``: the text without the values of its literals, whatever the parameters are. Only where the values do not matter to what
  the policies were asked (`judgement.Judgement.shared`).

Pure: counting is the store's (`agent.grants`).
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from typing import Annotated

import msgspec

from ..protocols.events import Operation, Session
from .requests import RequestError, Vouched, operation_digest

MAX_USES = 1_000_000
Uses = Annotated[int, msgspec.Meta(ge=1, le=MAX_USES)]
"""How often something may run."""
When = Annotated[float, msgspec.Meta(ge=0, le=9e9)]
"""Seconds since 1970; as nanoseconds it has to fit an entry."""


class Kind(enum.Enum):
    """What a grant is good for."""

    OPERATION = "operation"
    STATEMENT = "statement"
    SHAPE = "shape"


class UnknownGrant(RequestError):
    """There is no such grant."""


class NotThere(RequestError):
    """The grant is over, so nothing can be done about it."""


class Terms(msgspec.Struct, frozen=True):
    """How far a grant goes, as policies see it when it is issued."""

    kind: Kind
    uses: int
    seconds: int
    """Between its beginning and its end."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What was granted; all of it fixed but the last fields."""

    id: str
    """Short enough to say: ``G-7F3KQ``."""
    kind: Kind
    agent: str
    resource: str
    digest: str
    """In hex; see the module."""
    statement: str
    """As it was when the grant was issued; the beginning of a long one."""
    parameters: tuple[str, ...] = ()
    """As people read them."""
    database: str = ""
    user: str = ""
    """Of the database, if it is good for one only."""
    search_path: tuple[str, ...] = ()
    summary: str = ""
    """Plain language; empty for one that was issued by hand, whose statement nobody has judged."""
    uses: int
    not_before: float
    """Wall time, seconds."""
    until: float
    issued_at: float
    request: str = ""
    """The request that it came from."""
    once: bool = False
    """It stands for an approved ticket: who may approve that may have it used, once."""
    escalation: int = 0
    """How far the ticket had escalated when it was approved."""
    reason: str = ""
    issuers: tuple[str, ...] = ()
    """Users who stand for it, in order."""
    vouched: Vouched = ()
    """The groups that their sign-ins gave these."""
    left: int = 0
    """Uses that are left."""
    used_at: float = 0
    """When it was used last; 0 for never."""
    revoked_at: float = 0
    revoked_by: str = ""
    revoked_reason: str = ""

    @property
    def terms(self) -> Terms:
        """How far it goes."""
        return Terms(self.kind, self.uses, int(self.until - self.not_before))

    def state(self, now: float) -> str:
        """``usable``, ``waiting`` for its window, ``revoked``, ``used up`` or ``lapsed``."""
        if self.revoked_at:
            return "revoked"
        if not self.left:
            return "used up"
        if now >= self.until:
            return "lapsed"
        return "usable" if now >= self.not_before else "waiting"


def statement_digest(
    agent: str,
    resource: str,
    database: str,
    user: str,
    search_path: Sequence[str],
    text: str,
    values: Sequence[str | None],
) -> str:
    """Of a ``statement``, in hex. `user`: of the database, empty for any."""
    return _digest("statement", agent, resource, database, user, list(search_path), text, list(values))


def shape_digest(agent: str, resource: str, database: str, user: str, search_path: Sequence[str], form: str) -> str:
    """Of a ``shape``, in hex. `form`: as `sql.shape.shape` gives it."""
    return _digest("shape", agent, resource, database, user, list(search_path), form)


def digests(
    agent: str,
    resource: str,
    operation: Operation,
    depends: tuple[str, ...],
    form: str,
    values: Sequence[str | None] | None,
) -> tuple[str, ...]:
    """Of every grant that would cover the operation: the exact ones first.

    `depends`: as of a judgement. `form`: its shape, empty where values matter. `values`: its parameters as text, None where
    there is no telling.
    """
    session, text = operation.session, operation.text
    found = [operation_digest(agent, resource, operation, depends)]
    if depends or text is None or not _plain(session):
        return tuple(found)
    path = session.search_path or ()
    for user in (session.user, ""):
        if values is not None:
            found.append(statement_digest(agent, resource, session.database, user, path, text, values))
    for user in (session.user, ""):
        if form:
            found.append(shape_digest(agent, resource, session.database, user, path, form))
    return tuple(found)


def _plain(session: Session) -> bool:
    """Whether texts mean what whoever issues a grant by hand takes them to mean."""
    utf8 = session.client_encoding.upper() in ("UTF8", "UNICODE")
    return utf8 and session.standard_conforming_strings and session.search_path is not None


def _digest(*facts: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(facts)).hexdigest()
