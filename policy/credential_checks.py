"""Finds what is wrong between credentials, their sources, the resources that name them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from .credential_sections import Credential
from .credentials import BadReference, Reference, is_loopback, is_verified, reference, server_tls, variants
from .sections import Resource, Tables
from .strict import Mistake, Path, suggest


def credential_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """All of them. `raw` has the names that were declared, also where their tables have mistakes."""
    for name, credential in tables.credentials.items():
        yield from _credential(name, credential, tables, raw)
    declared = raw.get("credentials")
    known = list(declared) if isinstance(declared, Mapping) else []
    for name, resource in tables.resources.items():
        yield from _resource(name, resource, tables, known)
    yield from _vault(tables)


def _credential(name: str, credential: Credential, tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    place = ("credentials", name)
    if bool(credential.certificate) != bool(credential.key):
        missing = "key" if credential.certificate else "certificate"
        yield Mistake((*place, missing), "a client certificate takes both certificate and key")
    if credential.key:
        yield from _reference((*place, "key"), credential.key, tables)
    for chosen in variants(name, credential):
        where = (*place, *chosen.variant.split("/")[1:])
        if not chosen.secret and not credential.certificate and not _written(raw, (*place, "secret")):
            yield Mistake((*where, "secret"), "required, but missing: there is no client certificate either")
    if credential.secret:
        yield from _reference((*place, "secret"), credential.secret, tables)
    for group, logins in (("roles", credential.roles), ("agents", credential.agents)):
        for key, login in logins.items():
            if login.secret:
                yield from _reference((*place, group, key, "secret"), login.secret, tables)
    yield from _whose(place, credential, tables, raw)


def _written(raw: Any, place: Path) -> bool:
    """Whether there is anything at that place, be it right or wrong."""
    for key in place:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw is not None


def _whose(place: Path, credential: Credential, tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """A name with a slip in it would leave its agent with the user of everybody else."""
    declared = raw.get("agents")
    agents = list(declared) if isinstance(declared, Mapping) else []
    roles = sorted({role for agent in tables.agents.values() for role in agent.roles})
    for agent in credential.agents:
        if agent not in agents:
            yield Mistake((*place, "agents", agent), f'there is no agent "{agent}"' + suggest(agent, agents))
    for role in credential.roles:
        if role not in roles:
            yield Mistake((*place, "roles", role), f'no agent has the role "{role}"' + suggest(role, roles))


def _reference(place: Path, text: str, tables: Tables) -> Iterator[Mistake]:
    try:
        found: Reference = reference(text)
    except BadReference as error:
        yield Mistake(place, str(error))
        return
    if found.kind == "vault" and not tables.vault.address:
        yield Mistake(place, "a vault: secret takes vault.address")


def _vault(tables: Tables) -> Iterator[Mistake]:
    vault = tables.vault
    if not vault.address:
        return
    url = urlsplit(vault.address)
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        yield Mistake(("vault", "address"), "plain http would show the secrets to the network: use https")
    if bool(vault.role_id) != bool(vault.secret_id_file):
        missing = "secret_id_file" if vault.role_id else "role_id"
        yield Mistake(("vault", missing), "an AppRole login takes both role_id and secret_id_file")
    elif bool(vault.token_file) == bool(vault.role_id):
        yield Mistake(("vault",), "exactly one of token_file, and role_id with secret_id_file, is how hostguard logs in there")


def _resource(name: str, resource: Resource, tables: Tables, known: list[str]) -> Iterator[Mistake]:
    place = ("resources", name)
    if resource.protocol == "tls":
        return  # has none of these, which is told of where that is
    try:
        mode = server_tls(resource)
    except ValueError:
        return  # an address that is none is told of where addresses are read
    if resource.credential is not None and resource.credential not in known:
        yield Mistake(
            (*place, "credential"), f'there is no credential "{resource.credential}"' + suggest(resource.credential, known)
        )
    if resource.client_password and resource.credential is None:
        yield Mistake((*place, "client_password"), "without a credential the server asks agents for their own passwords")
    if resource.server_roots and not is_verified(resource):
        yield Mistake((*place, "server_roots"), f'nothing is verified with server_tls = "{mode}"')
    if resource.server_name and mode != "verify-full":
        yield Mistake((*place, "server_name"), f'no name is verified with server_tls = "{mode}"')
    credential = tables.credentials.get(resource.credential or "")
    if credential is not None and "cleartext" in credential.methods and not is_verified(resource):
        yield Mistake(
            (*place, "credential"),
            f'"{resource.credential}" may say its password in the clear, which takes a verified server: server_tls = "{mode}"',
        )
    elif credential is not None and credential.certificate and not is_verified(resource):
        yield Mistake(
            (*place, "credential"),
            f'"{resource.credential}" has a client certificate, which takes a verified server: server_tls = "{mode}"',
        )
