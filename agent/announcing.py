"""Tells channels what happens to requests: web hooks by the messenger, commands by themselves.

Nothing waits for a channel. Each has its own queue, so one that is slow keeps no other waiting; what does not fit is dropped,
counted, and told by ``status``. What waits is on disk, too (`outbox`), and told by the next daemon if this one ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..policy.channel_sections import Channel
from .child import Child
from .failures import Failure
from .faults import Faults
from .notices.bodies import body, facts
from .notices.keeper import Keeper
from .notices.signing import BadSecret, headers, secret_of
from .outbox import Notice, Outbox
from .tending import tended

MAX_WAITING = 1000
"""Notices that wait for one channel."""
AGAIN_S = (1.0, 5.0, 30.0, 120.0)
"""Before each further attempt at a web hook; after the last there is none."""
WAITS = frozenset(["filed", "collected", "escalated"])
"""Events that say that a request waits. Of one that does not any more, a daemon tells none of those that it found."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Line:
    """One channel with what waits for it."""

    def __init__(self, name: str, section: Channel, user: tuple[int, int], outbox: Outbox) -> None:
        """Raises Failure for a file that can't be read."""
        self.outbox = outbox
        self.name = name
        self.section = section
        self.user = user
        """The ids that a command runs as."""
        self.queue: asyncio.Queue[Notice] = asyncio.Queue(MAX_WAITING)
        self.sent = 0
        self.lost = 0
        """Notices that did not get through, or for which there was no room."""
        self.failure = ""
        """Why the last attempt failed; empty when it did not."""
        self.secret = secret_of_file(name, section.secret_file) if section.secret_file else None
        self.url = section.url or (read(name, "url_file", section.url_file) if section.url_file else "")

    def put(self, notice: Notice) -> bool:
        """Have it told; whether there is room for it."""
        try:
            self.queue.put_nowait(notice)
        except asyncio.QueueFull:
            self.lost += 1
            self.failure = f"{MAX_WAITING} notices wait for it already"
            return False
        return True


class Announcer:
    """All channels."""

    def __init__(
        self,
        sections: Mapping[str, Channel],
        users: Mapping[str, tuple[int, int]],
        messenger: Keeper | None,
        outbox: Outbox | None,
        waits: Callable[[str], bool],
        faults: Faults,
    ) -> None:
        """`users`: by channel, the ids that its command runs as. `messenger`: None where no channel takes one; `outbox`: where
        there is no channel. `waits`: whether a request still waits for an answer. Raises Failure.
        """
        self.messenger = messenger
        self._outbox = outbox
        self._waits = waits
        self._faults = faults
        self._lines = (
            {name: _Line(name, section, users[name], outbox) for name, section in sections.items()} if outbox is not None else {}
        )
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Tell, until `stop`: first what an earlier daemon could not, so not before requests are taken up from one."""
        if self._outbox is not None:
            self._resume(self._outbox)
        works = [self._serve(line) for line in self._lines.values()]
        if self.messenger is not None:
            works.append(self.messenger.run())
        self._tasks = [asyncio.ensure_future(tended(work, self._faults)) for work in works]

    async def stop(self) -> None:
        """End, with commands that run; what is not told by then is left to the next daemon."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        if self._outbox is not None:
            await self._outbox.settle()

    def leave(self) -> Child | None:
        """The messenger's process, if somebody still has to wait for its end."""
        return self.messenger.leave() if self.messenger is not None else None

    def tell(self, event: str, request: dict[str, Any]) -> None:
        """Something happened to a request (`requestview.request_facts`)."""
        for line in self._lines.values():
            section = line.section
            if event not in section.events or request["escalation"] < section.escalation:
                continue
            payload = facts(event, request, time.time(), statement=section.statement, link=section.link)
            notice = Notice(f"msg_{os.urandom(12).hex()}", line.name, event, payload)
            if line.put(notice):
                line.outbox.put(notice)

    def _resume(self, outbox: Outbox) -> None:
        for notice in outbox.left:
            line = self._lines.get(notice.channel)
            stale = notice.event in WAITS and not self._waits(notice.payload["data"]["id"])
            if line is None or stale or not line.put(notice):
                outbox.over(notice)

    @property
    def failure(self) -> str:
        """Why notices are not kept; empty when they are."""
        return self._outbox.failure if self._outbox is not None else ""

    def facts(self) -> list[dict[str, Any]]:
        """For ``status``."""
        return [
            {"name": line.name, "sent": line.sent, "lost": line.lost, "waiting": line.queue.qsize(), "failure": line.failure}
            for line in self._lines.values()
        ]

    async def _serve(self, line: _Line) -> None:
        while True:
            notice = await line.queue.get()
            line.failure = await (self._run(line, notice.payload) if line.section.command else self._post(line, notice))
            line.outbox.over(notice)
            if line.failure:
                line.lost += 1
            else:
                line.sent += 1

    async def _post(self, line: _Line, notice: Notice) -> str:
        """POST until it is taken, so often at most; why it was not."""
        assert self.messenger is not None
        data = body(line.section.format, notice.payload)
        for pause_s in (*AGAIN_S, None):
            signed = headers(line.secret, notice.id, int(time.time()), data)
            told = (("content-type", "application/json"), ("user-agent", "hostguard"), *signed)
            line.failure = await self.messenger.post(line.url, told, data, line.section.timeout_s)
            if not line.failure or pause_s is None:
                break
            await asyncio.sleep(pause_s)
        return line.failure

    async def _run(self, line: _Line, payload: dict[str, Any]) -> str:
        """Run the command with the payload as JSON on its stdin; why it is not taken for told."""
        uid, gid = line.user
        told = os.memfd_create("notice", os.MFD_CLOEXEC)
        try:
            # All of it is there before anybody reads: no pipe that one side may leave.
            os.write(told, body("json", payload))
            os.lseek(told, 0, os.SEEK_SET)
            # Not the event loop's: uvloop starts none as another user.
            process = subprocess.Popen(
                line.section.command,
                stdin=told,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"LANG": "C.UTF-8", "PATH": PATH},
                cwd="/",
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=[],
            )
        except OSError as error:
            return f"{line.section.command[0]} can't be started: {error.strerror}"
        finally:
            os.close(told)
        child = Child.of(process)
        try:
            async with asyncio.timeout(line.section.timeout_s):
                await child.wait()
        except TimeoutError:
            return f"it took longer than {line.section.timeout_s} s"
        finally:
            # With whatever it started: it has a session of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            code = await child.wait()
        return f"it ended with code {code}" if code else ""


def read(name: str, key: str, path: str) -> str:
    """A file of the configuration's, on one line. Raises Failure."""
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"channels.{name}.{key}: {path} can't be read: {error}") from None


def secret_of_file(name: str, path: str) -> bytes:
    """Raises Failure."""
    try:
        return secret_of(read(name, "secret_file", path))
    except BadSecret as error:
        raise Failure(f"channels.{name}.secret_file: {path}: {error}") from None
