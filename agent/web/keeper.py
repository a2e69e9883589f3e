"""The supervisor's side of the page: its process, who has signed in, what they may do.

Of what the process says only who people are is believed.

The listening socket is the supervisor's, so browsers that connect while the process is being replaced wait in it. Sessions are
kept here: they outlive the process, end on time whatever it says, and every answer to a request is authorized here, by the same
call as one from the control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import msgspec

from ...policy.decide import Decider
from ...policy.document import Document
from ...policy.requests import NotAllowed
from ...recorder import entry
from ..awaited import Awaited, Away
from ..drawing import Drawing
from ..failures import Failure
from ..faults import Faults
from ..history import History
from ..holds import Holds
from ..kept import Kept
from ..leaves import Leaf
from ..names.upstreams import NoAnswer
from ..records import Records
from ..rights import Rights
from ..sandbox import seccomp
from ..sandbox.cage import Cage
from . import messages
from .answers import Answers, Asked
from .providers import certificate_of, providers_of, user_of_web
from .sessions import Session, Sessions

FILES = 2048
BACKLOG = 128
FIGURES_S = 1.0
DEVICE_S = 30.0
NO_SOCKET = -1
WATCH_PING_S = 60.0
PAGES_S = 1.0
"""How often it is told of what other pages list: grants may be used many times a second."""

LookUp = Callable[[str], Awaitable[Sequence[str]]]


class Keeper(Kept):
    """Keeps one process running that serves the page."""

    NAME = "the web page"
    MISSED = "nobody could sign in"
    MODULE = "hostguard.agent.web.process"
    HUNG_S = 15.0
    TAKES_SOCKETS = False
    MAX_MESSAGE_BYTES = messages.MAX_FROM_WEB_BYTES

    def __init__(
        self,
        document: Document,
        decider: Decider,
        holds: Holds,
        history: History,
        records: Records,
        rights: Rights,
        faults: Faults,
        leaves: Callable[[], tuple[Leaf, ...]],
        look_up: LookUp,
        listener: socket.socket | None = None,
    ) -> None:
        """`leaves`: hostguard's own certificates. `listener`: that of an earlier supervisor. Raises Failure."""
        super().__init__(faults)
        self._document = document
        self._decider = decider
        self._holds = holds
        self._history = history
        self._records = records
        self._leaves = leaves
        self._look_up = look_up
        self._user = user_of_web(document)
        self._begin = messages.Begin(
            document.web.public_url, document.web.session_s, providers_of(document), document.web.address is not None
        )
        self._rules = {name: {rule.user for rule in document.issuers[name].users} for name in document.sign_in}
        self._groups = {name: {rule.group for rule in document.issuers[name].groups} for name in document.sign_in}
        certificate_of(document, ())
        self._listener = listener if document.web.address else None
        self.sessions = Sessions(document.web.session_s, lambda user: user in decider.policy.document.users)
        self.drawing = Drawing(decider)
        self._answers = Answers(self.sessions, holds, history, self.drawing, rights)
        self.figures: messages.Figures | None = None
        """The last that it told."""
        self.failure = ""
        """Why it has no certificate to show; empty when it has."""
        self._shown = b""
        self._numbers = itertools.count(1)
        self._awaited: Awaited[int] = Awaited()
        self._works: set[asyncio.Task[None]] = set()

    # -- its process ------------------------------------------------------------------------------------------------------------

    def take_up(self, left: Iterable[Session]) -> None:
        """Go on with the sessions of an earlier supervisor; groups that no rule gives any more are gone."""
        rules = self._groups
        self.sessions.take_up(
            [
                msgspec.structs.replace(one, groups=tuple(group for group in one.groups if group in rules.get(one.provider, ())))
                for one in left
            ]
        )

    def listen(self) -> None:
        """Listen where the configuration says, unless an earlier supervisor does. Raises Failure."""
        address = self._document.web.address
        if address is None or self._listener is not None:
            return
        try:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self._listener = socket.create_server(address, family=family, backlog=BACKLOG)
        except OSError as error:
            where = f"{self._document.file}: web.listen: {self._document.web.listen}"
            raise Failure(f"{where} can't be listened on: {error.strerror or error}") from None

    async def run(self) -> None:
        """Have one, another one when it ends; runs until cancelled, and takes it along then."""
        watching = [asyncio.create_task(work) for work in (self._watch_requests(), self._watch_pages())]
        try:
            await super().run()
        finally:
            for task in watching:
                task.cancel()

    def _descriptors(self) -> list[int]:
        return [] if self._listener is None else [self._listener.fileno()]

    def _arguments(self) -> list[str]:
        return [str(fd) for fd in self._descriptors()] or [str(NO_SOCKET)]

    def _greet(self) -> None:
        self._shown = b""
        self._say(self._cage())
        self._say(self._begin)
        self.certify()

    def _cage(self) -> Cage:
        try:
            program = seccomp.compiled_serving()
        except seccomp.NoSeccomp:
            program = b""
        uid, gid = self._user
        return Cage(uid=uid, gid=gid, files=FILES, parent=os.getpid(), program=program, name="hostguard-web", dials=True)

    def _ping(self) -> None:
        self.certify()
        self._say(messages.Ping(0))

    def _away(self) -> None:
        self._awaited.let_go()

    def detach(self) -> list[int]:
        """The listening socket's descriptor, which is somebody else's from here on."""
        return [] if self._listener is None else [self._listener.detach()]

    def close(self) -> None:
        """The page is gone."""
        self._end()
        if self._listener is not None:
            self._listener.close()

    # -- what it is told --------------------------------------------------------------------------------------------------------

    def certify(self) -> None:
        """Tell it what to show, if that is another certificate than before."""
        if self._document.web.address is None:
            return
        try:
            pem = certificate_of(self._document, self._leaves())
        except Failure as failure:
            self.failure = str(failure)
            return
        self.failure = "" if pem else "it has no certificate to show yet"
        if pem and pem != self._shown:
            self._shown = pem
            self._say(messages.Certificate(pem))

    async def _watch_requests(self) -> None:
        """Tell it of each request that changes; who watches for it is told no more than that."""
        while True:
            with contextlib.suppress(NotAllowed):  # there are too many watchers: browsers then see it at their next call
                async with contextlib.aclosing(self._holds.watch(WATCH_PING_S)) as events:
                    async for event in events:
                        if event is not None and self.ready.is_set():
                            self._say(messages.Changed(event["id"], event["state"]))
            await asyncio.sleep(1.0)

    async def _watch_pages(self) -> None:
        """Tell it which of the other pages list something else than before."""
        before = self._changes()
        while True:
            await asyncio.sleep(PAGES_S)
            now = self._changes()
            for page, count in now.items():
                if count != before[page] and self.ready.is_set():
                    self._say(messages.Renewed(page))
            before = now

    def _changes(self) -> dict[str, int]:
        return {"grants": self._holds.granting.grants.changes, "duties": self._history.changes}

    async def facts(self) -> dict[str, Any]:
        """For ``status``: as the process tells now, or told last."""
        await self._asked(messages.Ping, FIGURES_S)
        self.sessions.sweep(time.time())
        figures = self.figures
        return {
            "listening": self._document.web.listen,
            "url": self._document.web.public_url,
            "running": self.ready.is_set(),
            "pid": self.pid,
            "cage": str(self.applied or ""),
            "missing": list(self.applied.missing) if self.applied else [],
            "ended": self.ended,
            "failure": self.failure,
            "signed_in": self.sessions.users,
            **({} if figures is None else msgspec.to_builtins(figures)),
        }

    def problems(self) -> list[str]:
        """What is not as it should be, a sentence each."""
        if not self.ready.is_set():
            return ["the web page is not running: nobody can sign in"]
        return [f"the web page can't be served: {self.failure}"] if self.failure else []

    async def begin_device(self, provider: str) -> messages.DeviceBegun:
        """Have a sign-in begun for somebody without a browser; `provider` may be empty where there is one. Raises NotAllowed."""
        known = [each.name for each in self._begin.providers if each.issuer.kind == "oidc"]
        provider = provider or (known[0] if len(known) == 1 else "")
        if provider not in known:
            listed = ", ".join(known) or "there is none"
            raise NotAllowed(f"say at which OpenID provider you sign in: {listed}")
        begun = await self._asked(lambda number: messages.BeginDevice(number, provider), DEVICE_S)
        if begun is None or begun.failure:
            raise NotAllowed(begun.failure if begun else "the web page's process, which asks the provider, does not answer")
        found: messages.DeviceBegun = begun
        return found

    async def ask_device(self, handle: str, key: str, uid: int) -> Session | None:
        """The session, once the user has said yes at the provider; None while they have not. Raises NotAllowed."""
        asked = await self._asked(lambda number: messages.AskDevice(number, handle), DEVICE_S)
        if asked is None or asked.failure:
            raise NotAllowed(asked.failure if asked else "the web page's process, which asks the provider, does not answer")
        if not asked.user:
            return None
        who, where = (asked.user, asked.provider, asked.subject), f"uid {uid}"
        fault = self._admit(*who, where, asked.groups)
        if fault:
            raise NotAllowed(fault)
        return self.sessions.open(key, *who, where, time.time(), uid, asked.groups)

    async def _asked(self, ask: Callable[[int], messages.ToWeb], limit_s: float) -> Any:
        """Its answer; None when there is none in time."""
        if not self.ready.is_set():
            return None
        number = next(self._numbers)
        try:
            return await self._awaited.answer(number, lambda: self._say(ask(number)), limit_s)
        except (TimeoutError, Away):
            return None

    def _say(self, message: messages.ToWeb | Cage) -> None:
        if self._channel is not None:
            self._channel.send(messages.encode(message))

    # -- what it says -----------------------------------------------------------------------------------------------------------

    def _take(self, data: bytes, sock: socket.socket | None) -> None:
        match message := messages.from_web(data):
            case messages.Ready(applied):
                self.applied = applied
                self.ready.set()
            case messages.Enter():
                self._enter(message)
            case messages.Leave(key):
                self.sessions.close(key)
            case messages.Ask() | messages.Answer() | messages.OnGrant():
                self._work(self._tell(message))
            case messages.LookUp(number, name):
                self._work(self._find(number, name))
            case messages.Pong(number, figures):
                self.figures = figures
                self._awaited.resolve(number, figures)
            case messages.DeviceBegun(number) | messages.DeviceAsked(number):
                self._awaited.resolve(number, message)
            case messages.Crashed(error):
                self._faults.add(0, "", "internal", f"a call broke the web page: {error.splitlines()[-1:]}")
                self._records.note(0, entry.Fault(where="web", error=error))

    def _enter(self, wanted: messages.Enter) -> None:
        """Open a session, once it is on record that there is one."""
        who = (wanted.user, wanted.provider, wanted.subject, wanted.address)
        fault = self._admit(*who, wanted.groups, wanted.fault)
        if not fault:
            self.sessions.open(wanted.key, *who, time.time(), groups=wanted.groups)
        self._say(messages.Entered(wanted.id, fault))

    def _admit(self, user: str, provider: str, subject: str, address: str, groups: tuple[str, ...], fault: str = "") -> str:
        """Put on record that somebody signs in, or not; returns why they may not."""
        if not fault and user not in self._rules.get(provider, ()):
            fault = f"no rule of issuers.{provider}.users gives {user or 'a user'}"
        if not fault and (unknown := set(groups).difference(self._groups[provider])):
            fault = f"no rule of issuers.{provider}.groups gives {min(unknown)}"
        if not fault and user not in self._decider.policy.document.users:
            fault = f"{user} is no user any more"
        signed_in = entry.SignedIn("" if fault else user, provider, subject, address, fault, () if fault else groups)
        return fault if self._records.note(0, signed_in) else fault or "the log can't be written, so nobody is let in"

    async def _tell(self, asked: Asked) -> None:
        self._say(await self._answers.told(asked))

    async def _find(self, number: int, name: str) -> None:
        try:
            found = tuple((await self._look_up(name))[: messages.MAX_ADDRESSES])
        except (NoAnswer, ValueError) as error:
            self._say(messages.Found(number, (), str(error)))
        else:
            self._say(messages.Found(number, found, ""))

    def _work(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._works.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._faults.add(0, "", "internal", f"the web page's supervisor: {error!r}")
