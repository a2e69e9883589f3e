"""Which credential a connection gets, told from the configuration alone."""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from .addresses import UNIX_SCHEME, parse_address
from .credential_sections import VERIFIED, ClientTls, Credential, ServerTls
from .sections import Resource, Tables

Kind = Literal["file", "env", "command", "vault", "aws"]
KINDS: tuple[Kind, ...] = ("file", "env", "command", "vault", "aws")


class BadReference(ValueError):
    """What is written is no place of a secret; says why, and never what is written, which may be the secret itself."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a secret is, never the secret."""

    kind: Kind
    place: str
    """A path, a variable's name, a command line, a path in Vault, a secret's id."""
    field: str = ""
    """The field of it: behind the last ``#``."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A credential as it is for one agent."""

    variant: str
    """What the broker knows it by: ``shop-app``, ``shop-app/roles/support``, ``shop-app/agents/bot``."""
    user: str
    secret: str
    credential: Credential

    @property
    def carried(self) -> bool:
        """Whether the broker has to carry the link: a secret goes into its TLS."""
        return bool(self.credential.certificate) or "cleartext" in self.credential.methods


_PATTERNS: dict[Kind, tuple[str, str]] = {
    "file": (r"/.+", "an absolute path"),
    "env": (r"[A-Za-z_][A-Za-z0-9_]*", "a variable's name"),
    "command": (r"/.+", "an absolute path, maybe with arguments"),
    "vault": (r"[^#\s/][^#\s]*#[^#\s]+", "a path, # and a field's name, such as secret/data/shop#password"),
    "aws": (r"[^#\s]+(#[^#\s]+)?", "a secret's id or ARN, maybe # and a field of its JSON"),
}


def reference(text: str) -> Reference:
    """Read ``file:/path``, ``env:NAME``, ``command:/program arguments``, ``vault:path#field``, ``aws:id#field``.

    Raises BadReference.
    """
    name, _, rest = text.partition(":")
    kind = next((kind for kind in KINDS if kind == name), None)
    if kind is None:
        raise BadReference("this names no place of a secret: expected file:, env:, command:, vault: or aws:, then where it is")
    pattern, words = _PATTERNS[kind]
    if not re.fullmatch(pattern, rest, re.DOTALL) or "\0" in rest:
        raise BadReference(f"behind {kind}: stands {words}")
    if kind == "command":
        try:
            shlex.split(rest)
        except ValueError as error:
            raise BadReference(f"the command's quotes don't pair: {error}") from None
    if kind in ("vault", "aws"):
        place, _, field = rest.partition("#")
        return Reference(kind, place, field)
    return Reference(kind, rest)


def variants(name: str, credential: Credential) -> list[Chosen]:
    """All that a credential can be, as it is without a role or agent of its own first."""
    found = [Chosen(name, credential.user, credential.secret, credential)]
    for group, logins in (("roles", credential.roles), ("agents", credential.agents)):
        for key, login in logins.items():
            user, secret = login.user or credential.user, login.secret or credential.secret
            found.append(Chosen(f"{name}/{group}/{key}", user, secret, credential))
    return found


def agent_of(variant: str) -> str:
    """The agent whose own variant of a credential it is; empty where it is a role's, or nobody's in particular."""
    return next(iter(variant.split("/agents/", 1)[1:]), "")


def login_of(tables: Tables, resource: str, agent: str, roles: Collection[str]) -> Chosen | None:
    """The credential for a connection of this agent; None where its own login passes through."""
    name = tables.resources[resource].credential
    if name is None:
        return None
    credential = tables.credentials[name]
    own = [f"{name}/agents/{agent}", *(f"{name}/roles/{role}" for role in credential.roles if role in roles), name]
    by_variant = {chosen.variant: chosen for chosen in variants(name, credential)}
    return next(by_variant[variant] for variant in own if variant in by_variant)


def is_certified(resource: Resource) -> bool:
    """Whether hostguard has a certificate for it: not where agents never see one, nor where they see the server's own."""
    return resource.client_tls != "off" and resource.protocol != "tls"


def server_tls(resource: Resource) -> ServerTls:
    """How the link to the server is protected by hostguard: as configured, else verified, unless it never leaves this host.

    Not at all where TLS passes between agents and the server.
    """
    if resource.protocol == "tls":
        return "off"
    if resource.server_tls is not None:
        return resource.server_tls
    return "off" if all(is_loopback(parse_address(address)[0]) for address in resource.addresses) else "verify-full"


def client_tls(resource: Resource) -> ClientTls:
    """Whether agents have TLS: as configured, else as they would have it without hostguard, from a server that has it or not."""
    if resource.client_tls is not None:
        return resource.client_tls
    return "off" if server_tls(resource) == "off" else "offer"


def is_verified(resource: Resource) -> bool:
    """Whether nobody can stand between hostguard and the server."""
    return server_tls(resource) in VERIFIED


def expected_name(resource: Resource, host: str, port: int) -> str:
    """The name that the certificate of the server at this address must be for. Raises ValueError when that can't be told."""
    if resource.server_name:
        return resource.server_name
    addresses = [parse_address(address) for address in resource.addresses]
    if (host, port) in addresses:
        return host
    named = {name for name, own in addresses if own == port and not _is_address(name)}
    if len(named) != 1:
        raise ValueError(f"which of the names {', '.join(sorted(named))} {host} stands for is not known: set server_name")
    return named.pop().rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether an address never leaves this host: of names only ``localhost``, a UNIX socket's always."""
    if host.startswith(UNIX_SCHEME):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"
