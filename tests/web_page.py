"""A guarded database with the web page in front of a real OpenID provider, and people who come there without a browser."""

from __future__ import annotations

import functools
import html
import http.client
import itertools
import re
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from email.message import Message
from http.cookiejar import Cookie, CookieJar
from pathlib import Path
from typing import Any

import guard
from openid_provider import OpenId, openid
from saml_idp import SUBJECT, SamlIdp, saml_idp
from saml_provider import AUDIENCE, ENTITY
from servers import Server, free_port

from hostguard.agent.client import Client
from hostguard.recorder import entry
from hostguard.recorder.reader import Reader

ASK = str(Path(__file__).parent / "e2e" / "agents" / "ask.py")
POLICIES = """
@id("deletes take a yes")
permit (principal == Agent::"bot", action == Action::"delete", resource)
when { context has approval && context.approval.count >= 1 };
@id("reads") permit (principal == Agent::"bot", action == Action::"select", resource);
@id("dba approves") permit (principal in Group::"dba", action == Action::"approve", resource);
@id("dora approves") permit (principal == User::"dora", action == Action::"approve", resource);
@id("dba issues") permit (principal in Group::"dba", action == Action::"issue", resource) when { context.uses <= 10 };
@id("clerks keep payees and payments")
permit (principal == Agent::"clerk", action in [Action::"insert", Action::"update"], resource);
@id("four eyes") forbid (principal, action == Action::"approve", resource) when { principal == resource.owner };
"""
DUTIES = """
[agents.clerk]
owner = "alice"
[duties.delete-notes]
actions = ["delete"]
objects = ["web/web/public/notes"]
[duties.keep-payees]
actions = ["insert"]
objects = ["web/web/public/payees"]
[duties.approve-payments]
actions = ["update"]
objects = ["web/web/public/payments"]
[exclusions.payments]
duties = ["keep-payees", "approve-payments"]
scope = "agent"
[exclusions.notes]
duties = ["delete-notes", "keep-payees"]
within = "window"
window_s = 60
[users.carl]
[users.dora]
"""
LIMIT_S = 30.0
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Page:
    """One that is served."""

    guard: guard.Guard
    url: str
    provider: OpenId
    idp: SamlIdp
    server: Server

    def ask(self, statement: str) -> subprocess.Popen[str]:
        """Have the agent run a statement, which waits for a yes."""
        return self.guard.begin("bot", [sys.executable, ASK, statement], self.server.environment("web", "postgres"))

    @property
    def client(self) -> Client:
        """The control socket, as root."""
        return Client(self.guard.folder / "run" / "control.sock")

    def held(self, statement: str) -> AbstractContextManager[tuple[str, subprocess.Popen[str]]]:
        """A request for approval with the agent that waits for it; withdrawn in the end if nobody decided it."""
        return self.waits(lambda: self.ask(statement))

    @contextmanager
    def waits(self, begin: Callable[[], subprocess.Popen[str]]) -> Iterator[tuple[str, subprocess.Popen[str]]]:
        """As above, for an agent of the test's own."""
        before = {request["id"] for request in self.client.get("/v1/requests")}
        agent = begin()
        try:
            deadline = time.monotonic() + LIMIT_S
            while not (new := [one["id"] for one in self.client.get("/v1/requests") if one["id"] not in before]):
                assert time.monotonic() < deadline
                assert agent.poll() is None, agent.communicate()
                time.sleep(0.05)
            yield new[0], agent
        finally:
            agent.kill()
            agent.communicate()

    def state(self, request: str) -> str:
        """Of a request for approval."""
        return str(self.client.get(f"/v1/requests/{request}")["state"])

    def entries(self, kind: type[entry.Entry]) -> list[Any]:
        """What is on record of that kind."""
        return [one for _, one in Reader(self.guard.folder / "state" / "log").entries((kind,))]

    def person(self) -> Person:
        """Somebody with a cookie jar; TLS is verified by this host's own authority."""
        authorities = sorted((self.guard.folder / "state" / "ca").glob("*.pem"))
        return Person(self.url, "".join(place.read_text() for place in authorities))


@dataclass(frozen=True, slots=True)
class Provided:
    """What a page's configuration has of one more provider; FOLDER stands for the folder of these files."""

    tables: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)


@contextmanager
def page(
    server: Server,
    tables: str = "",
    others: Callable[[str], AbstractContextManager[Provided]] = lambda _: nullcontext(Provided()),
) -> Iterator[Page]:
    """Users bob, carl and alice, who owns the agent, can sign in; mallory is nobody. `tables`: more configuration.

    carl is in a group only by a claim, in one of his two accounts. `others`: starts more providers for the page at that URL.
    """
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    accounts = {"doubtful": {"verified": False}, "carl": {"groups": ["staff", "db-admins"]}}
    with (
        openid([f"{url}/sign-in/corp/answer"], accounts) as provider,
        saml_idp(f"{url}/sign-in/idp/answer") as idp,
        others(url) as more,
    ):
        setup = guard.Setup(
            agents={"bot": guard.Agent()},
            resources={"web": f"{server.host}:{server.port}"},
            policies=POLICIES,
            timeout_s=600,
            tables=_tables(url, port, provider) + _saml_tables(url, idp) + DUTIES + tables + more.tables,
        )
        with (
            guard.prepared(setup) as prepared,
            server.database("web", "CREATE TABLE notes AS SELECT generate_series(1, 50) AS id"),
        ):
            secret = prepared.folder / "client.secret"
            secret.write_text(provider.secret + "\n")
            for name, data in {"idp.pem": idp.certificate.chain, **more.files}.items():
                (prepared.folder / name).write_bytes(data)
            text = prepared.config.read_text().replace("SECRET", str(secret))
            prepared.config.write_text(text.replace("FOLDER", str(prepared.folder)))
            prepared.start()
            yield Page(prepared, url, provider, idp, server)


def _tables(url: str, port: int, provider: OpenId) -> str:
    users = "".join(
        f'[[issuers.corp.users]]\nclaim = "email"\nequals = "{name}@example.com"\nuser = "{user}"\n'
        for name, user in {
            "bob": "bob",
            "alice": "alice",
            "doubtful": "bob",
            "carl": "carl",
            "carl2": "carl",
            "dora": "dora",
        }.items()
    )
    return f"""
[web]
listen = "127.0.0.1:{port}"
public_url = "{url}"
[issuers.corp]
issuer = "{provider.issuer}"
audiences = ["hostguard"]
{users}
[[issuers.corp.groups]]
claim = "groups"
contains = "db-admins"
group = "dba"
[sign_in.corp]
client_id = "{provider.client_id}"
client_secret_file = "SECRET"
scopes = ["openid", "email", "groups"]
label = "Example Corp"
"""


def _saml_tables(url: str, idp: SamlIdp) -> str:
    return f"""
[issuers.idp]
kind = "saml"
issuer = "{ENTITY}"
audiences = ["{AUDIENCE}"]
certificates = "FOLDER/idp.pem"
recipient = "{url}/sign-in/idp/answer"
[[issuers.idp.users]]
claim = "sub"
equals = "{SUBJECT}"
user = "bob"
[sign_in.idp]
client_id = "{AUDIENCE}"
sso_url = "{idp.url}"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Message
    text: str
    url: str


class Person:
    """A browser without the browser."""

    def __init__(self, url: str, authorities: str) -> None:
        self.url = url
        self.address = f"127.0.1.{next(_NUMBERS)}"
        """Each has one: who comes often is asked to wait."""
        self.jar = CookieJar()
        self._redirects = _Redirects()
        handlers = (
            _From(self.address, ssl.create_default_context(cadata=authorities)),
            urllib.request.HTTPCookieProcessor(self.jar),
            self._redirects,
        )
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, place: str, *, follow: bool = True, **headers: str) -> Answer:
        """`place`: a path of the page's, or a URL."""
        return self._call(urllib.request.Request(urllib.parse.urljoin(self.url, place), headers=headers), follow)

    def post(self, place: str, form: Mapping[str, str], **headers: str) -> Answer:
        """As a form of the page itself, unless `Origin` says otherwise."""
        body = urllib.parse.urlencode(form).encode()
        told = {"Origin": self.url, **headers}
        return self._call(urllib.request.Request(urllib.parse.urljoin(self.url, place), body, told), True)

    def _call(self, request: urllib.request.Request, follow: bool) -> Answer:
        stop = self._redirects.stop
        if not follow:
            self._redirects.stop = ""
        try:
            with self._opener.open(request, timeout=LIMIT_S) as response:
                return Answer(response.status, response.headers, response.read().decode(), response.url)
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read().decode(), error.url)
        finally:
            self._redirects.stop = stop

    def sign_in(self, name: str) -> Answer:
        """At the provider, which takes any password; what the page then says."""
        return self.consent(self.get("/sign-in/corp"), name)

    def saml_form(self) -> dict[str, str]:
        """The form by which the SAML provider sends the browser back, not sent yet."""
        shown = self.get("/sign-in/idp")
        return {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]+)"', shown.text)}

    def answer_of(self, name: str) -> str:
        """The URL by which the provider sends the browser back, not gone to yet."""
        with self.stopping_at(f"{self.url}/sign-in/corp/answer"):
            return str(self.sign_in(name).headers["Location"])

    @contextmanager
    def stopping_at(self, place: str) -> Iterator[None]:
        """Go where redirects lead, but not to URLs that begin so."""
        self._redirects.stop = place
        try:
            yield
        finally:
            self._redirects.stop = None

    def consent(self, shown: Answer, name: str) -> Answer:
        """Fill in the provider's own forms."""
        for form in ({"prompt": "login", "login": name, "password": "any"}, {"prompt": "consent"}):
            if shown.url.startswith(self.url) or shown.status != 200:
                break  # it knows this browser
            shown = self._submit(shown, form)
        return shown

    def _submit(self, shown: Answer, form: Mapping[str, str]) -> Answer:
        return self.post(_action(shown), form)

    @property
    def session(self) -> Cookie | None:
        """The cookie of the page's session."""
        return next((cookie for cookie in self.jar if cookie.name == "__Host-hostguard"), None)

    def form(self, place: str) -> dict[str, str]:
        """The hidden fields of the form for an answer."""
        return dict(re.findall(r'name="(csrf|digest)" value="([0-9a-f]+)"', self.get(place).text))


def until(found: Callable[[], Any]) -> Any:
    """What it finds, once it finds something."""
    deadline = time.monotonic() + LIMIT_S
    while not (value := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return value


def session_form(person: Person) -> dict[str, str]:
    """The token that every form of a session has."""
    found = re.search(r'name="csrf" value="([0-9a-f]+)"', person.get("/").text)
    assert found is not None
    return {"csrf": found[1]}


class _From(urllib.request.HTTPSHandler):
    """Connects from an address."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._connection = functools.partial(http.client.HTTPSConnection, context=context, source_address=(address, 0))

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        found: http.client.HTTPResponse = self.do_open(self._connection, req)
        return found


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Goes everywhere but to places that begin with `stop`."""

    stop: str | None = None

    def redirect_request(self, *of: Any) -> urllib.request.Request | None:
        place = of[-1]
        if self.stop is not None and place.startswith(self.stop):
            return None
        return super().redirect_request(*of)


def _action(shown: Answer) -> str:
    found = re.search(r'action="([^"]+)"', shown.text)
    assert found is not None, shown.text
    return urllib.parse.urljoin(shown.url, str(found[1]))
