"""What is wrong with the sections that hold agents back: duties, exclusions, budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .duty_sections import Duty
from .paths import split
from .rules import actions, suggest_action
from .strict import Mistake, suggest

if TYPE_CHECKING:
    from .sections import Tables

NO_DUTY = frozenset(["reveal", "match", "derive", "approve", "issue", "operate", "look", "replay", "resolve", "session"])
"""Actions that are no part of a task: what may be seen, what users do, questions for names, what every session does."""


def duty_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """The mistakes of ``[duties]``, ``[exclusions]``, ``[budgets]``."""
    yield from _budgets(tables, raw)
    named = raw.get("duties")
    duties = list(named) if isinstance(named, Mapping) else []
    for name, duty in tables.duties.items():
        yield from _duty(tables, name, duty)
    for name, exclusion in tables.exclusions.items():
        place = ("exclusions", name)
        if len(set(exclusion.duties)) != 2:
            yield Mistake((*place, "duties"), "expected a list of two duties")
        for each in exclusion.duties:
            if each not in duties:
                yield Mistake((*place, "duties"), f'there is no duty "{each}"' + suggest(each, duties))
        if (exclusion.within == "window") != bool(exclusion.window_s):
            yield Mistake((*place, "window_s"), 'expected more than 0 with within = "window", and nothing without')
        keyed = [bool(tables.duties[each].key) for each in exclusion.duties if each in tables.duties]
        if exclusion.within == "object" and len(set(keyed)) > 1:
            yield Mistake(
                (*place, "within"),
                f"one of {' and '.join(exclusion.duties)} has a `key` and the other has none: then no object is both's",
            )


def _budgets(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    named = raw.get("agents")
    agents = list(named) if isinstance(named, Mapping) else []
    for name, budget in tables.budgets.items():
        for agent in budget.agents:
            if agent not in agents:
                yield Mistake(("budgets", name, "agents"), f'there is no agent "{agent}"' + suggest(agent, agents))
        if not any(budget.limits):
            yield Mistake(("budgets", name), "a budget limits operations, rows or bytes")


def _duty(tables: Tables, name: str, duty: Duty) -> Iterator[Mistake]:
    place = ("duties", name)
    if not duty.objects and not duty.tags:
        yield Mistake(place, "a duty has objects, tags, or both")
    for action in duty.actions:
        if action not in actions():
            yield Mistake((*place, "actions"), f'there is no action "{action}"' + suggest_action(action))
        elif action in NO_DUTY:
            yield Mistake((*place, "actions"), f'"{action}" can\'t be a part of a duty')
    for path in duty.objects:
        parts = split(path)
        if len(parts) > 4 or "" in parts:
            yield Mistake((*place, "objects"), f'"{path}" is no object; expected resource/database/schema/table or what is above')
        elif parts[0] not in tables.resources:
            yield Mistake(
                (*place, "objects"), f'"{path}": there is no resource "{parts[0]}"' + suggest(parts[0], tables.resources)
            )
    for tag in duty.tags:
        if tag not in tables.tags and not any(other.startswith(f"{tag}.") for other in tables.tags):
            yield Mistake((*place, "tags"), f'there is no tag "{tag}"' + suggest(tag, tables.tags))
