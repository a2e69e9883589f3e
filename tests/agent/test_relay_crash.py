"""Whatever goes wrong inside while a flow carries bytes, the flow ends closed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from hostguard.agent.flow import Flow
from hostguard.agent.loop import Loop
from hostguard.agent.relay import Relay
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.protocols.events import Effect, ToClient
from hostguard.protocols.postgres.conversation import PostgresConversation
from hostguard.protocols.postgres.limits import Limits

SHOP = Path(__file__).parents[2] / "examples" / "shop" / "hostguard.toml"


class Owner:
    """The part of a `Loop` that a flow tells of its end."""

    def __init__(self) -> None:
        self.crashes: list[Exception] = []
        self.ends: list[str] = []

    def crashed(self, flow: Flow, error: Exception, trace: str) -> None:
        assert "Traceback" in trace
        self.crashes.append(error)

    def closed(self, relay: Relay, reason: str, fault: str) -> None:
        self.ends.append(fault)


class Broken:
    """A conversation with a bug."""

    client_backlog = 0
    underway = (0, 0)

    def __init__(self, answer: Callable[[], list[Effect]]) -> None:
        self._answer = answer

    def from_client(self, data: bytes) -> list[Effect]:
        return self._answer()

    def from_server(self, data: bytes) -> list[Effect]:
        return self._answer()


def _raises() -> list[Effect]:
    raise TypeError("int object expected; got str")


def _sends_no_bytes() -> list[Effect]:
    return [ToClient(cast(bytes, None))]


def _gives_no_list() -> list[Effect]:
    return cast(list[Effect], 1)


@pytest.mark.parametrize("feed", [Relay.feed_client, Relay.feed_server])
@pytest.mark.parametrize("answer", [_raises, _sends_no_bytes, _gives_no_list])
def test_a_bug_ends_the_flow_closed(feed: Callable[[Relay, bytes], None], answer: Callable[[], list[Effect]]) -> None:
    async def play() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
            owner = Owner()
            flow = Flow(1, "support-bot", "support-bot", "shop")
            policy = Decider(Policy(load(SHOP))).open("support-bot", "shop")
            conversation = cast(PostgresConversation, Broken(answer))
            feed(Relay(cast(Loop, owner), flow, policy, conversation, transport), b"x")
            assert [type(error) for error in owner.crashes] == [TypeError]
            assert owner.ends == ["internal"]
            assert transport.is_closing()

    asyncio.run(play())


def test_what_is_fed_must_be_bytes() -> None:
    """Compiled code checks the types of arguments before its first line; the conversation stays as it was."""
    conversation = PostgresConversation(Limits(), b"12345678")
    with pytest.raises(TypeError):
        conversation.from_client(cast(bytes, 5))
    assert conversation.client_backlog == 0
