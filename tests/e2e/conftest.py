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


@pytest.fixture(scope="session")
def matrix(postgres18: Server, postgres15: Server) -> Iterator[guard.Guard]:
    """A running guard with one workload, ``matrix``, that may do everything on both servers."""
    resources = {f"pg{server.version}": f"{server.host}:{server.port}" for server in (postgres18, postgres15)}
    setup = guard.Setup(agents={"matrix": guard.Agent(("matrix",))}, resources=resources, policies=EVERYTHING)
    with guard.guarding(setup) as running:
        yield running
