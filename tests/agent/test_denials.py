"""What is denied is counted without loss and told within bounds."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hostguard.agent.denials import LIKES, NOBODY, ROADS, Denials, Who, destination_of
from hostguard.kernel.layouts import COUNTERS, Event
from hostguard.recorder.entry import RoadDenied

SHOP, CRAWLER = Who("shop-agent", "shop"), Who("crawler-agent", "crawler")
NONE = dict.fromkeys(COUNTERS, 0)


def event(kind: str = "denied_datagram", pid: int = 1, host: str = "192.0.2.1", path: bytes = b"") -> Event:
    """An event as the kernel tells it."""
    return Event(kind, False, 1, 0, pid, 5, 0, 9, "x", 2, 17, host, 9 if host else 0, path)


def denials(begun: int = 0) -> Denials:
    """All counters as they were when it began."""
    return Denials(dict.fromkeys(COUNTERS, begun), lambda e: RoadDenied(e.kind, pid=e.pid, happened_ns=1))


def test_the_first_of_its_like_is_told_at_once_and_the_rest_when_the_minute_is_over() -> None:
    found = denials()
    first = found.take(event(), SHOP)
    assert first is not None
    assert (first.agent, first.workload, first.times, first.destination) == ("shop-agent", "shop", 1, "192.0.2.1:9")
    assert [found.take(event(), SHOP) for _ in range(3)] == [None] * 3
    (rest,) = found.minute(NONE)
    assert (rest.times, rest.pid, rest.destination, rest.happened_ns) == (3, 1, "192.0.2.1:9", 0)
    assert found.minute(NONE) == []
    assert found.take(event(), SHOP) is not None, "a new minute tells it again"


def test_a_noisy_workload_hides_nobody_else_s() -> None:
    found = denials()
    told = [found.take(event(pid=pid), SHOP) for pid in range(10 * LIKES)]
    assert sum(entry is not None for entry in told) == LIKES
    assert found.take(event("killed_family"), CRAWLER) is not None
    (rest,) = found.minute(NONE)
    assert (rest.workload, rest.pid, rest.times) == ("shop", 0, 9 * LIKES)


def test_what_the_kernel_did_not_tell_is_counted_once() -> None:
    found = denials(begun=100)
    found.take(event("dropped"), SHOP)
    found.ignore(event("dropped"))
    counters = dict.fromkeys(COUNTERS, 100)
    (untold,) = found.minute(counters | {"dropped": 109})
    assert (untold.road, untold.agent, untold.times, untold.total) == ("dropped", "", 7, 109)
    # It had been on its way.
    found.take(event("dropped"), SHOP)
    assert found.minute(counters | {"dropped": 109}) == []
    assert found.minute(counters | {"dropped": 110}) == []
    (untold,) = found.minute(counters | {"dropped": 112})
    assert untold.times == 2


@given(st.lists(st.tuples(st.sampled_from(sorted(ROADS)), st.sampled_from([SHOP, CRAWLER]), st.integers(0, 99), st.booleans())))
def test_no_count_is_lost(happened: list[tuple[str, Who, int, bool]]) -> None:
    found, recorded = denials(), Counter[str]()
    counters = Counter(road for road, *_ in happened)
    for road, who, pid, told in happened:
        if told and (entry := found.take(event(road, pid), who)):
            recorded[road] += entry.times
    for entry in found.minute(counters):
        recorded[entry.road] += entry.times
    assert recorded == counters
    assert sum(found.counts.values()) == len(happened)
    assert sum(times for (who, _), times in found.counts.items() if who == NOBODY) == sum(not told for *_, told in happened)


def test_destinations_can_be_read() -> None:
    assert destination_of(event(host="2001:db8::1")) == "[2001:db8::1]:9"
    assert destination_of(event(host="")) == ""
    assert destination_of(event(host="", path=b"\0hidden\xff")) == "@hidden\\xff"
    assert destination_of(event(host="", path=b"/run/x")) == "/run/x"
