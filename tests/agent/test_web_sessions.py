"""Sessions, sign-ins under way, how often somebody may call: each bounded, each over in time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from hostguard.agent.faults import Faults
from hostguard.agent.web import messages, signing
from hostguard.agent.web import sessions as module
from hostguard.agent.web.keeper import Keeper
from hostguard.agent.web.limits import Limits, Rate, caller_of
from hostguard.agent.web.sessions import Session, Sessions
from hostguard.agent.web.signing import Secrets, Signing, csrf, hashed
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import of_texts
from hostguard.policy.rules import base_source
from hostguard.recorder import entry

if TYPE_CHECKING:
    from hostguard.agent.records import Records

NOW = 1_800_000_000.0


def opened(users: set[str], uid: int = -1) -> Sessions:
    found = Sessions(3600, users.__contains__)
    found.open("k", "bob", "corp", "b", "192.0.2.1", NOW, uid)
    return found


def test_a_session_is_over_in_time() -> None:
    found = opened({"bob"})
    assert found.find("k", NOW + 3599.9) is not None
    assert found.find("k", NOW + 3600) is None
    assert found.find("k", NOW) is None, "it does not come back with the clock"


def test_a_clock_that_was_set_back_makes_none_longer() -> None:
    assert opened({"bob"}).find("k", NOW - 1) is None


def test_a_user_who_is_none_any_more_has_no_session() -> None:
    users = {"bob"}
    found = opened(users)
    users.clear()
    assert found.find("k", NOW + 1) is None


@pytest.mark.parametrize(("own", "other"), [(1000, 0), (1000, -1), (-1, 0)])
def test_a_session_is_good_where_it_was_opened(own: int, other: int) -> None:
    found = opened({"bob"}, uid=own)
    assert found.find("k", NOW, other) is None
    assert found.find("k", NOW, own) is not None


def test_one_user_has_so_many_sessions_and_the_oldest_goes() -> None:
    found = Sessions(3600, lambda _: True)
    for number in range(module.MAX_OF_USER + 1):
        found.open(str(number), "bob", "corp", "b", "", NOW + number)
    assert found.users == {"bob": module.MAX_OF_USER}
    assert found.find("0", NOW + 100) is None
    assert found.find("1", NOW + 100) is not None


def test_all_have_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SESSIONS", 3)
    found = Sessions(3600, lambda _: True)
    for number in range(5):
        found.open(str(number), f"u{number}", "corp", "b", "", NOW + number)
    assert set(found.users) == {"u2", "u3", "u4"}


def test_a_successor_goes_on_with_them() -> None:
    after = Sessions(3600, lambda _: True)
    after.take_up(opened({"bob"}).leave())
    assert after.find("k", NOW + 1) is not None


@pytest.mark.parametrize(
    ("provider", "cookie", "later", "good"),
    [
        ("corp", "c", 0, True),
        ("corp", "d", 0, False),
        ("other", "c", 0, False),
        ("corp", "c", 600, False),
        ("corp", "c", -1, False),
    ],
)
def test_an_answer_is_to_a_sign_in_of_that_browser_at_that_provider_a_moment_ago(
    provider: str, cookie: str, later: float, good: bool
) -> None:
    found = Signing()
    begun = found.begin("corp", "c", "/", NOW)
    assert (found.take(begun.state, provider, cookie, NOW + later) is not None) is good
    assert found.take(begun.state, "corp", "c", NOW) is None, "it is used up"


def test_so_many_sign_ins_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MAX_BEGUN", 2)
    found = Signing()
    states = [found.begin("corp", "c", "/", NOW).state for _ in range(3)]
    assert [found.take(state, "corp", "c", NOW) is not None for state in states] == [False, True, True]


def test_the_challenge_is_that_of_the_rfc() -> None:
    """RFC 7636, appendix B."""
    secrets = Secrets("s", "n", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert secrets.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_tokens_of_sessions_differ() -> None:
    assert len({csrf("a"), csrf("b"), hashed("a"), hashed("b")}) == 4


def test_a_caller_gets_a_burst_then_a_rate() -> None:
    limits = Limits(Rate(burst=3, per_s=2.0))
    assert [limits.take("a", 0.0) for _ in range(4)] == [True, True, True, False]
    assert limits.take("b", 0.0)
    assert [limits.take("a", 0.5) for _ in range(2)] == [True, False]
    assert limits.refused == 2


def test_callers_are_bounded() -> None:
    limits = Limits(Rate(burst=1, per_s=0.0), max_callers=2)
    assert [limits.take(caller, 0.0) for caller in "abca"] == [True, True, True, True]


@pytest.mark.parametrize(
    ("address", "caller"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1:2:3", "2001:db8::/64"), ("fe80::1%eth0", "fe80::/64"), ("nonsense", "nonsense")],
)
def test_who_calls_is_an_address_or_a_network(address: str, caller: str) -> None:
    assert caller_of(address) == caller


DOCUMENT = """
[users.carl]
[agents.bot]
owner = "carl"
[issuers.corp]
issuer = "http://127.0.0.1:1"
audiences = ["x"]
users = [{ claim = "sub", equals = "c", user = "carl" }]
groups = [{ claim = "groups", contains = "db", group = "dba" }]
[sign_in.corp]
client_id = "c"
"""


class Noted:
    """Takes entries, as `Records` does."""

    def __init__(self) -> None:
        self.entries: list[entry.SignedIn] = []

    def note(self, flow: int, told: entry.SignedIn) -> bool:
        assert flow == 0
        self.entries.append(told)
        return True


@pytest.mark.parametrize(("groups", "fault"), [(("dba",), ""), (("dba", "root"), "no rule of issuers.corp.groups gives root")])
def test_the_pages_process_is_not_believed_groups_that_no_rule_gives(groups: tuple[str, ...], fault: str) -> None:
    document, noted = of_texts("hostguard.toml", DOCUMENT, [base_source()]), Noted()
    others: Any = None
    keeper = Keeper(document, Decider(Policy(document)), others, others, cast("Records", noted), others, Faults(), tuple, others)
    key = "0" * 64
    keeper._take(messages.encode(messages.Enter(1, key, "corp", "carl", "c", "192.0.2.1", groups=groups)), None)
    session = keeper.sessions.find(key, time.time())
    assert (session is None) is bool(fault)
    assert session is None or session.groups == groups
    let_in = ("carl", groups) if not fault else ("", ())
    assert [(one.user, one.groups, one.refused) for one in noted.entries] == [(*let_in, fault)]
    # What an earlier supervisor left is held against the rules of today.
    now = time.time()
    keeper.take_up([Session(key, "carl", "corp", "c", "", now - 1, now + 60, groups=("dba", "root"))])
    kept = keeper.sessions.find(key, time.time())
    assert kept is not None
    assert kept.groups == ("dba",)
