"""Tells channels what happens to requests: web hooks by the messenger, commands by themselves.

Nothing waits for a channel, and nothing is kept for one across a restart: a notice is no record. Each channel has its own queue,
so one that is slow keeps no other waiting; what does not fit is dropped, counted, and told by ``status``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..policy.channel_sections import Channel
from .child import Child
from .failures import Failure
from .notices.bodies import body, facts
from .notices.keeper import Keeper
from .notices.signing import BadSecret, headers, secret_of

MAX_WAITING = 1000
"""Notices that wait for one channel."""
AGAIN_S = (1.0, 5.0, 30.0, 120.0)
"""Before each further attempt at a web hook; after the last there is none."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class _Line:
    """One channel with what waits for it."""

    def __init__(self, name: str, section: Channel, user: tuple[int, int]) -> None:
        """Raises Failure for a file that can't be read."""
        self.name = name
        self.section = section
        self.user = user
        """The ids that a command runs as."""
        self.queue: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(MAX_WAITING)
        self.sent = 0
        self.lost = 0
        """Notices that did not get through, or for which there was no room."""
        self.failure = ""
        """Why the last attempt failed; empty when it did not."""
        self.secret = secret_of_file(name, section.secret_file) if section.secret_file else None
        self.url = section.url or (read(name, "url_file", section.url_file) if section.url_file else "")


class Announcer:
    """All channels."""

    def __init__(self, sections: Mapping[str, Channel], users: Mapping[str, tuple[int, int]], messenger: Keeper | None) -> None:
        """`users`: by channel, the ids that its command runs as. `messenger`: None where no channel takes one. Raises Failure."""
        self.messenger = messenger
        self._lines = [_Line(name, section, users[name]) for name, section in sections.items()]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Tell, until `stop`."""
        works = [self._serve(line) for line in self._lines]
        if self.messenger is not None:
            works.append(self.messenger.run())
        self._tasks = [asyncio.ensure_future(work) for work in works]

    async def stop(self) -> None:
        """End, with commands that run."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def leave(self) -> Child | None:
        """The messenger's process, if somebody still has to wait for its end."""
        return self.messenger.leave() if self.messenger is not None else None

    def tell(self, event: str, request: dict[str, Any]) -> None:
        """Something happened to a request (`requestview.request_facts`)."""
        for line in self._lines:
            if event not in line.section.events or request["escalation"] < line.section.escalation:
                continue
            try:
                line.queue.put_nowait((event, request))
            except asyncio.QueueFull:
                line.lost += 1
                line.failure = f"{MAX_WAITING} notices wait for it already"

    def facts(self) -> list[dict[str, Any]]:
        """For ``status``."""
        return [
            {"name": line.name, "sent": line.sent, "lost": line.lost, "waiting": line.queue.qsize(), "failure": line.failure}
            for line in self._lines
        ]

    async def _serve(self, line: _Line) -> None:
        while True:
            event, request = await line.queue.get()
            payload = facts(event, request, time.time(), statement=line.section.statement, link=line.section.link)
            sends = self._run(line, payload) if line.section.command else self._post(line, payload)
            line.failure = await sends
            if line.failure:
                line.lost += 1
            else:
                line.sent += 1

    async def _post(self, line: _Line, payload: dict[str, Any]) -> str:
        """POST until it is taken, so often at most; why it was not."""
        assert self.messenger is not None
        identifier, data = f"msg_{os.urandom(12).hex()}", body(line.section.format, payload)
        for pause_s in (*AGAIN_S, None):
            signed = headers(line.secret, identifier, int(time.time()), data)
            told = (("content-type", "application/json"), ("user-agent", "hostguard"), *signed)
            line.failure = await self.messenger.post(line.url, told, data, line.section.timeout_s)
            if not line.failure or pause_s is None:
                break
            await asyncio.sleep(pause_s)
        return line.failure

    async def _run(self, line: _Line, payload: dict[str, Any]) -> str:
        """Run the command with the payload as JSON on its stdin; why it is not taken for told."""
        uid, gid = line.user
        nowhere = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                *line.section.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=nowhere,
                stderr=nowhere,
                env={"LANG": "C.UTF-8", "PATH": PATH},
                cwd="/",
                start_new_session=True,
                user=uid,
                group=gid,
                extra_groups=[],
            )
        except OSError as error:
            return f"{line.section.command[0]} can't be started: {error.strerror}"
        try:
            async with asyncio.timeout(line.section.timeout_s):
                await process.communicate(body("json", payload))
        except TimeoutError:
            return f"it took longer than {line.section.timeout_s} s"
        finally:
            # With whatever it started: it has a session of its own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        return f"it ended with code {process.returncode}" if process.returncode else ""


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
