"""A scope of a policy against a place: whether it takes in all that is below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cedarpy import pst

from .decide import Policy
from .duties import SYSTEM, Span
from .paths import split
from .rules import Rule, members


def acts(rule: Rule, action: str) -> bool:
    """Whether the policy's scope has the action."""
    scope = rule.node.action
    if isinstance(scope, pst.ActionEq):
        return action == scope.entity.id
    if isinstance(scope, pst.ActionIn):
        return any(action in members(entity.id) or action == entity.id for entity in scope.entities)
    return True


def is_many(kind: str, region: tuple[str, ...]) -> bool:
    """Whether the region is more than one object of this type."""
    return len(region) < {"Resource": 1, "Database": 2, "Schema": 3}.get(kind, 4)


def regions(policy: Policy, scope: object, span: Span, kinds: Iterable[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a permit's scope and the span have in common: for each type of objects a path with all below."""
    for kind in kinds:
        depth = {"Resource": 1, "Database": 2, "Schema": 3}.get(kind, 4)
        if len(span.path) > depth:
            continue
        region = common(policy, scope, span, kind)
        if region is not None and len(region) <= depth:
            yield kind, region


def common(policy: Policy, scope: object, span: Span, kind: str) -> tuple[str, ...] | None:
    """What a permit's scope and the span have in common of this type of objects: a path with all below; None for nothing."""
    match scope:
        case pst.ScopeAny():
            return span.path
        case pst.ScopeIs(wanted):
            return span.path if str(wanted) == kind else None
        case pst.ScopeEq(entity):
            assert isinstance(entity, pst.EntityUid)
            place = split(entity.id)
            return place if str(entity.type) == kind and span.holds(place) else None
        case pst.ScopeIn(entity):
            return _within(policy, entity, span, kind)
        case pst.ScopeIsIn(wanted, entity):
            return _within(policy, entity, span, kind) if str(wanted) == kind else None
    raise AssertionError(f"a scope that this Cedar has and we don't know: {scope!r}")


def _within(policy: Policy, entity: pst.EntityOrSlot, span: Span, kind: str) -> tuple[str, ...] | None:
    assert isinstance(entity, pst.EntityUid)
    match str(entity.type):
        case "Environment":
            resource = policy.document.resources.get(span.path[0])
            return span.path if resource is not None and resource.environment == entity.id else None
        case "Resource" | "Database" | "Schema" | "Table" | "Function":
            place = split(entity.id)
            if place[: len(span.path)] == span.path:
                return place if span.holds(place) else None
            return span.path if span.path[: len(place)] == place else None
        case "Tag":
            # Tables are in built-in tags only: of system schemas, and pg_stat_statements wherever it is.
            system = len(span.path) >= 3 and span.path[2] in SYSTEM
            anywhere = entity.id in ("catalog", "catalog.samples")
            named = span.path[3:] in ((), ("pg_stat_statements",))
            return span.path if kind == "Table" and (system or (anywhere and named)) else None
        case "FunctionClass":
            return span.path if kind == "Function" else None
    return None


def covers(policy: Policy, scope: object, kind: str, region: tuple[str, ...]) -> bool:
    """Whether a forbid's scope covers every object of this type in the region."""
    match scope:
        case pst.ScopeAny():
            return True
        case pst.ScopeIs(wanted):
            return str(wanted) == kind
        case pst.ScopeEq(entity):
            return (
                isinstance(entity, pst.EntityUid)
                and str(entity.type) == kind
                and not is_many(kind, region)
                and split(entity.id) == region
            )
        case pst.ScopeIn(entity):
            return _contains(policy, entity, region)
        case pst.ScopeIsIn(wanted, entity):
            return str(wanted) == kind and _contains(policy, entity, region)
    return False


def _contains(policy: Policy, entity: pst.EntityOrSlot, region: tuple[str, ...]) -> bool:
    assert isinstance(entity, pst.EntityUid)
    if str(entity.type) == "Environment":
        resource = policy.document.resources.get(region[0])
        return resource is not None and resource.environment == entity.id
    if str(entity.type) not in ("Resource", "Database", "Schema", "Table", "Function"):
        return False
    place = split(entity.id)
    return region[: len(place)] == place
