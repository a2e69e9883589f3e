"""The broker's process: started by the supervisor, the only one that holds secrets, able to do little else.

``python -I -m hostguard.agent.broker.process CHANNEL SECRETS``: the descriptors of its channel, and of what was taken out of the
daemon's environment (-1 for nothing). It is root, since the files that hold secrets are root's, but has no capability, starts no
program, reads no file but those that the configuration names beside the system's libraries and roots, and is neither traced,
dumped nor swapped out. It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import sys
import traceback

from ...policy.credentials import reference
from ..caged import BUG, Caged, enclose, ignore_signals
from ..sandbox import cage
from ..wording import cut
from . import messages
from .carry import Carrier, NotCarried
from .commands import commands
from .environment import NOTHING, taken
from .logins import Logins, NoLogin
from .minting import Minting
from .secret import Secrets
from .sources import MAX_SECRET_BYTES, Sources
from .unreadable import Unreadable

TURN_S = 2.0
"""How often certificates, and what the command line did to the authorities, are looked after."""
FIRST_S = 3.0
"""How long the start waits for secrets: a Vault that does not answer must not keep the daemon from starting."""


def main() -> None:
    """Run until the supervisor is gone."""
    ignore_signals()
    channel = socket.socket(fileno=int(sys.argv[1]))
    environment = taken(int(sys.argv[2]))
    if int(sys.argv[2]) != NOTHING:
        os.close(int(sys.argv[2]))
    enclose("the broker", channel, lambda applied: Broker(channel, environment, applied))


class Broker(Caged):
    """Carries messages between the supervisor and what answers them."""

    TAKES_SOCKETS = True

    def __init__(self, sock: socket.socket, environment: dict[str, str], applied: cage.Applied) -> None:
        super().__init__(sock, applied)
        self._environment = environment
        self._minting: Minting | None = None
        self._secrets: Secrets | None = None
        self._logins: Logins | None = None
        self._carrier: Carrier | None = None
        self._commands: list[str] = []
        self._numbers = itertools.count(1)
        self._running: dict[int, asyncio.Future[socket.socket]] = {}
        self._ended: dict[int, asyncio.Future[int]] = {}

    def _say(self, message: messages.FromBroker, passed: socket.socket | None = None) -> None:
        self._channel.send(messages.encode(message), passed)

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.to_broker(data):
            case messages.Begin():
                self._work(self._begin(message))
            case messages.LogIn():
                self._work(self._log_in(message))
            case messages.Refused(number):
                self._work(self._refused(number))
            case messages.Forget(number):
                assert self._logins is not None
                self._logins.forget(number)
            case messages.Carry():
                assert sock is not None
                self._work(self._carry(message, sock))
            case messages.Running(number, failure):
                self._started(number, failure, sock)
            case messages.Ended(number, code):
                _settle(self._ended.get(number), code)
            case messages.Ping(number):
                secrets = () if self._secrets is None else self._secrets.facts()
                failure = "" if self._minting is None else self._minting.failure
                self._say(messages.Pong(number, secrets, cut(failure)))

    async def _begin(self, begin: messages.Begin) -> None:
        self._commands = commands(begin.credentials)
        sources = Sources(self._environment, begin.vault, begin.aws, self._run_command)
        self._secrets = Secrets(begin.credentials, lambda place: sources.read(reference(place)))
        self._logins = Logins(self._secrets)
        self._carrier = Carrier(self._secrets, self._logins.use)
        self._minting = Minting(begin)
        self._turn()
        self._work(self._keep_turning())
        reading = [secret.renew() for secret in self._secrets.all()]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                await asyncio.gather(*reading)
        for secret in self._secrets.all():
            self._work(secret.run())
        self._say(messages.Ready(self.applied))

    async def _keep_turning(self) -> None:
        while True:
            await asyncio.sleep(TURN_S)
            self._turn()

    def _turn(self) -> None:
        assert self._minting is not None
        if self._minting.turn():
            self._say(messages.Leaves(self._minting.leaves, self._minting.authorities))

    # -- logins -----------------------------------------------------------------------------------------------------------------

    async def _log_in(self, message: messages.LogIn) -> None:
        logins = self._logins
        assert logins is not None
        try:
            if message.begins:
                answer = await logins.begin(message.id, message.variant, message.request, message.binding)
            else:
                answer = await logins.answer(message.id, message.request)
        except NoLogin as error:
            self._say(messages.Failed(message.id, cut(str(error))))
        else:
            self._say(messages.Answered(message.id, answer.say, answer.done))

    async def _refused(self, flow: int) -> None:
        assert self._logins is not None
        self._say(messages.Reread(flow, await self._logins.refused(flow)))

    async def _carry(self, wanted: messages.Carry, sock: socket.socket) -> None:
        assert self._carrier is not None
        assert self._logins is not None
        try:
            theirs, how, binding = await self._carrier.carry(wanted, sock)
        except NotCarried as error:
            self._say(messages.Failed(wanted.id, cut(str(error))))
            return
        self._logins.bind(wanted.id, binding)
        self._say(messages.Carried(wanted.id, how), theirs)

    # -- commands ---------------------------------------------------------------------------------------------------------------

    async def _run_command(self, line: str) -> bytes:
        number = next(self._numbers)
        loop = asyncio.get_running_loop()
        running = self._running[number] = loop.create_future()
        ended = self._ended[number] = loop.create_future()
        try:
            self._say(messages.Run(number, self._commands.index(line)))
            with await running as sock:
                printed = await _all_of(sock)
            code = await ended
        finally:
            del self._running[number], self._ended[number]
        if code:
            raise Unreadable(f"the command ended with exit code {code}")
        return printed

    def _started(self, number: int, failure: str, sock: socket.socket | None) -> None:
        future = self._running.get(number)
        if failure and future is not None and not future.done():
            future.set_exception(Unreadable(failure))
        elif sock is not None and future is not None and not future.done():
            future.set_result(sock)
        elif sock is not None:
            sock.close()  # it was given up meanwhile

    def _die(self, error: BaseException) -> None:
        """Telling where the error was, not what: an exception's text could hold a secret."""
        print(f"the broker ends: {type(error).__name__}", file=sys.stderr)
        traceback.print_tb(error.__traceback__)
        sys.stderr.flush()
        os._exit(BUG)


async def _all_of(sock: socket.socket) -> bytes:
    """What comes until the other end closes, at most a little more than may be."""
    sock.setblocking(False)
    found = b""
    while len(found) <= MAX_SECRET_BYTES:
        data = await asyncio.get_running_loop().sock_recv(sock, MAX_SECRET_BYTES)
        if not data:
            break
        found += data
    return found


def _settle(future: asyncio.Future[int] | None, code: int) -> None:
    if future is not None and not future.done():
        future.set_result(code)


if __name__ == "__main__":
    main()
