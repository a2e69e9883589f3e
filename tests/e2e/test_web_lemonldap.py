"""Users sign in on the web page at LemonLDAP::NG: by OpenID with a code and PKCE, by SAML's web single sign-on."""

from __future__ import annotations

import base64
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import web_page
from lemonldap import MAIL, SUBJECT, form_of, lemonldap
from saml_provider import AUDIENCE
from servers import Server
from web_page import LIMIT_S, Answer, Page, Person

from hostguard.recorder import entry

PLACES = {"lemon": "/sign-in/lemon/answer", "lemons": "/sign-in/lemons/answer"}
"""Where OpenID's answers come, and SAML's."""
TABLES = """
[issuers.lemon]
issuer = "{provider.url}"
audiences = ["hostguard"]
[[issuers.lemon.users]]
claim = "email"
equals = "{mail}"
user = "bob"
[sign_in.lemon]
client_id = "{provider.client_id}"
client_secret_file = "FOLDER/lemon.secret"
scopes = ["openid", "email"]
[issuers.lemons]
kind = "saml"
issuer = "{provider.entity}"
audiences = ["{audience}"]
certificates = "FOLDER/lemon.pem"
recipient = "{url}{place}"
[[issuers.lemons.users]]
claim = "mail"
equals = "{mail}"
user = "bob"
[sign_in.lemons]
client_id = "{audience}"
sso_url = "{provider.single_sign_on}"
"""


@contextmanager
def provided(url: str) -> Iterator[web_page.Provided]:
    """One for the page at that URL."""
    with lemonldap(url + PLACES["lemon"], url + PLACES["lemons"]) as provider:
        tables = TABLES.format(provider=provider, url=url, mail=MAIL, audience=AUDIENCE, place=PLACES["lemons"])
        yield web_page.Provided(tables, {"lemon.secret": provider.secret.encode(), "lemon.pem": provider.certificate})


@pytest.fixture(scope="module")
def page(postgres18: Server) -> Iterator[Page]:
    with web_page.page(postgres18, others=provided) as served:
        yield served


def at_the_portal(page: Page, person: Person, name: str, provider: str) -> Answer:
    """What it shows when its forms have been filled in: by OpenID the way back, not gone; by SAML the form for it."""
    with person.stopping_at(page.url + PLACES[provider]):
        shown = person.get(f"/sign-in/{provider}")
        assert "userfield" in shown.text, shown
        shown = person.post(shown.url, {**form_of(shown.text), "user": name, "password": name})
        if "confirm" in form_of(shown.text):
            shown = person.post(shown.url, form_of(shown.text))
        return shown


def comes_back(page: Page, person: Person, name: str, provider: str) -> Answer:
    """What hostguard's page then says."""
    shown = at_the_portal(page, person, name, provider)
    if provider == "lemon":
        return person.get(str(shown.headers["Location"]))
    return person.post(PLACES[provider], form_of(shown.text), Origin="null")


@pytest.mark.parametrize("provider", PLACES)
def test_its_user_signs_in_and_approves(page: Page, provider: str) -> None:
    person = page.person()
    assert "Waits for a yes or a no" in comes_back(page, person, SUBJECT, provider).text
    last = page.entries(entry.SignedIn)[-1]
    assert (last.user, last.provider, last.subject) == ("bob", provider, SUBJECT if provider == "lemon" else MAIL)
    with page.held("DELETE FROM notes WHERE id = 1") as (request, agent):
        shown = person.post(f"/requests/{request}", {**person.form(f"/requests/{request}"), "answer": "approve"})
        assert "Approved by bob" in shown.text
        assert "DELETE" in agent.communicate(timeout=LIMIT_S)[0]
    (approval,) = (one for one in page.entries(entry.Approval) if one.request == request)
    assert (approval.user, approval.provider) == ("bob", provider)


@pytest.mark.parametrize("provider", PLACES)
def test_another_of_its_users_is_nobody_here(page: Page, provider: str) -> None:
    person = page.person()
    refused = comes_back(page, person, "rtyler", provider)
    assert refused.status == 403
    assert "no user of hostguard" in refused.text
    assert person.session is None


def test_its_code_is_good_once_in_the_browser_that_asked(page: Page) -> None:
    person, other = page.person(), page.person()
    place = str(at_the_portal(page, person, SUBJECT, "lemon").headers["Location"])
    assert "iss" not in dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(place).query))
    assert other.get(place).status == 400
    assert person.get(place).status == 400
    assert person.session is None


@pytest.mark.parametrize("attack", ["another browser", "again", "another's question", "changed", "unsigned"])
def test_its_assertion_is_good_once_for_the_question_in_the_browser_that_asked(page: Page, attack: str) -> None:
    person, other, place = page.person(), page.person(), PLACES["lemons"]
    form = form_of(at_the_portal(page, person, SUBJECT, "lemons").text)
    document = base64.b64decode(form["SAMLResponse"])
    match attack:
        case "another browser":
            person = other
        case "again":
            assert person.post(place, form).status == 200
            person.jar.clear()
        case "another's question":
            form["RelayState"] = form_of(at_the_portal(page, other, SUBJECT, "lemons").text)["RelayState"]
            person = other
        case "changed":
            assert MAIL.encode() in document
            document = document.replace(MAIL.encode(), b"root@badwolf.org")
        case "unsigned":
            before, _, after = document.rpartition(b"<Signature ")
            document = before + after.partition(b"</Signature>")[2]
    form["SAMLResponse"] = base64.b64encode(document).decode()
    assert person.post(place, form).status in (400, 403)
    assert person.session is None


def test_status_blames_neither_once_somebody_has_signed_in_again(page: Page) -> None:
    for provider in PLACES:
        comes_back(page, page.person(), SUBJECT, provider)
    assert page.guard.status()["page"]["failures"] == {}
