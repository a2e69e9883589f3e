"""The Cedar entities that a configuration stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .asks import Uid, entity, reference
from .bearers import UNVERIFIED, Bearer
from .catalogs import BUILT_IN_TAGS
from .document import Document


def standing(document: Document, agent: str = "", bearer: Bearer = UNVERIFIED) -> list[dict[str, Any]]:
    """All that is known before anything is asked: people, agents, resources, tags; each entity once.

    `bearer`: what is verified of this one agent.
    """
    entities = [*_people(document), *_agents(document, agent, bearer), *_resources(document), *_tags(document)]
    unique = {(e["uid"]["type"], e["uid"]["id"]): e for e in entities}
    return list(unique.values())


def uids(entities: list[dict[str, Any]]) -> frozenset[Uid]:
    return frozenset((e["uid"]["type"], e["uid"]["id"]) for e in entities)


def column_tags(document: Document) -> Mapping[str, tuple[str, ...]]:
    """A table's path to the tags that its columns carry, sorted."""
    found: dict[str, set[str]] = {}
    for name, tag in document.tags.items():
        for column in tag.columns:
            found.setdefault(column.rpartition("/")[0], set()).add(name)
    return {table: tuple(sorted(tags)) for table, tags in found.items()}


def tag_chain(tag: str) -> list[str]:
    """``pci.card`` and what it is in, nearest first: ``pci.card``, ``pci``."""
    parts = tag.split(".")
    return [".".join(parts[:end]) for end in range(len(parts), 0, -1)]


def _people(document: Document) -> Iterator[dict[str, Any]]:
    for name, user in document.users.items():
        yield entity(("User", name), [("Group", group) for group in user.groups])
        for group in user.groups:
            yield entity(("Group", group))


def _agents(document: Document, verified: str, bearer: Bearer) -> Iterator[dict[str, Any]]:
    for name, agent in document.agents.items():
        workloads = document.workloads_of(name)
        known = bearer if name == verified else UNVERIFIED
        roles = (*agent.roles, *(role for role in known.roles if role not in agent.roles))
        claims = {key: value for key, value in (("issuer", known.issuer), ("subject", known.subject)) if value}
        yield entity(
            ("Agent", name),
            [("Role", role) for role in roles],
            owner=reference("User", agent.owner),
            workload=workloads[0] if len(workloads) == 1 else "",
            claims=claims,
        )
        for role in roles:
            yield entity(("Role", role))


def _resources(document: Document) -> Iterator[dict[str, Any]]:
    for name, resource in document.resources.items():
        environments = [("Environment", resource.environment)] if resource.environment else []
        yield entity(("Resource", name), environments, protocol=resource.protocol)
        for environment in environments:
            yield entity(environment)


def _tags(document: Document) -> Iterator[dict[str, Any]]:
    for name in (*document.tags, *BUILT_IN_TAGS):
        chain = tag_chain(name)
        for tag, above in zip(chain, [*chain[1:], None], strict=True):
            yield entity(("Tag", tag), [("Tag", above)] if above else [])
