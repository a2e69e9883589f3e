"""The supervisor's side of the broker: its process, what it is asked, what came of it; no secret ever passes here.

Leaves that were made once stay good while the broker is away: workers go on with them. Logins do not: they are refused, in words,
until another broker has read the secrets.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...policy.credential_sections import ServerTls
from ...policy.credentials import agent_of, is_certified, reference, variants
from ...policy.document import Document
from ..authority.bundle import BUNDLES
from ..authority.names import names_of, names_of_web
from ..awaited import Awaited, Away
from ..failures import Failure
from ..faults import Faults
from ..kept import Kept
from ..leaves import WEB, Leaf
from ..paths import Paths
from ..sandbox.asking import asking
from ..sandbox.cage import Cage
from . import messages
from .commanding import Commanding
from .environment import NOTHING, descriptor

LOGIN_S = 30.0
FILES = 4096


class BrokerAway(Exception):
    """There is no broker at the moment; a sentence for the agent."""


class Keeper(Kept):
    """Keeps one broker running."""

    NAME = "the broker"
    MISSED = "nobody could log in by it"
    MODULE = "hostguard.agent.broker.process"
    HUNG_S = 20.0  # PBKDF2 runs in threads, but they share two cores with everybody
    TAKES_SOCKETS = True
    MAX_MESSAGE_BYTES = messages.MAX_MESSAGE_BYTES

    def __init__(self, document: Document, paths: Paths, host: str, faults: Faults, on_leaves: Callable[[], None]) -> None:
        """`on_leaves`: called when `leaves` or `authorities` are others than before. Raises Failure."""
        super().__init__(faults)
        self._document = document
        self._folder = paths.authority(document)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(f"{document.file}: tls.ca_dir: {self._folder}: {error.strerror}") from None
        self._begin = _begin(document, self._folder, host)
        self._on_leaves = on_leaves
        self._secrets_fd = descriptor(os.environ)
        self._commanding = Commanding(document, self._say)
        self.leaves: tuple[Leaf, ...] = ()
        self.authorities: tuple[messages.Authority, ...] = ()
        self.told: messages.Pong | None = None
        """The last that it told of itself."""
        self._numbers = itertools.count(1)
        self._awaited: Awaited[tuple[str, int]] = Awaited()

    # -- its process ------------------------------------------------------------------------------------------------------------

    def _descriptors(self) -> list[int]:
        return [] if self._secrets_fd == NOTHING else [self._secrets_fd]

    def _arguments(self) -> list[str]:
        return [str(self._secrets_fd)]

    def _environment(self) -> Mapping[str, str]:
        return {"HOME": _home()}

    def _greet(self) -> None:
        self._say(self._cage())
        self._say(self._begin)

    def _cage(self) -> Cage:
        reads, writes = _secret_files(self._document), (str(self._folder),)
        return asking("hostguard-brok", (0, 0), FILES, reads=reads, writes=writes, locked=True)

    def _ping(self) -> None:
        self._say(messages.Ping(0))

    def _away(self) -> None:
        """Who waits for it hears why."""
        self._commanding.stop()
        self._awaited.let_go()

    # -- what it is asked -------------------------------------------------------------------------------------------------------

    async def log_in(self, flow: int, variant: str, request: bytes, binding: bytes, *, begins: bool) -> messages.Answered:
        """What the broker answers to what the flow's server asked. Raises BrokerAway, with its words when it refuses."""
        answer = await self._ask("login", flow, messages.LogIn(flow, variant, begins, request, binding))
        if isinstance(answer, messages.Failed):
            raise BrokerAway(answer.reason)
        assert isinstance(answer, messages.Answered)
        return answer

    async def carry(
        self, flow: int, variant: str, mode: ServerTls, name: str, roots: str, sock: socket.socket
    ) -> tuple[socket.socket, str]:
        """Have the broker speak TLS over `sock`, which is its own from here on: a plain socket in its place, and how.

        Raises BrokerAway, with its words when there is no link.
        """
        message = messages.Carry(flow, variant, mode, name, roots)
        answer = await self._ask("carry", flow, message, passed=sock)
        if isinstance(answer, messages.Failed):
            raise BrokerAway(answer.reason)
        plain, how = answer
        assert isinstance(plain, socket.socket)
        return plain, how

    async def refused(self, flow: int) -> bool:
        """The server did not take the login: whether the secret, read again, is another one. Raises BrokerAway."""
        return bool(await self._ask("reread", flow, messages.Refused(flow)))

    def forget(self, flow: int) -> None:
        """The flow has ended."""
        if self.ready.is_set():
            self._say(messages.Forget(flow))

    async def facts(self) -> dict[str, Any]:
        """For ``status``: as the broker tells now, or told last."""
        with contextlib.suppress(BrokerAway):
            self.told = await self._ask("ping", next(self._numbers), None, 1.0)
        told = self.told
        return {
            "running": self.ready.is_set(),
            "pid": self.pid,
            "cage": str(self.applied or ""),
            "missing": list(self.applied.missing) if self.applied else [],
            "ended": self.ended,
            "failure": told.failure if told else "",
            "secrets": [{**msgspec.to_builtins(s), "agent": agent_of(s.variant)} for s in told.secrets] if told else [],
            "authorities": [{"signs": each.signs, "ends_at": each.ends_at} for each in self.authorities],
            "leaves": {leaf.resource: leaf.until for leaf in self.leaves},
        }

    async def _ask(
        self,
        what: str,
        number: int,
        message: messages.ToBroker | None,
        limit_s: float = LOGIN_S,
        passed: socket.socket | None = None,
    ) -> Any:
        """Its answer. Raises BrokerAway when there is none in time."""
        if not self.ready.is_set():
            if passed is not None:
                passed.close()
            raise BrokerAway("hostguard's broker, which holds the credentials, is not running")
        key = what, number
        if key in self._awaited:
            raise BrokerAway("the broker is being asked that already")
        try:
            return await self._awaited.answer(key, lambda: self._say(message or messages.Ping(number), passed), limit_s)
        except TimeoutError:
            raise BrokerAway("hostguard's broker, which holds the credentials, does not answer") from None
        except Away:
            raise BrokerAway("hostguard's broker, which holds the credentials, is being started again") from None

    def _say(self, message: messages.ToBroker | Cage, passed: socket.socket | None = None) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(message), passed)
        elif passed is not None:
            passed.close()

    # -- what it says -----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        message = messages.from_broker(data)
        if not isinstance(message, messages.Carried):
            self._carry_out(message)
        elif sock is not None and self._awaited.resolve(("carry", message.id), (sock, message.how)):
            return
        if sock is not None:
            sock.close()

    def _carry_out(self, message: messages.FromBroker) -> None:
        match message:
            case messages.Ready(applied):
                self.applied = applied
                self.ready.set()
            case messages.Leaves(leaves, authorities):
                self.leaves, self.authorities = leaves, authorities
                self._on_leaves()
            case messages.Answered(number):
                self._awaited.resolve(("login", number), message)
            case messages.Failed(number):
                # A flow's link is made before anything is said over it, so one of them waits at most.
                self._awaited.resolve(("carry" if ("carry", number) in self._awaited else "login", number), message)
            case messages.Reread(number, changed):
                self._awaited.resolve(("reread", number), changed)
            case messages.Run(number, command):
                self._commanding.run(number, command)
            case messages.Pong(number):
                self.told = message
                self._awaited.resolve(("ping", number), message)


def _begin(document: Document, folder: Path, host: str) -> messages.Begin:
    subjects = []
    for name, resource in document.resources.items():
        if is_certified(resource):
            names = names_of(resource)
            subjects.append(messages.Subject(name, names.dns, names.ips))
    page = names_of_web(document)
    if page.dns or page.ips:
        subjects.append(messages.Subject(WEB, page.dns, page.ips))
    tls = document.tls
    return messages.Begin(
        host=host,
        folder=str(folder),
        ca_days=tls.ca_days,
        leaf_hours=tls.leaf_hours,
        overlap_hours=tls.overlap_hours,
        subjects=tuple(subjects),
        credentials=document.credentials,
        vault=document.vault,
        aws=document.aws,
    )


def _secret_files(document: Document) -> list[str]:
    """The folders of the files that the configuration names: folders, since a file that is replaced is another one."""
    found = {path for path in (document.vault.token_file, document.vault.secret_id_file, document.vault.ca) if path}
    found.update(resource.server_roots for resource in document.resources.values() if resource.server_roots)
    kinds = set()
    for name, credential in document.credentials.items():
        if credential.certificate:
            found.add(credential.certificate)
        for text in (*(chosen.secret for chosen in variants(name, credential)), credential.key):
            if text:
                place = reference(text)
                kinds.add(place.kind)
                if place.kind == "file":
                    found.add(place.place)
    folders = {str(Path(path).parent) for path in found}
    folders.update(str(Path(path).resolve().parent) for path in found)
    if "aws" in kinds:
        folders.add(f"{_home()}/.aws")
    return sorted(folders | {str(Path(place).parent) for place in BUNDLES})


def _home() -> str:
    return pwd.getpwuid(0).pw_dir
