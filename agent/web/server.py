"""The page: what it answers to which call.

Everything that is shown comes from the supervisor at each call; nothing is kept here but sign-ins that have begun. A session is
known by a cookie of 32 random bytes, of which the supervisor has the hash.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from ...policy.grants import MAX_USES
from .account import sentences
from .forms import MAX_REASON, TERMS, said_in
from .limits import Limits, Rate, caller_of
from .line import Line, Reply
from .manners import Manners
from .messages import Changed, Figures, Renewed
from .signing import Begun, Nobody, NotSignedIn, Person, Provider, Signing, csrf, hashed, token
from .statement import show
from .views import STATIC, Views
from .watching import Watching

MAX_BODY_BYTES = 128 * 1024
SESSION, SIGNING = "__Host-hostguard", "__Host-hostguard-sign-in"
SIGN_INS = Rate(burst=30, per_s=0.5)
"""Begun or answered, from one address."""
ANSWERS = Rate(burst=20, per_s=1.0)
"""To requests, or about grants, in one session."""
TOO_MANY = "That many answers at once are not taken. Wait a little."
_REQUEST = re.compile(r"R-[0-9A-Z]{1,60}\Z")
_GRANT = re.compile(r"G-[0-9A-Z]{1,60}\Z")
_THEN = re.compile(r"/(requests/R-[0-9A-Z]{1,60}|history|grants|grants/G-[0-9A-Z]{1,60}|duties)?\Z")
AGAIN_S = 3
"""After so many seconds a browser asks again for what is being drawn."""


class Server:
    """The handlers."""

    def __init__(
        self,
        public_url: str,
        session_s: int,
        providers: Mapping[str, Provider],
        line: Line,
        views: Views,
        crashed: Callable[[Exception], None],
    ) -> None:
        self._public_url = public_url
        self._session_s = session_s
        self._providers = providers
        self._line = line
        self._views = views
        self._signing = Signing()
        self._manners = Manners(public_url, crashed, self._refused)
        self._sign_ins = Limits(SIGN_INS)
        self._answers = Limits(ANSWERS)
        self._watching = Watching()

    def application(self) -> web.Application:
        """To be served."""
        app = web.Application(middlewares=[self._manners.middleware], client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/", self._inbox)
        app.router.add_get("/history", self._history)
        app.router.add_get("/requests/{id}", self._request)
        app.router.add_post("/requests/{id}", self._answer)
        app.router.add_get("/grants", self._grants)
        app.router.add_get("/grants/{id}", self._grant)
        app.router.add_post("/grants/{id}", self._on_grant)
        app.router.add_get("/duties", self._duties)
        app.router.add_get("/parts/{part:inbox|history}", self._part)
        app.router.add_get("/parts/grants", self._grants_part)
        app.router.add_get("/parts/duties", self._duties_part)
        app.router.add_get("/parts/requests/{id}", self._request_part)
        app.router.add_get("/events", self._events)
        app.router.add_get("/sign-in", self._sign_in)
        app.router.add_get("/sign-in/{provider}", self._begin)
        app.router.add_get("/sign-in/{provider}/answer", self._signed_in)
        app.router.add_post("/sign-in/{provider}/answer", self._signed_in)
        app.router.add_post("/sign-out", self._sign_out)
        app.router.add_get("/static/{name}", self._static)
        return app

    def changed(self, changed: Changed | Renewed) -> None:
        """A request has changed, or what another page lists."""
        self._watching.tell(changed)

    def figures(self) -> Figures:
        """For ``status``."""
        refused = self._manners.calls.refused + self._sign_ins.refused + self._answers.refused
        failures = {name: each.failure[:1000] for name, each in self._providers.items() if each.failure}
        return Figures(len(self._watching), refused, failures)

    # -- pages ------------------------------------------------------------------------------------------------------------------

    async def _inbox(self, request: web.Request) -> web.Response:
        return await self._list(request, "waiting", "inbox.html")

    async def _history(self, request: web.Request) -> web.Response:
        return await self._list(request, "everything", "history.html")

    async def _part(self, request: web.Request) -> web.Response:
        """What a page that is open already takes in place of its list."""
        if request.match_info["part"] == "inbox":
            return await self._list(request, "waiting", "inbox-list.html")
        return await self._list(request, "everything", "history-list.html")

    async def _list(self, request: web.Request, what: str, template: str) -> web.Response:
        reply = await self._line.ask(what, hashed(_secret(request)))
        if reply.status != 200:
            return self._unknown(request)
        return self._page(template, request, reply, requests=reply.body)

    async def _request(self, request: web.Request) -> web.Response:
        return await self._one(request, "request.html")

    async def _request_part(self, request: web.Request) -> web.Response:
        return await self._one(request, "request-part.html")

    async def _one(self, request: web.Request, template: str, error: str = "", status: int = 200) -> web.Response:
        reply = await self._line.ask("request", hashed(_secret(request)), _request_id(request))
        if reply.status == 401:
            return self._unknown(request)
        if reply.status != 200:
            return self._refused(reply.status, reply.error)
        facts = reply.body
        shown = show(facts["text"], lexed=facts["lexed"])
        prepared = [show(text, lexed=facts["lexed"]) for text in facts["prepared_texts"]]
        if shown.cut or any(each.cut for each in prepared):
            facts["objection"] = facts["objection"] or "It is too long to be shown here: `hostguard requests show` has all of it."
        return self._page(
            template,
            request,
            reply,
            status=status,
            facts=facts,
            statement=shown,
            prepared=prepared,
            account=sentences(facts),
            terms=TERMS,
            max_uses=MAX_USES,
            error=error,
        )

    async def _grants(self, request: web.Request) -> web.Response:
        return await self._all(request, "grants", "grants.html")

    async def _grants_part(self, request: web.Request) -> web.Response:
        return await self._all(request, "grants", "grants-list.html")

    async def _duties_part(self, request: web.Request) -> web.Response:
        return await self._all(request, "duties", "duties-history.html")

    async def _all(self, request: web.Request, what: str, template: str) -> web.Response:
        reply = await self._line.ask(what, hashed(_secret(request)))
        if reply.status == 401:
            return self._unknown(request)
        if reply.status != 200:
            return self._refused(reply.status, reply.error)
        response = self._page(template, request, reply, **reply.body)
        if template == "duties.html" and reply.body["table"] is None and not reply.body["failure"]:
            response.headers["Refresh"] = str(AGAIN_S)
        return response

    async def _grant(self, request: web.Request) -> web.Response:
        return await self._one_grant(request)

    async def _one_grant(self, request: web.Request, error: str = "", status: int = 200) -> web.Response:
        reply = await self._line.ask("grant", hashed(_secret(request)), _grant_id(request))
        if reply.status == 401:
            return self._unknown(request)
        if reply.status != 200:
            return self._refused(reply.status, reply.error)
        return self._page("grant.html", request, reply, status=status, facts=reply.body, error=error)

    async def _duties(self, request: web.Request) -> web.Response:
        return await self._all(request, "duties", "duties.html")

    def _page(self, template: str, request: web.Request, reply: Reply, status: int = 200, **values: Any) -> web.Response:
        text = self._views.render(
            template,
            user=reply.user,
            provider=reply.provider,
            until=reply.until,
            csrf=csrf(_secret(request)),
            path=request.path,
            **values,
        )
        return web.Response(text=text, content_type="text/html", status=status)

    def _refused(self, status: int, sentence: str) -> web.Response:
        text = self._views.render("refused.html", status=status, sentence=sentence)
        return web.Response(text=text, content_type="text/html", status=status)

    def _unknown(self, request: web.Request) -> web.Response:
        """Nobody we know: a page leads to the sign-in, a part of one can't."""
        if request.path.startswith("/parts/"):
            return self._refused(401, "You are not signed in any more.")
        then = request.path if _THEN.match(request.path) else "/"
        return _lead(f"/sign-in?then={then}")

    # -- answers ----------------------------------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        try:
            said = said_in(form, time.time())
        except ValueError as error:
            return self._refused(400, str(error))
        key = hashed(_secret(request))
        if not self._answers.take(key, time.monotonic()):
            return self._refused(429, TOO_MANY)
        reply = await self._line.answer(key, _request_id(request), said)
        if reply.status == 401:
            return self._unknown(request)
        if reply.status != 200:
            return await self._one(request, "request.html", reply.error, reply.status)
        granted = reply.body.get("grant")
        return _lead(f"/grants/{granted}" if granted else f"/requests/{_request_id(request)}")

    async def _on_grant(self, request: web.Request) -> web.Response:
        form = await self._form(request)
        verb, reason = form.get("verb", ""), form.get("reason", "").strip()
        if verb not in ("revoke", "endorse") or len(reason) > MAX_REASON:
            return self._refused(400, f"A grant is revoked or stood for, with at most {MAX_REASON} characters why.")
        key = hashed(_secret(request))
        if not self._answers.take(key, time.monotonic()):
            return self._refused(429, TOO_MANY)
        reply = await self._line.on_grant(key, _grant_id(request), verb, reason)
        if reply.status == 401:
            return self._unknown(request)
        if reply.status != 200:
            return await self._one_grant(request, reply.error, reply.status)
        return _lead(f"/grants/{_grant_id(request)}")

    async def _form(self, request: web.Request) -> dict[str, str]:
        """The fields of a form of ours. Raises HTTPForbidden for one that is not."""
        if request.content_type != "application/x-www-form-urlencoded":
            raise web.HTTPUnsupportedMediaType(reason="Forms are sent as application/x-www-form-urlencoded.")
        found = await request.post()
        form = {name: value for name, value in found.items() if isinstance(value, str)}
        if not hmac.compare_digest(form.get("csrf", "").encode(), csrf(_secret(request)).encode()):
            raise web.HTTPForbidden(reason="This form is not from your session. Load the page again.")
        return form

    async def _events(self, request: web.Request) -> web.StreamResponse:
        key = hashed(_secret(request))

        async def is_open() -> bool:
            return (await self._line.ask("session", key)).status == 200

        if not await is_open():
            return self._refused(401, "You are not signed in any more.")
        return await self._watching.serve(request, key, is_open)

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in STATIC:
            raise web.HTTPNotFound(reason="There is no such page.")
        return web.Response(body=self._views.static[name], content_type=STATIC[name], charset="utf-8")

    # -- signing in -------------------------------------------------------------------------------------------------------------

    async def _sign_in(self, request: web.Request) -> web.Response:
        then = request.query.get("then", "/")
        text = self._views.render(
            "sign-in.html", providers=list(self._providers.values()), then=then if _THEN.match(then) else "/"
        )
        return web.Response(text=text, content_type="text/html")

    async def _begin(self, request: web.Request) -> web.Response:
        """To the provider, with a cookie by which its answer is known to be for this browser."""
        provider = self._provider(request)
        then, cookie, now = request.query.get("then", "/"), token(), time.time()
        secrets = self._signing.begin(provider.name, cookie, then if _THEN.match(then) else "/", now)
        try:
            place = await provider.place(secrets, self._redirect_uri(provider), now)
        except NotSignedIn as error:
            return self._refused(502, f"Signing in does not work at the moment. {error}")
        response = _lead(place)
        # Another site's form brings no cookie that is not said to be for that.
        same = "None" if provider.posts else "Lax"
        response.set_cookie(SIGNING, cookie, max_age=600, secure=True, httponly=True, samesite=same, path="/")
        return response

    async def _signed_in(self, request: web.Request) -> web.Response:
        """Back from the provider."""
        provider, now = self._provider(request), time.time()
        if provider.posts is not (request.method == "POST"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET" if request.method == "POST" else "POST"])
        told = await request.post() if provider.posts else request.query
        answer = {name: value for name, value in told.items() if isinstance(value, str) and len(told.getall(name)) == 1}
        state = answer.get("RelayState" if provider.posts else "state", "")
        begun = self._signing.take(state, provider.name, request.cookies.get(SIGNING, ""), now)
        if begun is None:
            return self._refused(400, "This is no answer to a sign-in that was begun in this browser a moment ago. Begin anew.")
        address = caller_of(request.remote or "")[:64]
        try:
            person = await provider.person(begun.secrets, self._redirect_uri(provider), answer, now)
        except Nobody as error:
            await self._line.enter(hashed(token()), provider.name, Person("", error.subject), address, str(error))
            return self._refused(403, str(error))
        except NotSignedIn as error:
            return self._refused(403, str(error))
        return await self._let_in(request, begun, person, address)

    async def _let_in(self, request: web.Request, begun: Begun, person: Person, address: str) -> web.Response:
        secret = token()
        refusal = await self._line.enter(hashed(secret), begun.provider, person, address)
        if refusal:
            return self._refused(403, refusal)
        if old := _secret(request):
            self._line.leave(hashed(old))
        response = _lead(begun.then)
        response.set_cookie(SESSION, secret, max_age=self._session_s, secure=True, httponly=True, samesite="Lax", path="/")
        response.del_cookie(SIGNING, path="/", secure=True, httponly=True, samesite="Lax")
        return response

    async def _sign_out(self, request: web.Request) -> web.Response:
        await self._form(request)
        self._line.leave(hashed(_secret(request)))
        response = _lead("/sign-in")
        response.del_cookie(SESSION, path="/", secure=True, httponly=True, samesite="Lax")
        return response

    def _provider(self, request: web.Request) -> Provider:
        if not self._sign_ins.take(caller_of(request.remote or ""), time.monotonic()):
            raise web.HTTPTooManyRequests(reason="Too many sign-ins come from your address. Wait a little.")
        provider = self._providers.get(request.match_info["provider"])
        if provider is None:
            raise web.HTTPNotFound(reason="There is no such provider.")
        return provider

    def _redirect_uri(self, provider: Provider) -> str:
        return f"{self._public_url}/sign-in/{provider.name}/answer"


def _secret(request: web.Request) -> str:
    return request.cookies.get(SESSION, "")


def _request_id(request: web.Request) -> str:
    identifier = request.match_info["id"]
    if not _REQUEST.match(identifier):
        raise web.HTTPNotFound(reason="There is no such request.")
    return identifier


def _grant_id(request: web.Request) -> str:
    identifier = request.match_info["id"]
    if not _GRANT.match(identifier):
        raise web.HTTPNotFound(reason="There is no such grant.")
    return identifier


def _lead(place: str) -> web.Response:
    return web.Response(status=303, headers={"Location": place})
