"""Fixtures that every room's tests may ask for."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from hypothesis import settings

# How long an example takes is the machine's affair, and for bench/; what hangs is ended by pytest's own time limit.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

LONGEST = (
    "test_wheel.py",
    "test_leaks.py",
    "test_two_agents.py",
    "test_restart.py",
    "test_workers.py",
    "test_soak.py",
    "test_web_browser.py",
    "test_log.py",
    "test_observe.py",
    "test_clients_tls.py",
    "test_clients.py",
    "test_recorder_faults.py",
    "test_bad_input.py",
    "test_unix_sockets.py",
    "test_namespaces.py",
    "test_build.py",
    "test_kernel_attach.py",
)
"""The files that take longest, as measured: begun last, one would keep a process busy while the others have nothing left."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all others in their order; each file's tests stay as they are."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session", autouse=True)
def _way_to_temporary_folders(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers that run as somebody else read below them; processes that test side by side add a folder each."""
    base = tmp_path_factory.getbasetemp()
    for folder in (base, *base.parents[:2]):
        if folder.stat().st_uid == os.geteuid() and folder != Path(folder.anchor) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)


REAL_TIME = time.time


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    """A test that leaves its own clock behind fails itself, not those after it in the same process."""
    yield
    left, time.time = time.time, REAL_TIME
    assert left is REAL_TIME, "this test left a clock of its own behind"


@pytest.fixture(scope="session")
def postgres18() -> Iterator[servers.Server]:
    """PostgreSQL 18: protocol 3.2, cancel keys of 256 bytes."""
    with servers.server(18) as running:
        yield running


@pytest.fixture(scope="session")
def postgres15() -> Iterator[servers.Server]:
    """PostgreSQL 15, as Debian 12 ships it."""
    with servers.server(15) as running:
        yield running


@pytest.fixture(scope="session")
def encrypted15() -> Iterator[servers.Server]:
    """PostgreSQL 15 that speaks TLS once `logins.show` gave it a certificate."""
    with servers.server(15) as running:
        yield running
