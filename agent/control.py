"""The control API: HTTP with JSON over a UNIX socket, for the command line.

Who asks is what the kernel says of the socket's peer (SO_PEERCRED, unix(7)), never what the request claims. A process in a
guarded cgroup is refused whatever its uid: an agent must not be able to approve its own requests. uid 0, and whoever the
configuration maps to a user by their UNIX user, may ask; whether they may what they ask for is policy's to say, for each call
(`routes`, `rights`). Who has signed in (`web.calls`) is the user of that sign-in instead.
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
from .client import LEFT_OUT
from .failures import Failure
from .grant_routes import MAX_REASON, GrantRoutes
from .halt import Halt, NotDone
from .history import History
from .holds import Holds
from .ledger import LedgerUnavailable
from .metrics import CONTENT_TYPE, everyone
from .peer import Peer, unix_name
from .replaying import NotRead
from .rights import NoSuchAgent, Rights
from .routes import Caller, Right, Routes
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
        metrics: Callable[[Callable[[str], bool]], Awaitable[bytes]],
        restart: Callable[[bool, By, tuple[str, ...]], Awaitable[dict[str, Any]]],
        sign_ins: SignIns,
        rights: Rights,
    ) -> None:
        """`metrics`: as `Metrics.text`. `restart`: as `Restart.ask`."""
        self._status = status
        self._metrics = metrics
        self._restart = restart
        self._sign_ins = sign_ins
        self._sock: socket.socket | None = None
        self._holds = holds
        self._halt = halt
        self._history = history
        self._is_guarded = is_guarded
        self._rights = rights
        self._runner: web.AppRunner | None = None
        self._scraped: web.AppRunner | None = None
        self._path: Path | None = None
        self.more: list[Callable[[Routes], None]] = []
        """What adds calls of its own."""

    def answer_to(self, router: web.UrlDispatcher) -> Routes:
        """Put all calls on a router."""
        routes = Routes(router, self._rights, self._known_by)
        look = Right("look", "requests")
        routes.add("GET", "/v1/status", Right("look", "status", "look at this host's status"), self._get_status)
        routes.add("GET", "/metrics", Right("look", "metrics", "look at this host's metrics"), self._get_metrics)
        routes.add("GET", "/v1/duties", Right("look", "duties", "look at who exercised which duties"), self._get_duties)
        routes.add("GET", "/v1/requests", look, self._get_requests)
        routes.add("GET", "/v1/requests/watch", look, self._watch)
        routes.add("GET", "/v1/requests/{id}", look, self._get_request)
        routes.add("POST", "/v1/requests/{id}/{answer:approve|deny}", Right("approve"), self._decide)
        routes.add("POST", "/v1/requests/{id}/withdraw", Right("operate", "withdraw"), self._withdraw)
        routes.add("POST", "/v1/restart", Right("operate", "restart", "restart the daemon"), self._do_restart)
        routes.add("POST", "/v1/stop", Right("operate", "stop"), self._stop_agent)
        routes.add("POST", "/v1/resume", Right("operate", "resume"), self._resume_agent)
        GrantRoutes(self._holds.granting, self._user).add_to(routes)
        for add in self.more:
            add(routes)
        routes.open("GET", "/v1/who", self._get_who)
        self._sign_ins.add_to(routes, lambda request: self._peer(request).uid)
        return routes

    async def start(self, path: Path, inherited: socket.socket | None = None) -> None:
        """Listen on the UNIX socket `path`, or on the one that an earlier supervisor opened there. Raises OSError."""
        app = web.Application(middlewares=[self._refusals], client_max_size=MAX_BODY_BYTES)
        self.answer_to(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handle_signals=False)
        await self._runner.setup()
        self._path = path
        self._sock = inherited or _listening(path)
        await web.SockSite(self._runner, self._sock.dup()).start()

    async def listen_metrics(self, host: str, port: int) -> None:
        """Answer ``GET /metrics``, and nothing else, to whoever connects to this address of the loopback. Raises OSError."""

        async def answer(_: web.Request) -> web.Response:
            return exposition(await self._metrics(everyone))

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
        except NotRead as error:
            return _error(error.status, str(error))
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

    def _known_by(self, request: web.Request) -> By:
        peer = self._known_peer(request)
        return By(self._named(peer), peer.uid, peer.provider, peer.groups)

    async def _get_who(self, request: web.Request) -> web.Response:
        peer = self._peer(request)
        session = peer.session = self._sign_ins.session(request, peer.uid)
        facts = {"user": self._named(peer), "provider": "", "until": 0.0} if session is None else facts_of(session)
        return web.json_response({**facts, "unix": peer.uid})

    async def _get_status(self, request: web.Request, caller: Caller) -> web.Response:
        return web.json_response(caller.within_sight(await self._status()))

    async def _get_metrics(self, request: web.Request, caller: Caller) -> web.Response:
        return exposition(await self._metrics(lambda agent: caller.sees(agent, "status")))

    async def _get_requests(self, request: web.Request, caller: Caller) -> web.Response:
        return web.json_response(caller.seen(self._holds.list(everything=request.query.get("all") == "1"), "requests"))

    async def _get_request(self, request: web.Request, caller: Caller) -> web.Response:
        return web.json_response(self._holds.show(self._request(request, caller)))

    def _request(self, request: web.Request, caller: Caller) -> str:
        """The id of the request that is named, if the caller may know of it. Raises UnknownRequest."""
        name = request.match_info["id"]
        if not caller.sees(self._holds.agent_of(name), "requests"):
            raise UnknownRequest(f"There is no request {name}.")
        return name

    async def _decide(self, request: web.Request, caller: Caller) -> web.Response:
        body, name = await _body(request), self._request(request, caller)
        self._user(caller.by)
        answer = await self._holds.decide(
            name,
            caller.by,
            approve=request.match_info["answer"] == "approve",
            reason=body.reason[:MAX_REASON],
            digest=body.digest,
            uses=body.uses,
            until=body.until,
        )
        return web.json_response(answer)

    async def _withdraw(self, request: web.Request, caller: Caller) -> web.Response:
        body, name = await _body(request), self._request(request, caller)
        caller.insist(self._holds.agent_of(name), f"withdraw {name}", decides=self._holds.may_decide(name, caller.by))
        return web.json_response(self._holds.withdraw_ticket(name, caller.by, body.reason[:MAX_REASON]))

    def _named(self, peer: Peer) -> str:
        """The user that has signed in, else the one of its uid; empty for nobody's."""
        return peer.session.user if peer.session is not None else self._holds.user_of(peer.uid) or ""

    def _user(self, by: By) -> str:
        """The user that decides. Raises NotAllowed."""
        if not by.user:
            raise NotAllowed(f"UNIX user {unix_name(by.uid)} is no user of hostguard, so it can't decide anything.")
        return by.user

    async def _do_restart(self, request: web.Request, caller: Caller) -> web.Response:
        policies = caller.insist(None, "restart the daemon")
        told = await self._restart(request.query.get("end_flows") == "1", caller.by, policies)
        return web.json_response(caller.within_sight(told))

    async def _get_duties(self, request: web.Request, caller: Caller) -> web.Response:
        """Who has exercised which duties."""
        return web.json_response(caller.seen(await self._history.facts(), "history"))

    async def _stop_agent(self, request: web.Request, caller: Caller) -> web.Response:
        agent, reason = await _halted(request)
        policies = self._may_halt("stop", agent, caller)
        return web.json_response(await self._halt.stop(agent, caller.by, policies, reason))

    async def _resume_agent(self, request: web.Request, caller: Caller) -> web.Response:
        agent, reason = await _halted(request)
        policies = self._may_halt("resume", agent, caller)
        return web.json_response(caller.within_sight(await self._halt.resume(agent, caller.by, policies, reason)))

    def _may_halt(self, verb: str, agent: str | None, caller: Caller) -> tuple[str, ...]:
        """The policies by which they may stop or resume the agent; None for all. Raises NotAllowed, NoSuchAgent."""
        if agent is None:
            return caller.insist(None, f"{verb} all agents")
        return caller.insist_by_name(agent, f"{verb} agent {agent}", left=self._halt.stops.exactly(agent) is not None)

    async def _watch(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """A line of JSON for each request as it is filed or decided; blank lines keep the connection alive."""
        caller.seen(self._holds.briefly(everything=False), "requests")
        response = web.StreamResponse(headers={"Content-Type": "application/jsonlines", LEFT_OUT: str(caller.left_out)})
        await response.prepare(request)
        async with contextlib.aclosing(self._holds.watch(WATCH_PING_S)) as events:
            # A watcher that leaves is nothing to report.
            with contextlib.suppress(ConnectionResetError):
                async for event in events:
                    # Asked at each event: who is watched may change, and what the watcher may.
                    if event is None or caller.sees(event["agent"], "requests"):
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


async def _halted(request: web.Request) -> tuple[str | None, str]:
    """The agent that is to be stopped or resumed, None for all, with what the user says."""
    try:
        body = await request.json()
    except ValueError:
        raise web.HTTPBadRequest(reason="the body is no JSON object") from None
    match body:
        case {"agent": str() | None as agent, "reason": str(reason)}:
            return agent, reason
    raise web.HTTPBadRequest(reason="the body must be an object with `agent`, a text or null, and the text `reason`")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
