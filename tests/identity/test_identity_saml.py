"""SAML assertions and responses: the good ones, and every attack on them that has a name."""

from __future__ import annotations

import base64
import re
import time
from typing import Any

import pytest
from asserting import AUDIENCE, IDP, RECIPIENT, assertion, at, attribute, certificate, response, signed
from certificates import Certificate
from hypothesis import given, settings
from hypothesis import strategies as st
from issuing import run
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureMethod

from hostguard.identity.mapping import ClaimRule
from hostguard.identity.mapping import given as rules_give
from hostguard.identity.saml import MAX_ATTRIBUTES, Saml
from hostguard.identity.trust import Trust
from hostguard.identity.verified import MAX_TOKEN_BYTES, NotVerified, Verified

NOW = time.time() // 1
OURS, NEXT, STRANGER = certificate(), certificate(), certificate()
TRUST = Trust(kind="saml", issuer=IDP, audiences=frozenset([AUDIENCE]))
IDENTITY_PROVIDER = Saml(TRUST, RECIPIENT, NEXT.chain + OURS.chain)
DS = "{http://www.w3.org/2000/09/xmldsig#}"
NS = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion", "ds": DS[1:-1]}


def verify(text: str | bytes, now: float = NOW) -> Verified:
    return run(IDENTITY_PROVIDER.workload(text if isinstance(text, bytes) else text.encode(), now))


def fault(text: str | bytes, now: float = NOW) -> str:
    with pytest.raises(NotVerified) as caught:
        verify(text, now)
    return caught.value.fault


def said(by: Certificate = OURS, **what: Any) -> str:
    return signed(assertion(NOW, **what), by)


def test_a_good_assertion_says_who_its_bearer_is() -> None:
    text = said(attributes=attribute("groups", "shop", "all") + attribute("mail", "bot@corp.example"))
    verified = verify(text)
    assert (verified.kind, verified.issuer, verified.subject) == ("saml", IDP, "bot@corp.example")
    assert (verified.expires_at, verified.token_id) == (NOW + 300, "_a1")
    assert verified.claims == {"groups": ["shop", "all"], "mail": ["bot@corp.example"]}
    assert verify(base64.b64encode(text.encode())) == verified
    rules = [ClaimRule("groups", "contains", "shop", "a"), ClaimRule("mail", "equals", "bot@corp.example", "b")]
    assert rules_give(rules, verified) == ("a", "b")
    assert rules_give([ClaimRule("groups", "equals", "shop", "a"), ClaimRule("mail", "contains", "bot", "b")], verified) == ()


def test_the_session_may_outlast_the_assertion_and_the_certificate_change() -> None:
    assert verify(said(session=3000)).expires_at == NOW + 3000
    assert verify(said(NEXT)).key != verify(said(OURS)).key


def test_a_signed_assertion_in_a_response_that_nobody_asked_for() -> None:
    assert verify(response(NOW, said())).subject == "bot@corp.example"
    assert verify(signed(response(NOW, said()), OURS)).subject == "bot@corp.example"
    assert fault(signed(response(NOW, said()), STRANGER)) == "signature"


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ({"issuer": "https://evil.example"}, "issuer"),
        ({"audience": "https://other.example"}, "audience"),
        ({"recipient": "https://other.example/acs"}, "recipient"),
        ({"request": "_q1"}, "request"),
        ({"ends": 0}, "expired"),
        ({"ends": -10, "begins": -20, "issued": -20}, "expired"),
        ({"begins": 61}, "early"),
        ({"issued": 61}, "early"),
        ({"session": -1}, "expired"),
        ({"session": 90_000}, "lifetime"),
        ({"subject": ""}, "subject"),
        ({"subject": "x" * 1025}, "subject"),
        ({"subject": "bot<saml:x/>@corp.example"}, "malformed"),
        ({"condition": "<saml:Condition/>"}, "claim"),
        ({"condition": "<saml:AudienceRestriction><saml:Audience>x</saml:Audience></saml:AudienceRestriction>"}, "audience"),
        ({"identifier": "a" * 1025}, "malformed"),
    ],
)
def test_what_it_says_must_be_right(what: dict[str, Any], expected: str) -> None:
    assert fault(said(**what)) == expected


@pytest.mark.parametrize(
    ("pattern", "replacement", "expected"),
    [
        (r'Version="2.0"', 'Version="1.1"', "malformed"),
        (r'NotOnOrAfter="[^"]*" />', "/>", "malformed"),
        (r'NotOnOrAfter="([^"]*)Z"', r'NotOnOrAfter="\1+01:00"', "malformed"),
        (r'(<saml:Conditions [^>]*) NotOnOrAfter="[^"]*"', r"\1", "malformed"),
        (r"<saml:NameID>[^<]*</saml:NameID>", "", "subject"),
        (r"(<saml:NameID>[^<]*</saml:NameID>)", r"\1\1", "subject"),
        (r"<saml:SubjectConfirmationData [^>]*/>", "", "recipient"),
        (r"<saml:SubjectConfirmationData ", f'\\g<0>NotBefore="{at(NOW, 61)}" ', "early"),
        (r"cm:bearer", "cm:sender-vouches", "recipient"),
        (r"<saml:SubjectConfirmation .*</saml:SubjectConfirmation>", "", "recipient"),
        (r"<saml:Conditions.*</saml:Conditions>", "", "malformed"),
        (r"<saml:AudienceRestriction>.*</saml:AudienceRestriction>", "", "audience"),
        (r"<saml:NameID>[^<]*</saml:NameID>", "<saml:EncryptedID/>", "malformed"),
        (r"<saml:Issuer>[^<]*</saml:Issuer>", "", "malformed"),
        (r'IssueInstant="[^"]*"', "", "malformed"),
    ],
)
def test_what_must_stand_in_it(pattern: str, replacement: str, expected: str) -> None:
    text, times = re.subn(pattern, replacement, assertion(NOW), flags=re.DOTALL)
    assert times
    assert fault(signed(text, OURS)) == expected


def test_one_of_several_that_confirm_its_bearer_is_enough() -> None:
    text = assertion(NOW)
    (good,) = re.findall("<saml:SubjectConfirmation .*</saml:SubjectConfirmation>", text)
    for other in (good.replace(at(NOW, 300), at(NOW, -300)), good.replace("cm:bearer", "cm:holder-of-key")):
        assert verify(signed(text.replace(good, other + good), OURS)).expires_at == NOW + 300


def test_it_may_have_so_many_attributes() -> None:
    attributes = [attribute(f"a{number}", "x") for number in range(MAX_ATTRIBUTES)]
    assert len(verify(said(attributes="".join(attributes))).claims) == MAX_ATTRIBUTES
    assert fault(said(attributes="".join([*attributes, attribute("one more", "x")]))) == "malformed"


def test_not_signed_or_by_another_or_weakly() -> None:
    assert fault(assertion(NOW)) == "signature"
    assert fault(said(STRANGER)) == "signature"
    hmac = said().replace(
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#hmac-sha256"
    )
    assert fault(hmac) == "signature"
    with_comments = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0_WITH_COMMENTS
    assert fault(signed(assertion(NOW), OURS, c14n=with_comments)) == "signature"
    assert verify(signed(assertion(NOW), OURS, SignatureMethod.RSA_SHA512)).subject == "bot@corp.example"


def test_a_certificate_that_is_not_valid_now() -> None:
    late = NOW + 3 * 86_400
    with pytest.raises(NotVerified, match="valid now"):
        run(IDENTITY_PROVIDER.workload(signed(assertion(late), OURS).encode(), late))


def test_an_unsigned_assertion_in_a_signed_response() -> None:
    assert fault(signed(response(NOW, assertion(NOW)), OURS)) == "signature"


def test_nothing_of_it_can_be_changed() -> None:
    text = said(attributes=attribute("groups", "shop"))
    for old, new in (
        ("bot@corp", "root@corp"),
        (">shop<", ">admin<"),
        (AUDIENCE, AUDIENCE + "x"),
        ('ID="_a1"', 'ID="_a2"'),
        ("<saml:AttributeStatement>", f"<saml:AttributeStatement>{attribute('x', 'y')}"),
    ):
        assert fault(text.replace(old, new)) in ("signature", "audience")


# Signature wrapping (Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be", USENIX Security 2012). The evil assertion
# is what a careless reader takes; the good one, with its signature, is where the reference finds it.


def element(text: str) -> Any:
    return etree.fromstring(text)


def evil(identifier: str = "_evil") -> Any:
    return element(assertion(NOW, "root@corp.example", identifier=identifier))


def beside_in_response() -> Any:
    wrapped = element(response(NOW, said()))
    wrapped.insert(2, evil())
    return wrapped


def evil_around_good() -> Any:
    outer = evil()
    outer.append(element(said()))
    return outer


def good_in_evils_signature() -> Any:
    """XSW7 and 8: the original hides in an Object of the signature, which now stands in the evil one."""
    good = element(said())
    signature = good.find(f"{DS}Signature")
    good.remove(signature)
    etree.SubElement(signature, f"{DS}Object").append(good)
    outer = evil()
    outer.insert(1, signature)
    return outer


def good_in_extensions() -> Any:
    wrapped = element(response(NOW, ""))
    extensions = etree.SubElement(wrapped, "{urn:oasis:names:tc:SAML:2.0:protocol}Extensions")
    extensions.append(element(said()))
    wrapped.append(evil())
    return wrapped


def signature_moved_into_evil() -> Any:
    good, outer = element(said()), evil()
    outer.insert(1, good.find(f"{DS}Signature"))
    wrapped = element(response(NOW, ""))
    wrapped.extend([outer, good])
    return wrapped


def same_id_twice() -> Any:
    wrapped = element(response(NOW, said()))
    wrapped.insert(1, element(assertion(NOW, "root@corp.example", identifier="_a1")))
    return wrapped


def same_id_on_another_element() -> Any:
    """The reference finds whatever comes first under its ID."""
    outer = evil("_a1")
    good = element(said())
    outer.insert(1, good.find(f"{DS}Signature"))
    holder = etree.SubElement(outer.find("saml:AttributeStatement", NS), "holder")
    holder.append(good)
    good.tag = "other"
    return outer


def response_in_response() -> Any:
    inner = element(signed(response(NOW, said()), OURS))
    outer = element(response(NOW, "").replace('ID="_r1"', 'ID="_r2"'))
    outer.extend([evil(), inner])
    return outer


def reference_to_the_response() -> Any:
    """The signature in the assertion is over something else."""
    whole = element(signed(response(NOW, assertion(NOW)), OURS))
    signature = whole.find(f"{DS}Signature")
    whole.find("saml:Assertion", NS).insert(1, signature)
    return whole


WRAPPINGS = [
    beside_in_response,
    evil_around_good,
    good_in_evils_signature,
    good_in_extensions,
    signature_moved_into_evil,
    same_id_twice,
    same_id_on_another_element,
    response_in_response,
    reference_to_the_response,
]


def good_in_anything() -> Any:
    outer = etree.Element("anything")
    outer.append(element(said()))
    return outer


def encrypted_beside_good() -> Any:
    whole = element(response(NOW, said()))
    etree.SubElement(whole, f"{{{NS['saml']}}}EncryptedAssertion")
    return whole


@pytest.mark.parametrize(
    "wrap",
    [
        beside_in_response,
        evil_around_good,
        good_in_extensions,
        same_id_twice,
        same_id_on_another_element,
        good_in_anything,
        encrypted_beside_good,
    ],
)
def test_where_an_assertion_may_stand(wrap: Any) -> None:
    """Before any signature is looked at: which of two would be read is nobody's guess."""
    assert fault(etree.tostring(wrap())) == "malformed"


@pytest.mark.parametrize("wrap", WRAPPINGS)
def test_signature_wrapping(wrap: Any) -> None:
    assert fault(etree.tostring(wrap())) in ("malformed", "signature")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bot@corp.example", "bot@corp.example<!-- -->.evil.example"),
        ("bot@corp.example", "root@corp.example<!-- -->"),
        ("<saml:Subject>", "<saml:Subject><?x y?>"),
        ("<saml:Assertion", "<!-- --><saml:Assertion"),
        ("</saml:Assertion>", "</saml:Assertion><!-- -->"),
    ],
)
def test_comments_cut_no_name_in_two(old: str, new: str) -> None:
    """Canonicalization leaves a comment out: the signature would stay right, and a reader take the text before it."""
    assert fault(said().replace(old, new, 1)) == "malformed"
    whole = said(subject="bot@corp.example.evil.example").replace(".evil", "<!-- -->.evil", 1)
    assert fault(whole) == "malformed"


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><x/>',
        "<x/>",
        "<x>",
        "",
        "!",
        "<" * 5000,
        "<a>" * 20_000,
        "x" * 70_000,
    ],
)
def test_what_is_no_assertion(text: str) -> None:
    assert fault(text) == "malformed"


def room() -> int:
    """How long an attribute may be."""
    return MAX_TOKEN_BYTES - len(said(attributes=attribute("a", "x"))) + 1


def test_a_document_is_without_a_type_and_not_too_long() -> None:
    """Signed, and good in all else."""
    assert fault(f"<!DOCTYPE x>{said()}") == "malformed"
    fits, longer = (said(attributes=attribute("a", "x" * number)) for number in (room(), room() + 1))
    assert len(fits) == MAX_TOKEN_BYTES
    assert verify(fits).subject == "bot@corp.example"
    assert fault(longer) == "malformed"


@given(st.binary(max_size=200) | st.text(alphabet="<>/&;a!-? =\"'[]", max_size=200).map(str.encode))
@settings(max_examples=150, deadline=None)
def test_any_bytes_are_refused_and_nothing_else(data: bytes) -> None:
    assert fault(data) == "malformed"
    assert fault(b"<" + data) == "malformed"


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_any_change_of_bytes_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    text = GOOD.encode()
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + data.draw(st.binary(max_size=3)) + text[place + data.draw(st.integers(0, 3)) :]
    try:
        verified = verify(changed)
    except NotVerified:
        return
    assert verified == verify(text)


GOOD = said(attributes=attribute("groups", "shop"))
