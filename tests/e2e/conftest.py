"""The client matrix's guard: one daemon between its programs and both servers, with a policy that permits everything."""

from __future__ import annotations

from collections.abc import Iterator

import guard
import pytest
from servers import Server

EVERYTHING = """
@id("the matrix may do everything")
permit (principal in Role::"matrix", action, resource);
"""

# What a function does can't be told from its call, so that each has to be named.
FUNCTION = """
@id("the matrix has {name} on {resource}")
permit (principal in Role::"matrix", action, resource == Function::"{resource}/matrix/public/{name}");
"""
FUNCTIONS = ("says", "fails", "f", "twice")


@pytest.fixture(scope="session")
def matrix(postgres18: Server, postgres15: Server) -> Iterator[guard.Guard]:
    """A running guard with one workload, ``matrix``, that may do everything on both servers."""
    resources = {f"pg{server.version}": f"{server.host}:{server.port}" for server in (postgres18, postgres15)}
    named = "".join(FUNCTION.format(name=name, resource=resource) for name in FUNCTIONS for resource in resources)
    setup = guard.Setup(agents={"matrix": guard.Agent(("matrix",))}, resources=resources, policies=EVERYTHING + named)
    with guard.guarding(setup) as running:
        yield running


@pytest.fixture(params=["18", "15"], scope="module")
def server(request: pytest.FixtureRequest) -> Server:
    """Each real server in turn."""
    chosen = request.getfixturevalue(f"postgres{request.param}")
    assert isinstance(chosen, Server)
    return chosen
