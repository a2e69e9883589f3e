"""A connection from before its process was guarded does not live on."""

from __future__ import annotations

import socket

import guard
from guarded_cgroups import output_of, python_in

from hostguard.kernel import cgroups

SETUP = guard.Setup(agents={"agent": guard.Agent(("worker",))}, resources={"pg": "127.0.0.1:5432"}, policies="")
MOVES_IN = """
sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
enter(sys.argv[2])
try:
    print("heard", sock.recv(1))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


def test_a_connection_that_is_carried_into_a_workload_is_ended_and_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, guard.guarding(SETUP) as guarded:
        cgroups.create(guarded.cgroup / "outside")
        port = str(server.getsockname()[1])
        child = python_in(guarded.cgroup / "outside", MOVES_IN, port, str(guarded.cgroup / "agent"))
        connection, _ = server.accept()
        with connection:
            assert output_of(child) == "ECONNABORTED"
        (stray,) = guarded.ask("status")["strays"]["shown"]
        assert stray["peer"] == f"127.0.0.1:{port}"
        assert stray["ended"]
        assert guarded.is_guarding(), "one that was ended is no problem"
