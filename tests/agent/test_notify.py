"""What the service manager hears, on a real socket."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hostguard.agent.notify import STATUS_S, Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket of a service manager."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def heard(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_each_message_is_one_datagram_and_no_child_can_speak_for_us(manager: socket.socket) -> None:
    environment = {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid()), "A": "b"}
    notifier = Notifier(environment)
    assert environment == {"A": "b"}
    assert notifier.every_s == 2.0
    notifier.tell("READY=1", "STATUS=guarding")
    assert heard(manager) == ["READY=1", "STATUS=guarding"]


def test_an_abstract_socket_is_found() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"\0hostguard-test-{os.getpid()}")
        manager.settimeout(5)
        Notifier({"NOTIFY_SOCKET": f"@hostguard-test-{os.getpid()}"}).tell("READY=1")
        assert heard(manager) == ["READY=1"]


def test_the_watchdog_is_fed_while_the_event_loop_turns(manager: socket.socket) -> None:
    async def describe() -> str:
        return "guarding:\n1 workloads" + "!" * 1000

    async def run() -> None:
        notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "10000"})
        task = asyncio.create_task(notifier.run(describe))
        for _ in range(2):
            watchdog, status = await asyncio.to_thread(heard, manager)
            assert watchdog == "WATCHDOG=1"
            assert status.startswith("STATUS=guarding: 1 workloads!")
            assert len(status) < 300
        task.cancel()

    asyncio.run(run())


def test_a_watchdog_that_is_meant_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).every_s == STATUS_S


def test_without_a_manager_or_with_a_dead_one_nothing_stops(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Notifier({}).tell("READY=1")
    assert capsys.readouterr().out == ""
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")
    assert "can't be told READY=1" in capsys.readouterr().out
