"""A flow's held operation, from the supervisor's first answer to its last.

While an operation is held, `Relay.operation` and `Relay.pending` are set; `Flow.holding` names its request once that is on
record. An answer that comes late, for what was withdrawn meanwhile, finds another state and does nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..policy.asks import Approval
from ..policy.judgement import Judgement
from ..protocols.events import Decision, Operation, Verdict
from ..recorder import entry
from . import clearing
from .gate import decision_entry, operation_entry

if TYPE_CHECKING:
    from .clearance_messages import Drawn
    from .hold_messages import Filed, Granted
    from .relay import Relay


def filed(relay: Relay, answer: Filed) -> None:
    """The request is open, or could not be opened: on record, then the client may know."""
    operation, judgement = relay.operation, relay.pending
    if operation is None or judgement is None or operation.id != answer.operation or relay.closing:
        return
    if answer.refusal and answer.request:
        refused = Decision(Verdict.DENY, reason=answer.refusal, hint=answer.hint)
        refusal = relay.loop.gate.hold(relay.flow, operation, judgement, answer, "ticket")
        relay.decided(operation, judgement, refusal or refused, answer.request if refusal is None else "")
        return
    if answer.refusal:
        hint = answer.hint or "Try again once open requests are decided."
        refused = Decision(Verdict.DENY, reason=answer.refusal, hint=hint)
        relay.decided(operation, judgement, refused, "")
        return
    refusal = relay.loop.gate.hold(relay.flow, operation, judgement, answer)
    if refusal is not None:
        relay.loop.asks.withdraw(relay.flow, operation.id, refusal.reason)
        relay.decided(operation, judgement, refusal, "")
        return
    relay.flow.holding = answer.request
    waits = f"this statement waits for approval as request {answer.request}"
    hint = f"It would do: {judgement.summary}. Who may approve: {_listed(judgement)}."
    relay.do(lambda: relay.conversation.notice(waits, hint))
    relay.loop.counting.begin(relay, operation)


def approved(relay: Relay, approval: Approval, request: str) -> None:
    """Users said yes: judge the held operation once more, with their approval, and carry that out."""
    operation = relay.operation
    if operation is None or relay.flow.holding != request or relay.closing:
        return
    relay.flow.holding = ""
    judgement = relay.policy.decide(operation, approval)
    decision = judgement.decision
    if decision.verdict is Verdict.HOLD:
        # The policy has changed since: what was approved no longer suffices, and a request is decided only once.
        decision = Decision(Verdict.DENY, reason=f"the policy changed after {request} was approved", hint="Ask again.")
    _go_on(relay, operation, judgement, decision, tuple(sorted(approval.by)), request=request)


def beyond_budget(relay: Relay, judgement: Judgement, answer: Drawn) -> Judgement | None:
    """The judgement by which an allowed operation is held because a budget is used up; None where nobody could approve it."""
    actions = tuple(sorted({action for action, _ in judgement.accesses}))
    helps = relay.loop.decider.policy.approvers.helps(relay.flow.agent, relay.flow.resource, actions)
    if not helps:
        return None
    decision = Decision(Verdict.HOLD, reason=answer.refusal, policies=answer.policies)
    helped_by = tuple(dict.fromkeys(help_.words for help_ in helps if (help_.approval.count or 1) == 1))
    return msgspec.structs.replace(judgement, decision=decision, helped_by=helped_by, needs=actions)


def granted(relay: Relay, answer: Granted) -> None:
    """A grant covers it: judge it once more, with its issuers' approval, and carry that out. No request was filed."""
    operation = relay.operation
    if operation is None or relay.pending is None or operation.id != answer.operation or relay.flow.holding or relay.closing:
        return
    judgement = relay.policy.decide(operation, Approval(frozenset(answer.by)))
    decision = judgement.decision
    if decision.verdict is Verdict.HOLD:
        decision = Decision(Verdict.DENY, reason=f"the policy changed while grant {answer.grant} was used", hint="Ask again.")
    _go_on(relay, operation, judgement, decision, answer.by, grant=answer.grant)


def _go_on(
    relay: Relay,
    operation: Operation,
    judgement: Judgement,
    decision: Decision,
    by: tuple[str, ...],
    *,
    request: str = "",
    grant: str = "",
) -> None:
    """Carry out what these users' approval comes to, given to a request or by a grant; its duties are asked about first."""
    if relay.meter is not None and decision.verdict is Verdict.ALLOW:
        relay.meter.force()  # what users approve is no budget's to stop
    if judgement.duties and decision.verdict is Verdict.ALLOW:
        clearing.ask(relay, operation, judgement, decision, by, request=request, grant=grant)
        return
    relay.decided(operation, judgement, decision, request, grant)


def refused(relay: Relay, reason: str, hint: str, code: bytes, request: str) -> None:
    """A user said no, or its time is up."""
    operation, judgement = relay.operation, relay.pending
    if operation is None or judgement is None or relay.flow.holding != request or relay.closing:
        return
    relay.flow.holding = ""
    relay.decided(operation, judgement, Decision(Verdict.DENY, reason=reason, hint=hint, refusal=code), request)


def let_go(relay: Relay) -> None:
    """Its workload is only observed from now on: nobody is asked any more."""
    operation, judgement = relay.operation, relay.pending
    if operation is None or judgement is None or relay.closing:
        return
    request, relay.flow.holding = relay.flow.holding, ""
    relay.loop.asks.withdraw(relay.flow, operation.id, "its workload is only observed now")
    relay.decided(operation, judgement, relay.loop.gate.observed(judgement), request)


def given_up(relay: Relay, operation: int, reason: str) -> None:
    """Nobody wants the held operation any more, or the one whose record is being synced."""
    note_unfiled(relay)
    relay.loop.asks.withdraw(relay.flow, operation, reason)
    relay.operation = relay.pending = relay.clearing = None
    relay.loop.gate.note(relay.flow, entry.Withdrawn(operation=operation, reason=reason))


def note_unfiled(relay: Relay) -> None:
    """An operation that ends before its request was filed is on record nowhere yet."""
    on_record = relay.flow.holding or (relay.clearing is not None and relay.clearing.request)
    if relay.operation is not None and relay.pending is not None and not on_record:
        decided = decision_entry(relay.operation, relay.pending, relay.pending.decision, "")
        relay.loop.gate.note(relay.flow, operation_entry(relay.operation), decided)


def _listed(judgement: Judgement) -> str:
    return ", ".join(judgement.helped_by) or "nobody"
