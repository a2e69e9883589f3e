"""Puts questions to Cedar: the policies that concern one principal, parsed once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cedarpy
from cedarpy import pst

from .asks import Answer, Approval, Ask, Uid, entities_of
from .rules import Rule, schema

MAX_SLICES = 1024
"""Principals whose slices are kept; a slice costs some KiB and a millisecond."""

MAX_OBJECTS = 512
"""Sets of objects whose entities are kept parsed: statements on the same tables ask about the same. Some 20 KiB each."""


class Rulebook:
    """The policies of one epoch with the entities that stand for the configuration. Immutable but for its memory of slices."""

    def __init__(self, rules: Sequence[Rule], standing: list[dict[str, Any]], tags: Mapping[str, tuple[str, ...]]) -> None:
        """`rules`: checked against the schema. `standing`: entities in JSON form. `tags`: table path to its columns' tags."""
        self.rules = {rule.id: rule for rule in rules}
        self._tags = tags
        self._known = frozenset((e["uid"]["type"], e["uid"]["id"]) for e in standing)
        # With the schema: without it the entities of the action groups are missing, and every `action in` denies.
        self._standing = cedarpy.Entities.from_json_str(json.dumps(standing), schema())
        self._objects: dict[frozenset[tuple[str, str, tuple[Uid, ...]]], cedarpy.Entities] = {}
        self._slices: dict[frozenset[Uid], cedarpy.PolicySet] = {}

    def concerning(self, principal: Uid, groups: Iterable[Uid]) -> list[Rule]:
        """The policies whose principal scope matches one that is `principal` and a direct or indirect member of `groups`."""
        member_of = frozenset([principal, *groups])
        return [rule for rule in self.rules.values() if _scope_matches(rule.node.principal, principal, member_of)]

    def slice(self, principal: Uid, groups: Iterable[Uid]) -> cedarpy.PolicySet:
        """The policy set of `concerning`. It decides as the whole set does: a scope that doesn't match decides nothing."""
        key = frozenset([principal, *groups])
        found = self._slices.get(key)
        if found is None:
            if len(self._slices) >= MAX_SLICES:
                self._slices.clear()
            found = self._slices[key] = policy_set(self.concerning(principal, groups))
        return found

    def answer(
        self, policies: cedarpy.PolicySet, principal: Uid, asks: Sequence[Ask], flags: Iterable[str], approval: Approval | None
    ) -> list[Answer]:
        """What the policies say to each of `asks`, in order; all in the context of `flags` and `approval`."""
        entities = self._with_objects(asks)
        context: dict[str, Any] = {"flags": sorted(flags)}
        if approval is not None:
            context["approval"] = approval.context()
        return authorize(policies, entities, [_request(principal, ask, context) for ask in asks])

    def _with_objects(self, asks: Sequence[Ask]) -> cedarpy.Entities:
        """The standing entities with what `asks` are about."""
        key = frozenset((ask.type, ask.id, ask.groups) for ask in asks)
        found = self._objects.get(key)
        if found is None:
            if len(self._objects) >= MAX_OBJECTS:
                self._objects.clear()
            added = list(entities_of(asks, self._known, self._tags))
            # Without the schema: it would check all entities again, and the groups of actions are in the base already.
            found = self._objects[key] = self._standing.with_added_json_str(json.dumps(added)) if added else self._standing
        return found


def policy_set(rules: Iterable[Rule]) -> cedarpy.PolicySet:
    """The policies under their ``@id`` as Cedar's own id, so that answers name them."""
    nodes = {rule.id: rule.node for rule in rules}
    return cedarpy.PolicySet.from_pst(pst.PolicySet(templates={}, static_policies=nodes, template_links=()))


def authorize(policies: cedarpy.PolicySet, entities: cedarpy.Entities, requests: list[dict[str, Any]]) -> list[Answer]:
    """Cedar's answers in order. A request that doesn't fit the schema, or a policy that fails, is a no that says why."""
    if not requests:
        return []
    return [_answer(result) for result in cedarpy.is_authorized_batch(requests, policies, entities, schema())]


def _answer(result: cedarpy.AuthzResult) -> Answer:
    diagnostics = result.diagnostics
    if diagnostics.errors:
        # Cedar leaves a failing policy out. Were that a forbid, a permit would stand that it was meant to stop.
        return Answer(False, (), diagnostics.errors[0])
    return Answer(result.allowed, tuple(sorted(diagnostics.reasons)))


# Whose context is empty by the schema: what may be seen depends on nothing but who asks.
_PLAIN = frozenset(["reveal", "match", "derive", "approve"])


def _request(principal: Uid, ask: Ask, context: dict[str, Any]) -> dict[str, Any]:
    return {
        "principal": {"type": principal[0], "id": principal[1]},
        "action": {"type": "Action", "id": ask.action},
        "resource": {"type": ask.type, "id": ask.id},
        "context": {} if ask.action in _PLAIN else {**context, **dict(ask.facts)},
    }


def _scope_matches(scope: pst.PrincipalOrResourceConstraint, principal: Uid, member_of: frozenset[Uid]) -> bool:
    match scope:
        case pst.ScopeAny():
            return True
        case pst.ScopeEq(entity):
            return _uid(entity) == principal
        case pst.ScopeIn(entity):
            return _uid(entity) in member_of
        case pst.ScopeIs(kind):
            return str(kind) == principal[0]
        case pst.ScopeIsIn(kind, entity):
            return str(kind) == principal[0] and _uid(entity) in member_of
    raise AssertionError(f"a scope that this Cedar has and we don't know: {scope!r}")


def _uid(node: pst.EntityOrSlot) -> Uid:
    # Templates are refused on load, so no slot gets here.
    assert isinstance(node, pst.EntityUid)
    return str(node.type), node.id


def names_exactly(rule: Rule, uid: Uid) -> bool:
    """Whether the policy's resource scope is this very object."""
    scope = rule.node.resource
    return isinstance(scope, pst.ScopeEq | pst.ScopeIn) and _uid(scope.entity) == uid
