"""Whatever a caged process sends instead of a message is told apart from one in the same way, by everybody who reads such."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hostguard.agent import messages as workers
from hostguard.agent.broker import messages as broker
from hostguard.agent.names import messages as names
from hostguard.agent.notices import messages as notices
from hostguard.agent.verifier import messages as verifier

READERS: dict[str, Callable[[bytes], object]] = {
    "broker": broker.from_broker,
    "names": names.from_resolver,
    "notices": notices.from_messenger,
    "verifier": verifier.from_verifier,
}
DEEP = b"\x81\xa1a" + b"\x91" * 100_000 + b"\x01"
"""One field, an array in an array in an array: no decoder's stack is that deep."""


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81", b"\x81\xa4type\xa3\xff\xfe\xfd", DEEP], ids=len)
@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_no_bytes_raise_what_nobody_expects(reader: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        reader(data)


def test_a_workers_bytes_are_its_end() -> None:
    with pytest.raises(workers.BadMessage):
        workers.from_worker(DEEP)
