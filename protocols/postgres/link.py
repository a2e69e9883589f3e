"""What the two directions of one conversation share."""

from __future__ import annotations

import enum
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final

import msgspec

from ..events import Probed, Session, Terms
from . import encodings, messages
from .limits import Limits
from .masking import Shapes
from .names import Portal, Statement, Table
from .outbox import Outbox
from .pipeline import PROBE, Pipeline, Slot

if TYPE_CHECKING:
    from .standin import StandIn

IDLE: Final = ord("I")
IN_TRANSACTION: Final = ord("T")
FAILED: Final = ord("E")


class PeerFault(Exception):
    """A peer broke the protocol, or asked for what can't be followed; the flow ends closed.

    ``fault`` is `Close.fault`; ``code`` the SQLSTATE that the client is told.
    """

    def __init__(self, fault: str, text: str, code: bytes = b"08P01") -> None:
        super().__init__(text)
        self.fault = fault
        self.code = code


class Phase(enum.IntEnum):
    """Where the conversation stands."""

    STARTUP = 1
    """Packets without a tag: encryption requests, cancel, StartupMessage."""
    RECEIVING = 2
    """hostguard asks the client for its word."""
    ENCRYPTING = 3
    """Of an observed flow: the server is asked whether it encrypts."""
    STARTED = 4
    """`Started` was told; nothing passes before `start`."""
    AUTHENTICATING = 5
    SETTLING = 6
    """Authenticated; the server tells its parameters and the cancel key."""
    HELD = 7
    """The first ReadyForQuery is here and held back, for probes, until `proceed`."""
    OPEN = 8
    CLOSED = 9


# Under names of their own, as in `pipeline`.
STARTUP: Final = Phase.STARTUP
RECEIVING: Final = Phase.RECEIVING
ENCRYPTING: Final = Phase.ENCRYPTING
STARTED: Final = Phase.STARTED
AUTHENTICATING: Final = Phase.AUTHENTICATING
SETTLING: Final = Phase.SETTLING
HELD: Final = Phase.HELD
OPEN: Final = Phase.OPEN
CLOSED: Final = Phase.CLOSED


LIMITS: Final = (
    b"SELECT pg_catalog.set_config('statement_timeout', '%d', true), pg_catalog.set_config('transaction_read_only', 'on', true)"
)
"""Before a query of our own with an agent's values in it: PostgreSQL 18 docs §9.28.1, `is_local`."""


class Probe:
    """One query of our own."""

    def __init__(self, name: str, text: str, terms: Terms | None = None) -> None:
        self.name = name
        self.text = text
        self.terms = terms
        self.rows: list[tuple[bytes | None, ...]] = []
        self.size = 0
        self.error = ""
        self.ends = 0
        """ReadyForQuery messages seen; the second is the last."""


class Link:
    """State that messages of one direction leave for the other."""

    def __init__(self, limits: Limits, token: bytes) -> None:
        self.limits = limits
        self.observed = False
        """Nothing is to be refused: what can't be followed passes unread."""
        self.phase: Phase = STARTUP
        self.session = Session(database="", user="")
        self.codec: str | None = "utf-8"
        self.status: int = IDLE
        """Transaction status in the last ReadyForQuery."""
        self.password_due = False
        """The server asked for a PasswordMessage (of whichever kind) and got none yet."""
        self.standin: StandIn | None = None
        """hostguard's own login to the server; None: the client's passes through."""
        self.asking = False
        """A request of the server is being answered by who has the secret; what the server says meanwhile waits."""
        self.sasl_due = False
        """The answer that is due begins a SASL exchange."""
        self.negotiated = False
        """The client has been told which version of the protocol the server speaks."""
        self.client_encrypted = False
        self.server_encrypted = False
        self.out = Outbox()
        self.pipeline = Pipeline(self.out)
        self.statements: Table[Statement] = Table()
        self.portals: Table[Portal] = Table()
        self.shapes = Shapes()
        self.epoch = 0
        """Counts forwarded messages that beget a ReadyForQuery."""
        self.section_open = False
        """Messages of the extended protocol were forwarded with no Sync behind them."""
        self.scrubbing = False
        """An operation of this transaction asked for scrubbed errors; a deferred constraint speaks only at its end."""
        self.doubt_epoch: int | None = None
        """Since a message of this epoch the facts that give text its meaning are uncertain; None: they are known."""
        self.doubt_in_transaction = False
        """A fact may have changed in this transaction, so its end may change it back."""
        self.probes: deque[Probe] = deque()
        self.probe: Probe | None = None
        # Two names that nobody can guess. They differ, because a probe's may show in pg_prepared_statements.
        self.poison_portal = b"hostguard_" + hashlib.blake2b(token, digest_size=12).hexdigest().encode()
        self._probe_name = b"hostguard_" + hashlib.blake2b(token, digest_size=12, person=b"probe").hexdigest().encode()

    def learn(self, name: bytes, value: bytes) -> None:
        """A ParameterStatus of the server."""
        if name == b"client_encoding":
            encoding = value.decode("ascii", "replace")
            self.codec = encodings.CODECS.get(encoding)
            self._replace(client_encoding=encoding)
        elif name == b"standard_conforming_strings":
            self._replace(standard_conforming_strings=value == b"on")
        elif name == b"server_version":
            self._replace(server_version=value.decode("ascii", "replace"))
        elif name == b"search_path":
            # A quoted list of what was asked for, not of the schemas that exist: only a probe tells those.
            self.set_search_path(None)

    def set_search_path(self, path: tuple[str, ...] | None) -> None:
        self._replace(search_path=path)

    def _replace(self, **facts: str | bool | tuple[str, ...] | None) -> None:
        session = msgspec.structs.replace(self.session, **facts)
        if session != self.session:
            self.session = session

    def ready(self, slot: Slot, status: int) -> None:
        """A ReadyForQuery ended `slot`: settle what it makes certain."""
        self.status = status
        if self.doubt_epoch is not None and self.doubt_epoch <= slot.epoch:
            self.doubt_epoch = None
        if status == IDLE:
            # Those of later epochs were bound behind this moment.
            current = self.portals.current
            for name in [name for name, portal in current.items() if portal.epoch <= slot.epoch]:
                del current[name]
            if not self.pipeline.slots:
                self.doubt_in_transaction = self.scrubbing = False

    def idle(self) -> bool:
        """Would a query of our own be a transaction of its own, between two of the client's?"""
        return self.status == IDLE and not self.section_open and not self.pipeline.slots

    def start_probe(self) -> bool:
        """Send the next probe if there is one and now is the moment.

        In the extended protocol, because a simple Query would destroy the client's unnamed statement; in two sections, because an
        error in the first skips its rest and the statement must be closed in any case.
        """
        if self.probe is not None or not self.probes or not self.idle():
            return False
        self.probe = self.probes.popleft()
        name, text = self._probe_name, self.probe.text.encode(self.codec or "ascii", "replace")
        terms = self.probe.terms
        if terms is None:
            first, last = messages.parse_message(name, text) + messages.bind_message(name, name), b""
        else:
            # In the same section, so in the same transaction, whose end takes the settings back.
            limits = name + b"_limits"
            first = (
                messages.parse_message(limits, LIMITS % terms.limit_ms)
                + messages.bind_message(limits, limits)
                + messages.execute_message(limits)
                + messages.parse_message(name, text, terms.types)
                + messages.bind_message(name, name, terms.formats, terms.parameters)
            )
            last = messages.close_statement(limits)
        self.out.to_server(
            first + messages.execute_message(name) + messages.SYNC + messages.close_statement(name) + last + messages.SYNC
        )
        self.pipeline.add(Slot(PROBE, self.epoch))
        return True

    def end_probe(self) -> None:
        """The probe's second ReadyForQuery is here."""
        assert self.probe is not None
        self.out.add(Probed(self.probe.name, self.probe.rows, self.probe.error))
        self.probe = None
