"""What people do on the web page: groups by a claim, a yes for more than once, grants, rows, duties; without a browser."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

import pytest
import web_page
from servers import Server
from web_page import LIMIT_S, Page, Person

from hostguard.recorder import entry


@pytest.fixture(scope="module")
def page(postgres18: Server) -> Iterator[Page]:
    with web_page.page(postgres18) as served:
        yield served


@pytest.fixture(scope="module")
def bob(page: Page) -> Person:
    """A DBA who has signed in."""
    person = page.person()
    person.sign_in("bob")
    return person


def test_a_group_that_a_claim_gives_counts_while_that_sign_in_lasts(page: Page) -> None:
    with_it, without = page.person(), page.person()
    with_it.sign_in("carl")
    without.sign_in("carl2")
    with page.held("DELETE FROM notes WHERE id = 3") as (request, agent):
        place = f"/requests/{request}"
        form = {**with_it.form(place), "answer": "approve"}
        refused = without.post(place, {**form, **web_page.session_form(without)})
        assert refused.status == 403
        assert "carl may not decide" in refused.text
        assert "Approved by carl." in with_it.post(place, form).text
        assert "DELETE 1" in agent.communicate(timeout=LIMIT_S)[0]
    (approval,) = (one for one in page.entries(entry.Approval) if one.request == request)
    assert (approval.user, approval.provider, approval.groups) == ("carl", "corp", ("dba",))
    signed_in = [one for one in page.entries(entry.SignedIn) if one.user == "carl"]
    assert [(one.subject, one.groups) for one in signed_in] == [("carl", ("dba",)), ("carl2", ())]


def test_a_yes_for_more_than_once_is_a_grant_that_outlives_the_sign_in_and_is_revoked(page: Page, bob: Person) -> None:
    """Its issuer may issue by a claim's group only, which is kept with it."""
    carl, statement = page.person(), "DELETE FROM notes WHERE id = 40"
    carl.sign_in("carl")
    with page.held(statement) as (request, agent):
        place = f"/requests/{request}"
        assert "for more than this once" in carl.get(place).text
        wrong = carl.post(place, {**carl.form(place), "answer": "grant", "uses": "3", "for": "5"})
        assert (wrong.status, "For how long is one of" in wrong.text) == (400, True)
        refused = carl.post(place, {**carl.form(place), "answer": "grant", "uses": "12", "for": "3600"})
        assert (refused.status, "carl may not issue a grant" in refused.text) == (403, True)
        shown = carl.post(place, {**carl.form(place), "answer": "grant", "uses": "3", "for": "3600"})
        assert "2 of 2 uses left" in shown.text
        assert "DELETE 1" in agent.communicate(timeout=LIMIT_S)[0]
    grant = shown.url.rpartition("/")[2]
    (issued,) = (one for one in page.entries(entry.GrantIssued) if one.grant == grant)
    assert (issued.user, issued.uid, issued.groups, issued.request, issued.uses) == ("carl", -1, ("dba",), request, 2)
    carl.post("/sign-out", web_page.session_form(carl))
    again = page.ask(statement)
    assert "DELETE 0" in again.communicate(timeout=LIMIT_S)[0]
    assert "1 of 2" in bob.get("/grants").text
    alice = page.person()
    alice.sign_in("alice")  # the agent's owner may end it, and may not stand for it
    assert "Stand for it too" not in alice.get(f"/grants/{grant}").text
    assert alice.post(f"/grants/{grant}", {**web_page.session_form(alice), "verb": "endorse"}).status == 403
    assert "Stand for it too" in bob.get(f"/grants/{grant}").text
    stands = bob.post(f"/grants/{grant}", {**web_page.session_form(bob), "verb": "endorse"})
    assert "carl and bob" in stands.text
    stranger = page.person()
    stranger.sign_in("carl2")
    assert 'value="revoke"' in stranger.get(f"/grants/{grant}").text, "it is his own"
    over = alice.post(f"/grants/{grant}", {**web_page.session_form(alice), "verb": "revoke", "reason": "enough"})
    assert "by alice: enough" in over.text
    assert 'value="revoke"' not in over.text
    assert alice.post(f"/grants/{grant}", {**web_page.session_form(alice), "verb": "revoke"}).status == 409
    with page.held(statement):
        pass


def test_who_may_not_issue_is_not_offered_to(page: Page) -> None:
    """dora may approve, and no more."""
    dora = page.person()
    dora.sign_in("dora")
    with page.held("DELETE FROM notes WHERE id = 50") as (request, _):
        place = f"/requests/{request}"
        shown = dora.get(place).text
        assert 'value="approve"' in shown
        assert "for more than this once" not in shown
        assert dora.post(place, {**dora.form(place), "answer": "grant", "uses": "2", "for": "900"}).status == 403
        assert page.state(request) == "pending"


def touches(page: Page, request: str) -> str:
    """What is said of its rows, once the server has had time to say something."""
    time.sleep(1.0)
    return str(page.client.get(f"/v1/requests/{request}")["touches"])


def test_how_many_rows_it_would_touch_stands_with_it(page: Page, bob: Person) -> None:
    with page.held("DELETE FROM notes WHERE id BETWEEN 20 AND 29 -- ten") as (request, _):
        assert touches(page, request) == "10 rows"
        assert "It would touch 10 rows, as it was when this was asked." in bob.get(f"/requests/{request}").text
        assert "touches   10 rows" in page.guard.cli("requests", "show", request).stdout
    with page.held("DELETE FROM notes WHERE id = (SELECT 20)") as (request, _):
        assert touches(page, request) == "", "it is not plain"
    with page.server.connect("web") as connection:
        try:
            connection.execute("ALTER DATABASE web SET cpu_tuple_cost = 100000")
            with page.held("DELETE FROM notes WHERE id > 0") as (request, _):
                assert re.fullmatch(r"about \d+ rows by the server's estimate", touches(page, request)), "it is not cheap"
        finally:
            connection.execute("ALTER DATABASE web RESET cpu_tuple_cost")


BOUND = """
import psycopg
spare = [psycopg.connect("", autocommit=True) for _ in range(4)]
for connection in spare:
    connection.execute("SELECT 1")
try:
    print(spare[0].execute("DELETE FROM notes WHERE id = ANY(%s)", ([20, 21, 2000],)).statusmessage)
except psycopg.Error as error:
    print(error)
print([connection.execute("SHOW statement_timeout").fetchone() for connection in spare])
"""


def test_bound_values_are_asked_about_in_another_idle_session_of_the_agents(page: Page) -> None:
    command, environment = [sys.executable, "-c", BOUND], page.server.environment("web", "postgres")
    with page.waits(lambda: page.guard.begin("bot", command, environment)) as (request, agent):
        assert touches(page, request) == "2 rows"
        page.client.post(f"/v1/requests/{request}/approve", {})
        said = agent.communicate(timeout=LIMIT_S)[0]
        assert "DELETE 2" in said
        assert str([("0",)] * 4) in said


def test_asking_holds_nothing_up_and_breaks_nothing_where_the_table_is_locked(page: Page, bob: Person) -> None:
    with page.server.connect("web", autocommit=False) as connection:
        connection.execute("LOCK TABLE notes IN ACCESS EXCLUSIVE MODE")
        with page.held("DELETE FROM notes WHERE id = 30") as (request, agent):
            assert touches(page, request) == ""
            with page.server.connect() as other:
                waiting = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'web'"
                assert other.execute(waiting).fetchall() == [], "the server has given up"
            connection.rollback()
            bob.post(f"/requests/{request}", {**bob.form(f"/requests/{request}"), "answer": "approve"})
            assert "DELETE 1" in agent.communicate(timeout=LIMIT_S)[0]


def test_duties_are_drawn_with_conflicts_and_history(page: Page, bob: Person) -> None:
    """After a statement was approved above."""
    shown = web_page.until(lambda: (found := bob.get("/duties")) and "being worked out" not in found.text and found).text
    matrix, _, history = shown.partition("Who has exercised what")
    rows = dict(re.findall(r'<th scope="row">(agent clerk|user alice|user bob)[^\0]*?</th>([^\0]*?)</tr>', matrix))
    assert re.findall(r"<td[^>]*>(.*?)</td>", rows["agent clerk"]) == ['<span class="dim">no</span>', "yes", "yes"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", rows["user alice"]) == ["owns bot", "owns clerk", "owns clerk"]
    assert re.findall(r"<td[^>]*>(.*?)</td>", rows["user bob"])[0] == "approves for bot"
    (conflict,) = re.findall(r'<p class="error conflict" role="note">(.*?)</p>', shown)
    assert "exclusions.payments: agent clerk can exercise both duties" in conflict
    assert "insert on web/web/public/payees" in conflict
    assert "<b>within 60 s:</b> exclusions.notes: user alice can exercise both" in shown
    assert re.search(r'<th scope="row">user bob</th><td>delete-notes</td><td>web/web/public/notes</td>', history)
    told = page.guard.cli("policy", "duties").stdout
    assert "approves for bot" in told
    assert "✗" in told
