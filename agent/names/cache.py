"""Answers that still hold."""

from __future__ import annotations

from collections import OrderedDict

from ...protocols.dns.answer import Answer
from ...protocols.dns.question import Question

MAX_DENIAL_S = 300
"""RFC 2308 §5 advises one to three hours at most for what does not exist; a name that was just made should be found sooner."""
_NOERROR, _NXDOMAIN = 0, 3


class Cache:
    """Answers by question; the one not used for longest goes. Shared by all agents: policy has judged before it is asked."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._held: OrderedDict[tuple[Question, bool, bool], tuple[Answer, float, float]] = OrderedDict()
        self.hits = 0

    def __len__(self) -> int:
        return len(self._held)

    def find(self, key: tuple[Question, bool, bool], now: float) -> Answer | None:
        """The answer as it is at `now` (monotonic seconds): with less time left than it came with."""
        held = self._held.get(key)
        if held is None:
            return None
        answer, since, until = held
        if now >= until:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        self.hits += 1
        return answer.aged(int(now - since))

    def keep(self, key: tuple[Question, bool, bool], answer: Answer, now: float) -> None:
        """Keep an answer for as long as it holds; a failure holds for no time."""
        ttl_s = answer.ttl_s if answer.answers else min(answer.ttl_s, MAX_DENIAL_S)
        if not self._max_entries or ttl_s <= 0 or answer.rcode not in (_NOERROR, _NXDOMAIN):
            return
        if len(self._held) >= self._max_entries and key not in self._held:
            self._held.popitem(last=False)
        self._held[key] = (answer, now, now + ttl_s)
