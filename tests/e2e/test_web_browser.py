"""The web page in a real Chromium, from the sign-in at a real provider to the statement at a real PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import guard
import pytest
import web_page
from browser import WAIT_S, chromium
from foreign_site import foreign_site
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait
from servers import Server
from web_page import Page

CHANGING = (NoSuchElementException, StaleElementReferenceException)


@pytest.fixture(scope="module")
def page(postgres18: Server) -> Iterator[Page]:
    with web_page.page(postgres18) as served:
        yield served


@pytest.fixture(scope="module")
def bob(page: Page) -> Iterator[Chrome]:
    """A window of somebody who has signed in by keys alone."""
    with chromium() as window:
        window.get(page.url)
        press(window, Keys.TAB, Keys.TAB, Keys.TAB, Keys.ENTER)
        at(window, "[name=login]")
        press(window, "bob", Keys.TAB, "any", Keys.ENTER)
        at(window, "[name=prompt][value=consent]")
        press(window, Keys.ENTER)
        at(window, "#live.on")
        yield window


def press(window: Chrome, *keys: str) -> None:
    """As somebody at a keyboard: into whatever has the focus."""
    for key in keys:
        ActionChains(window).send_keys(key).perform()


def at(window: Chrome, selector: str) -> WebElement:
    """The element, once it is there."""
    found: WebElement = WebDriverWait(window, WAIT_S).until(lambda _: window.find_element(By.CSS_SELECTOR, selector))
    return found


def says(window: Chrome, words: str) -> None:
    """The page says it, sooner or later: what is shown is replaced by what is new, as it comes."""
    WebDriverWait(window, WAIT_S, ignored_exceptions=CHANGING).until(lambda _: words in text_of(window))


def click(window: Chrome, selector: str) -> None:
    """The element, once it is there to stay."""

    def clicked(_: Chrome) -> bool:
        window.find_element(By.CSS_SELECTOR, selector).click()
        return True

    WebDriverWait(window, WAIT_S, ignored_exceptions=CHANGING).until(clicked)


def text_of(window: Chrome) -> str:
    return str(window.find_element(By.TAG_NAME, "main").text)


def complaints(window: Chrome, page: Page) -> list[str]:
    """What the browser says against the page, since it was asked last: policies broken, files missing, errors of scripts."""
    said: list[dict[str, Any]] = window.get_log("browser")  # type: ignore[no-untyped-call]
    return [line["message"] for line in said if page.url in line["message"] and line["level"] in ("SEVERE", "WARNING")]


def test_what_was_exercised_and_what_was_granted_comes_by_itself(page: Page, bob: Chrome) -> None:
    bob.get(f"{page.url}/duties")
    at(bob, ".matrix")
    at(bob, "#live.on")
    says(bob, "Nobody has, of those that are in an exclusion.")
    bob.execute_script("window.untouched = true")
    with page.held("DELETE FROM notes WHERE id = 10") as (request, agent):
        page.client.post(f"/v1/requests/{request}/approve", {"reason": ""})
        assert "DELETE" in agent.communicate(timeout=WAIT_S)[0]
    WebDriverWait(bob, WAIT_S, ignored_exceptions=CHANGING).until(lambda _: "delete-notes" in at(bob, "[data-part]").text)
    assert bob.execute_script("return window.untouched"), "the page was loaded anew"
    bob.get(f"{page.url}/grants")
    at(bob, "#live.on")
    says(bob, "There is no grant.")
    bob.execute_script("window.untouched = true")
    place = {"agent": "bot", "resource": "web", "database": "web", "user": "postgres"}
    statement = "DELETE FROM notes WHERE id = 11"
    terms = {"uses": 3, "until": time.time() + 600, "statement": statement}
    grant = page.client.post("/v1/grants", {**place, **terms})["id"]
    at(bob, f"[id='{grant}'] a")
    bob.execute_script("arguments[0].focus()", at(bob, f"[id='{grant}'] a"))
    assert "DELETE" in page.ask(statement).communicate(timeout=WAIT_S)[0]
    says(bob, "2 of 3")
    assert bob.switch_to.active_element.text == grant
    page.client.post(f"/v1/grants/{grant}/revoke", {"reason": ""})
    says(bob, "There is no grant.")
    assert bob.execute_script("return window.untouched"), "the page was loaded anew"
    assert complaints(bob, page) == []


def test_a_request_comes_by_itself_is_approved_and_its_statement_runs(page: Page, bob: Chrome) -> None:
    bob.get(page.url)
    says(bob, "Nothing waits.")
    at(bob, "#live.on")
    bob.execute_script("window.untouched = true")
    with page.held("DELETE FROM notes WHERE id = 1") as (request, agent):
        at(bob, f"[data-request='{request}'] a")
        assert bob.execute_script("return window.untouched"), "the page was loaded anew"
        says(bob, "1 more request waits.")
        assert bob.title == "(1) Inbox · hostguard"
        click(bob, f"[data-request='{request}'] a")
        assert at(bob, ".sql .writes").text == "DELETE"
        click(bob, "button.approve")
        at(bob, ".state.used")
        assert "DELETE 1" in agent.communicate(timeout=WAIT_S)[0]
    with page.server.connect("web") as connection:
        assert connection.execute("SELECT count(*) FROM notes WHERE id = 1").fetchone() == (0,)
    assert complaints(bob, page) == []


def test_it_takes_no_mouse(page: Page, bob: Chrome) -> None:
    with page.held("DELETE FROM notes WHERE id = 2") as (request, agent):
        bob.get(page.url)
        at(bob, f"[data-request='{request}']")
        press(bob, "j", Keys.ENTER)
        at(bob, "#reason")
        press(bob, "r", "ask me adr first", Keys.ESCAPE, "d")
        assert bob.switch_to.active_element.get_attribute("value") == "deny"
        press(bob, Keys.ENTER)
        at(bob, ".state.denied")
        assert "ask me adr first" in agent.communicate(timeout=WAIT_S)[0]
        press(bob, "u")
        at(bob, ".empty")


def test_more_than_once_takes_no_mouse_either(page: Page, bob: Chrome) -> None:
    statement = "DELETE FROM notes WHERE id = 9"
    with page.held(statement) as (request, agent):
        bob.get(f"{page.url}/requests/{request}")
        at(bob, "#live.on")
        press(bob, "g", "0", Keys.ENTER)
        time.sleep(0.5)
        assert page.state(request) == "pending", "Enter in a field decides nothing, and 0 is no number of times"
        press(bob, Keys.BACKSPACE, "3", Keys.TAB, "1 d", Keys.TAB, Keys.ENTER)
        says(bob, "2 of 2 uses left")
        assert "DELETE 1" in agent.communicate(timeout=WAIT_S)[0]
    grant = bob.current_url.rpartition("/")[2]
    click(bob, "nav a[href='/grants']")
    assert at(bob, f"[id='{grant}'] td:nth-child(5)").text == "2 of 2"
    click(bob, f"a[href='/grants/{grant}']")
    press(bob, "r", "enough", Keys.TAB, Keys.ENTER)
    at(bob, ".state.revoked")
    says(bob, "by bob: enough")
    assert complaints(bob, page) == []


def test_the_matrix_of_duties_is_a_table_that_says_whose_cell_is_whose(page: Page, bob: Chrome) -> None:
    bob.get(f"{page.url}/duties")
    says(bob, "exclusions.payments: agent clerk can exercise both duties")  # it comes by itself once it is worked out
    cell = at(bob, "tr.clashes td:nth-child(4)")
    assert cell.text == "yes"
    assert [each.text for each in bob.find_elements(By.CSS_SELECTOR, ".matrix th[scope=col]")][3] == "approve-payments"
    assert "agent clerk" in at(bob, "tr.clashes th[scope=row]").text
    assert at(bob, ".matrix caption").text.startswith("By the policies in force.")
    assert complaints(bob, page) == []


def test_enter_in_the_reason_decides_nothing(page: Page, bob: Chrome) -> None:
    with page.held("DELETE FROM notes WHERE id = 3") as (request, _):
        bob.get(f"{page.url}/requests/{request}")
        press(bob, "r", "hm", Keys.ENTER)
        time.sleep(0.5)
        assert page.state(request) == "pending"


def test_who_looks_at_a_request_sees_its_end(page: Page, bob: Chrome) -> None:
    with page.held("DELETE FROM notes WHERE id = 4") as (request, _):
        bob.get(f"{page.url}/requests/{request}")
        at(bob, "#live.on")
        page.client.post(f"/v1/requests/{request}/deny", {"reason": "by another"})
        at(bob, ".state.denied")
        says(bob, "by another")
        assert not bob.find_elements(By.CSS_SELECTOR, "button.approve")


def test_what_an_agent_writes_stays_in_its_place(page: Page, bob: Chrome) -> None:
    odd = "DELETE FROM notes WHERE id = 5 AND '<img src=x onerror=document.title=1>' = '\u202esqud\u202c\u200b' -- n\u043etes"
    with page.held(odd) as (request, _):
        bob.get(f"{page.url}/requests/{request}")
        shown = at(bob, ".sql").text
        assert "<img src=x onerror=document.title=1>" in shown
        assert "⟦U+202E⟧squd⟦U+202C⟧⟦U+200B⟧" in shown
        assert at(bob, "mark.foreign").get_attribute("title") == "U+043E CYRILLIC SMALL LETTER O"
        assert bob.title == f"{request} · hostguard"
        assert complaints(bob, page) == []


def test_the_sessions_cookie_is_out_of_reach(page: Page, bob: Chrome) -> None:
    bob.get(page.url)
    (cookie,) = (found for found in bob.get_cookies() if found["name"].startswith("__Host-"))
    assert (cookie["name"], cookie["httpOnly"], cookie["secure"]) == ("__Host-hostguard", True, True)
    assert (cookie["sameSite"], cookie["path"]) == ("Lax", "/")
    assert 0 < cookie["expiry"] - time.time() <= 3600
    assert bob.execute_script("return document.cookie") == ""


def test_a_saml_providers_form_brings_somebody_in(page: Page) -> None:
    """Its cookies are for another site's form, the session's are not; a browser has to take both."""
    with chromium() as window:
        window.get(f"{page.url}/sign-in")
        click(window, "a[href^='/sign-in/idp']")
        says(window, "Waits for a yes or a no")
        assert [(found["name"], found["sameSite"]) for found in window.get_cookies()] == [("__Host-hostguard", "Lax")]


@pytest.mark.timeout(300)
def test_login_on_the_command_line_by_any_browser(page: Page, tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}

    def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [guard.HOSTGUARD, *arguments, "--config", str(page.guard.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)

    assert "bob, as UNIX user 0" in cli("identity", "whoami").stdout
    command = [guard.HOSTGUARD, "login", "--config", str(page.guard.config)]
    with subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as login:
        assert login.stderr is not None
        assert login.stdout is not None
        login.stderr.readline()
        with chromium() as window:
            window.get(login.stderr.readline().strip())
            assert at(window, "code").text in login.stderr.readline()
            click(window, "button[autofocus]")
            at(window, "[name=login]")
            press(window, "alice", Keys.TAB, "any", Keys.ENTER)
            at(window, "[name=prompt][value=consent]")
            press(window, Keys.ENTER)
            WebDriverWait(window, WAIT_S).until(lambda _: "success" in window.page_source.lower())
        assert login.stdout.readline().startswith("You are alice until")
    (file,) = (tmp_path / "hostguard").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cli("identity", "whoami").stdout.startswith("alice, signed in at corp until")
    where = ("--agent=bot", "--resource=web", "--database=postgres", "--user=postgres", "--until=1h", "--uses=1")
    assert "alice may not issue" in cli("grants", "issue", *where, "DELETE FROM notes WHERE id = 9").stderr
    with page.held("DELETE FROM notes WHERE id = 8") as (request, agent):
        refused = cli("requests", "approve", request)
        assert "alice may not decide" in refused.stderr, "the owner may not, though root is bob here, who may"
        # To another UNIX user the same secret is worth nothing.
        stolen = {"XDG_STATE_HOME": str(tmp_path / "hers")}
        (tmp_path / "hers").mkdir()
        shutil.copytree(tmp_path / "hostguard", tmp_path / "hers" / "hostguard")
        subprocess.run(["chown", "-R", "nobody", tmp_path / "hers"], check=True)
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", *command[:1], "identity", "whoami"]
        tmp_path.chmod(0o755)
        told = subprocess.run([*as_nobody, *command[2:]], capture_output=True, text=True, check=False, env=environment | stolen)
        assert "your sign-in is over" in told.stderr
        assert cli("identity", "logout").stdout == "You are not alice any more.\n"
        assert list((tmp_path / "hostguard").iterdir()) == []
        assert "it runs now" in cli("requests", "approve", request).stdout
        assert "DELETE 1" in agent.communicate(timeout=WAIT_S)[0]


def test_another_page_of_the_same_host_can_neither_show_nor_use_it(page: Page, bob: Chrome) -> None:
    """Of the same site to browsers, so that the session's cookie goes along: what refuses is the page itself."""
    with page.held("DELETE FROM notes WHERE id = 6") as (request, _):
        digest = page.client.get(f"/v1/requests/{request}")["digest"]
        fields = f"<input name=answer value=approve><input name=digest value={digest}><input name=csrf value={'0' * 64}>"
        place = f"{page.url}/requests/{request}"
        asked = f"fetch('{page.url}/parts/inbox', {{credentials: 'include'}})"
        pages = {
            "/frame": f"<iframe id=f src='{place}'></iframe>",
            "/form": f"<form method=post action='{place}'>{fields}</form><script>document.forms[0].submit()</script>",
            "/fetch": f"<script>{asked}.then(() => document.title = 'read', () => document.title = 'refused')</script>",
        }
        with foreign_site(pages) as site:
            bob.get(f"{site}/frame")
            bob.switch_to.frame(at(bob, "#f"))
            assert not bob.find_elements(By.CSS_SELECTOR, "button, .sql")
            bob.switch_to.default_content()
            assert any("frame-ancestors" in said for said in complaints(bob, page))
            bob.get(f"{site}/form")
            assert "did not come from hostguard's own page" in at(bob, ".error").text
            assert page.state(request) == "pending"
            bob.get(f"{site}/fetch")
            WebDriverWait(bob, WAIT_S).until(lambda _: bob.title)
            assert bob.title == "refused"
        bob.get(page.url)
        says(bob, request)  # the session is there all the same


@pytest.mark.parametrize("dark", [False, True])
def test_everything_can_be_read_in_light_and_in_darkness(page: Page, dark: bool) -> None:
    """Contrast of 4.5 for every text on every page (WCAG 2.2, 1.4.3), computed from what the browser made of the styles."""
    person = page.person()
    person.sign_in("bob")
    cookie = person.session
    assert cookie is not None
    with (
        chromium(dark=dark) as window,
        page.held("DELETE FROM notes -- n\u043etes\n WHERE id = 7 AND 'x\u202e' = 'x'") as (request, _),
    ):
        window.get(f"{page.url}/sign-in")
        window.add_cookie({"name": cookie.name, "value": cookie.value or "", "path": "/", "secure": True, "httpOnly": True})
        for place in ("/sign-in", "/", f"/requests/{request}", "/history", "/grants", "/duties", "/nowhere"):
            window.get(page.url + place)
            assert window.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") is dark
            assert window.execute_script(TOO_FAINT) == []


TOO_FAINT = """
const parts = (text) => text.match(/[\\d.]+/g).map(Number);
const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
const ground = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const color = parts(getComputedStyle(at).backgroundColor);
    if (color.length === 3 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const found = [];
const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walk.nextNode()) {
  const element = walk.currentNode.parentElement;
  if (!walk.currentNode.data.trim() || element.closest("script, .skip")) continue;
  const [a, b] = [light(parts(getComputedStyle(element).color)), light(ground(element))].sort((x, y) => y - x);
  const contrast = (a + 0.05) / (b + 0.05);
  if (contrast < 4.5) found.push([contrast.toFixed(2), walk.currentNode.data.trim().slice(0, 40)]);
}
return found;
"""
