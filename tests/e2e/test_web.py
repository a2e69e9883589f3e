"""The web page at a real provider, without a browser: who gets in, who stays out, what no browser would ask."""

from __future__ import annotations

import base64
import os
import re
import signal
import time
import urllib.parse
from collections.abc import Iterator

import caged
import pytest
import web_page
from asserting import certificate
from servers import Server
from web_page import Page, Person

from hostguard.recorder import entry

LIMIT_S = 30.0


@pytest.fixture(scope="module")
def page(postgres18: Server) -> Iterator[Page]:
    with web_page.page(postgres18) as served:
        yield served


@pytest.fixture(scope="module")
def bob(page: Page) -> Person:
    """A DBA who has signed in."""
    person = page.person()
    assert "Waits for a yes or a no" in person.sign_in("bob").text
    return person


@pytest.fixture(scope="module")
def waiting(page: Page) -> Iterator[str]:
    """A request that nobody decides."""
    with page.held("DELETE FROM notes WHERE id = 50") as (request, _):
        yield request
        assert page.state(request) == "pending"


def page_process(page: Page) -> int:
    return int(page.guard.status()["page"]["pid"])


def test_who_signs_in_approves_and_it_is_on_record(page: Page, bob: Person) -> None:
    with page.held("DELETE FROM notes WHERE id = 1") as (request, agent):
        assert request in bob.get("/").text
        shown = bob.post(f"/requests/{request}", {**bob.form(f"/requests/{request}"), "answer": "approve", "reason": "is fine"})
        assert "Approved by bob: is fine." in shown.text
        assert "DELETE 1" in agent.communicate(timeout=LIMIT_S)[0]
    (approval,) = (one for one in page.entries(entry.Approval) if one.request == request)
    assert (approval.user, approval.provider, approval.uid, approval.reason) == ("bob", "corp", -1, "is fine")
    signed_in = page.entries(entry.SignedIn)[0]
    assert (signed_in.user, signed_in.provider, signed_in.subject, signed_in.address) == ("bob", "corp", "bob", bob.address)


def test_a_no_reaches_the_agent_with_its_reason(page: Page, bob: Person) -> None:
    with page.held("DELETE FROM notes WHERE id = 2") as (request, agent):
        bob.post(f"/requests/{request}", {**bob.form(f"/requests/{request}"), "answer": "deny", "reason": "not on a Monday"})
        assert "bob denied request" in (said := agent.communicate(timeout=LIMIT_S)[0])
        assert "not on a Monday" in said


def test_the_owner_may_look_and_not_decide(page: Page, bob: Person, waiting: str) -> None:
    alice = page.person()
    alice.sign_in("alice")
    shown = alice.get(f"/requests/{waiting}").text
    assert "alice may not decide" in shown
    assert 'value="approve"' not in shown
    form = {**bob.form(f"/requests/{waiting}"), **web_page.session_form(alice), "answer": "approve"}
    refused = alice.post(f"/requests/{waiting}", form)
    assert refused.status == 403
    assert "four eyes" in refused.text
    assert page.state(waiting) == "pending"


@pytest.mark.parametrize("name", ["mallory", "doubtful"])
def test_whom_no_rule_knows_stays_out_on_record(page: Page, name: str) -> None:
    """The second has bob's rule by an address that the provider itself does not vouch for."""
    mallory = page.person()
    refused = mallory.sign_in(name)
    assert refused.status == 403
    assert "no user of hostguard" in refused.text
    assert mallory.session is None
    last = page.entries(entry.SignedIn)[-1]
    assert (last.user, last.subject) == ("", name)
    assert "no user of hostguard" in last.refused


def test_the_session_cookie_is_the_browsers_alone(page: Page) -> None:
    person = page.person()
    back = person.get(person.answer_of("bob"), follow=False)
    cookies = [value for name, value in back.headers.items() if name.lower() == "set-cookie"]
    (session,) = (text for text in cookies if text.startswith("__Host-hostguard="))
    parts = {part.strip().lower() for part in session.split(";")}
    assert {"secure", "httponly", "samesite=lax", "path=/", "max-age=3600"} <= parts
    assert not any(part.startswith("domain") for part in parts)


def test_an_answer_of_the_provider_is_good_once_in_the_browser_that_asked(page: Page) -> None:
    person, other = page.person(), page.person()
    place = person.answer_of("bob")
    assert other.get(place).status == 400
    # The attempt has used it up: a code that somebody else has seen is worth nothing.
    assert person.get(place).status == 400
    assert person.session is None
    place = person.answer_of("bob")
    assert person.get(place).status == 200
    assert person.session is not None
    assert person.get(place).status == 400


@pytest.mark.parametrize("change", ["iss", "state", "no iss", "two states", "code"])
def test_a_changed_answer_lets_nobody_in(page: Page, change: str) -> None:
    person = page.person()
    parts = urllib.parse.urlsplit(person.answer_of("bob"))
    query = dict(urllib.parse.parse_qsl(parts.query))
    match change:
        case "iss":
            query["iss"] = "http://127.0.0.1:1"
        case "no iss":
            del query["iss"]
        case "state" | "code":
            query[change] = "x" * 43
    text = urllib.parse.urlencode(query) + (f"&state={query['state']}" if change == "two states" else "")
    refused = person.get(urllib.parse.urlunsplit(parts._replace(query=text)))
    assert refused.status in (400, 403)
    assert person.session is None


def test_a_saml_provider_lets_its_user_in(page: Page) -> None:
    person = page.person()
    shown = person.post("/sign-in/idp/answer", person.saml_form(), Origin=page.idp.url.removesuffix("/sso"))
    assert "Waits for a yes or a no" in shown.text
    (request,) = page.idp.requests[-1:]
    assert request.destination == page.idp.url
    last = page.entries(entry.SignedIn)[-1]
    assert (last.user, last.provider, last.subject) == ("bob", "idp", "bob@corp.example")


SAML_ATTACKS = ("another browser", "again", "unasked", "another's question", "changed", "another's key", "another user", "by GET")


@pytest.mark.parametrize("attack", SAML_ATTACKS)
def test_a_saml_answer_is_good_once_for_the_question_in_the_browser_that_asked(page: Page, attack: str) -> None:
    person, other, place = page.person(), page.person(), "/sign-in/idp/answer"
    form = person.saml_form()
    asked = page.idp.requests[-1].id
    match attack:
        case "another browser":
            other.get("/sign-in/idp")
            assert other.post(place, form).status == 400
            assert other.session is None
        case "again":
            assert person.post(place, form).status == 200
            person.jar.clear()
        case "unasked":
            form["SAMLResponse"] = page.idp.answer("")
        case "another's question":
            other.get("/sign-in/idp")
            form["SAMLResponse"] = page.idp.answer(page.idp.requests[-1].id)
        case "changed":
            document = base64.b64decode(form["SAMLResponse"]).replace(b"bob@corp", b"eve@corp")
            form["SAMLResponse"] = base64.b64encode(document).decode()
        case "another's key":
            form["SAMLResponse"] = page.idp.answer(asked, by=certificate())
        case "another user":
            form["SAMLResponse"] = page.idp.answer(asked, "eve@corp.example")
        case "by GET":
            form["SAMLResponse"] = form["SAMLResponse"][:4000]  # no URL is longer than 8190 here
    refused = person.get(f"{place}?{urllib.parse.urlencode(form)}") if attack == "by GET" else person.post(place, form)
    assert refused.status in ((405,) if attack == "by GET" else (400, 403))
    assert person.session is None


def test_without_a_session_there_is_nothing_to_see(page: Page) -> None:
    person = page.person()
    for place in ("/", "/history", "/requests/R-1234", "/grants", "/grants/G-1234", "/duties"):
        answer = person.get(place, follow=False)
        assert (answer.status, answer.headers["Location"]) == (303, f"/sign-in?then={place}")
        assert answer.text == ""
    for place in ("/parts/inbox", "/parts/history", "/parts/grants", "/parts/duties", "/parts/requests/R-1234", "/events"):
        assert person.get(place).status == 401
    assert person.post("/requests/R-1234", {"answer": "approve", "digest": "0" * 64}).status == 403
    assert person.post("/grants/G-1234", {"verb": "revoke"}).status == 403


@pytest.mark.parametrize(
    "then", ["https://evil.example/", "//evil.example", "/\\evil.example", "/requests/../sign-out", "javascript:x"]
)
def test_nobody_is_led_elsewhere_after_signing_in(page: Page, then: str) -> None:
    person = page.person()
    shown = person.get(f"/sign-in?then={urllib.parse.quote(then)}")
    assert 'href="/sign-in/corp?then=/"' in shown.text
    shown = person.consent(person.get(f"/sign-in/corp?then={urllib.parse.quote(then)}"), "bob")
    assert shown.url == f"{page.url}/"


@pytest.mark.parametrize(
    ("change", "headers"),
    [
        ({"csrf": "0" * 64}, {}),
        ({"csrf": ""}, {}),
        ({}, {"Origin": "https://127.0.0.1:1"}),
        ({}, {"Origin": "null"}),
        ({}, {"Origin": ""}),
    ],
)
def test_what_another_site_sends_decides_nothing(
    page: Page, bob: Person, waiting: str, change: dict[str, str], headers: dict[str, str]
) -> None:
    form = {**bob.form(f"/requests/{waiting}"), "answer": "approve", **change}
    assert bob.post(f"/requests/{waiting}", form, **headers).status == 403
    assert page.state(waiting) == "pending"


def test_a_token_of_another_session_is_none(page: Page, bob: Person, waiting: str) -> None:
    again = page.person()
    again.sign_in("bob")
    assert bob.post(f"/requests/{waiting}", {**again.form(f"/requests/{waiting}"), "answer": "approve"}).status == 403
    assert page.state(waiting) == "pending"


def test_what_is_approved_is_what_was_shown(page: Page, bob: Person, waiting: str) -> None:
    refused = bob.post(f"/requests/{waiting}", {**bob.form(f"/requests/{waiting}"), "answer": "approve", "digest": "0" * 64})
    assert refused.status == 403
    assert "is not the operation that you were shown" in refused.text
    assert page.state(waiting) == "pending"


def test_every_answer_tells_browsers_what_not_to_do(bob: Person) -> None:
    for place in ("/", "/sign-in", "/static/app.js", "/nowhere", "/requests/R-1234"):
        headers = bob.get(place).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe-inline" not in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
    text = bob.get("/").text
    assert "<style" not in text
    assert not re.search(r"<script(?! src=)|\son[a-z]+=|style=|https?://", text)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "localhost"])
def test_another_name_of_this_host_is_not_answered_to(bob: Person, host: str) -> None:
    assert bob.get("/", Host=host).status == 421


def test_what_an_agent_writes_is_text(page: Page, bob: Person) -> None:
    odd = "DELETE FROM notes WHERE id = 7 AND '<b onclick=x>' = 'x' /* \u202e\x1b[31m */ -- n\u043etes"
    with page.held(odd) as (request, _):
        text = bob.get(f"/requests/{request}").text
    assert "<b onclick" not in text
    assert "&lt;b onclick=x&gt;" in text
    assert "\u202e" not in text
    assert "\x1b" not in text
    assert '<mark class="odd" title="U+202E RIGHT-TO-LEFT OVERRIDE">⟦U+202E⟧</mark>' in text
    assert '<mark class="foreign" title="U+043E CYRILLIC SMALL LETTER O">о</mark>' in text
    assert "Letters of several alphabets stand in one word" in text


def test_signing_out_ends_the_session(page: Page) -> None:
    person = page.person()
    person.sign_in("bob")
    cookie = person.session
    assert cookie is not None
    person.post("/sign-out", web_page.session_form(person))
    assert person.session is None
    person.jar.set_cookie(cookie)  # whoever has kept a copy
    assert person.get("/", follow=False).status == 303


def test_whoever_calls_too_often_waits(page: Page) -> None:
    person = page.person()
    answers = [person.get("/sign-in/corp", follow=False).status for _ in range(40)]
    assert answers[-1] == 429
    assert person.get("/sign-in").status == 200
    assert page.guard.status()["page"]["refused"] > 0


def test_the_process_is_caged(page: Page, bob: Person) -> None:
    assert bob.get("/").status == 200
    facts = caged.facts_of(page_process(page))
    assert facts["Uid"].split() != ["0"] * 4
    assert facts["CapEff"] == facts["CapBnd"] == "0000000000000000"
    assert (facts["NoNewPrivs"], facts["Seccomp"], facts["Groups"]) == ("1", "2", "")
    status = page.guard.status()["page"]
    assert "Landlock" in status["cage"]
    assert status["missing"] == []


def test_sessions_outlive_the_process(page: Page, bob: Person) -> None:
    before = page_process(page)
    os.kill(before, signal.SIGKILL)
    # The connection waits in the listening socket, which is the supervisor's.
    assert "Waits for a yes or a no" in bob.get("/").text
    assert page_process(page) != before


def test_sessions_outlive_an_upgrade(page: Page, bob: Person, waiting: str) -> None:
    restarted = page.guard.cli("restart")
    assert restarted.returncode == 0, restarted.stderr
    assert waiting in bob.get("/").text


def test_who_may_not_look_at_an_agent_sees_nothing_of_it(page: Page, bob: Person, waiting: str) -> None:
    file = page.guard.folder / "policies.cedar"
    text, form, began = file.read_text(), bob.form(f"/requests/{waiting}"), _reloads(page)
    wanted = {"agent": "bot", "resource": "web", "database": "web", "statement": "DELETE FROM notes WHERE id = 9", "uses": 1}
    grant = page.client.post("/v1/grants", {**wanted, "until": time.time() + 600})["id"]
    ends = {**web_page.session_form(bob), "verb": "revoke"}
    assert [grant in bob.get(place).text for place in ("/grants", "/parts/grants")] == [True, True]
    assert page.guard.process is not None
    try:
        file.write_text(text + '@id("blind") forbid (principal == User::"bob", action == Action::"look", resource is Agent);\n')
        page.guard.process.send_signal(signal.SIGHUP)
        web_page.until(lambda: _reloads(page) > began)
        assert waiting not in bob.get("/").text
        assert waiting not in bob.get("/?all=1").text
        # Not told apart from one that is not there.
        hidden, unknown = bob.get(f"/requests/{waiting}"), bob.get("/requests/R-0000")
        assert hidden.status == unknown.status == 404
        assert hidden.text.replace(waiting, "R-0000") == unknown.text
        assert bob.post(f"/requests/{waiting}", {**form, "answer": "approve"}).status == 404
        assert [grant in bob.get(place).text for place in ("/grants", "/parts/grants")] == [False, False]
        assert (bob.get(f"/grants/{grant}").status, bob.post(f"/grants/{grant}", ends).status) == (404, 404)
        # A conflict of a user's names the agents by which they have it, so the matrix is shown whole or not at all.
        shown = bob.get("/duties").text
        assert "There are agents that you may not look at" in shown
        assert "clerk" not in shown + bob.get("/parts/duties").text
    finally:
        # A signal while the policy is still being reloaded would count for that.
        before = _reloads(page)
        file.write_text(text)
        page.guard.process.send_signal(signal.SIGHUP)
        web_page.until(lambda: _reloads(page) > before)
    assert waiting in bob.get("/").text


def _reloads(page: Page) -> int:
    return sum(line.startswith("the configuration was reloaded") for line in page.guard.lines)


def test_who_is_no_user_any_more_has_no_session(page: Page, bob: Person) -> None:
    text = page.guard.config.read_text()
    assert page.guard.process is not None
    try:
        page.guard.config.write_text(text.replace("[users.bob]\n", "[users.bob2]\n").replace('user = "bob"', 'user = "bob2"'))
        page.guard.process.send_signal(signal.SIGHUP)
        said = web_page.until(lambda: page.guard.ask_degraded()["problems"])
        assert "issuers can't change while the daemon runs" in said[0]
        assert bob.get("/", follow=False).status == 200
    finally:
        page.guard.config.write_text(text)
        page.guard.process.send_signal(signal.SIGHUP)
        web_page.until(lambda: not page.guard.ask_degraded()["problems"])
