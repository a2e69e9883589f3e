"""Held operations as a worker has them: sent to the supervisor, which keeps the book of requests."""

from __future__ import annotations

from collections.abc import Callable

from ..policy.judgement import Judgement
from ..policy.sql.shape import shape
from ..protocols.events import Decision, Operation, Verdict
from .clearing import exercised
from .flow import Flow
from .hold_messages import Hold, Withdraw
from .messages import encode
from .wording import MAX_ITEMS, Message, cut, cut_all


class Asks:
    """Files and withdraws; the answers go to the flow's relay."""

    def __init__(self, say: Callable[[Message], None], max_bytes: int) -> None:
        """`max_bytes`: of a message to the supervisor."""
        self._say = say
        self._max_bytes = max_bytes

    def file(self, flow: Flow, operation: Operation, judgement: Judgement) -> Decision | None:
        """Ask for a request for approval. None when the answer is under way (`Filed`), else the refusal to carry out."""
        hold = Hold(
            flow=flow.id,
            operation=operation,
            accesses=tuple((cut(action), cut(place)) for action, place in judgement.accesses),
            flags=cut_all(judgement.flags),
            policies=cut_all(judgement.decision.policies),
            helped_by=cut_all(judgement.helped_by),
            needs=cut_all(judgement.needs),
            summary=cut(judgement.summary),
            depends=judgement.depends,
            duties=exercised(operation, judgement),
            asks=judgement.asks[:MAX_ITEMS],
            form=_form(operation, judgement),
        )
        try:
            size = len(encode(hold))
        except UnicodeEncodeError:
            return _unfit("it holds bytes that are no text, so nobody could be shown it")
        if size > self._max_bytes:
            return _unfit(f"it takes {size} bytes with all that it runs, more than the {self._max_bytes} that may wait")
        self._say(hold)
        return None

    def withdraw(self, flow: Flow, operation: int, reason: str) -> None:
        """The flow no longer waits for it."""
        flow.holding = ""
        self._say(Withdraw(flow.id, operation, cut(reason)))


def _form(operation: Operation, judgement: Judgement) -> str:
    """Its shape, if whatever has that shape is judged as it is."""
    if not judgement.shared or operation.text is None:
        return ""
    return shape(operation.text) or ""


def _unfit(why: str) -> Decision:
    return Decision(Verdict.DENY, reason=f"this needs an approval, and can't get one: {why}", hint="Ask for less at a time.")
