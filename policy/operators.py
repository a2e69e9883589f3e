"""What users may do here beside answering requests: operate, look, replay.

Each is asked about an agent, or about this host, which stands for all of them. What agents do is `judge`'s; who says yes to it
is `approvers`'.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import cedarpy

from .asks import Answer, entity, reference
from .cedar import authorize
from .decide import Policy
from .rules import RESERVED_ID, schema

ROOT = f"{RESERVED_ID}root"
"""The group that uid 0 is in, whoever it is in the configuration; no group of a configuration can be called so."""
HOST = "this"
"""Id of the one entity of type Host, which stands for all agents."""
VERBS = frozenset(["stop", "resume", "restart", "revoke_grant", "withdraw", "revoke_identity", "follow_identity"])
"""What ``context.verb`` of `operate` can be."""
OF_AGENTS = frozenset(["requests", "grants", "identities", "history", "status"])
"""What of an agent one can `look` at."""
SIGHTS = OF_AGENTS | {"metrics", "duties"}
"""What ``context.what`` of `look` can be."""
USERS_OWN = frozenset(["operate", "look", "replay"])
"""The actions that are asked here."""


def may(
    policy: Policy, user: str, groups: Sequence[str], action: str, agent: str | None, context: Mapping[str, str | bool]
) -> Answer:
    """Whether the user may do this to the agent; None for this host.

    `groups`: what the caller knows the user to be in; the configuration's are not added. `context`: as the schema has it for the
    action. An agent that the configuration does not know any more has neither owner nor roles.
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
        "action": {"type": "Action", "id": action},
        "resource": {"type": place[0], "id": place[1]},
        "context": dict(context),
    }
    policies = policy.book.slice(("User", user), [("Group", group) for group in groups])
    return authorize(policies, cedarpy.Entities.from_json_str(json.dumps(entities), schema()), [asked])[0]
