"""An allowed operation that waits for the supervisor's word, as its worker has it: it exercises a duty, or a budget is used up.

While it waits `Relay.operation` and `Relay.pending` are set, as for one that is held, and `Relay.clearing` has the decision to
carry out. It goes on by `cleared`, whatever the answer; without an answer in `LIMIT_S` it is refused.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..policy.duties import ANY
from ..policy.judgement import Judgement
from ..protocols.events import Decision, Operation, OperationKind, Verdict
from . import held
from .clearance_messages import MAX_DUTIES, Clear, Cleared, Drawn
from .wording import cut_all

if TYPE_CHECKING:
    from .relay import Relay

LIMIT_S = 15.0
"""A ledger takes milliseconds; a supervisor that is being replaced, some seconds."""


@dataclass(slots=True, frozen=True)
class Waiting:
    """What is carried out when the answer is there."""

    decision: Decision
    request: str
    """Its request for approval; empty when it was not held."""
    grant: str
    """The grant that released it; empty for none."""
    limit: asyncio.TimerHandle


def waits(relay: Relay, operation: Operation, judgement: Judgement) -> bool:
    """Whether the operation has to wait; it goes on by itself then. False: what policy says of it may be carried out at once."""
    decision = judgement.decision
    if decision.verdict is not Verdict.ALLOW or operation.kind is OperationKind.PREPARE:
        return False
    if relay.meter is not None and not relay.meter.take():
        limit = _limit(relay, operation, "its budgets could not be asked about")
        _wait(relay, operation, judgement, Waiting(decision, "", "", limit))
        relay.meter.draw(operation.id)
        return True
    if judgement.duties:
        ask(relay, operation, judgement, decision, ())
    return bool(judgement.duties)


def drawn(relay: Relay, answer: Drawn) -> None:
    """There is more of the flow's budgets, or there is not."""
    if relay.meter is None or relay.closing:
        return
    if not answer.operation:
        relay.meter.reply_drawn(answer)
        return
    relay.meter.drawn(answer.leases)
    operation, judgement, waiting = relay.operation, relay.pending, relay.clearing
    if operation is None or judgement is None or waiting is None or operation.id != answer.operation:
        return
    waiting.limit.cancel()
    if answer.hold and (wanted := held.beyond_budget(relay, judgement, answer)) is not None:
        relay.clearing = None
        relay.do(lambda: relay.hold(operation, wanted))
    elif answer.refusal:
        cleared(relay, Cleared(answer.flow, operation.id, answer.refusal, answer.hint, answer.policies))
    else:
        relay.meter.force()
        if judgement.duties:
            ask(relay, operation, judgement, waiting.decision, ())
        else:
            relay.decided(operation, judgement, waiting.decision, "")


def ask(
    relay: Relay,
    operation: Operation,
    judgement: Judgement,
    decision: Decision,
    by: tuple[str, ...],
    *,
    request: str = "",
    grant: str = "",
) -> None:
    """Ask whether the operation may go on by this decision; `request` names its hold, `grant` its grant, `by` who approved."""
    limit = _limit(relay, operation, "its duties could not be kept")
    _wait(relay, operation, judgement, Waiting(decision, request, grant, limit))
    relay.loop.say(Clear(relay.flow.id, operation.id, exercised(operation, judgement), cut_all(by)))


def _limit(relay: Relay, operation: Operation, else_: str) -> asyncio.TimerHandle:
    late = Cleared(relay.flow.id, operation.id, f"{else_} within {LIMIT_S:.0f} s", "Try again.")
    return asyncio.get_running_loop().call_later(LIMIT_S, cleared, relay, late)


def _wait(relay: Relay, operation: Operation, judgement: Judgement, waiting: Waiting) -> None:
    relay.operation, relay.pending, relay.clearing = operation, judgement, waiting


def exercised(operation: Operation, judgement: Judgement) -> tuple[tuple[str, str], ...]:
    """(duty, object) for each that the operation exercises; of more than fit in a message, any object."""
    found = {(each.duty, thing) for each in judgement.duties for thing in each.named(operation)}
    if len(found) > MAX_DUTIES:
        found = {(each.duty, ANY) for each in judgement.duties}
    return tuple(sorted(found))


def cleared(relay: Relay, answer: Cleared) -> None:
    """The answer is there; one that nobody waits for any more changes nothing."""
    operation, judgement, waiting = relay.operation, relay.pending, relay.clearing
    if operation is None or judgement is None or waiting is None or operation.id != answer.operation or relay.closing:
        return
    waiting.limit.cancel()
    decision = waiting.decision
    if answer.refusal:
        decision = Decision(Verdict.DENY, reason=answer.refusal, hint=answer.hint, policies=answer.policies)
        relay.loop.gate.turned(relay.flow)
    relay.decided(operation, judgement, decision, waiting.request, waiting.grant)
