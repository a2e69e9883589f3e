"""Which columns of a database look as if they should carry a tag.

What speaks for a tag is the column's name, its comment, its type, or what detectors find in some of its values. The values are
looked at and forgotten: a proposal says how many of them looked like something, never what they were.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import msgspec

from ..protocols.disclosure import Mask
from .detect.found import ENTITIES
from .detect.scanner import Scanner
from .fills import fill
from .paths import path, split
from .sql.catalog import Catalog


class Kind(NamedTuple):
    """A tag with what speaks for it."""

    tag: str
    words: str
    """Expression over names and comments, in lower case with ``_`` between words."""
    mask: str
    entity: str = ""


KINDS = (
    Kind("pii.email", r"e_?mails?", '{ kind = "partial" }', "email"),
    Kind("pii.phone", r"(tele)?phones?|mobiles?|cell|fax|msisdn", '{ kind = "partial", keep = 2 }', "phone"),
    Kind("pci.card", r"(credit_?)?cards?(_?(no|num|number))?|pan|cc_?(no|num|number)", '{ kind = "partial", keep = 4 }', "card"),
    Kind("pii.iban", r"iban|bank_?account(_?(no|number))?", '{ kind = "format" }', "iban"),
    Kind(
        "pii.national_id",
        r"ssn|social_?security(_?(no|number))?|national_?id|tax_?id|passport(_?(no|number))?|nino|bsn|pesel|cpf|dni|nir",
        '{ kind = "hash" }', "national_id",
    ),
    Kind("pii.ip", r"ip(_?addr(ess)?)?|client_?ip|remote_?addr", '{ kind = "partial" }', "ip"),
    Kind("pii.birth", r"birth_?(day|date)?|dob|date_of_birth|born", '{ kind = "date_year" }'),
    Kind("pii.name", r"(first|last|full|given|family|middle|maiden)_?names?|surnames?", '{ kind = "redact" }'),
    Kind("pii.address", r"(street|home|postal|billing|ship)_?addr(ess)?|street|post_?code|zip(_?code)?", '{ kind = "redact" }'),
    Kind("hr.salary", r"salar(y|ies)|wages?|compensation", '{ kind = "null" }'),
    Kind("health", r"diagnos(is|es)|icd_?10|prescriptions?|blood_?type", '{ kind = "null" }'),
    Kind(
        "secret", r"pass_?w(or)?d|passwd|pwd|secrets?|(api|access|private|secret)_?keys?|(access|refresh|auth)_?tokens?|totp|pin",
        '{ kind = "null" }', "key",
    ),
    Kind("secret", r"jwt", '{ kind = "null" }', "jwt"),
    Kind("secret", r"private_?key|pem", '{ kind = "null" }', "private_key"),
)  # fmt: skip
_WORDS = [re.compile(rf"(^|_)({kind.words})(_|$)") for kind in KINDS]
_WORD_EDGE = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
_MOSTLY = 0.5
_FEW = 5
# What a yes or no, an amount or a moment can't hold, whatever it is called ("email_verified", "password_changed_at").
_UNFIT = ("boolean", "timestamp", "interval", "time", "oid")
_DATE_KINDS = frozenset(["pii.birth"])


class Column(msgspec.Struct, frozen=True):
    """One column with some of its values."""

    schema: str
    table: str
    name: str
    type: str
    """As ``format_type`` names it."""
    comment: str = ""
    samples: tuple[str, ...] = ()


class Proposal(msgspec.Struct, frozen=True):
    """A tag for a column, or something to detect in it."""

    tag: str
    column: str
    """``resource/database/schema/table/column``."""
    reasons: tuple[str, ...]
    mask: str
    entity: str = ""
    within: bool = False
    """Such values stand among other text: what fits is `detect`, not the tag on the whole column."""


def proposals(
    resource: str, database: str, columns: Iterable[Column], tagged: Collection[str], regions: Sequence[str]
) -> list[Proposal]:
    """What to review; `tagged` columns are left out. Ordered by tag, then column."""
    scanner = Scanner(ENTITIES, regions)
    found = [
        proposal
        for column in columns
        if (place := path(resource, database, column.schema, column.table, column.name)) not in tagged
        for proposal in _of(column, place, scanner)
    ]
    return sorted(found, key=lambda proposal: (proposal.tag, proposal.column))


class Copies(msgspec.Struct, frozen=True):
    """What the database itself copies out of tagged columns."""

    filled: dict[str, tuple[str, ...]]
    """Columns to those that triggers, rules, defaults fill them from; they are hidden with these, without a tag of their own."""
    unfollowed: tuple[str, ...]
    """Tables with a trigger or a rule that can't be followed, so that nobody knows what it copies; its function behind them."""


def copies(resource: str, database: str, tagged: Iterable[str], catalog: Catalog) -> Copies:
    """What is copied out of `tagged` columns, given and told as ``resource/database/schema/table/column``."""
    hidden: dict[tuple[str, str], dict[str, Mask]] = {}
    for place in tagged:
        names = split(place)
        if names[:2] == (resource, database):
            hidden.setdefault((names[2], names[3]), {})[names[4]] = Mask("null")
    filling = fill(hidden, catalog)
    filled = {
        path(resource, database, *column): tuple(sorted(path(resource, database, *source) for source in sources))
        for column, sources in sorted(filling.sources.items())
    }
    unfollowed = []
    for oid, function in sorted(filling.lost):
        relation = catalog.relation(oid)
        if relation is not None:
            by = f"trigger function {function}" if function else "a rule"
            unfollowed.append(f"{path(resource, database, relation.schema, relation.name)}: {by}")
    return Copies(filled, tuple(unfollowed))


def copies_as_comments(found: Copies) -> str:
    """For people, as comments of a configuration."""
    lines = [f"# hidden as well, as it is filled from {', '.join(sources)}: {column}" for column, sources in found.filled.items()]
    lines += [f"# can't be followed, so agents may not run it; tag what it fills: {what}" for what in found.unfollowed]
    return "\n" + "\n".join(lines) + "\n" if lines else ""


def _of(column: Column, place: str, scanner: Scanner) -> list[Proposal]:
    whole, within = _counted(column.samples, scanner)
    result: dict[str, Proposal] = {}
    for kind, words in zip(KINDS, _WORDS, strict=True):
        reasons = [
            *(["its name"] if words.search(snake(column.name)) and _fits(kind, column.type) else []),
            *(["its comment"] if column.comment and words.search(snake(column.comment)) and _fits(kind, column.type) else []),
        ]
        hits, inside = whole.get(kind.entity, 0), within.get(kind.entity, 0)
        mostly = len(column.samples) >= _FEW and hits >= _MOSTLY * len(column.samples)
        if mostly:
            reasons.append(f"{hits} of {len(column.samples)} values")
        if reasons:
            result.setdefault(kind.tag, Proposal(kind.tag, place, tuple(reasons), kind.mask, kind.entity))
        elif hits + inside:
            reason = (f"in {hits + inside} of {len(column.samples)} values",)
            result.setdefault(kind.tag, Proposal(kind.tag, place, reason, kind.mask, kind.entity, within=True))
    return list(result.values())


def _counted(samples: Sequence[str], scanner: Scanner) -> tuple[dict[str, int], dict[str, int]]:
    """In how many values each entity is the whole of it, in how many a part."""
    whole: dict[str, int] = {}
    within: dict[str, int] = {}
    for sample in samples:
        found = scanner.find(sample)
        for entity in {each.entity for each in found}:
            alone = any(each.entity == entity and sample[each.start : each.end] == sample.strip() for each in found)
            counts = whole if alone else within
            counts[entity] = counts.get(entity, 0) + 1
    return whole, within


def _fits(kind: Kind, type_name: str) -> bool:
    if kind.tag in _DATE_KINDS:
        return type_name.startswith(("date", "timestamp", "text", "character", "integer"))
    return not type_name.startswith((*_UNFIT, "date"))


def snake(name: str) -> str:
    """``customerEmail`` and ``Customer e-mail`` as ``customer_email``, ``customer_e_mail``."""
    return _WORD_EDGE.sub("_", name).lower()


def as_toml(found: Sequence[Proposal]) -> str:
    """The proposals as ``[tags]`` tables, each column with what speaks for it."""
    parts: list[str] = []
    for tag in sorted({proposal.tag for proposal in found}):
        of_tag = [proposal for proposal in found if proposal.tag == tag]
        lines = [f'[tags."{tag}"]', "columns = ["]
        lines += [
            f"  {msgspec.json.encode(each.column).decode()},  # {', '.join(each.reasons)}" for each in of_tag if not each.within
        ]
        lines.append("]")
        inside = [proposal for proposal in of_tag if proposal.within]
        if inside:
            lines += [f"# among other text: {each.column}: {', '.join(each.reasons)}" for each in inside]
            lines.append(f"detect = {msgspec.json.encode(sorted({each.entity for each in inside})).decode()}")
        lines.append(f"mask = {of_tag[0].mask}")
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n" if parts else ""
