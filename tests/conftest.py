"""Fixtures that every room's tests may ask for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import servers


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
    """PostgreSQL 15 that speaks TLS once `logins.show` gave it a certificate; the wheel's 18 is built without."""
    with servers.server(15) as running:
        yield running
