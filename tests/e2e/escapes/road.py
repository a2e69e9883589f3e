"""How an escape is written, and how one is run: a function that tries to reach a peer, from outside the guard's view into it.

``perform.py NAME`` runs one in the network namespace that it is started in. What an escape does before ``enter`` happens outside
every guard; ``enter`` moves the process into the cgroup named by the environment (none: the control run, unguarded) and gives
up what privileges the escape does not need. Its output is one line: what the program saw.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

NONCE = b"hostguard-escape-payload"
"""What every escape tries to get to the peer."""
PATIENCE_S = 0.7
"""How long a program waits for an answer that a fence may have swallowed."""
UNPRIVILEGED = 65534


@dataclass(frozen=True, slots=True)
class Escape:
    """One way that somebody may try."""

    name: str
    road: str
    """A few words for the table."""
    run: Callable[[], None]
    needs: str
    """Privileges that it has: ``none``, or ``net`` for CAP_NET_RAW with CAP_NET_ADMIN, as a container's root may have."""
    heard: bool
    """Whether the unguarded run reaches the peer on this kernel; False where only the attempt itself can be seen to fail."""
    outside: bool
    """The connection is made before the process is guarded: only the payload must not arrive."""


ESCAPES: dict[str, Escape] = {}


def escape(
    road: str, needs: str = "none", heard: bool = True, outside: bool = False
) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """File a function under its name."""

    def file(run: Callable[[], None]) -> Callable[[], None]:
        ESCAPES[run.__name__] = Escape(run.__name__, road, run, needs, heard, outside)
        return run

    return file


def peer4() -> tuple[str, int]:
    """Address and port of the peer that must not be reached."""
    return os.environ["ESCAPE_PEER4"], int(os.environ["ESCAPE_PORT"])


def peer6() -> tuple[str, int]:
    """The same over IPv6."""
    return os.environ["ESCAPE_PEER6"], int(os.environ["ESCAPE_PORT"])


def mapped() -> tuple[str, int]:
    """The IPv4 peer, as an AF_INET6 socket names it."""
    return f"::ffff:{peer4()[0]}", peer4()[1]


def device() -> str:
    """The interface that leads to the peer."""
    return os.environ["ESCAPE_DEVICE"]


def begin() -> None:
    """Stand outside what is guarded, but below where the hooks are attached, as every process of a real host does."""
    _move(os.environ["ESCAPE_OUTSIDE"])


def enter() -> None:
    """From here on guarded, if this is not the control run, and with the escape's own privileges only."""
    _move(os.environ["ESCAPE_CGROUP"])
    if os.environ["ESCAPE_NEEDS"] == "none":
        os.setgroups([])
        os.setgid(UNPRIVILEGED)
        os.setuid(UNPRIVILEGED)


def _move(cgroup: str) -> None:
    if cgroup:
        with open(f"{cgroup}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def say(what: str) -> None:
    """What the program saw."""
    print(what, flush=True)


def send_tcp(sock: socket.socket, peer: tuple[str, int]) -> None:
    """Connect and send the payload."""
    sock.settimeout(PATIENCE_S)
    sock.connect(peer)
    sock.sendall(NONCE)
    say("connected and sent")
