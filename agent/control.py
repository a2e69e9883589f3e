"""The control API: HTTP with JSON over a UNIX socket, for the command line.

Who asks is what the kernel says of the socket's peer (SO_PEERCRED, unix(7)), never what the request claims. A process in a
guarded cgroup is refused whatever its uid: an agent must not be able to approve its own requests. uid 0 may look at and operate
everything; other users see and decide requests for approval as far as the configuration maps their UNIX user to a user, and
whether one may approve is a Cedar decision made in `holds`. Who has signed in (`web.calls`) is the user of that sign-in instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ..policy.grants import NotThere, UnknownGrant, Uses, When
from ..policy.requests import AlreadyDecided, BookFull, NotAllowed, UnknownRequest
from .failures import Failure
from .grant_routes import MAX_REASON, GrantRoutes
from .halt import Halt, NoSuchAgent, NotDone
from .history import History
from .holds import Holds
from .ledger import LedgerUnavailable
from .metrics import CONTENT_TYPE
from .peer import Peer, unix_name
from .waiting import By
from .web.calls import SignIns, facts_of

MAX_BODY_BYTES = 64 * 1024
WATCH_PING_S = 15.0
BACKLOG = 128


class Answer(msgspec.Struct, forbid_unknown_fields=True):
    """What a user says to a request. `uses`, `until` (seconds since 1970): as of `Holds.decide`."""

    reason: str = ""
    digest: str = ""
    uses: Uses = 1
    until: When = 0


class Control:
    """The handlers of the control API."""

    def __init__(
        self,
        *,
        status: Callable[[], Awaitable[dict[str, Any]]],
        holds: Holds,
        halt: Halt,
        history: History,
        is_guarded: Callable[[int], bool],
        metrics: Callable[[], Awaitable[bytes]],
        restart: Callable[[bool], Awaitable[dict[str, Any]]],
        sign_ins: SignIns,
    ) -> None:
        """`metrics`: the exposition for Prometheus. `restart`: as `Restart.ask`."""
        self._status = status
        self._metrics = metrics
        self._restart = restart
        self._sign_ins = sign_ins
        self._sock: socket.socket | None = None
        self._holds = holds
        self._halt = halt
        self._history = history
        self._is_guarded = is_guarded
        self._runner: web.AppRunner | None = None
        self._scraped: web.AppRunner | None = None
        self._path: Path | None = None
        self.more: list[Callable[[web.UrlDispatcher, Callable[[web.Request], Peer]], None]] = []
        """What adds calls of its own; it is told how to know who calls, and may look."""

    async def start(self, path: Path, inherited: socket.socket | None = None) -> None:
        """Listen on the UNIX socket `path`, or on the one that an earlier supervisor opened there. Raises OSError."""
        app = web.Application(middlewares=[self._refusals], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/v1/status", self._get_status)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/v1/requests", self._get_requests)
        app.router.add_get("/v1/requests/watch", self._watch)
        app.router.add_get("/v1/requests/{id}", self._get_request)
        app.router.add_post("/v1/requests/{id}/{answer:approve|deny}", self._decide)
        app.router.add_post("/v1/requests/{id}/withdraw", self._withdraw)
        GrantRoutes(self._holds.granting, self._known_peer, self._user).add_to(app)
        app.router.add_post("/v1/restart", self._do_restart)
        app.router.add_get("/v1/duties", self._get_duties)
        app.router.add_post("/v1/{verb:stop|resume}", self._operate)
        for add in self.more:
            add(app.router, self._known_peer)
        app.router.add_get("/v1/who", self._get_who)
        self._sign_ins.add_to(app.router, lambda request: self._peer(request).uid)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        self._path = path
        self._sock = inherited or _listening(path)
        await web.SockSite(self._runner, self._sock.dup()).start()

    async def listen_metrics(self, host: str, port: int) -> None:
        """Answer ``GET /metrics``, and nothing else, to whoever connects to this address of the loopback. Raises OSError."""

        async def answer(_: web.Request) -> web.Response:
            return exposition(await self._metrics())

        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/metrics", answer)
        self._scraped = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._scraped.setup()
        await web.TCPSite(self._scraped, host, port).start()

    async def stop(self) -> None:
        """Stop listening; open calls get a second to end."""
        await self._end_calls()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
        if self._sock is not None:
            self._sock.close()

    async def leave(self) -> int:
        """Answer no more; the listening socket's descriptor, where further calls wait, is for the next supervisor."""
        await self._end_calls()
        assert self._sock is not None
        return self._sock.detach()

    async def _end_calls(self) -> None:
        for runner in (self._runner, self._scraped):
            if runner is not None:
                await runner.cleanup()
        self._runner = self._scraped = None

    @web.middleware
    async def _refusals(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            return await handler(request)
        except NotAllowed as error:
            return _error(403, str(error))
        except (UnknownRequest, UnknownGrant, NoSuchAgent) as error:
            return _error(404, str(error))
        except (AlreadyDecided, NotThere, BookFull, NotDone) as error:
            return _error(409, str(error))
        except LedgerUnavailable as error:
            return _error(503, str(error))
        except web.HTTPException as error:
            return _error(error.status, error.reason)

    def _peer(self, request: web.Request) -> Peer:
        assert request.transport is not None
        peer = Peer(request.transport.get_extra_info("socket"))
        if self._is_guarded(peer.pid):
            raise NotAllowed(f"process {peer.pid} is guarded: agents may not use the control socket")
        return peer

    def _known_peer(self, request: web.Request) -> Peer:
        peer = self._peer(request)
        peer.session = self._sign_ins.session(request, peer.uid)
        if peer.session is None and peer.uid != 0 and self._holds.user_of(peer.uid) is None:
            raise NotAllowed(
                f"UNIX user {peer.uid} is no user of hostguard: add it to `unix` of a [users.NAME] in the configuration, "
                "or sign in (`hostguard login`)"
            )
        return peer

    async def _get_who(self, request: web.Request) -> web.Response:
        peer = self._peer(request)
        session = peer.session = self._sign_ins.session(request, peer.uid)
        facts = {"user": self._named(peer), "provider": "", "until": 0.0} if session is None else facts_of(session)
        return web.json_response({**facts, "unix": peer.uid})

    async def _get_status(self, request: web.Request) -> web.Response:
        self._known_peer(request)
        return web.json_response(await self._status())

    async def _get_metrics(self, request: web.Request) -> web.Response:
        self._known_peer(request)
        return exposition(await self._metrics())

    async def _get_requests(self, request: web.Request) -> web.Response:
        self._known_peer(request)
        return web.json_response(self._holds.list(everything=request.query.get("all") == "1"))

    async def _get_request(self, request: web.Request) -> web.Response:
        self._known_peer(request)
        return web.json_response(self._holds.show(request.match_info["id"]))

    async def _decide(self, request: web.Request) -> web.Response:
        peer = self._known_peer(request)
        body = await _body(request)
        answer = await self._holds.decide(
            request.match_info["id"],
            user=self._user(peer),
            uid=peer.uid,
            provider=peer.provider,
            groups=peer.groups,
            approve=request.match_info["answer"] == "approve",
            reason=body.reason[:MAX_REASON],
            digest=body.digest,
            uses=body.uses,
            until=body.until,
        )
        return web.json_response(answer)

    async def _withdraw(self, request: web.Request) -> web.Response:
        peer = self._known_peer(request)
        body = await _body(request)
        withdrawn = self._holds.withdraw_ticket(
            request.match_info["id"],
            user=self._named(peer),
            uid=peer.uid,
            provider=peer.provider,
            groups=peer.groups,
            reason=body.reason[:MAX_REASON],
        )
        return web.json_response(withdrawn)

    def _named(self, peer: Peer) -> str:
        """The user that has signed in, else the one of its uid; empty for nobody's."""
        return peer.session.user if peer.session is not None else self._holds.user_of(peer.uid) or ""

    def _user(self, peer: Peer) -> str:
        """The user that decides. Raises NotAllowed."""
        user = self._named(peer)
        if not user:
            raise NotAllowed(f"UNIX user {unix_name(peer.uid)} is no user of hostguard, so it can't decide anything.")
        return user

    async def _do_restart(self, request: web.Request) -> web.Response:
        peer = self._peer(request)
        if peer.uid != 0:
            raise NotAllowed("only root restarts the daemon")
        return web.json_response(await self._restart(request.query.get("end_flows") == "1"))

    async def _get_duties(self, request: web.Request) -> web.Response:
        """Who has exercised which duties."""
        self._known_peer(request)
        return web.json_response(await self._history.facts())

    async def _operate(self, request: web.Request) -> web.Response:
        """Stop or resume the `agent` that the body names; null for all."""
        peer = self._known_peer(request)
        try:
            body = await request.json()
        except ValueError:
            return _error(400, "the body is no JSON object")
        match body:
            case {"agent": str() | None as agent, "reason": str(reason)}:
                act = self._halt.stop if request.match_info["verb"] == "stop" else self._halt.resume
                return web.json_response(await act(agent, By(self._named(peer), peer.uid, peer.provider, peer.groups), reason))
            case _:
                return _error(400, "the body must be an object with `agent`, a text or null, and the text `reason`")

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """A line of JSON for each request as it is filed or decided; blank lines keep the connection alive."""
        self._known_peer(request)
        response = web.StreamResponse(headers={"Content-Type": "application/jsonlines"})
        await response.prepare(request)
        async with contextlib.aclosing(self._holds.watch(WATCH_PING_S)) as events:
            # A watcher that leaves is nothing to report.
            with contextlib.suppress(ConnectionResetError):
                async for event in events:
                    await response.write(b"\n" if event is None else json.dumps(event).encode() + b"\n")
        return response


async def open_control(
    control: Control,
    path: Path,
    scraped: tuple[str, int] | None,
    inherited: socket.socket | None,
    undo: AsyncExitStack,
) -> None:
    """Have it listen until `undo`: on the UNIX socket, and on the loopback where that is wanted. Raises Failure."""
    try:
        await control.start(path, inherited)
    except OSError as error:
        raise Failure(f"the control socket {path} can't be opened: {error.strerror or error}") from None
    undo.push_async_callback(control.stop)
    if scraped is None:
        return
    try:
        await control.listen_metrics(*scraped)
    except OSError as error:
        raise Failure(f"metrics.listen: {scraped[0]}:{scraped[1]} can't be listened on: {error.strerror or error}") from None


def _listening(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    # Every local user may connect; what each may do is decided per call, by the peer's uid.
    os.chmod(path, 0o666)
    sock.setblocking(False)
    sock.listen(BACKLOG)
    return sock


def exposition(text: bytes) -> web.Response:
    """Prometheus' text format as an answer."""
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})


async def _body(request: web.Request) -> Answer:
    """The body as JSON; what is none is told to whoever sent it."""
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=Answer)
    except msgspec.DecodeError as error:
        raise web.HTTPBadRequest(reason=f"the body is no answer: {error}") from None


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
