"""The redirect, attached for one test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from guarded_cgroups import network_namespace
from guarded_redirect import Guarded, attach


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever a test enters, left when it ends."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture
def guarded(stack: ExitStack) -> Guarded:
    """In the host's network namespace: use loopback addresses alone."""
    return attach(stack, None)


@pytest.fixture
def guarded_netns(stack: ExitStack) -> Guarded:
    """In a fresh network namespace: any address may be tried."""
    return attach(stack, stack.enter_context(network_namespace()))
