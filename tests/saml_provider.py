"""pysaml2's identity provider: a real one's responses, with what attackers make of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from certificates import Certificate
from lxml import etree
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
from saml2.config import IdPConfig
from saml2.saml import NAMEID_FORMAT_EMAILADDRESS, NameID
from saml2.server import Server

ENTITY = "https://idp.example/metadata"
AUDIENCE = "https://hostguard.example/saml"
RECIPIENT = "https://hostguard.example/saml/acs"
NS = {"saml": "urn:oasis:names:tc:SAML:2.0:assertion", "ds": "http://www.w3.org/2000/09/xmldsig#"}
SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmlenc#sha256"
SINGLE_SIGN_ON = "https://idp.example/sso"
SUBJECT = "bot@corp.example"
SERVICE = """<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{audience}">
<md:SPSSODescriptor protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
<md:AssertionConsumerService index="1" Binding="{binding}" Location="{recipient}"/>
</md:SPSSODescriptor></md:EntityDescriptor>"""


class SamlProvider:
    """It signs by the xmlsec1 program, as pysaml2 does everywhere."""

    def __init__(
        self, folder: Path, signs_by: Certificate, recipient: str = RECIPIENT, single_sign_on: str = SINGLE_SIGN_ON
    ) -> None:
        """`recipient`: where the service takes answers. `single_sign_on`: where this provider takes questions."""
        self._recipient = recipient
        service = SERVICE.format(audience=AUDIENCE, recipient=recipient, binding=BINDING_HTTP_POST)
        self.certificate = signs_by
        (folder / "key.pem").write_bytes(signs_by.key)
        (folder / "cert.pem").write_bytes(signs_by.chain)
        settings: dict[str, Any] = {
            "entityid": ENTITY,
            "key_file": str(folder / "key.pem"),
            "cert_file": str(folder / "cert.pem"),
            "xmlsec_binary": "/usr/bin/xmlsec1",
            "metadata": {"inline": [service]},
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": [(single_sign_on, BINDING_HTTP_REDIRECT)]},
                    "policy": {
                        "default": {
                            "lifetime": {"minutes": 5},
                            "attribute_restrictions": None,
                            "name_form": "urn:oasis:names:tc:SAML:2.0:attrname-format:basic",
                        }
                    },
                }
            },
        }
        self._server = Server(config=IdPConfig().load(settings))

    def asked(self, packed: str) -> Any:
        """The AuthnRequest in a query, as its own library takes it. Raises what that raises for one that is not right."""
        return self._server.parse_authn_request(packed, BINDING_HTTP_REDIRECT).message

    def response(
        self, request: str | None = None, subject: str = SUBJECT, *, sign_assertion: bool = True, sign_response: bool = True
    ) -> bytes:
        """What it POSTs; to nobody's request by default."""
        made = self._server.create_authn_response(
            identity={"groups": ["support", "all"]},
            in_response_to=request,
            destination=self._recipient,
            sp_entity_id=AUDIENCE,
            name_id=NameID(format=NAMEID_FORMAT_EMAILADDRESS, text=subject),
            sign_assertion=sign_assertion,
            sign_response=sign_response,
            sign_alg=SHA256[0],
            digest_alg=SHA256[1],
        )
        return str(made).encode()

    def attacks(self) -> dict[str, tuple[bytes, str]]:
        """What can be made of its responses, each with what it is refused for."""
        good = self.response(sign_response=False)
        return {
            "an unsigned assertion in a signed response": (self.response(sign_assertion=False), "signature"),
            "nothing signed": (self.response(sign_assertion=False, sign_response=False), "signature"),
            "another name": (good.replace(b"bot@corp.example", b"root@corp.example"), "signature"),
            "a comment in the name": (good.replace(b"bot@corp.example", b"bot@corp.example<!-- -->.evil.example"), "malformed"),
            "an answer to a request": (self.response("_q1"), "request"),
            "wrapped beside": (_wrapped(good, inside=False), "malformed"),
            "wrapped around": (_wrapped(good, inside=True), "malformed"),
        }


def _wrapped(good: bytes, *, inside: bool) -> bytes:
    root = etree.fromstring(good)
    original = root.find("saml:Assertion", NS)
    assert original is not None
    evil = copy.deepcopy(original)
    evil.set("ID", "_evil")
    signature = evil.find("ds:Signature", NS)
    assert signature is not None
    evil.remove(signature)
    name = evil.find("saml:Subject/saml:NameID", NS)
    assert name is not None
    name.text = "root@corp.example"
    root.insert(root.index(original), evil)
    if inside:
        evil.append(original)
    return etree.tostring(root)
