"""The messenger's process: started by the supervisor, it POSTs what it is given, able to do little else.

``python -I -m hostguard.agent.notices.process CHANNEL``. What answers is somebody else's, so it is read here, in a cage: another
user, no capabilities, no new programs, no files but those that a library reads to look up a name or to verify a server. No
secret comes here but the addresses themselves; what is signed was signed before. It ends when its supervisor does.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
import sys
import traceback
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import msgspec

from ..channel import PACKET_BYTES, Channel
from ..sandbox import cage
from ..sandbox.privileges import StillPrivileged
from ..wording import cut
from . import messages

BUG = 70
"""Exit code after an error of ours (sysexits.h: EX_SOFTWARE)."""
THREADS = 8
"""POSTs under way at one time."""
MAX_ANSWER_BYTES = 64 * 1024
MAX_FROM_SUPERVISOR_BYTES = 4 << 20
MAX_QUEUED_BYTES = 4 << 20


def main() -> None:
    """Run until the supervisor is gone."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they come to the whole group; the supervisor says what follows from them
    channel = socket.socket(fileno=int(sys.argv[1]))
    # The roots are read while there still are files.
    opener = urllib.request.build_opener(_StayHere, urllib.request.HTTPSHandler(context=ssl.create_default_context()))
    wanted = msgspec.msgpack.decode(channel.recv(PACKET_BYTES + 1)[1:], type=cage.Cage)
    asyncio.run(_run(channel, opener, wanted))


async def _run(channel: socket.socket, opener: urllib.request.OpenerDirector, wanted: cage.Cage) -> None:
    try:
        applied = cage.close(wanted)
    except StillPrivileged as error:
        print(f"the messenger may not run: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    Messenger(channel, opener, applied)
    await asyncio.Event().wait()


class Messenger:
    """POSTs in threads, since that is how names are looked up."""

    def __init__(self, sock: socket.socket, opener: urllib.request.OpenerDirector, applied: cage.Applied) -> None:
        self._opener = opener
        self._applied = applied
        self._threads = ThreadPoolExecutor(THREADS)
        self._works: set[asyncio.Task[None]] = set()
        self._channel = Channel(
            sock,
            self._heard,
            self._alone,
            takes_sockets=False,
            max_message_bytes=MAX_FROM_SUPERVISOR_BYTES,
            max_queued_bytes=MAX_QUEUED_BYTES,
        )

    def _alone(self, _: str) -> None:
        os._exit(0)

    def _heard(self, data: bytes, _: socket.socket | None) -> None:
        try:
            self._take(messages.to_messenger(data))
        except Exception:  # the supervising handler of the process itself: it ends, and the supervisor tells
            traceback.print_exc()
            os._exit(BUG)

    def _take(self, message: messages.ToMessenger) -> None:
        match message:
            case messages.Begin():
                self._say(messages.Ready(self._applied))
            case messages.Ping(number):
                self._say(messages.Pong(number))
            case messages.Post():
                task = asyncio.get_running_loop().create_task(self._post(message))
                self._works.add(task)
                task.add_done_callback(self._works.discard)

    async def _post(self, post: messages.Post) -> None:
        status, failure = await asyncio.get_running_loop().run_in_executor(self._threads, posted, self._opener, post)
        self._say(messages.Posted(post.number, status, cut(failure)))

    def _say(self, message: messages.FromMessenger) -> None:
        self._channel.send(messages.encode(message))


def posted(opener: urllib.request.OpenerDirector, post: messages.Post) -> tuple[int, str]:
    """POST it; the answer's status, or 0 with the reason why there is none."""
    try:
        request = urllib.request.Request(post.url, post.body, dict(post.headers), method="POST")
        with opener.open(request, timeout=post.timeout_s) as response:
            response.read(MAX_ANSWER_BYTES)
            return min(int(response.status), 999), ""
    except urllib.error.HTTPError as error:
        return min(error.code, 999), str(error.reason)
    except (OSError, ValueError, http.client.HTTPException) as error:
        return 0, str(getattr(error, "reason", "") or error) or type(error).__name__


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, elsewhere: the redirect is told as the failure that it is."""

    def redirect_request(self, *_: object) -> None:
        return None


if __name__ == "__main__":
    main()
