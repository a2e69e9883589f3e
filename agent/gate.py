"""The order that makes it safe: inspect, judge, record, release.

Nothing else in hostguard may let an operation go. The loop hands every operation that a conversation asks about to `Gate.judge`
and, once there is an answer, to `Gate.admit`; what `admit` returns is on record already, or is a refusal that says why it could
not be put there. Getting this order wrong is a security bug, so it lives here alone. The gate opens nothing: it was given a
decider and a log.
"""

from __future__ import annotations

from typing import Final, Protocol

from ..policy.decide import FlowPolicy
from ..policy.judgement import Judgement
from ..protocols.events import Decision, Operation, OperationKind, Replied, Verdict
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.journal import Appender
from .flow import Flow, Tally

LOG_REFUSAL = b"58030"
"""SQLSTATE io_error: PostgreSQL's own code for an operation that failed because the system's storage did."""
MAX_NOTES: Final = 64
"""Notes of one flow that wait for company before they are written by themselves."""
MAX_NOTED_BYTES: Final = 64 * 1024
"""Of a captured reply: a longer one is written at once, so that what waits stays within what one append takes."""
# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global.
_ALLOW: Final = Verdict.ALLOW
_HOLD: Final = Verdict.HOLD
_DENY: Final = Verdict.DENY
_PREPARE: Final = OperationKind.PREPARE


class Filed(Protocol):
    """A request for approval, as far as its entry tells of it."""

    @property
    def request(self) -> str: ...

    @property
    def digest(self) -> bytes: ...

    @property
    def expires_ns(self) -> int: ...


class Gate:
    """Judges operations, puts them on record, and only then says that they may go."""

    def __init__(self, log: Appender, tally: Tally) -> None:
        self._log = log
        self._tally = tally
        self._noted: set[Flow] = set()
        """Flows with notes that are not written yet."""
        self.failure = ""
        """Why the log can't be written, while it can't; shown in red by ``status``."""

    def judge(self, policy: FlowPolicy, flow: Flow, operation: Operation) -> Judgement:
        """Ask the policy, count the verdict. A PREPARE that would be held counts as allowed: the hold comes when it runs."""
        judgement = policy.decide(operation)
        verdict = judgement.decision.verdict
        if verdict is _HOLD and operation.kind is _PREPARE:
            verdict = _ALLOW
        flow.tally.count(verdict, observed=flow.observed)
        self._tally.count(verdict, observed=flow.observed)
        return judgement

    def turned(self, flow: Flow) -> None:
        """What was counted as allowed is denied after all."""
        for tally in (flow.tally, self._tally):
            tally.allowed -= 1
            tally.count(_DENY, observed=False)

    def observed(self, judgement: Judgement) -> Decision:
        """The decision to carry out where a workload is only observed: go on, with what policy said for the record."""
        said = judgement.decision
        return Decision(
            _ALLOW,
            reason=said.reason,
            hint=said.hint,
            policies=said.policies,
            plan=said.plan,
            ends_portals=said.ends_portals,
            checks_deferred=said.checks_deferred,
            observed=True,
        )

    def admit(
        self, flow: Flow, operation: Operation, judgement: Judgement, decision: Decision, request: str = "", grant: str = ""
    ) -> Decision:
        """Put the operation with its decision on record, unless the operation is there already (`request` names its hold).

        `grant`: the one that it follows from.

        Returns the decision to carry out: the one given, or a denial when the log can't take it.
        """
        decided = decision_entry(operation, judgement, decision, request, grant)
        refusal = self.record(flow, decided) if request else self.record(flow, operation_entry(operation), decided)
        return decision if refusal is None else refusal

    def hold(self, flow: Flow, operation: Operation, judgement: Judgement, filed: Filed, mode: str = "wait") -> Decision | None:
        """Put a held operation and its request for approval on record. None when they are there, else the refusal."""
        asked = entry.Request(
            request=filed.request,
            operation=operation.id,
            digest=filed.digest,
            mode=mode,
            approvers=judgement.helped_by,
            expires_ns=filed.expires_ns,
            reason=judgement.summary,
        )
        decided = decision_entry(operation, judgement, judgement.decision, filed.request)
        return self.record(flow, operation_entry(operation), decided, asked)

    def record(self, flow: Flow, *entries: entry.Entry) -> Decision | None:
        """Put entries on record before something is released. None when they are there, else the refusal to carry out."""
        notes = flow.notes
        try:
            self._log.append(flow.id, *notes, *entries)
        except LogUnavailable as error:
            # The notes stay for the next attempt, but a log that stays away must not fill the memory.
            del notes[:-MAX_NOTES]
            self.failure = str(error)
            return Decision(
                Verdict.DENY,
                reason=f"hostguard can't put this on record, so it is refused: {error}",
                hint="The log of this host must be writable; `hostguard status` tells its state.",
                refusal=LOG_REFUSAL,
            )
        if notes:
            notes.clear()
            self._noted.discard(flow)
        self.failure = ""
        return None

    def note(self, flow: Flow, *entries: entry.Entry) -> None:
        """Record what has already happened. Nothing waits for it: it goes out with the flow's next record or the next `flush`."""
        flow.notes.extend(entries)
        self._noted.add(flow)
        if len(flow.notes) >= MAX_NOTES:
            self.record(flow)

    def captured(self, flow: Flow, effect: Replied) -> None:
        """Note what the agent got, if it is to be kept. What can't be written soon is said to be missing."""
        messages, left_out = effect.captured, effect.left_out
        if not messages and not left_out:
            return
        self.note(flow, entry.Captured(operation=effect.operation_id, messages=messages, left_out=left_out))
        if len(messages) > MAX_NOTED_BYTES and self.record(flow) is not None:
            flow.notes[-1] = entry.Captured(operation=effect.operation_id, messages=b"", left_out=left_out + len(messages))

    def flush(self) -> None:
        """Write all notes that still wait."""
        for flow in list(self._noted):
            self.record(flow)


def operation_entry(operation: Operation) -> entry.Operation:
    """The request whole, as recorder.md asks."""
    return entry.Operation(
        operation=operation.id,
        form=operation.kind._value_,
        text=operation.text,
        statement=operation.statement,
        parameters=operation.parameters,
        formats=operation.formats,
        types=operation.types,
        function=operation.function,
    )


def decision_entry(
    operation: Operation, judgement: Judgement, decision: Decision, request: str, grant: str = ""
) -> entry.Decision:
    """The decision, by what it was made, and on which request it waits, or from which one or which grant it follows."""
    would = judgement.decision.verdict if decision.observed else None
    if would is _HOLD and operation.kind is _PREPARE:
        would = _ALLOW
    return entry.Decision(
        operation=operation.id,
        verdict=decision.verdict._value_,
        reason=decision.reason,
        hint=decision.hint,
        policies=decision.policies,
        accesses=judgement.accesses,
        epoch=judgement.epoch,
        request=request,
        would="" if would is None else would._value_,
        grant=grant,
    )
