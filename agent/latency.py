"""How long something took, as a histogram that costs next to nothing to add to.

Buckets double: one of n bits holds what took less than 2^n ns. The index is an integer's bit length, so adding is two list
operations without a search or a lock; prometheus_client's own histogram takes nine times as long (docs/metrics.md).
"""

from __future__ import annotations

from collections.abc import Sequence

BITS = 40
"""Up to 2^40 ns, 18 minutes; what takes longer is counted there."""
FIRST_BIT = 10
"""The first bucket that is told is 2^10 ns, about a microsecond."""


class Latency:
    """Counts durations. One thread adds; whoever reads gets counts that may be one behind."""

    __slots__ = ("_counts", "total_ns")

    def __init__(self) -> None:
        self._counts = [0] * (BITS + 1)
        self.total_ns = 0
        """Sum of all durations."""

    def add(self, duration_ns: int) -> None:
        """Count one duration; O(1)."""
        bits = duration_ns.bit_length()
        self._counts[bits if bits < BITS else BITS] += 1
        self.total_ns += duration_ns

    @property
    def counts(self) -> tuple[int, ...]:
        """How many there are in each bucket; `BITS` + 1 of them."""
        return tuple(self._counts)

    def merge(self, counts: Sequence[int], total_ns: int) -> None:
        """Add what another has counted."""
        for bits, count in enumerate(counts):
            self._counts[bits] += count
        self.total_ns += total_ns

    def buckets(self) -> list[tuple[str, float]]:
        """(upper bound in seconds, how many took no longer), cumulative, the last one ``+Inf``: as Prometheus has it."""
        counts = list(self._counts)
        found, reached = [], 0
        for bits, count in enumerate(counts[:BITS]):
            reached += count
            if bits >= FIRST_BIT:
                found.append((repr((1 << bits) / 1e9), float(reached)))
        return [*found, ("+Inf", float(reached + counts[BITS]))]
