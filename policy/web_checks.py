"""Finds what is wrong between the web page, the providers, the users who sign in there."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from typing import Any

from .sections import Tables
from .strict import Mistake, suggest

KINDS = ("oidc",)
"""Of issuers, where users can sign in."""


def web_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """All of them. `raw` has the names that were declared, also where their tables have mistakes."""
    yield from _page(tables)
    declared = raw.get("issuers")
    issuers = list(declared) if isinstance(declared, Mapping) else []
    for name, sign_in in tables.sign_in.items():
        if name not in issuers:
            yield Mistake(("sign_in", name), f'there is no issuer "{name}"' + suggest(name, issuers))
        if "openid" not in sign_in.scopes:
            yield Mistake(("sign_in", name, "scopes"), 'without "openid" no ID token is given')
        issuer = tables.issuers.get(name)
        if issuer is not None and issuer.kind not in KINDS:
            yield Mistake(("sign_in", name), f"nobody can sign in at an issuer of kind {issuer.kind}")
        if issuer is not None and not issuer.users:
            yield Mistake(("sign_in", name), f"nobody could sign in: issuers.{name}.users has no rule")


def _page(tables: Tables) -> Iterator[Mistake]:
    web = tables.web
    if bool(web.listen) != bool(web.public_url):
        missing, given = ("public_url", "listen") if web.listen else ("listen", "public_url")
        yield Mistake(("web", missing), f"required with {given}, but missing")
    if bool(web.certificate) != bool(web.key):
        missing, given = ("key", "certificate") if web.certificate else ("certificate", "key")
        yield Mistake(("web", missing), f"required with {given}, but missing")
    if web.address is not None:
        host, port = web.address
        try:
            ipaddress.ip_address(host)
        except ValueError:
            yield Mistake(("web", "listen"), f'"{host}" is no address')
        if not 0 < port < 65_536:
            yield Mistake(("web", "listen"), f"{port} is no port")
