"""SAML web single sign-on: the good response, and those that are refused."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from asserting import AUDIENCE, IDP, RECIPIENT, assertion, certificate, response, signed
from certificates import Certificate

from hostguard.identity.saml import Saml
from hostguard.identity.trust import Trust
from hostguard.identity.verified import NotVerified, Verified

NOW = time.time() // 1
OURS, STRANGER = certificate(), certificate()
IDENTITY_PROVIDER = Saml(Trust(kind="saml", issuer=IDP, audiences=frozenset([AUDIENCE])), RECIPIENT, OURS.chain)


def said(by: Certificate = OURS, **what: Any) -> str:
    return signed(assertion(NOW, **what), by)


def sign_in(text: str, request: str = "_q1") -> Verified:
    return IDENTITY_PROVIDER.sign_in(text.encode(), request, NOW)


def answered(outer: dict[str, Any] | None = None, **inner: Any) -> str:
    given_inner, given_outer = {"request": "_q1", **inner}, {"request": "_q1", **(outer or {})}
    return signed(response(NOW, said(**given_inner), **given_outer), OURS)


def changed(pattern: str, replacement: str = "") -> str:
    """A response that is changed, then signed."""
    text, times = re.subn(pattern, replacement, response(NOW, "HERE", request="_q1"))
    assert times
    return signed(text.replace("HERE", said(request="_q1")), OURS)


def test_a_sign_in() -> None:
    assert sign_in(answered()).subject == "bot@corp.example"
    assert sign_in(changed("<saml:Issuer>[^<]*</saml:Issuer>")).subject == "bot@corp.example", "it may be left out (core 3.2.2)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (answered(request="_q2"), "request"),
        (answered(request=""), "request"),
        (answered({"request": "_q2"}), "request"),
        (answered({"request": ""}), "request"),
        (answered({"destination": "https://other.example/acs"}), "recipient"),
        (answered({"issuer": "https://evil.example"}), "issuer"),
        (answered({"status": "Responder"}), "claim"),
        (response(NOW, said(request="_q1"), request="_q1"), "signature"),
        (signed(response(NOW, said(request="_q1"), request="_q1"), STRANGER), "signature"),
        (said(request="_q1"), "malformed"),
        (signed(response(NOW, assertion(NOW, request="_q1"), request="_q1"), OURS), "signature"),
        (changed("<samlp:Status>.*</samlp:Status>"), "claim"),
        (changed("<samlp:StatusCode [^>]*/>"), "claim"),
    ],
)
def test_a_sign_in_that_is_refused(text: str, expected: str) -> None:
    with pytest.raises(NotVerified) as caught:
        sign_in(text)
    assert caught.value.fault == expected
