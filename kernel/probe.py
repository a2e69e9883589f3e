"""The guarded connections that the self-test makes to see the hooks at work.

`command` gives the argument vector of a short-lived child, `parse` reads what it printed. Between the two the daemon runs it,
accepts the connections, compares each `Origin` with the target, closes. The child enters the guarded cgroup first, then connects:
if nothing intercepts it, it finds nobody there, for the targets are loopback addresses.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .cgroups import PROCS

# Runs without site-packages and without anything of ours, in an interpreter that starts in 10 ms.
_PROGRAM = """
import json, os, socket, sys
procs, timeout_s, targets = sys.argv[1], float(sys.argv[2]), json.loads(sys.argv[3])
with open(procs, "w") as file:
    file.write("0")
for host, port in targets:
    seen = {"host": host, "port": port, "errno": 0, "peer_host": "", "peer_port": 0, "source_port": 0}
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
        sock.settimeout(timeout_s)
        try:
            sock.connect((host, port))
            seen["source_port"] = sock.getsockname()[1]
            seen["peer_host"], seen["peer_port"] = sock.getpeername()[:2]
        except OSError as error:
            seen["errno"] = error.errno or 110
    print(json.dumps(seen), flush=True)
"""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What the child saw of one connect."""

    host: str
    """The target as given."""
    port: int
    errno: int
    """0 when connected; ETIMEDOUT (110) also when the child gave up waiting."""
    peer_host: str
    """What `getpeername` said; empty when not connected."""
    peer_port: int
    source_port: int
    """The child's own port, by which the accepted connection is known."""

    @property
    def connected(self) -> bool:
        """Someone took the connection."""
        return self.errno == 0

    @property
    def peer_kept(self) -> bool:
        """The process saw the peer that it asked for."""
        return (self.peer_host, self.peer_port) == (self.host, self.port)


def command(cgroup: Path, targets: Sequence[tuple[str, int]], timeout_s: float = 2.0) -> list[str]:
    """Argument vector of the child. targets: (address, port), as ``127.0.0.1``, ``::1`` or ``::ffff:127.0.0.1``, tried in order.

    timeout_s is for each connect. The child prints a line for each target as it goes.
    """
    return [sys.executable, "-I", "-S", "-c", _PROGRAM, str(cgroup / PROCS), str(timeout_s), json.dumps(list(targets))]


def parse(output: bytes) -> list[ProbeResult]:
    """The child's standard output; fewer results than targets mean that it died. Raises ValueError for anything else."""
    try:
        return [ProbeResult(**json.loads(line)) for line in output.splitlines()]
    except TypeError as error:
        raise ValueError(f"not the output of the probe: {error}") from error
