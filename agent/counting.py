"""How many rows a held statement would touch, asked of its server while it waits, where that is cheap.

It is permitted where policy would let the agent itself ask so. The flow's own session is asked where that is between two
transactions, which it is for what comes as a simple Query outside of one. What comes as bound values is held within an exchange
of the extended protocol, into which nothing of ours may be put: an error would be the client's. Then another session of the same
agent and user, with the same meaning of names, is asked if one is idle.

First the server says what it takes it for; only what is cheap is counted. Both are read-only, and each is ended by the server
after `LIMIT_MS`, so that a yes, or the other session's next statement, is held up no longer than that.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import msgspec

from ..policy.sql.touched import Question, question
from ..protocols.events import Operation, OperationKind, Probed, Terms, Verdict
from .hold_messages import Touched
from .wording import Message

if TYPE_CHECKING:
    from .relay import Relay

LIMIT_MS = 200
MAX_COST = 20_000.0
"""In the planner's units (PostgreSQL 18 docs §19.7.2): 20,000 pages read one after the other. What costs more is not counted."""
MAX_ASKED = 64
PREFIX = "touched "


class _Plan(msgspec.Struct, frozen=True):
    rows: Annotated[float, msgspec.Meta(ge=0, le=1e15)] = msgspec.field(name="Plan Rows")
    cost: float = msgspec.field(name="Total Cost")


class _Explained(msgspec.Struct, frozen=True):
    plan: _Plan = msgspec.field(name="Plan")


_explained = msgspec.json.Decoder(tuple[_Explained])


@dataclass(frozen=True, slots=True)
class _Asked:
    relay: Relay
    operation: Operation
    question: Question
    through: Relay
    estimate: int | None = None
    """What the server takes it for; None while that is being asked."""


class Counting:
    """Of one worker."""

    def __init__(self, say: Callable[[Message], None], relays: Callable[[], Iterable[Relay]]) -> None:
        """`say`: to the supervisor. `relays`: all that are open."""
        self._say = say
        self._relays = relays
        self._asked: dict[str, _Asked] = {}
        self._numbers = itertools.count(1)

    def begin(self, relay: Relay, operation: Operation) -> None:
        """Ask about an operation that is held now, if it may be asked about."""
        session = operation.session
        scs = session.standard_conforming_strings
        found = question(operation.text or "", operation.types, standard_conforming_strings=scs)
        if found is None or any(number > len(operation.parameters) for number in found.parameters):
            return
        judged = relay.policy.decide(Operation(operation.id, OperationKind.QUERY, found.count, session))
        if judged.decision.verdict is not Verdict.ALLOW or judged.duties:
            return
        through = self._through(relay, operation)
        if through is not None:
            self._ask(_Asked(relay, operation, found, through), found.explain)

    def answered(self, effect: Probed) -> bool:
        """An answer is in; whether it is to a question from here."""
        if not effect.name.startswith(PREFIX):
            return False
        asked = self._asked.pop(effect.name, None)
        if asked is None or asked.relay.operation is not asked.operation or asked.relay.closing:
            return True
        value = effect.rows[-1][0] if effect.rows and not effect.error and effect.rows[-1] else None
        if asked.estimate is None:
            self._estimated(asked, value or b"")
        else:
            count = int(value) if value is not None and value.isdigit() else None
            self._tell(asked, asked.estimate if count is None else count, counted=count is not None)
        return True

    def _through(self, relay: Relay, operation: Operation) -> Relay | None:
        """The relay by whose session it can be asked now."""
        if relay.conversation.quiet:
            return relay
        flow, session = relay.flow, operation.session
        alike = (
            other
            for other in self._relays()
            if (other.flow.agent, other.flow.resource, other.flow.user) == (flow.agent, flow.resource, flow.user)
        )
        fit = (one for one in alike if not one.closing and one.conversation.idle and one.conversation.quiet)
        return next((one for one in fit if one.conversation.session == session), None)

    def _ask(self, asked: _Asked, text: str) -> None:
        if len(self._asked) >= MAX_ASKED:  # flows that ended before they answered
            self._asked.pop(next(iter(self._asked)))
        name = f"{PREFIX}{next(self._numbers)}"
        self._asked[name] = asked
        numbers, operation = asked.question.parameters, asked.operation
        formats = operation.formats if len(operation.formats) != 1 else operation.formats * len(operation.parameters)
        terms = Terms(
            LIMIT_MS,
            tuple(operation.parameters[number - 1] for number in numbers),
            tuple(formats[number - 1] for number in numbers) if formats else (),
            tuple(operation.types[number - 1] if number <= len(operation.types) else 0 for number in numbers),
        )
        asked.through.do(lambda: asked.through.conversation.probe(name, text, terms))

    def _estimated(self, asked: _Asked, answer: bytes) -> None:
        try:
            (explained,) = _explained.decode(answer)
        except msgspec.MsgspecError:
            return
        known = replace(asked, estimate=int(explained.plan.rows))
        if explained.plan.cost <= MAX_COST:
            # Not from within the effects of the answer before.
            asyncio.get_running_loop().call_soon(self._count, known)
        else:
            self._tell(known, known.estimate or 0, counted=False)

    def _count(self, asked: _Asked) -> None:
        through = asked.through
        if asked.relay.operation is asked.operation and not through.closing and through.conversation.quiet:
            self._ask(asked, asked.question.count)
        else:
            self._tell(asked, asked.estimate or 0, counted=False)

    def _tell(self, asked: _Asked, rows: int, *, counted: bool) -> None:
        if not asked.relay.closing:
            self._say(Touched(asked.relay.flow.id, asked.operation.id, rows, counted))
