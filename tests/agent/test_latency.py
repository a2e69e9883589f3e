"""The histogram that costs next to nothing."""

from __future__ import annotations

import timeit

from hostguard.agent.latency import BITS, FIRST_BIT, Latency


def test_each_duration_is_in_the_first_bucket_that_it_fits_in_and_all_above() -> None:
    latency = Latency()
    for duration_ns in (0, 1, 1023, 1024, 1_000_000, 1 << 50):
        latency.add(duration_ns)
    buckets = dict(latency.buckets())
    assert buckets[repr(1024 / 1e9)] == 3
    assert buckets[repr(2048 / 1e9)] == 4
    assert buckets[repr((1 << 20) / 1e9)] == 5
    assert list(buckets.values())[-2:] == [5, 6]
    assert list(buckets)[-1] == "+Inf"
    assert len(buckets) == BITS - FIRST_BIT + 1
    assert latency.total_ns == 2048 + 1_000_000 + (1 << 50)


def test_adding_costs_less_than_a_microsecond() -> None:
    latency = Latency()
    best_s = min(timeit.repeat(lambda: latency.add(12_345), number=10_000, repeat=5)) / 10_000
    assert best_s < 1e-6
