"""Finds what is wrong between the web page, the providers, the users who sign in there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from ..identity.trust import url_fault
from .issuer_sections import Issuer
from .sections import Tables
from .strict import Mistake, Path, suggest
from .web_sections import SignIn, Web

KINDS = ("oidc", "saml")
"""Of issuers, where users can sign in."""


def web_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """All of them. `raw` has the names that were declared, also where their tables have mistakes."""
    yield from _page(tables, _declared(raw, "web"))
    issuers = _declared(raw, "issuers")
    for name, sign_in in tables.sign_in.items():
        if name not in issuers:
            yield Mistake(("sign_in", name), f'there is no issuer "{name}"' + suggest(name, issuers))
        issuer = tables.issuers.get(name)
        if issuer is not None and issuer.kind == "saml":
            yield from _saml(("sign_in", name), issuer, sign_in, tables.web)
        elif sign_in.sso_url:
            yield Mistake(("sign_in", name, "sso_url"), "only an issuer of kind saml has it")
        if "openid" not in sign_in.scopes:
            yield Mistake(("sign_in", name, "scopes"), 'without "openid" no ID token is given')
        if issuer is not None and issuer.kind not in KINDS:
            yield Mistake(("sign_in", name), f"nobody can sign in at an issuer of kind {issuer.kind}")
        if issuer is not None and not issuer.users:
            yield Mistake(("sign_in", name), f"nobody could sign in: issuers.{name}.users has no rule")


def _saml(place: Path, issuer: Issuer, sign_in: SignIn, web: Web) -> Iterator[Mistake]:
    if not sign_in.sso_url or (fault := url_fault(sign_in.sso_url)):
        yield Mistake((*place, "sso_url"), fault if sign_in.sso_url else "required for an issuer of kind saml, but missing")
    if sign_in.client_id not in issuer.audiences:
        yield Mistake((*place, "client_id"), f"it is none of issuers.{place[1]}.audiences, so nothing would be for us")
    answer = f"{web.public_url}/sign-in/{place[1]}/answer"
    if not web.public_url:
        yield Mistake(place, "SAML takes a browser: there is no [web] to sign in at")
    elif issuer.recipient != answer:
        yield Mistake(("issuers", *place[1:], "recipient"), f'people are answered to at "{answer}"')


def _declared(raw: Mapping[str, Any], section: str) -> list[str]:
    table = raw.get(section)
    return list(table) if isinstance(table, Mapping) else []


def _page(tables: Tables, written: list[str]) -> Iterator[Mistake]:
    """`written`: the keys that stand in the section, also those with mistakes of their own."""
    web = tables.web
    for one, other in (("listen", "public_url"), ("certificate", "key")):
        for given, missing in ((one, other), (other, one)):
            if given in written and missing not in written:
                yield Mistake(("web", missing), f"required with {given}, but missing")
    if web.address is not None:
        host, port = web.address
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield Mistake(("web", "listen"), f'"{host}" is no address')
        if not 0 < port < 65_536:
            yield Mistake(("web", "listen"), f"{port} is no port")
