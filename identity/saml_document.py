"""Opens a SAML document: what is in it counts as far as its signature covers it, no further.

Signature wrapping puts a signed element where nobody looks, and another where it is read. So the shape is fixed before anything
is verified: one assertion, at its one place; a signature only as a child of what it signs, which it refers to by an ID that is
there once; transforms that can't leave anything out. Then `signxml` verifies, and from there on only what it returns is read,
which is the signed bytes, parsed again. Comments, which canonicalization leaves out so that they can cut a name in two, are
refused, like processing instructions, entities, document types.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from .verified import MAX_TOKEN_BYTES, NotVerified

ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}"
PROTOCOL = "{urn:oasis:names:tc:SAML:2.0:protocol}"
_DS = "{http://www.w3.org/2000/09/xmldsig#}"
_ENCRYPTED = [f"{ASSERTION}{name}" for name in ("EncryptedAssertion", "EncryptedID", "EncryptedAttribute")]
_TRANSFORMS = frozenset(["http://www.w3.org/2000/09/xmldsig#enveloped-signature", "http://www.w3.org/2001/10/xml-exc-c14n#"])
_METHODS = frozenset(
    SignatureMethod[name] for name in ("RSA_SHA256", "RSA_SHA384", "RSA_SHA512", "ECDSA_SHA256", "ECDSA_SHA384", "ECDSA_SHA512")
)
_DIGESTS = frozenset([DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512])


def warm() -> None:
    """Read what signatures are checked by; afterwards no file is needed."""
    XMLVerifier.schemas()  # type: ignore[no-untyped-call]


def parse(document: bytes) -> etree._Element:
    """A document without anything but elements and text. Raises NotVerified (``malformed``)."""
    if len(document) > MAX_TOKEN_BYTES:
        raise NotVerified("malformed", f"it is longer than {MAX_TOKEN_BYTES} bytes")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, dtd_validation=False, huge_tree=False)
    try:
        root = etree.fromstring(document, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise NotVerified("malformed", "it is no XML document") from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None:
        raise NotVerified("malformed", "it has a document type")
    outside = [root.getprevious(), root.getnext()]
    if any(node is not None for node in outside) or any(not isinstance(node.tag, str) for node in root.iter()):
        raise NotVerified("malformed", "it has comments, processing instructions or entities in it")
    return root


def assertion_of(root: etree._Element) -> etree._Element:
    """The one assertion of a document, which is the document, or a child of a response. Raises NotVerified."""
    assertions = list(root.iter(f"{ASSERTION}Assertion"))
    if root.tag not in (f"{ASSERTION}Assertion", f"{PROTOCOL}Response"):
        raise NotVerified("malformed", "it is neither a SAML 2.0 assertion nor a response")
    if len(assertions) != 1 or (assertions[0] is not root and assertions[0].getparent() is not root):
        raise NotVerified("malformed", "there is not one assertion at its place in it")
    if next(root.iter(*_ENCRYPTED), None) is not None:
        raise NotVerified("malformed", "it has encrypted parts, which are not read")
    named = [(etree.QName(name).localname, value) for node in root.iter() for name, value in node.attrib.items()]
    identifiers = [value for name, value in named if name.lower() == "id"]
    if len(set(identifiers)) != len(identifiers):
        raise NotVerified("malformed", "two of its elements have the same ID")
    for signature in root.iter(f"{_DS}Signature"):
        if signature.getparent() is not root and signature.getparent() is not assertions[0]:
            raise NotVerified("signature", "there is a signature where none belongs")
    return assertions[0]


def signed(
    root: etree._Element, element: etree._Element, certificates: Sequence[x509.Certificate], now: float
) -> tuple[etree._Element, x509.Certificate]:
    """An element of a document that `assertion_of` took, as it was signed by one of these, with which one.

    Raises NotVerified (``signature``).
    """
    _check_signature(element)
    place = "./" if element is root else f"./{ASSERTION}Assertion/"
    config = SignatureConfiguration(
        location=place,
        expect_references=1,
        signature_methods=_METHODS,
        digest_algorithms=_DIGESTS,
        verification_time=datetime.fromtimestamp(now, UTC),
        # The certificate is ours; what the signature says of its key is not looked at.
        ignore_ambiguous_key_info=True,
    )
    whole = etree.tostring(root)
    for certificate in certificates:
        try:
            found = XMLVerifier().verify(whole, x509_cert=certificate, id_attribute="ID", expect_config=config)
        except (SignXMLException, ValueError, TypeError, AttributeError, KeyError, etree.LxmlError):
            continue
        assert not isinstance(found, list)
        again = found.signed_xml
        if again is not None and again.tag == element.tag and again.get("ID") == element.get("ID"):
            return again, certificate
    raise NotVerified("signature", "the signature is not by a certificate of the issuer's that is valid now")


def is_signed(element: etree._Element) -> bool:
    """Whether there is a signature on it, right or wrong."""
    return element.find(f"{_DS}Signature") is not None


def _check_signature(element: etree._Element) -> None:
    """Its shape: one, over this very element, all of it."""
    name = etree.QName(element).localname.lower()
    signatures = element.findall(f"{_DS}Signature")
    if len(signatures) != 1:
        raise NotVerified("signature", f"the {name} is not signed" if not signatures else f"the {name} is signed twice")
    references = list(signatures[0].iter(f"{_DS}Reference"))
    identifier = element.get("ID", "")
    if len(references) != 1 or not identifier or references[0].get("URI") != f"#{identifier}":
        raise NotVerified("signature", f"the signature is not over the {name} that it stands in")
    if not {node.get("Algorithm") for node in signatures[0].iter(f"{_DS}Transform")} <= _TRANSFORMS:
        raise NotVerified("signature", "the signature leaves out parts of what it is over")
    if next(signatures[0].iter(f"{_DS}Object"), None) is not None:
        raise NotVerified("signature", "the signature carries objects of its own")
