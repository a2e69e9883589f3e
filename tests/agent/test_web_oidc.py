"""Signing in by code and by device at a provider in memory: what it may answer, what follows from it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import issuing
import pytest
from issuing import ISSUER, NOW, Site, run, signed

from hostguard.agent.web import messages
from hostguard.agent.web.device import GRANT, Devices
from hostguard.agent.web.fetching import Fetching
from hostguard.agent.web.oidc import OidcProvider
from hostguard.agent.web.signing import Nobody, NotSignedIn, Person, Secrets
from hostguard.policy.issuer_sections import Issuer, UserRule
from hostguard.policy.web_sections import SignIn

KEY = issuing.rsa("k")
SECRETS = Secrets("the-state", "the-nonce", "v" * 43)
BACK = "https://hostguard.example/sign-in/corp/answer"
RULES = (
    UserRule(claim="email", equals="bob@example.com", user="bob"),
    UserRule(claim="sub", equals="b", user="bob"),
    UserRule(claim="groups", contains="admins", user="root"),
)
DEVICE = {"device_code": "d", "user_code": "WDJB", "verification_uri": f"{ISSUER}/d", "expires_in": 600, "interval": 5}


class World:
    """The provider's site, with what its endpoints answer."""

    def __init__(self, answers: Mapping[str, tuple[int, Any]], **metadata: Any) -> None:
        self.site = Site(KEY)
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.answers = dict(answers)
        told = {
            "issuer": ISSUER,
            "jwks_uri": f"{ISSUER}/keys",
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "device_authorization_endpoint": f"{ISSUER}/device",
            "authorization_response_iss_parameter_supported": True,
            **metadata,
        }
        self.site.pages[f"{ISSUER}/.well-known/openid-configuration"] = json.dumps(told).encode()

    async def get(self, url: str) -> bytes:
        return await self.site.fetch(url)

    async def post(self, url: str, form: Mapping[str, str], headers: Mapping[str, str]) -> tuple[int, bytes]:
        self.asked.append((url, dict(form), dict(headers)))
        status, body = self.answers[url.removeprefix(ISSUER)]
        return status, body if isinstance(body, bytes) else json.dumps(body).encode()

    def provider(self, secret: str = "") -> OidcProvider:
        issuer = Issuer(issuer=ISSUER, audiences=("x",), users=RULES)
        told = messages.Provider("corp", issuer, SignIn(client_id="hostguard"), secret, "")
        return OidcProvider(told, cast("Fetching", self))


def token(**changes: Any) -> str:
    return signed(KEY, issuing.claims(**{"sub": "b", "nonce": "the-nonce", **changes})).decode()


def person(world: World, secret: str = "", **answer: str) -> Person:
    told = {"code": "c", "iss": ISSUER, **answer}
    return run(world.provider(secret).person(SECRETS, BACK, {k: v for k, v in told.items() if v}, NOW))


def gives(**changes: Any) -> World:
    return World({"/token": (200, {"id_token": token(**changes)})})


def test_the_browser_is_sent_with_all_that_binds_the_answer() -> None:
    place = urlsplit(run(World({}).provider().place(SECRETS, BACK, NOW)))
    assert f"{place.scheme}://{place.netloc}{place.path}" == f"{ISSUER}/auth"
    asked = {name: value for name, (value,) in parse_qs(place.query).items()}
    assert asked == {
        "response_type": "code",
        "client_id": "hostguard",
        "redirect_uri": BACK,
        "scope": "openid",
        "state": "the-state",
        "nonce": "the-nonce",
        "code_challenge": SECRETS.challenge,
        "code_challenge_method": "S256",
    }


def test_the_code_is_exchanged_with_its_verifier_by_the_client_that_asked() -> None:
    world = gives()
    assert person(world, secret="a b:c%") == Person("bob", "b")
    ((url, form, headers),) = world.asked
    assert url == f"{ISSUER}/token"
    assert form == {
        "grant_type": "authorization_code",
        "code": "c",
        "redirect_uri": BACK,
        "code_verifier": SECRETS.verifier,
        "client_id": "hostguard",
    }
    assert headers == {"Authorization": "Basic aG9zdGd1YXJkOmElMjBiJTNBYyUyNQ=="}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another"}, "is for"),
        ({"aud": ["hostguard", "another"]}, "azp"),
        ({"iss": "https://evil.example"}, "its issuer is"),
        ({"exp": NOW - 1}, "expired"),
        ({"iat": None}, "issued"),
    ],
)
def test_a_token_that_is_not_for_this_sign_in_lets_nobody_in(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(NotSignedIn, match=why):
        person(gives(**changes))


@pytest.mark.parametrize(
    ("claims", "user"),
    [
        ({"sub": "x", "email": "bob@example.com"}, "bob"),
        ({"sub": "x", "email": "bob@example.com", "email_verified": True}, "bob"),
        ({"sub": "x", "email": "bob@example.com", "email_verified": False}, None),
        ({"sub": "x", "email": "bob@example.com", "email_verified": "false"}, None),
        ({"sub": "x"}, None),
        ({"sub": "b", "groups": ["admins"]}, None),
        ({"sub": "x", "groups": ["admins"]}, "root"),
    ],
)
def test_the_rules_give_exactly_one_user_or_nobody(claims: dict[str, Any], user: str | None) -> None:
    if user is not None:
        assert person(gives(**claims)).user == user
        return
    with pytest.raises(Nobody) as refused:
        person(gives(**claims))
    assert refused.value.subject == claims["sub"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"iss": "https://evil.example"}, "not of https"),
        ({"iss": ""}, "not of https"),
        ({"code": ""}, "no code"),
        ({"error": "access_denied", "error_description": "<b>"}, "access_denied"),
    ],
)
def test_an_answer_of_another_kind_has_no_code_exchanged(answer: dict[str, str], why: str) -> None:
    world = gives()
    with pytest.raises(NotSignedIn, match=why):
        person(world, **answer)
    assert world.asked == []


def test_a_provider_that_says_no_issuer_is_believed_without() -> None:
    world = World({"/token": (200, {"id_token": token()})}, authorization_response_iss_parameter_supported=False)
    assert person(world, iss="").user == "bob"
    with pytest.raises(NotSignedIn, match="not of"):
        person(world, iss="https://evil.example")


@pytest.mark.parametrize("body", [b"", b"[]", b"[" * 100_000, {"error": "x"}, {}, {"id_token": 1}, {"id_token": "x"}])
def test_whatever_the_token_endpoint_answers_nobody_is_in(body: Any) -> None:
    for status in (200, 400):
        with pytest.raises(NotSignedIn):
            person(World({"/token": (status, body)}))


def test_why_nobody_can_sign_in_is_kept_until_somebody_can() -> None:
    world = gives()
    provider = world.provider()
    world.site.down = True
    with pytest.raises(NotSignedIn, match="nobody answers"):
        run(provider.place(SECRETS, BACK, NOW))
    assert "nobody answers" in provider.failure
    world.site.down = False
    run(provider.person(SECRETS, BACK, {"code": "c", "iss": ISSUER}, NOW))
    assert provider.failure == ""


# -- by device ------------------------------------------------------------------------------------------------------------------


def test_a_sign_in_by_device_waits_for_the_user() -> None:
    world = World({"/device": (200, DEVICE), "/token": (400, {"error": "authorization_pending"})})
    devices, provider = Devices(), world.provider()
    begun = run(devices.begin(provider, NOW))
    assert (begun.code, begun.place, begun.interval_s) == ("WDJB", f"{ISSUER}/d", 5)
    assert run(devices.person(begun.handle, NOW + 1)) is None
    assert len(world.asked) == 1, "it is asked no more often than it wants"
    assert run(devices.person(begun.handle, NOW + 6)) is None
    assert world.asked[1][1] == {"grant_type": GRANT, "device_code": "d", "client_id": "hostguard"}
    world.answers["/token"] = (400, {"error": "slow_down"})
    assert run(devices.person(begun.handle, NOW + 12)) is None
    assert run(devices.person(begun.handle, NOW + 20)) is None
    assert len(world.asked) == 3, "slower"
    world.answers["/token"] = (200, {"id_token": token(nonce=None)})
    assert run(devices.person(begun.handle, NOW + 23)) == ("corp", Person("bob", "b"))
    with pytest.raises(NotSignedIn, match="over"):
        run(devices.person(begun.handle, NOW + 40))


@pytest.mark.parametrize("later", [600, 2000])
def test_a_sign_in_by_device_is_over_in_time(later: float) -> None:
    world = World({"/device": (200, {**DEVICE, "expires_in": 600})})
    devices = Devices()
    begun = run(devices.begin(world.provider(), NOW))
    with pytest.raises(NotSignedIn, match="over"):
        run(devices.person(begun.handle, NOW + later))
    assert len(world.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"device_code": ""},
        {"user_code": None},
        {"verification_uri": "javascript:x"},
        {"verification_uri": "x" * 3000},
        {"user_code": ["WDJB"]},
    ],
)
def test_a_device_answer_that_lacks_something_begins_nothing(change: dict[str, Any]) -> None:
    with pytest.raises(NotSignedIn):
        run(Devices().begin(World({"/device": (200, {**DEVICE, **change})}).provider(), NOW))


def test_a_user_who_says_no_is_not_in() -> None:
    world = World({"/device": (200, DEVICE), "/token": (400, {"error": "access_denied"})})
    devices = Devices()
    begun = run(devices.begin(world.provider(), NOW))
    with pytest.raises(NotSignedIn, match="access_denied"):
        run(devices.person(begun.handle, NOW + 6))
