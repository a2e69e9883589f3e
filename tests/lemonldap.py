"""LemonLDAP::NG of Debian, OpenID and SAML provider in one, for as long as a context: its portal, its forms, its demo users."""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asserting import certificate
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from saml_provider import AUDIENCE, SERVICE
from servers import free_port

SUBJECT, MAIL = "dwho", "dwho@badwolf.org"
"""A user of its own demonstration; rtyler is another. The password is the name."""
START_LIMIT_S = 30.0
_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST"
_PORTAL = """use Lemonldap::NG::Portal::Main;
Lemonldap::NG::Portal::Main->run({ configStorage => { confFile => 'FOLDER/lemonldap-ng.ini' } });
"""
# It loads a captcha also where none is shown, and its own takes ImageMagick.
_NO_CAPTCHA = """package NoCaptcha;
use Mouse;
extends 'Lemonldap::NG::Portal::Main::Plugin';
sub init { 1 }
1;
"""
_LOCAL = """[all]
logLevel = warn
[configuration]
type = File
dirName = FOLDER
localStorage = Cache::FileCache
localStorageOptions = {'namespace' => 'configuration', 'cache_root' => 'FOLDER/cache', 'cache_depth' => 3}
[portal]
staticPrefix = /static
templateDir = /usr/share/lemonldap-ng/portal/templates
languages = en
"""


@dataclass(frozen=True, slots=True)
class Lemonldap:
    """One that runs."""

    url: str
    """Its portal, which is its name as an OpenID provider."""
    entity: str
    """Its name as a SAML provider."""
    certificate: bytes
    """What it signs assertions with, PEM."""
    client_id: str = "hostguard"
    secret: str = "of-the-tests"
    """Letters and hyphens: it does not decode what RFC 6749 §2.3.1 has clients encode."""

    @property
    def single_sign_on(self) -> str:
        """Where it takes AuthnRequests."""
        return f"{self.url}saml/singleSignOn"


@contextmanager
def lemonldap(oidc_back: str, saml_back: str) -> Iterator[Lemonldap]:
    """Start it for a client that is answered at the first URL and a service at the second; raises RuntimeError with its words."""
    if not Path("/usr/share/perl5/Lemonldap/NG/Portal").is_dir():
        raise RuntimeError("LemonLDAP::NG is not installed: run scripts/provision")
    port, signs = free_port(), certificate()
    url = f"http://127.0.0.1:{port}/"
    provider = Lemonldap(url, f"{url}saml/metadata", signs.chain)
    public = x509.load_pem_x509_certificate(signs.chain).public_key()
    keys = {
        "oidcServicePrivateKeySig": signs.key.decode(),
        "oidcServicePublicKeySig": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "oidcServiceKeyIdSig": "tests",
        "samlServicePrivateKeySig": signs.key.decode(),
        "samlServicePublicKeySig": signs.chain.decode(),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sessions").mkdir()
        settings = {**_portal(provider, folder), **keys, **_openid(provider, oidc_back), **_saml(provider, saml_back)}
        (folder / "lmConf-1.json").write_text(json.dumps(settings))
        for file, text in {"lemonldap-ng.ini": _LOCAL, "portal.psgi": _PORTAL, "NoCaptcha.pm": _NO_CAPTCHA}.items():
            (folder / file).write_text(text.replace("FOLDER", name))
        with (folder / "said").open("w+") as said, _served(folder, port, said) as process:
            _wait(process, url, folder)
            yield provider


@contextmanager
def _served(folder: Path, port: int, said: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = ["plackup", "-I", str(folder), "-E", "deployment", "--host", "127.0.0.1", "--port", str(port), "portal.psgi"]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig=KILL", *command], cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}.well-known/openid-configuration", timeout=START_LIMIT_S):
                return
        except urllib.error.URLError as error:
            refused = isinstance(error, urllib.error.HTTPError)
            if refused or process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"LemonLDAP::NG did not start:\n{(folder / 'said').read_text()}") from None
        time.sleep(0.05)


def _portal(provider: Lemonldap, folder: Path) -> dict[str, Any]:
    """Sessions in files; nothing that mails, nothing that draws."""
    files = {"Directory": f"{folder}/sessions", "LockDirectory": f"{folder}/sessions"}
    return {
        "cfgNum": 1,
        "cfgDate": 1,
        "key": "a key of the tests that is long.",
        "portal": provider.url,
        "domain": "127.0.0.1",
        "locationRules": {"127.0.0.1": {"default": "accept"}},
        "authentication": "Demo",
        "userDB": "Same",
        "demoExportedVars": {"uid": "uid", "mail": "mail"},
        "whatToTrace": "uid",
        "globalStorage": "Apache::Session::File",
        "globalStorageOptions": files,
        "disablePersistentStorage": 1,
        "localSessionStorage": "",
        "captcha": "NoCaptcha",
        "portalDisplayResetPassword": 0,
        "portalDisplayRegister": 0,
    }


def _openid(provider: Lemonldap, back: str) -> dict[str, Any]:
    options = {
        "ClientID": provider.client_id,
        "ClientSecret": provider.secret,
        "IDTokenSignAlg": "RS256",
        "IDTokenExpiration": 300,
        "IDTokenForceClaims": 1,
        "RequirePKCE": 1,
        "RedirectUris": back,
        "UserIDAttr": "uid",
    }
    return {
        "issuerDBOpenIDConnectActivation": 1,
        "oidcRPMetaDataOptions": {"tests": {f"oidcRPMetaDataOptions{name}": value for name, value in options.items()}},
        "oidcRPMetaDataExportedVars": {"tests": {"email": "mail"}},
    }


def _saml(provider: Lemonldap, back: str) -> dict[str, Any]:
    options = {
        "SignSSOMessage": 1,
        "CheckSSOMessageSignature": 0,
        "NameIDFormat": "email",
        "NotOnOrAfterTimeout": 300,
        "SessionNotOnOrAfterTimeout": 3000,
        "EncryptionMode": "none",
        "SignatureMethod": "RSA_SHA256",
    }
    service = SERVICE.format(audience=AUDIENCE, recipient=back, binding=_POST)
    return {
        "issuerDBSAMLActivation": 1,
        "samlEntityID": provider.entity,
        "samlOrganizationURL": provider.url,
        "samlSPMetaDataXML": {"tests": {"samlSPMetaDataXML": service}},
        "samlSPMetaDataOptions": {"tests": {f"samlSPMetaDataOptions{name}": value for name, value in options.items()}},
        "samlSPMetaDataExportedAttributes": {"tests": {"mail": "0;mail"}},
    }


def form_of(text: str) -> dict[str, str]:
    """The hidden fields of the form on one of its pages, with their values."""
    fields: dict[str, str] = {}
    for tag in re.findall(r'<input[^>]*type="hidden"[^>]*>', text):
        named: Mapping[str, str] = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        fields[named["name"]] = html.unescape(named.get("value", ""))
    return fields
