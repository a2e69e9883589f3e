"""Answers for one name what policy would say of a question for it, without a daemon."""

from __future__ import annotations

from typing import Any

from .decide import Policy
from .document import Document
from .names import NamePolicy
from .tunnels import Watch


def explain(document: Document, agent: str, name: str, kind: str) -> dict[str, Any]:
    """The verdict on a first question of the day, as plain data: verdict, name, type, reason, policies, flags, resources.

    `name`: as a person writes it; each part between dots is a label. Flags that come from many questions are never there.
    """
    labels = tuple(label for label in name.lower().rstrip(".").split(".") if label)
    names = NamePolicy(Policy(document))
    flags = Watch(document.dns).flags(agent, labels, kind, 0.0)
    verdict = names.decide(agent, labels, kind, flags)
    permitted = "permitted by " + ", ".join(f'"{policy}"' for policy in verdict.policies)
    return {
        "verdict": "allow" if verdict.allowed else "deny",
        "name": ".".join(labels) or ".",
        "type": kind,
        "reason": permitted if verdict.allowed else verdict.reason,
        "policies": list(verdict.policies),
        "flags": sorted(flags),
        "resources": list(names.resources.get(".".join(labels), ())),
    }
