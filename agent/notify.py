"""What the daemon tells the service manager that started it: ready, alive, what it does (sd_notify(3))."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, MutableMapping

STATUS_S = 5.0
"""How often the status line is renewed without a watchdog that asks for more."""
VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
LONGEST = 200
"""Characters of the status line: it is one line of `systemctl status`."""


class Notifier:
    """Datagrams to the socket that NOTIFY_SOCKET names; without one everything here does nothing.

    The variables are taken out of the environment, so that no child speaks in the daemon's name.
    """

    def __init__(self, environment: MutableMapping[str, str]) -> None:
        self.environment = {name: environment[name] for name in VARIABLES if name in environment}
        """What it was told by, for a program that is to be told the same."""
        address = environment.pop("NOTIFY_SOCKET", "")
        watchdog_us = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", "") in ("", str(os.getpid()))
        # A leading "@" stands for the abstract namespace.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        # Half of it, as sd_watchdog_enabled(3) recommends.
        self.every_s = min(int(watchdog_us) / 2e6, STATUS_S) if watchdog_us.isdigit() and watched else STATUS_S

    def tell(self, *assignments: str) -> None:
        """Send ``NAME=value`` lines in one datagram. A manager that does not listen is no reason to stop guarding."""
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            try:
                sock.sendto("\n".join(assignments).encode(), self._address)
            except OSError as error:
                print(f"the service manager can't be told {assignments[0]}: {error.strerror}", flush=True)

    async def run(self, describe: Callable[[], Awaitable[str]]) -> None:
        """Say that the event loop turns, and what it does, for as long as it does."""
        while self._address:
            status = (await describe()).replace("\n", " ")[:LONGEST]
            self.tell("WATCHDOG=1", f"STATUS={status}")
            await asyncio.sleep(self.every_s)
