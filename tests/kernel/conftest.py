"""The redirect, attached for one test or for a module's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guarded_cgroups import attach_root, network_namespace, pin_directory
from guarded_redirect import Guarded, attach

from hostguard.kernel import cgroups


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Whatever a test enters, left when it ends."""
    with ExitStack() as entered:
        yield entered


@pytest.fixture(scope="module")
def attached() -> Iterator[Guarded]:
    """For a module whose tests share one through `guarded_redirect.refresh`, in the host's network namespace."""
    with ExitStack() as entered:
        yield attach(entered, None)


@pytest.fixture(scope="module")
def attached_netns() -> Iterator[Guarded]:
    """The same in a fresh network namespace."""
    with ExitStack() as entered:
        yield attach(entered, entered.enter_context(network_namespace()))


@pytest.fixture
def guarded(stack: ExitStack) -> Guarded:
    """In the host's network namespace: use loopback addresses alone."""
    return attach(stack, None)


@pytest.fixture
def guarded_netns(stack: ExitStack) -> Guarded:
    """In a fresh network namespace: any address may be tried."""
    return attach(stack, stack.enter_context(network_namespace()))


@pytest.fixture
def place(stack: ExitStack) -> tuple[Path, Path]:
    """An attach root with a cgroup ``agent`` below it, a pin directory."""
    root, pin_dir = stack.enter_context(attach_root()), stack.enter_context(pin_directory())
    cgroups.create(root / "agent")
    return root, pin_dir
