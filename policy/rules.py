"""Cedar policies as hostguard knows them: parsed, named, checked against the schema."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from .cedar_text import Piece, line_within, pieces
from .strict import suggest

if TYPE_CHECKING:  # imported where it is used: most of the command line, and some processes, read no policy
    import cedarpy
    from cedarpy import pst

RESERVED_ID = "hostguard:"
"""Ids of the base policy begin so, and no others."""
HOLD_MODES = ("wait", "ticket")
"""What a policy's ``@hold`` may say of how what it would permit waits for the approval (approvals.md)."""
_SHIPPED = Path(__file__).parent


class Source(msgspec.Struct, frozen=True):
    """A file of policies."""

    file: str
    text: str
    base: bool = False
    """Whether it is hostguard's own base policy, of this version or of the one that put it on record."""


class Rule(msgspec.Struct, frozen=True):
    """One policy. `node` is its syntax tree, whose id is the ``@id``."""

    id: str
    file: str
    line: int
    text: str
    node: pst.Template


class RuleError(msgspec.Struct, frozen=True):
    """One thing that is wrong with a policy."""

    file: str
    line: int
    id: str
    """Empty while the policy has none."""
    message: str


@cache
def schema_text() -> str:
    """The schema that ships with hostguard."""
    return (_SHIPPED / "hostguard.cedarschema").read_text()


@cache
def schema() -> cedarpy.Schema:
    import cedarpy

    return cedarpy.Schema.from_str(schema_text())


@cache
def base_source() -> Source:
    """The base policy that ships with hostguard."""
    return Source("base.cedar", (_SHIPPED / "base.cedar").read_text(), base=True)


def parse(sources: Iterable[Source], errors: list[RuleError]) -> list[Rule]:
    """The policies of all `sources` that are right; every other has at least one entry in `errors`."""
    rules: list[Rule] = []
    taken: dict[str, Rule] = {}
    for source in sources:
        for piece in pieces(source.text):
            rule = _parse_one(source, piece, errors)
            if rule is None:
                continue
            first = taken.setdefault(rule.id, rule)
            if first is not rule:
                errors.append(RuleError(rule.file, rule.line, rule.id, f"{first.file}:{first.line} has the same @id"))
                continue
            rules.append(rule)
    wrong = list(_validate(rules))
    errors.extend(wrong)
    bad = {(error.file, error.id) for error in wrong}
    return [rule for rule in rules if (rule.file, rule.id) not in bad]


def _parse_one(source: Source, piece: Piece, errors: list[RuleError]) -> Rule | None:
    import cedarpy

    def refuse(message: str, line: int = piece.line, name: str = "") -> Rule | None:
        errors.append(RuleError(source.file, line, name, message))
        return None

    try:
        tree = cedarpy.policies_to_pst(piece.text)
    except ValueError as error:
        near = re.search("`(.*)`", str(error))
        return refuse(f"syntax error: {error}", line_within(piece, near[1] if near else ""))
    if tree.templates:
        return refuse("a template (?principal, ?resource) permits nothing by itself: write out the principal and the resource")
    node = next(iter(tree.static_policies.values()))
    name = node.annotations.get("id", "")
    if not name.strip():
        return refuse('every policy needs an @id("…"): it is what refusals and records name')
    if (mode := node.annotations.get("hold", "wait")) not in HOLD_MODES:
        return refuse(f'@hold("{mode}") is neither {" nor ".join(HOLD_MODES)}', name=name)
    if name.startswith(RESERVED_ID) and not source.base:
        return refuse(f'an @id that begins with "{RESERVED_ID}" is hostguard\'s own', name=name)
    return Rule(name, source.file, piece.line, piece.text, dataclasses.replace(node, id=name))


def _validate(rules: list[Rule]) -> Iterator[RuleError]:
    """What Cedar's validator says, by policy."""
    import cedarpy

    found: dict[int, list[str]] = {}
    # The validator numbers the policies of a text in order, as ``policy0``, ``policy1``.
    result = cedarpy.validate_policies("\n".join(rule.text for rule in rules), schema())
    for error in result.errors:
        message = re.sub(r"^for policy `[^`]*`, ", "", error.error)
        found.setdefault(int(error.policy_id.removeprefix("policy")), []).append(message)
    for number, messages in sorted(found.items()):
        rule = rules[number]
        # This one follows from any other mistake of the scope, and says nothing beside it.
        telling = [m for m in messages if not m.startswith("unable to find an applicable action")] or messages
        for message in sorted(set(telling)):
            said, words = _reword(message, rule.text)
            yield RuleError(rule.file, line_within(Piece(rule.text, rule.line), words), rule.id, said)


def _reword(message: str, text: str) -> tuple[str, str]:
    """The message about the policy `text` as we say it, and the words of the policy that it is about."""
    if found := re.match(r'unrecognized action `Action::"(.*)"`', message):
        return f'unknown action Action::"{found[1]}"' + suggest_action(found[1]), f'Action::"{found[1]}"'
    if found := re.match(r"unrecognized entity type `(.*)`", message):
        return f"unknown entity type {found[1]}" + suggest(found[1], entity_types()), f"{found[1]}::"
    if message.startswith("unable to find an applicable action"):
        said = "no action applies to this principal and this resource, so it can match nothing"
        group = re.search(r'action\s*==\s*Action::"(\w+)"', text)
        if group and members(group[1]) != {group[1]}:
            said += f'; {group[1]} stands for several actions: write action in Action::"{group[1]}"'
        return said, ""
    return message.replace("`", ""), ""


def suggest_action(word: str) -> str:
    """``; did you mean …?``, or where to look."""
    said = suggest(word, actions())
    return said if said.startswith("; did") else "; `hostguard policy schema` lists them"


@cache
def actions() -> frozenset[str]:
    """Every action of the schema, groups included."""
    names = re.findall(r"^action ([^{;]*?)(?: in \[| appliesTo|;|\n)", schema_text(), re.MULTILINE)
    return frozenset(name.strip() for group in names for name in group.split(","))


@cache
def members(action: str) -> frozenset[str]:
    """The single actions that an action stands for: those of a group, else itself alone."""
    found = {
        name.strip()
        for names, group in re.findall(r"^action ([^{;]*?) in \[(\w+)\]", schema_text(), re.MULTILINE)
        for name in names.split(",")
        if group == action
    }
    return frozenset(found or [action])


@cache
def approvable() -> frozenset[str]:
    """The actions whose context can hold an approval."""
    found = re.findall(r"^action ([^{;]*?)(?: in \[[a-z]*\])?\s+appliesTo {([^;]*)};", schema_text(), re.MULTILINE)
    taking = [names for names, terms in found if re.search(r"context: (?:Ask\w+|{ approval\?)", terms)]
    return frozenset(name.strip() for names in taking for name in names.split(","))


@cache
def entity_types() -> frozenset[str]:
    return frozenset(re.findall(r"^entity (\w+)", schema_text(), re.MULTILINE))
