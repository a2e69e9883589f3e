"""What the page's process has to know, read by the supervisor, which alone may read files."""

from __future__ import annotations

import pwd
from pathlib import Path

from ...policy.document import Document
from ...policy.web_sections import SignIn
from ..authority.bundle import system_bundle
from ..crew import user_of
from ..failures import Failure
from ..leaves import WEB, Leaf
from .messages import Provider

MAX_FILE_BYTES = 1 << 20
OWN_USER = "hostguard-web"


def is_wanted(document: Document) -> bool:
    """Whether there is anything for the page's process to do."""
    return document.web.address is not None or bool(document.sign_in)


def user_of_web(document: Document) -> tuple[int, int]:
    """Ids of the user that it becomes. Raises Failure."""
    name = document.web.user or OWN_USER
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        if document.web.user:
            raise Failure(f"{document.file}: web.user: this host has no user {name}") from None
        return user_of(document)
    if found.pw_uid == 0:
        raise Failure(f"{document.file}: web.user: it can't be root")
    return found.pw_uid, found.pw_gid


def providers_of(document: Document) -> tuple[Provider, ...]:
    """Where users may sign in, with secrets and roots read. Raises Failure."""
    return tuple(_provider(document, name, sign_in) for name, sign_in in document.sign_in.items())


def _provider(document: Document, name: str, sign_in: SignIn) -> Provider:
    issuer, where = document.issuers[name], f"{document.file}: sign_in.{name}.client_secret_file"
    secret = (
        _read(where, Path(sign_in.client_secret_file)).decode("ascii", "replace").strip() if sign_in.client_secret_file else ""
    )
    if sign_in.client_secret_file and not secret:
        raise Failure(f"{where}: {sign_in.client_secret_file} is empty")
    if issuer.kind == "saml":
        pem = _read(f"{document.file}: issuers.{name}.certificates", Path(issuer.certificates)).decode("ascii", "replace")
        from cryptography import x509  # dear to import, and most configurations name no file

        try:
            x509.load_pem_x509_certificates(pem.encode())
        except ValueError:
            raise Failure(
                f"{document.file}: issuers.{name}.certificates: {issuer.certificates} is no certificate in PEM"
            ) from None
        return Provider(name, issuer, sign_in, secret, "", pem)
    roots = Path(issuer.ca) if issuer.ca else system_bundle()
    where = f"{document.file}: issuers.{name}.ca"
    pem = "" if roots is None else _read(where, roots).decode("utf-8", "replace")
    if not pem and issuer.issuer.startswith("https:"):
        raise Failure(f"{where}: this system has no bundle of roots in a place that is known: set it")
    return Provider(name, issuer, sign_in, secret, pem)


def certificate_of(document: Document, leaves: tuple[Leaf, ...]) -> bytes:
    """What browsers are shown, PEM: the configured files, or hostguard's own leaf; empty while there is none. Raises Failure."""
    web = document.web
    if web.certificate:
        key = _read(f"{document.file}: web.key", Path(web.key))
        return key + b"\n" + _read(f"{document.file}: web.certificate", Path(web.certificate))
    return next((leaf.key + b"\n" + leaf.chain for leaf in leaves if leaf.resource == WEB), b"")


def _read(where: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise Failure(f"{where}: {path}: {error.strerror}") from None
