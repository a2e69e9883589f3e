"""Keys of an issuer over time: rotation, an issuer that is down, forged key ids; what claims map to; tokens for one use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from issuing import ISSUER, NOW, Site, claims, ec, run, signed, trust

from hostguard.identity.jwks import RETRY_S
from hostguard.identity.mapping import ClaimRule, look_up
from hostguard.identity.mapping import given as rules_give
from hostguard.identity.oidc import Oidc
from hostguard.identity.replay import Seen
from hostguard.identity.verified import NotVerified, Verified

OLD, NEW = ec("old"), ec("new")


def token(key: Any = OLD, now: float = NOW) -> bytes:
    return signed(key, claims(iat=now - 5, exp=now + 300), "ES256")


def fault(provider: Oidc, what: bytes, now: float) -> str:
    with pytest.raises(NotVerified) as caught:
        run(provider.workload(what, now))
    return caught.value.fault


def test_keys_are_fetched_once_and_kept() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    for step in range(5):
        run(provider.workload(token(), NOW + step))
    assert site.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]


def test_a_new_key_is_looked_for_when_a_token_names_it() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    run(provider.workload(token(), NOW))
    site.publish(OLD, NEW)
    later = NOW + RETRY_S
    assert run(provider.workload(token(NEW, later), later)).key == NEW.thumbprint()


def test_forged_key_ids_ask_the_issuer_no_more_than_now_and_then() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    for step in range(100):
        assert fault(provider, signed(ec(f"k{step}"), claims(), "ES256"), NOW + step / 100) == "key"
    assert len(site.asked) == 2


def test_a_key_that_was_withdrawn_is_worth_nothing_after_the_refresh() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    run(provider.workload(token(), NOW))
    site.publish(NEW)
    assert run(provider.workload(token(), NOW + 299)).subject == "bot"
    later = NOW + 300
    assert fault(provider, token(OLD, later), later) == "key"
    assert provider.keys.thumbprints(later) == {NEW.thumbprint()}


def test_an_issuer_that_is_down_is_believed_for_a_while() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    run(provider.workload(token(), NOW))
    site.down = True
    late = NOW + 3599
    assert run(provider.workload(token(OLD, late), late)).subject == "bot"
    assert provider.keys.fault == "nobody answers"
    late = NOW + 3600
    assert fault(provider, token(OLD, late), late) == "unavailable"
    assert provider.keys.thumbprints(late) == frozenset()
    site.down = False
    late += RETRY_S
    assert run(provider.workload(token(OLD, late), late)).subject == "bot"


def test_an_issuer_that_was_never_there_verifies_nothing() -> None:
    site = Site(OLD)
    site.down = True
    provider = Oidc(trust(), site.fetch)
    assert fault(provider, token(), NOW) == "unavailable"
    assert fault(provider, token(), NOW + 1) == "unavailable"
    assert len(site.asked) == 1


def test_a_clock_that_was_set_back_makes_keys_no_younger() -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    run(provider.workload(token(), NOW))
    site.down = True
    past = NOW - 10_000
    assert fault(provider, token(OLD, past), past) == "unavailable"


@given(st.lists(st.tuples(st.sampled_from(["down", "up", "rotate", "ask"]), st.integers(0, 2000)), max_size=30))
@settings(max_examples=60, deadline=None)
def test_nothing_is_verified_by_a_key_that_was_last_published_too_long_ago(steps: list[tuple[str, int]]) -> None:
    site = Site(OLD)
    provider = Oidc(trust(), site.fetch)
    now, old_until = NOW, float("inf")
    for what, seconds in steps:
        now += seconds
        if what in ("down", "up"):
            site.down = what == "down"
        elif what == "rotate":
            old_until = min(old_until, now)
            site.publish(NEW)
        else:
            try:
                run(provider.workload(token(OLD, now), now))
            except NotVerified:
                continue
            assert now < old_until + 3600


def verified(**changes: Any) -> Verified:
    says: dict[str, Any] = {
        "kind": "oidc", "issuer": ISSUER, "subject": "bot", "expires_at": NOW + 300, "issued_at": None, "token_id": "1",
        "key": "k", "claims": {},
    }  # fmt: skip
    return Verified(**{**says, **changes})


CLAIMS: Mapping[str, Any] = {
    "groups": ["shop-readers", "all"],
    "scope": "read write",
    "email_verified": True,
    "kubernetes.io": {"namespace": "shop", "a/b": {"~": "x"}},
    "age": 5,
    "sub": "what the claims say",
}


@pytest.mark.parametrize(
    ("claim", "how", "value", "holds"),
    [
        ("groups", "contains", "all", True),
        ("groups", "contains", "al", False),
        ("groups", "equals", "all", False),
        ("groups", "glob", "shop-*", True),
        ("groups", "glob", "shop", False),
        ("scope", "contains", "write", True),
        ("scope", "contains", "rite", False),
        ("scope", "equals", "read write", True),
        ("email_verified", "equals", "true", True),
        ("/kubernetes.io/namespace", "equals", "shop", True),
        ("/kubernetes.io/a~1b/~0", "equals", "x", True),
        ("/kubernetes.io/namespace/x", "equals", "shop", False),
        ("/kubernetes.io", "glob", "*", False),
        ("age", "equals", "5", False),
        ("age", "glob", "*", False),
        ("none", "glob", "*", False),
        ("none", "equals", "None", False),
        ("sub", "equals", "bot", True),
        ("iss", "equals", ISSUER, True),
        ("email_verified", "contains", "true", False),
    ],
)
def test_what_claims_give(claim: str, how: Any, value: str, holds: bool) -> None:
    rules = [ClaimRule(claim, how, value, "role"), ClaimRule("groups", "contains", "nobody", "other")]
    assert rules_give(rules, verified(claims=CLAIMS)) == (("role",) if holds else ())


def test_a_claim_that_is_not_there() -> None:
    assert look_up({"a": {"b": 1}}, "/a/b") == 1
    assert look_up({"a": {"b": 1}}, "/a/c") is None
    assert look_up({"/a": 1}, "/a") is None


def test_a_pattern_does_not_take_for_ever() -> None:
    rule = ClaimRule("c", "glob", "*a*a*a*a*a*a*b", "role")
    assert rules_give([rule], verified(claims={"c": "a" * 60_000})) == ()


def test_a_token_that_is_used_once() -> None:
    seen = Seen()
    seen.use(verified(), "cgroup 1", NOW)
    seen.use(verified(), "cgroup 1", NOW + 1)
    with pytest.raises(NotVerified, match="used before, by another"):
        seen.use(verified(), "cgroup 2", NOW + 299)
    seen.use(verified(issuer="https://other.example"), "cgroup 2", NOW)
    seen.use(verified(expires_at=NOW + 900), "cgroup 2", NOW + 300)
    assert len(seen) == 1


def test_what_can_t_be_remembered_is_refused() -> None:
    seen = Seen(limit=1)
    seen.use(verified(), "a", NOW)
    with pytest.raises(NotVerified, match="too many"):
        seen.use(verified(token_id="2"), "a", NOW)
    with pytest.raises(NotVerified, match="no id"):
        seen.use(verified(token_id=""), "a", NOW)
