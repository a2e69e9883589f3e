"""Tokens of an OpenID provider: the good ones, and every attack on them that has a name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from issuing import ISSUER, NOW, Site, b64, claims, ec, ed, forged, hmac_signed, published, rsa, run, signed, trust
from joserfc.jwk import ECKey, Key, OctKey, RSAKey

from hostguard.identity.discovery import discover, metadata_of
from hostguard.identity.jwks import MAX_DOCUMENT_BYTES, FetchFailed, KeySet
from hostguard.identity.oidc import Oidc
from hostguard.identity.spiffe import Spiffe
from hostguard.identity.verified import MAX_TOKEN_BYTES, NotVerified, Verified

RSA = rsa("r1")
EC = ec("e1")
ED = ed("d1")
STRANGER = rsa("r1")


def provider(**changes: Any) -> Oidc:
    return Oidc(trust(**changes), Site(RSA, EC, ED).fetch)


def fault(token: bytes, now: float = NOW, **changes: Any) -> str:
    with pytest.raises(NotVerified) as caught:
        run(provider(**changes).workload(token, now))
    return caught.value.fault


def good(token: bytes, **changes: Any) -> Verified:
    return run(provider(**changes).workload(token, NOW))


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [(RSA, "RS256"), (RSA, "PS512"), (EC, "ES256"), (ED, "EdDSA"), (ED, "Ed25519")],
)
def test_a_good_token_says_who_its_bearer_is(key: Any, algorithm: str) -> None:
    verified = good(signed(key, claims(groups=["shop"]), algorithm))
    assert (verified.kind, verified.issuer, verified.subject) == ("oidc", ISSUER, "bot")
    assert (verified.expires_at, verified.issued_at, verified.token_id) == (NOW + 300, NOW - 5, "1")
    assert verified.key == key.thumbprint()
    assert verified.claims["groups"] == ["shop"]


def test_an_access_token_and_a_list_of_audiences() -> None:
    assert good(signed(RSA, claims(aud=["x", "hostguard"]), typ="at+jwt")).subject == "bot"
    assert good(signed(RSA, claims(jti=None, iat=None), typ="application/at+JWT")).token_id == ""


def test_a_token_without_a_key_id_is_by_the_only_key_that_suits() -> None:
    assert good(signed(RSA, claims(), kid=None)).key == RSA.thumbprint()
    two = Oidc(trust(), Site(RSA, rsa("r2")).fetch)
    with pytest.raises(NotVerified) as caught:
        run(two.workload(signed(RSA, claims(), kid=None), NOW))
    assert caught.value.fault == "key"


FAULTS_OF_BYTES = ("malformed", "header", "algorithm", "key", "signature")
HEADER = {"alg": "none", "kid": "r1"}
BODY = json.dumps(claims()).encode()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", "HS256", "HS512", "RS1", "dir", None, 5, ["RS256"]])
def test_no_other_algorithm(name: Any) -> None:
    assert fault(forged({"alg": name, "kid": "r1"}, BODY, b"")) in ("algorithm", "malformed")


def test_no_hmac_with_the_public_key() -> None:
    for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode(), RSA.as_der(private=False)):
        assert fault(hmac_signed({"alg": "HS256", "kid": "r1"}, BODY, secret)) == "algorithm"
        assert fault(hmac_signed({"alg": "RS256", "kid": "r1"}, BODY, secret)) == "signature"


def test_no_key_of_another_kind() -> None:
    assert fault(forged({"alg": "ES256", "kid": "r1"}, BODY, b"x" * 64)) == "key"
    assert fault(signed(ec("r1"), claims(), "ES256")) == "key"
    assert fault(signed(ECKey.generate_key("P-384", {"kid": "e1"}), claims(), "ES384")) == "key"


def test_a_key_is_good_for_its_own_algorithm_only() -> None:
    meant = rsa("m", alg="RS256")
    by_meant = Oidc(trust(), Site(meant).fetch)
    assert run(by_meant.workload(signed(meant, claims()), NOW)).subject == "bot"
    free = RSAKey.import_key({**meant.as_dict(private=True), "alg": "PS256"})
    with pytest.raises(NotVerified) as caught:
        run(by_meant.workload(signed(free, claims(), "PS256"), NOW))
    assert caught.value.fault == "key"


def test_an_algorithm_that_is_not_on_the_list() -> None:
    assert fault(signed(RSA, claims(), "RS384"), algorithms=("RS256",)) == "algorithm"


def test_an_unknown_key_and_a_key_of_the_same_name() -> None:
    assert fault(signed(rsa("r9"), claims())) == "key"
    assert fault(signed(STRANGER, claims())) == "signature"


@pytest.mark.parametrize(
    "extra",
    [
        {"jwk": STRANGER.as_dict(private=False)},
        {"jku": "https://evil.example/keys"},
        {"x5u": "https://evil.example/cert"},
        {"x5c": ["AAAA"]},
        {"crit": ["exp"], "exp": 1},
        {"b64": False},
        {"zip": "DEF"},
        {"typ": "logout+jwt"},
        {"typ": 7},
        {"kid": 7},
    ],
)
def test_a_token_brings_nothing_along(extra: dict[str, Any]) -> None:
    assert fault(forged({"alg": "RS256", "kid": "r1", **extra}, BODY, b"x")) in ("header", "malformed")


def test_a_key_that_a_token_brings_along_is_not_asked() -> None:
    token = signed(STRANGER, claims(), jwk=STRANGER.as_dict(private=False))
    assert fault(token) == "header"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": "https://other.example"}, "issuer"),
        ({"iss": ISSUER + "/"}, "issuer"),
        ({"iss": None}, "issuer"),
        ({"iss": [ISSUER]}, "issuer"),
        ({"aud": "another"}, "audience"),
        ({"aud": ["hostguard2"]}, "audience"),
        ({"aud": None}, "audience"),
        ({"aud": {"hostguard": 1}}, "malformed"),
        ({"aud": ["hostguard", 1]}, "malformed"),
        ({"exp": NOW}, "expired"),
        ({"exp": NOW - 1}, "expired"),
        ({"exp": None}, "malformed"),
        ({"exp": True}, "malformed"),
        ({"exp": str(NOW + 300)}, "malformed"),
        ({"exp": float("nan")}, "malformed"),
        ({"exp": 10**400}, "malformed"),
        ({"nbf": NOW + 61}, "early"),
        ({"iat": NOW + 61}, "early"),
        ({"exp": NOW + 90_000, "iat": NOW}, "lifetime"),
        ({"exp": NOW + 90_000, "iat": None}, "lifetime"),
        ({"iat": NOW - 86_200}, "lifetime"),
        ({"sub": None}, "subject"),
        ({"sub": ""}, "subject"),
        ({"sub": 5}, "subject"),
        ({"sub": "x" * 1025}, "subject"),
        ({"jti": 5}, "malformed"),
    ],
)
def test_what_it_says_must_be_right(changes: dict[str, Any], expected: str) -> None:
    assert fault(signed(RSA, claims(**changes))) == expected


def test_the_issuers_clock_may_be_ahead_and_no_more() -> None:
    assert good(signed(RSA, claims(nbf=NOW + 60, iat=NOW + 60))).subject == "bot"
    assert fault(signed(RSA, claims(nbf=NOW + 1)), skew_s=0) == "early"
    assert fault(signed(RSA, claims()), now=NOW + 300) == "expired"


def test_one_issuers_key_is_no_other_issuers() -> None:
    """Both publish a key of the same name; each vouches for its own."""
    other = Oidc(trust(issuer="https://other.example"), Site(STRANGER, issuer="https://other.example").fetch)
    token = signed(STRANGER, claims())
    with pytest.raises(NotVerified) as caught:
        run(other.workload(token, NOW))
    assert caught.value.fault == "issuer"
    assert fault(token) == "signature"


def test_nothing_of_a_token_can_be_changed() -> None:
    token = signed(RSA, claims())
    for place in range(0, len(token), 3):
        letter = b"A" if token[place : place + 1] != b"A" else b"B"
        changed = token[:place] + letter + token[place + 1 :]
        assert fault(changed) in FAULTS_OF_BYTES
    # The last letter of base64 has bits that mean nothing: also they must be as they were.
    for other in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        if other != token[-1]:
            assert fault(token[:-1] + bytes([other])) in FAULTS_OF_BYTES


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=40), min_size=3, max_size=3).map(lambda p: b".".join(map(b64, p))))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_refused_and_nothing_else(token: bytes) -> None:
    assert fault(token) in ("malformed", "algorithm", "header")


_PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_JSON = st.recursive(_PLAIN, lambda kids: st.lists(kids, max_size=3))


@given(st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti"]), _JSON))
@settings(max_examples=100, deadline=None)
def test_any_signed_claims_are_verified_or_refused(changes: dict[str, Any]) -> None:
    try:
        verified = good(signed(EC, {**claims(), **changes}, "ES256"))
    except NotVerified:
        return
    assert verified.issuer == ISSUER
    assert verified.expires_at > NOW


def test_a_long_token_and_a_deep_one() -> None:
    assert fault(b"x" * (MAX_TOKEN_BYTES + 1)) == "malformed"
    assert fault(forged({"alg": "RS256", "kid": "r1"}, b"x", b"x").replace(b".", b"..")) == "malformed"
    assert fault(b64(b"[" * 3000) + b".e30.AAAA") == "malformed"
    assert fault(signed(RSA, b"[" * 30_000)) == "malformed"
    assert fault(signed(RSA, b"[]")) == "malformed"


# Signing in

CLIENT = "console"


def id_token(**changes: Any) -> Verified:
    token = signed(RSA, claims(**{"aud": CLIENT, "nonce": "n1", **changes}))
    return run(provider().id_token(token, CLIENT, "n1", NOW))


def test_an_id_token() -> None:
    assert id_token().subject == "bot"
    assert id_token(aud=[CLIENT, "x"], azp=CLIENT).subject == "bot"
    token = signed(RSA, claims(aud=CLIENT))
    assert run(provider().id_token(token, CLIENT, None, NOW)).subject == "bot"
    unasked = signed(RSA, claims(aud=CLIENT, nonce="n3"))
    assert run(provider().id_token(unasked, CLIENT, None, NOW)).subject == "bot"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"nonce": "n2"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "hostguard"}, "audience"),
        ({"aud": [CLIENT, "x"]}, "audience"),
        ({"azp": "x"}, "audience"),
        ({"iat": None}, "malformed"),
    ],
)
def test_an_id_token_for_somebody_else(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(NotVerified) as caught:
        id_token(**changes)
    assert caught.value.fault == expected


def test_an_access_token_signs_nobody_in() -> None:
    with pytest.raises(NotVerified) as caught:
        run(provider().id_token(signed(RSA, claims(aud=CLIENT, nonce="n1"), typ="at+jwt"), CLIENT, "n1", NOW))
    assert caught.value.fault == "header"


# Discovery


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"issuer": "https://evil.example"}, "that of 'https://evil.example'"),
        ({"issuer": ISSUER + "/"}, "not of"),
        ({"jwks_uri": ""}, "no jwks_uri"),
        ({"jwks_uri": "http://login.example/keys"}, "not https"),
        ({"jwks_uri": "file:///etc/passwd"}, "no URL"),
        ({"jwks_uri": "https://user:pw@login.example/"}, "no URL"),
        ({"token_endpoint": "http://login.example/t"}, "token_endpoint: it is not https"),
        ({"token_endpoint": 5}, "no text"),
    ],
)
def test_metadata_that_is_refused(change: dict[str, Any], words: str) -> None:
    document = json.dumps({"issuer": ISSUER, "jwks_uri": ISSUER + "/keys", **change}).encode()
    with pytest.raises(FetchFailed, match=words):
        metadata_of(ISSUER, document)


def test_metadata_on_the_loopback_and_its_endpoints() -> None:
    site = Site(RSA, issuer="http://127.0.0.1:8080")
    site.pages["http://127.0.0.1:8080/.well-known/openid-configuration"] = json.dumps(
        {
            "issuer": "http://127.0.0.1:8080",
            "jwks_uri": "http://127.0.0.1:8080/keys",
            "token_endpoint": "http://127.0.0.1:8080/token",
            "authorization_response_iss_parameter_supported": True,
        }
    ).encode()
    found = run(discover("http://127.0.0.1:8080", site.fetch))
    assert (found.token_endpoint, found.authorization_endpoint, found.says_issuer) == ("http://127.0.0.1:8080/token", "", True)


@pytest.mark.parametrize("document", [b"", b"[]", b"{", b"[" * 100_000, b'"x"', b"{" + b" " * MAX_DOCUMENT_BYTES + b"}"])
def test_documents_that_are_none(document: bytes) -> None:
    with pytest.raises(FetchFailed):
        metadata_of(ISSUER, document)
    with pytest.raises(FetchFailed):
        KeySet.of(document)


def test_only_public_keys_for_signatures_are_taken() -> None:
    weak = RSAKey.generate_key(1024, {"kid": "weak"})
    private = rsa("private").as_dict(private=True)
    secret = OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True)
    encryption = {**rsa("enc").as_dict(private=False), "use": "enc"}
    wrapping = {**rsa("wrap").as_dict(private=False), "key_ops": ["wrapKey"]}
    odd = [{"kty": "RSA"}, {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}, 5, None, {"kty": ["RSA"]}, {}]
    nameless = {**rsa("5").as_dict(private=False), "kid": 5}
    listed = [weak.as_dict(private=False), private, secret, encryption, wrapping, nameless, *odd, EC.as_dict(private=False)]
    assert KeySet.of(json.dumps({"keys": listed}).encode()).thumbprints() == {EC.thumbprint()}
    verifying = {**RSA.as_dict(private=False), "use": "sig", "key_ops": ["verify"]}
    assert KeySet.of(json.dumps({"keys": [verifying]}).encode()).thumbprints() == {RSA.thumbprint()}
    assert len(KeySet.of(json.dumps({"keys": [EC.as_dict(private=False)] * 100}).encode())) == 100
    with pytest.raises(FetchFailed, match="no public key"):
        KeySet.of(json.dumps({"keys": listed[:-1]}).encode())
    with pytest.raises(FetchFailed, match="at most 100"):
        KeySet.of(json.dumps({"keys": [EC.as_dict(private=False)] * 101}).encode())


# SPIFFE

DOMAIN = "spiffe://example.org"


def svid(subject: Any, site: Site, algorithm: str = "ES256", **header: Any) -> Verified:
    demands = trust(kind="spiffe", issuer=DOMAIN, jwks_url=DOMAIN.replace("spiffe", "https") + "/keys")
    key: Key = ED if algorithm == "EdDSA" else EC
    return run(Spiffe(demands, site.fetch).workload(signed(key, claims(iss=None, sub=subject), algorithm, **header), NOW))


def bundle(use: str = "jwt-svid") -> Site:
    site = Site(EC, issuer="https://example.org")
    keys = json.loads(published(EC, ED))
    for key in keys["keys"]:
        key["use"] = use
    site.pages["https://example.org/keys"] = json.dumps(keys).encode()
    return site


def test_a_svid_names_a_workload() -> None:
    verified = svid("spiffe://example.org/shop/bot", bundle(), typ="JOSE")
    assert (verified.kind, verified.subject) == ("spiffe", "spiffe://example.org/shop/bot")


@pytest.mark.parametrize(
    "subject",
    [
        "spiffe://example.org", "spiffe://example.org/", "spiffe://example.org.evil/bot", "spiffe://evil/bot", "bot",
        "spiffe://example.org/shop//bot", "spiffe://example.org/../bot", "spiffe://example.org/bot/", "spiffe://example.org/b%6ft",
        "spiffe://example.org/bot?x", "SPIFFE://example.org/bot", "spiffe://example.org/bot\n",
    ],
)  # fmt: skip
def test_a_subject_that_is_no_workload_of_the_domain(subject: str) -> None:
    with pytest.raises(NotVerified) as caught:
        svid(subject, bundle())
    assert caught.value.fault == "subject"


def test_a_svid_is_signed_by_a_key_for_svids() -> None:
    with pytest.raises(NotVerified) as caught:
        svid("spiffe://example.org/bot", bundle("x509-svid"))
    assert caught.value.fault == "unavailable"
    with pytest.raises(NotVerified) as caught:
        svid("spiffe://example.org/bot", bundle(), "EdDSA")
    assert caught.value.fault == "algorithm"
