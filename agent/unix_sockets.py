"""Which UNIX sockets agents reach: some as they are, resources' through stand-ins, no others."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from ..kernel.errors import KernelError
from ..kernel.layouts import UNIX_SCHEME, unix_address, unix_text
from ..kernel.loader import Redirect
from ..kernel.stand_ins import StandIn, new_name, owner_of, voucher_for
from ..policy.document import Document

REFRESH_S = 1.0
"""How often it is looked who serves there, so that processes are shown the right user: a database may start after us."""
NEEDED = ("unix_connect", "unix_getsockname", "unix_getpeername")
"""Hooks without which a resource's UNIX socket is denied like any other."""


class Standing:
    """The stand-ins of one network namespace; `close` it."""

    def __init__(self, vouch: Callable[[socket.socket], None], names: dict[bytes, bytes], namespace: int | None = None) -> None:
        """names: addresses to the stand-ins' names. namespace: as of `StandIn`. Raises OSError, KernelError."""
        self.stand_ins: list[StandIn] = []
        self._vouch = vouch
        self._namespace = namespace
        self._voucher: socket.socket | None = None
        try:
            for address, name in names.items():
                self.stand_ins.append(StandIn(address, name, namespace))
        except BaseException:
            for sock in self.listeners:
                sock.close()
            raise

    @property
    def listeners(self) -> list[socket.socket]:
        """To accept on."""
        return [stand_in.sock for stand_in in self.stand_ins]

    @property
    def closed(self) -> bool:
        """Nobody accepts there any more."""
        return all(stand_in.closed for stand_in in self.stand_ins)

    def vouch(self) -> None:
        """Let the kernel send connects there. Raises OSError, KernelError."""
        if self.stand_ins:
            self._voucher = voucher_for(self.listeners, self._namespace)
            self._vouch(self._voucher)

    def close(self) -> None:
        """Let connects be refused. The listeners are to be closed afterwards: the kernel sends nobody to a name that is free."""
        if self._voucher is not None:
            self._voucher.close()
            self._voucher = None


class StandIns:
    """The stand-ins of one configuration: one for each address, under the same name in every network namespace."""

    def __init__(self, redirect: Redirect, document: Document, control: Path, identity: Path) -> None:
        self.of: dict[socket.socket, StandIn] = {}
        """By listener."""
        self.failure = ""
        """Why resources' UNIX sockets are denied, or the user of a server can't be shown; empty when all is well."""
        self._redirect = redirect
        # Agents may ask on the control socket, and are told in words that they may not; on the other they present their tokens.
        self._open = dict.fromkeys((os.fsencode(control), os.fsencode(identity), *map(unix_address, document.daemon.unix_allow)))
        every = (text for resource in document.resources.values() for text in resource.addresses)
        addresses = (unix_address(text.removeprefix(UNIX_SCHEME)) for text in every if text.startswith(UNIX_SCHEME))
        self._names = {address: new_name() for address in addresses}
        self._standing: list[Standing] = []
        """One for each network namespace."""
        self._filed = False

    def close_all_but_open(self) -> None:
        """What an earlier daemon had redirected leads nowhere from here on. Raises KernelError."""
        self._redirect.set_unix(self._open)

    def listen(self) -> list[socket.socket]:
        """Open those of our own network namespace; none where the kernel could not lead there. Raises OSError, KernelError."""
        missing = [hook.name for hook in self._redirect.hooks() if hook.name in NEEDED and not hook.attached]
        if self._names and missing:
            self.failure = f"UNIX sockets of resources are denied: the hooks {', '.join(missing)} are not attached"
            self._names = {}
        return self.open_in(None).listeners

    def vouch(self) -> None:
        """Let the kernel send connects there. First the names: none is sent to an earlier one's. Raises OSError, KernelError."""
        self._redirect.set_unix(self._open | self._names)
        self._filed = True
        for standing in self._standing:
            standing.vouch()

    def vouch_for(self, standing: Standing) -> None:
        """Let the kernel send connects to one more; not before it knows the names. Raises OSError, KernelError."""
        if self._filed:
            standing.vouch()

    def close(self) -> None:
        """Let connects be refused from here on, in every namespace."""
        for standing in self._standing:
            standing.close()

    def open_in(self, namespace: int | None) -> Standing:
        """Those of the network namespace of this descriptor, to be vouched for when they are accepted on.

        The descriptor stays open until the answer is closed. Raises OSError, KernelError.
        """
        self._standing = [standing for standing in self._standing if not standing.closed]
        self.of = {sock: stand_in for sock, stand_in in self.of.items() if not stand_in.closed}
        standing = Standing(self._redirect.vouch, self._names, namespace)
        self._standing.append(standing)
        self.of |= {stand_in.sock: stand_in for stand_in in standing.stand_ins}
        return standing

    def shown_at(self, listener: socket.socket) -> tuple[int, int] | None:
        """User and group that who connects to this listener is shown now as its server's; None: it is no stand-in."""
        stand_in = self.of.get(listener)
        return stand_in.shown if stand_in is not None else None

    async def run(self) -> None:
        """Keep showing who serves; runs until cancelled."""
        while self._names:
            await asyncio.sleep(REFRESH_S)
            paths = [address for address in self._names if not address.startswith(b"\0")]
            owners = {path: await asyncio.to_thread(owner_of, path) for path in paths}
            self.failure = "; ".join(filter(None, [_renew(stand_in, owners) for stand_in in list(self.of.values())]))


def _renew(stand_in: StandIn, owners: dict[bytes, tuple[int, int] | None]) -> str:
    """Show the server's user of now, the one before where no server is. What is in the way; else empty."""
    try:
        if not stand_in.closed:
            server = owners[stand_in.address] if stand_in.address in owners else stand_in.server()
            stand_in.show(*(server or stand_in.shown))
    except (OSError, KernelError) as error:
        return f"{unix_text(stand_in.address)}: its server's user can't be shown: {error}"
    return ""
