"""Which users may operate hostguard: stop agents, let them go on."""

from __future__ import annotations

import json
from collections.abc import Sequence

import cedarpy

from .asks import Answer, entity, reference
from .cedar import authorize
from .decide import Policy
from .rules import RESERVED_ID, schema

ROOT = f"{RESERVED_ID}root"
"""The group that uid 0 is in, whoever it is in the configuration; no group of a configuration can be called so."""
HOST = "this"
"""Id of the one entity of type Host, which stands for all agents."""


def may_operate(policy: Policy, user: str, groups: Sequence[str], agent: str | None, verb: str) -> Answer:
    """Whether the user may do this (``stop``, ``resume``) to the agent; None for all agents.

    `groups`: what the caller knows the user to be in; the configuration's are not added. An agent that the configuration does not
    know any more has neither owner nor roles.
    """
    facts = policy.document.agents.get(agent) if agent is not None else None
    roles = [("Role", role) for role in facts.roles] if facts is not None else []
    owner = facts.owner if facts is not None else ""
    entities = [
        entity(("User", user), [("Group", group) for group in groups]),
        *(entity(("Group", group)) for group in groups),
        *(entity(role) for role in roles),
    ]
    place = ("Host", HOST) if agent is None else ("Agent", agent)
    if agent is None:
        entities.append(entity(place))
    else:
        entities.append(entity(place, roles, owner=reference("User", owner), workload="", claims={}))
    asked = {
        "principal": {"type": "User", "id": user},
        "action": {"type": "Action", "id": "operate"},
        "resource": {"type": place[0], "id": place[1]},
        "context": {"verb": verb},
    }
    policies = policy.book.slice(("User", user), [("Group", group) for group in groups])
    return authorize(policies, cedarpy.Entities.from_json_str(json.dumps(entities), schema()), [asked])[0]
