"""The page's process: started by the supervisor, it speaks with browsers, with identity providers, able to do little else.

``python -I -m hostguard.agent.web.process CHANNEL LISTENER``: the two descriptors that it has; -1 for no listener. As a worker it
closes its cage before it reads a byte of anybody: another user, no capabilities, no files, no new programs, processes or threads,
no listening but on the socket that it was given. It may connect, since that is what asking a provider takes.

It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
import time
import traceback

import pglast.parser
from aiohttp import web

from ...identity import saml_document
from ..caged import Caged, enclose, ignore_signals
from ..sandbox import cage
from ..wording import cut
from . import messages
from .device import Devices
from .fetching import Fetching
from .line import Line, Names
from .oidc import OidcProvider
from .saml import SamlProvider
from .server import Server
from .showing import Showing
from .signing import NotSignedIn, Person, Provider
from .views import Views

NO_SOCKET = -1


class Listening(socket.socket):
    """A socket that listens since before it came here: the cage kills who tries to have another one listen."""

    def listen(self, backlog: int = 0, /) -> None:
        """It does."""


def main() -> None:
    """Run until the supervisor is gone."""
    ignore_signals()
    channel = socket.socket(fileno=int(sys.argv[1]))
    listener = Listening(fileno=int(sys.argv[2])) if int(sys.argv[2]) != NO_SOCKET else None
    views, showing = Views(), Showing()
    _warm()
    enclose("the web page", channel, lambda applied: Serving(channel, listener, views, showing, applied))


def _warm() -> None:
    """Read what would otherwise be read when it is first needed: there are no files later."""
    "a".encode("idna")
    pglast.parser.scan("SELECT 1")
    saml_document.warm()


class Serving(Caged):
    """Carries messages between the supervisor and the page."""

    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = messages.MAX_TO_WEB_BYTES
    MAX_QUEUED_BYTES = 16 << 20

    def __init__(
        self, sock: socket.socket, listener: Listening | None, views: Views, showing: Showing, applied: cage.Applied
    ) -> None:
        super().__init__(sock, applied)
        self._listener = listener
        self._views = views
        self._showing = showing
        self._openid: dict[str, OidcProvider] = {}
        self._devices = Devices()
        self._server: Server | None = None
        self._shown = asyncio.Event()
        self._line = Line(self._say)

    def _say(self, message: messages.FromWeb) -> None:
        self._channel.send(messages.encode(message))

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.to_web(data):
            case messages.Begin():
                self._work(self._begin(message))
            case messages.Certificate(pem):
                self._certify(pem)
            case messages.Changed() | messages.Renewed():
                if self._server is not None:
                    self._server.changed(message)
            case messages.BeginDevice(number, name):
                self._work(self._begin_device(number, name))
            case messages.AskDevice(number, handle):
                self._work(self._ask_device(number, handle))
            case messages.Ping(number):
                assert self._server is not None
                self._say(messages.Pong(number, self._server.figures()))
            case messages.Entered() | messages.Told() | messages.Found():
                self._line.take(message)

    def _certify(self, pem: bytes) -> None:
        try:
            self._showing.take(pem)
        except (ssl.SSLError, ValueError) as error:
            print(f"the web page can't show this certificate: {error}", file=sys.stderr, flush=True)
            return
        self._shown.set()

    async def _begin(self, begin: messages.Begin) -> None:
        names = Names(self._line)
        self._openid = {
            each.name: OidcProvider(each, Fetching(names, each.roots)) for each in begin.providers if each.issuer.kind == "oidc"
        }
        saml = {each.name: SamlProvider(each) for each in begin.providers if each.issuer.kind == "saml"}
        providers: dict[str, Provider] = {each.name: (self._openid | saml)[each.name] for each in begin.providers}
        self._server = Server(begin.public_url, begin.session_s, providers, self._line, self._views, self._crashed)
        if self._listener is not None:
            self._listener.setblocking(False)
            runner = web.AppRunner(
                self._server.application(), access_log=None, handle_signals=False, keepalive_timeout=30.0, shutdown_timeout=1.0
            )
            await runner.setup()
            self._say(messages.Ready(self.applied))
            await self._shown.wait()
            await web.SockSite(runner, self._listener, ssl_context=self._showing.context).start()
        else:
            self._say(messages.Ready(self.applied))

    async def _begin_device(self, number: int, name: str) -> None:
        try:
            begun = await self._devices.begin(self._openid[name], time.time())
        except NotSignedIn as error:
            self._say(messages.DeviceBegun(number, failure=cut(str(error))))
            return
        told = (cut(begun.code), cut(begun.place), cut(begun.direct))
        self._say(messages.DeviceBegun(number, begun.handle, *told, begun.interval_s, begun.until))

    async def _ask_device(self, number: int, handle: str) -> None:
        try:
            found = await self._devices.person(handle, time.time())
        except NotSignedIn as error:
            self._say(messages.DeviceAsked(number, failure=cut(str(error))))
            return
        provider, person = found if found is not None else ("", Person("", ""))
        self._say(messages.DeviceAsked(number, provider, person.user, cut(person.subject), groups=person.groups))

    def _crashed(self, error: Exception) -> None:
        self._say(messages.Crashed(cut("".join(traceback.format_exception(error))[-2000:])))


if __name__ == "__main__":
    main()
