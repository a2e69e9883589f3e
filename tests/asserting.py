"""A SAML identity provider in memory: what it says, and what it signs."""

from __future__ import annotations

import datetime

from certificates import Certificate, self_signed
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, SignatureMethod
from signxml.signer import XMLSigner

IDP = "https://idp.example/metadata"
RECIPIENT = "https://hostguard.example/saml/acs"
AUDIENCE = "https://hostguard.example/saml"
SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"


def certificate() -> Certificate:
    """What a provider signs with."""
    return self_signed(rsa.generate_private_key(65537, 2048), algorithm=hashes.SHA256())


def at(now: float, seconds: float) -> str:
    return datetime.datetime.fromtimestamp(now + seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def assertion(
    now: float,
    subject: str = "bot@corp.example",
    *,
    issuer: str = IDP,
    audience: str = AUDIENCE,
    recipient: str = RECIPIENT,
    request: str = "",
    begins: float = -5,
    ends: float = 300,
    issued: float = -5,
    session: float | None = None,
    identifier: str = "_a1",
    condition: str = "",
    attributes: str = "",
) -> str:
    """The text of an assertion; `subject`, `condition`, `attributes` are XML."""
    answers = f'InResponseTo="{request}"' if request else ""
    until = f'SessionNotOnOrAfter="{at(now, session)}"' if session is not None else ""
    return (
        f'<saml:Assertion xmlns:saml="{SAML}" ID="{identifier}" Version="2.0" IssueInstant="{at(now, issued)}">'
        f"<saml:Issuer>{issuer}</saml:Issuer>"
        f"<saml:Subject><saml:NameID>{subject}</saml:NameID>"
        f'<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">'
        f'<saml:SubjectConfirmationData Recipient="{recipient}" NotOnOrAfter="{at(now, ends)}" {answers}/>'
        f"</saml:SubjectConfirmation></saml:Subject>"
        f'<saml:Conditions NotBefore="{at(now, begins)}" NotOnOrAfter="{at(now, ends)}">'
        f"<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction>{condition}"
        f"</saml:Conditions>"
        f'<saml:AuthnStatement AuthnInstant="{at(now, issued)}" {until}/>'
        f"<saml:AttributeStatement>{attributes}</saml:AttributeStatement></saml:Assertion>"
    )


def attribute(name: str, *values: str) -> str:
    inner = "".join(f"<saml:AttributeValue>{value}</saml:AttributeValue>" for value in values)
    return f'<saml:Attribute Name="{name}">{inner}</saml:Attribute>'


def response(
    now: float, inner: str, *, request: str = "", destination: str = RECIPIENT, issuer: str = IDP, status: str = "Success"
) -> str:
    """The text of a response around the text of an assertion."""
    answers = f'InResponseTo="{request}"' if request else ""
    return (
        f'<samlp:Response xmlns:samlp="{SAMLP}" xmlns:saml="{SAML}" ID="_r1" Version="2.0" IssueInstant="{at(now, -5)}"'
        f' Destination="{destination}" {answers}><saml:Issuer>{issuer}</saml:Issuer><samlp:Status>'
        f'<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:{status}"/></samlp:Status>{inner}</samlp:Response>'
    )


def signed(
    text: str,
    by: Certificate,
    method: SignatureMethod = SignatureMethod.RSA_SHA256,
    c14n: CanonicalizationMethod = CanonicalizationMethod.EXCLUSIVE_XML_CANONICALIZATION_1_0,
) -> str:
    """The text with its root signed."""
    root = etree.fromstring(text)
    signer = XMLSigner(signature_algorithm=method, c14n_algorithm=c14n)
    made = signer.sign(root, key=by.key, cert=[by.chain.decode()], reference_uri=root.get("ID"))
    return etree.tostring(made, encoding="unicode")
