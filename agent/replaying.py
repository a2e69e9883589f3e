"""Recordings for users who can't read the log's files: asked of policy, put on record, then shown.

The log is read by a process of its own (`reading`), never by the supervisor. Of what it finds only that is shown for whose agent
and resource the user has the right `replay`; and nothing before it is on record who is shown what. Refusals are on record, too.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from ..policy.requests import NotAllowed
from ..recorder import entry
from .paths import Paths
from .peer import Peer
from .records import Records
from .refusals import Refusals
from .routes import Caller, Handler, Right, Routes
from .waiting import By

MAX_BYTES = 16 << 20
"""Of one answer."""
LIMIT_S = 60.0
"""How long reading may take."""
AT_ONCE = 2
MAX_WAITING = 8
"""Calls that wait for one of these; further ones are refused."""
MAX_ROWS = 1000
READ_ROWS = 10_000
"""How many of the newest are looked through for those that the caller may see."""
MODULE = "hostguard.agent.reading"
CHOICES = frozenset(["agent", "user", "resource", "table", "verdict", "tag", "since", "until"])
"""As of ``hostguard recordings list``."""


class NotRead(Exception):
    """There is no answer; `status` is the call's."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Hidden(NotRead):
    """It is there, and not to be seen; answered as what is not there."""

    def __init__(self, message: str, agent: str, why: str) -> None:
        super().__init__(message, 404)
        self.agent = agent
        self.why = why


class Told(msgspec.Struct, frozen=True):
    """What the process printed."""

    output: bytes
    remarks: str


class Replaying:
    """``/v1/recordings`` and what is below it."""

    def __init__(self, config: str, paths: Paths, records: Records) -> None:
        self._config = config
        self._paths = paths
        self._records = records
        self._refusals = Refusals(records)
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    def add(self, routes: Routes) -> None:
        """Answer to them."""
        for path, handler in (("", self._list), ("/search", self._search), ("/{flow:[0-9]{1,19}}", self._show)):
            routes.add("GET", f"/v1/recordings{path}", Right("replay"), self._trying(handler), self._turned_away)

    def _trying(self, handler: Handler) -> Handler:
        """The same, with its refusals on record."""

        async def tried(request: web.Request, caller: Caller) -> web.StreamResponse:
            try:
                return await handler(request, caller)
            except NotAllowed as error:
                self._refuse(caller.by, request, str(error))
                raise
            except Hidden as hidden:
                self._refuse(caller.by, request, hidden.why, hidden.agent)
                raise

        return tried

    def _turned_away(self, request: web.Request, why: str) -> None:
        assert request.transport is not None
        self._refuse(By(uid=Peer(request.transport.get_extra_info("socket")).uid), request, why)

    def _refuse(self, by: By, request: web.Request, why: str, agent: str = "") -> None:
        flow, searched = int(request.match_info.get("flow", "0")), request.path == "/v1/recordings/search"
        refused = entry.Replayed(
            user=by.user,
            uid=by.uid,
            provider=by.provider,
            groups=by.groups,
            recording=flow,
            filters=() if flow else tuple(sorted(request.query.items())),
            agents=(agent,) if agent else (),
            payloads=searched or request.query.get("payloads") == "1",
            refused=why,
        )
        self._refusals.note(refused)

    async def _list(self, request: web.Request, caller: Caller) -> web.Response:
        wanted, limit = _wanted(request)
        _insist(caller)
        rows = msgspec.json.decode((await self._read("list", *_options(wanted, READ_ROWS))).output)
        return self._show_rows(caller, rows, limit, wanted, payloads=False)

    async def _search(self, request: web.Request, caller: Caller) -> web.Response:
        wanted, limit = _wanted(request, "text")
        _insist(caller)
        text = wanted.get("text", "")
        options = _options({name: value for name, value in wanted.items() if name != "text"}, READ_ROWS)
        told = msgspec.json.decode((await self._read("search", *options, "--", text)).output)
        # Long statements are searched as well, so what is found tells of them.
        return self._show_rows(caller, told["found"], limit, wanted, payloads=True, around={"fresh_to": told["fresh_to"]})

    def _show_rows(
        self,
        caller: Caller,
        rows: list[dict[str, Any]],
        limit: int,
        wanted: Mapping[str, str],
        *,
        payloads: bool,
        around: Mapping[str, Any] | None = None,
    ) -> web.Response:
        """Those of the rows that the caller may see, the newest `limit` of them; on record first."""
        answers = [caller.ask(row["agent"], resource=row["resource"], payloads=payloads) for row in rows]
        found = [(row, answer.policies) for row, answer in zip(rows, answers, strict=True) if answer.allowed]
        caller.left_out, found = len(rows) - len(found), found[-limit:]
        shown = [row for row, _ in found]
        policies = {name for _, names in found for name in names}
        self._put_on_record(caller, policies, shown, wanted, payloads=payloads)
        return web.json_response(shown if around is None else {**around, "found": shown})

    async def _show(self, request: web.Request, caller: Caller) -> web.Response:
        flow, payloads = int(request.match_info["flow"]), request.query.get("payloads") == "1"
        if unknown := set(request.query) - {"payloads"}:
            raise web.HTTPBadRequest(reason=f"there is no {sorted(unknown)[0]!r} here")
        _insist(caller)
        nowhere = f"There is no recording {flow} that you may replay."
        try:
            told = await self._read("show", *([] if payloads else ["--no-payloads"]), str(flow))
        except NotRead as error:
            raise NotRead(nowhere, 404) if error.status == 404 else error from None
        found = msgspec.json.decode(told.output)
        agent, resource = found["facts"]["agent"], found["facts"]["resource"]
        try:
            caller.insist(agent, f"replay flow {flow}", resource=resource, payloads=False)
        except NotAllowed as error:
            raise Hidden(nowhere, agent, str(error)) from None
        doing = f"replay flow {flow} with its payloads (--no-payloads leaves them out)"
        policies = caller.insist(agent, doing, resource=resource, payloads=payloads)
        self._put_on_record(caller, policies, [found["facts"]], {}, payloads=payloads, flow=flow)
        return web.json_response({"recording": found, "remarks": told.remarks})

    def _put_on_record(
        self,
        caller: Caller,
        policies: Collection[str],
        rows: Sequence[Mapping[str, Any]],
        wanted: Mapping[str, str],
        *,
        payloads: bool,
        flow: int = 0,
    ) -> None:
        """Raises NotRead when that can't be done."""
        replayed = entry.Replayed(
            user=caller.name,
            uid=caller.by.uid,
            provider=caller.by.provider,
            groups=caller.by.groups,
            recording=flow,
            filters=tuple(sorted(wanted.items())),
            agents=tuple(sorted({str(row["agent"]) for row in rows})),
            count=len(rows),
            payloads=payloads,
            policies=tuple(sorted(policies)),
        )
        if not self._records.note(0, replayed):
            raise NotRead(f"It can't be put on record, so it is not shown: {self._records.failure}", 503)

    async def _read(self, what: str, *arguments: str) -> Told:
        """What the process prints. Raises NotRead."""
        if self._waiting >= MAX_WAITING:
            raise NotRead("too many recordings are being read: try again in a minute", 503)
        self._waiting += 1
        try:
            async with self._turn:
                return await self._run(what, *arguments)
        finally:
            self._waiting -= 1

    async def _run(self, what: str, *arguments: str) -> Told:
        config = Path(self._config).resolve()
        state = [str(self._paths.state)] if what == "search" else []
        folders = {"reads": [str(self._paths.log), str(config.parent)], "writes": state}
        options = (what, "--json", "--config", str(config), *arguments)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", MODULE, json.dumps(folders), "--", *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={"LANG": "C.UTF-8"},
            cwd="/",
        )
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            async with asyncio.timeout(LIMIT_S):
                output, remarks = await asyncio.gather(_limited(process.stdout), _limited(process.stderr))
                code = await process.wait()
        except TimeoutError:
            raise NotRead(f"the log could not be read within {LIMIT_S:.0f} s: ask for less, or read the files", 504) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        said = remarks.decode("utf-8", "replace").strip()
        if code == 0:
            return Told(output, said)
        last = said.splitlines()[-1].removeprefix("error: ") if said else f"its process ended with {code}"
        if what == "show" and "the log has no flow" in last:
            raise NotRead(last, 404)
        raise NotRead(last if code == 2 else f"the log can't be read: {last}", 400 if code == 2 else 500)


async def _limited(stream: asyncio.StreamReader) -> bytes:
    """All of it. Raises NotRead for more than there may be."""
    found = bytearray()
    while chunk := await stream.read(1 << 16):
        found += chunk
        if len(found) > MAX_BYTES:
            much = f"the answer is longer than {MAX_BYTES >> 20} MiB: ask for less, or read the files"
            raise NotRead(much, 413)
    return bytes(found)


def _insist(caller: Caller) -> None:
    """That there is anything that they may replay: who may nothing has nothing read for them. Raises NotAllowed."""
    if not caller.may_at_all:
        raise NotAllowed(f'{caller.name} may not replay any recording: no policy permits it (action "replay").')


def _wanted(request: web.Request, *more: str) -> tuple[dict[str, str], int]:
    """What is asked for, with the limit. Raises HTTPBadRequest."""
    wanted = dict(request.query)
    limit = wanted.pop("limit", "50")
    if unknown := set(wanted) - CHOICES - set(more):
        raise web.HTTPBadRequest(reason=f"there is no filter {sorted(unknown)[0]!r}")
    if any("\0" in value for value in wanted.values()):
        raise web.HTTPBadRequest(reason="a filter has a byte 0 in it")
    if not limit.isdecimal() or not 0 < int(limit) <= MAX_ROWS:
        raise web.HTTPBadRequest(reason=f"limit must be between 1 and {MAX_ROWS}")
    return wanted, int(limit)


def _options(wanted: Mapping[str, str], limit: int) -> list[str]:
    return [*(f"--{name}={value}" for name, value in wanted.items()), f"--limit={limit}"]
