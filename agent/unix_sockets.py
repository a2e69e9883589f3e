"""Which UNIX sockets agents reach: some as they are, resources' through stand-ins, no others."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from ..kernel.errors import KernelError
from ..kernel.layouts import UNIX_SCHEME, unix_address, unix_text
from ..kernel.loader import Redirect
from ..kernel.stand_ins import StandIn, voucher_for
from ..policy.document import Document

REFRESH_S = 1.0
"""How often it is looked who serves there, so that processes are shown the right user: a database may start after us."""
NEEDED = ("unix_connect", "unix_getsockname", "unix_getpeername")
"""Hooks without which a resource's UNIX socket is denied like any other."""


class StandIns:
    """The stand-ins of one configuration, of this host's network namespace."""

    def __init__(self, redirect: Redirect, document: Document, control: Path) -> None:
        self.of: dict[socket.socket, StandIn] = {}
        """By listener."""
        self.failure = ""
        """Why resources' UNIX sockets are denied, or the user of a server can't be shown; empty when all is well."""
        self._redirect = redirect
        self._open = dict.fromkeys((os.fsencode(control), *map(unix_address, document.daemon.unix_allow)))
        every = (text for resource in document.resources.values() for text in resource.addresses)
        self._addresses = [unix_address(text.removeprefix(UNIX_SCHEME)) for text in every if text.startswith(UNIX_SCHEME)]
        self._voucher: socket.socket | None = None

    def close_all_but_open(self) -> None:
        """What an earlier daemon had redirected leads nowhere from here on. Raises KernelError."""
        self._redirect.set_unix(self._open)

    def listen(self) -> list[socket.socket]:
        """Open a stand-in for each address; none where the kernel could not lead there. Raises OSError, KernelError."""
        missing = [hook.name for hook in self._redirect.hooks() if hook.name in NEEDED and not hook.attached]
        if self._addresses and missing:
            self.failure = f"UNIX sockets of resources are denied: the hooks {', '.join(missing)} are not attached"
            return []
        for address in self._addresses:
            stand_in = StandIn(address)
            self.of[stand_in.sock] = stand_in
        return list(self.of)

    def vouch(self) -> None:
        """Let the kernel send connects there. First the names: none is ever sent to an earlier one's. Raises KernelError."""
        self._redirect.set_unix(self._open | {stand_in.address: stand_in.name for stand_in in self.of.values()})
        if self.of:
            self._voucher = voucher_for(list(self.of))
            self._redirect.vouch(self._voucher)

    def close(self) -> None:
        """Let connects be refused from here on; the listeners are closed by whoever accepts on them."""
        if self._voucher is not None:
            self._voucher.close()
            self._voucher = None

    async def run(self) -> None:
        """Keep showing who serves; runs until cancelled."""
        while self.of:
            await asyncio.sleep(REFRESH_S)
            for stand_in in self.of.values():
                try:
                    await asyncio.to_thread(stand_in.refresh)
                    self.failure = ""
                except (OSError, KernelError) as error:
                    self.failure = f"{unix_text(stand_in.address)}: its server's user can't be shown: {error}"
