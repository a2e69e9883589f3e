"""The client matrix's guard: one daemon between its programs and both servers, with a policy that permits everything."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import guard
import pytest
from comparison import everything_on, pgjdbc_tour
from servers import Server


@pytest.fixture(scope="session")
def matrix(postgres18: Server, postgres15: Server) -> Iterator[guard.Guard]:
    """A running guard with one workload, ``matrix``, that may do everything on both servers."""
    resources = {f"pg{server.version}": f"{server.host}:{server.port}" for server in (postgres18, postgres15)}
    agents = {"matrix": guard.Agent(("matrix",))}
    setup = guard.Setup(agents=agents, resources=resources, policies=everything_on(resources), workers=0)
    with guard.guarding(setup) as running:
        yield running


@pytest.fixture(scope="session")
def pgjdbc(tmp_path_factory: pytest.TempPathFactory) -> list[str | Path]:
    """The command that runs pgjdbc's tour."""
    if shutil.which("javac") is None:
        pytest.skip("there is no JDK here")
    return pgjdbc_tour(tmp_path_factory.mktemp("pgjdbc"))


@pytest.fixture(params=["18", "15"], scope="module")
def server(request: pytest.FixtureRequest) -> Server:
    """Each real server in turn."""
    chosen = request.getfixturevalue(f"postgres{request.param}")
    assert isinstance(chosen, Server)
    return chosen
