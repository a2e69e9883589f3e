"""What a COPY to the client sends: the form of its data by the statement's options, the mask of each field by its lineage."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from ..protocols.copies import CopyShape
from ..protocols.disclosure import Mask
from .inference import Stance
from .layout import Layout
from .lineage.follow import Flow
from .lineage.rows import Named
from .lineage.value import Value
from .sql.found import Tree

_FORMS = frozenset(["text", "csv", "binary"])
_BOOLEANS = {"true": True, "on": True, "false": False, "off": False, "1": True, "0": False}
_SAFE_NULLS = (b"\\N", b"")
"""Of the text form: what no value but the empty one could be taken for. Another would tell which values are that very text."""


class Undecidable(Exception):
    """What the data looks like can't be told; its message says why."""


class Copied(msgspec.Struct, frozen=True):
    """The fields of a COPY."""

    shape: CopyShape
    masks: tuple[Mask | None, ...]


def copied(
    tree: Tree, flow: Flow, stance: Stance, layout: Layout, computed: Mask, undetected: Collection[tuple[int, int]]
) -> Copied:
    """The fields of the statement `tree` (a CopyStmt's body). Raises Undecidable.

    `computed`: for what is no plain hidden column. `undetected`: (table OID, attribute number) of columns that detectors skip.
    """
    outputs = _outputs(tree, flow, layout)
    if not outputs:
        raise Undecidable("its columns can't be told apart")
    places = [_place(value, layout) for _, value in outputs]
    masks = tuple(_mask(value, place, stance, layout, computed) for (_, value), place in zip(outputs, places, strict=True))
    names = tuple(name for name, _ in outputs)
    types = tuple(layout.catalog.type_of(*place) if place is not None else 0 for place in places)
    skipped = frozenset(n for n, place in enumerate(places) if place in undetected)
    shape = msgspec.structs.replace(_shape(tree, names), types=types, unwatched=skipped)
    if shape.form == "text" and shape.null not in _SAFE_NULLS and any(masks):
        raise Undecidable("its NULL text could be a value's own, which FORMAT csv would quote")
    return Copied(shape, masks)


def _outputs(tree: Tree, flow: Flow, layout: Layout) -> Named:
    """The fields in their order. A table's own are all but those that are generated (PostgreSQL 18, commands/copy.c)."""
    if flow.lost or flow.outputs is None:
        return ()
    if "query" in tree or "attlist" in tree:
        return flow.outputs
    return tuple((name, value) for name, value in flow.outputs if not _is_generated(value, layout))


def _is_generated(value: Value, layout: Layout) -> bool:
    place = _place(value, layout)
    return place is not None and place[1] in layout.catalog.generated(place[0])


def _place(value: Value, layout: Layout) -> tuple[int, int] | None:
    """(OID, attribute number) of the column that the value is."""
    if not (value.plain and value.sure and len(value.columns) == 1):
        return None
    (column,) = value.columns
    for oid in layout.catalog.oids_of(*column[:2]):
        number = layout.catalog.attnum(oid, column[2])
        if number is not None:
            return oid, number
    return None


def _mask(value: Value, place: tuple[int, int] | None, stance: Stance, layout: Layout, computed: Mask) -> Mask | None:
    if not stance.shows(value):
        return None
    return layout.masks.get(place, computed) if place is not None else computed


def _shape(tree: Tree, names: Sequence[str]) -> CopyShape:
    """The form that the options say (PostgreSQL 18, commands/copy.c: ProcessCopyOptions). Raises Undecidable."""
    options: dict[str, Any] = {}
    for item in tree.get("options", []):
        option = item["DefElem"]
        if option["defname"] in options:
            raise Undecidable(f"its option {option['defname']} stands twice")
        options[option["defname"]] = option.get("arg")
    kind = _text(options.pop("format", {"String": {"sval": "text"}}), "format")
    if kind not in _FORMS:
        raise Undecidable(f"its format {kind} is not known")
    known: dict[str, Any] = {"form": kind, "names": tuple(names), "types": (0,) * len(names)}
    if kind == "csv":
        known |= {"delimiter": b",", "null": b""}
    if "header" in options:
        known["header"] = _boolean(options.pop("header"))
    if "force_quote" in options and kind == "csv":
        known["forced"] = _forced(options.pop("force_quote"), names)
    for name in ("delimiter", "quote", "escape"):
        if name in options:
            known[name] = _byte(options.pop(name), name)
    if "null" in options:
        known["null"] = _ascii(options.pop("null"), "null")
    if options:
        raise Undecidable(f"its option {min(options)} is not followed")
    known.setdefault("escape", known.get("quote", b'"'))
    return CopyShape(**known)


def _text(argument: Any, option: str) -> str:
    found = argument.get("String", {}).get("sval", "") if isinstance(argument, dict) and "String" in argument else None
    if not isinstance(found, str):
        raise Undecidable(f"its option {option} is no text")
    return found


def _ascii(argument: Any, option: str) -> bytes:
    text = _text(argument, option)
    if not text.isascii() or "\n" in text or "\r" in text:
        raise Undecidable(f"its option {option} is not of ASCII characters within a line")
    return text.encode("ascii")


def _byte(argument: Any, option: str) -> bytes:
    text = _ascii(argument, option)
    if len(text) != 1:
        raise Undecidable(f"its option {option} is not one character")
    return text


def _boolean(argument: Any) -> bool:
    """As ``defGetCopyHeaderChoice`` reads it."""
    if argument is None:
        return True
    if "Boolean" in argument:
        return bool(argument["Boolean"].get("boolval", False))
    text = str(argument["Integer"].get("ival", 0)) if "Integer" in argument else _text(argument, "header").lower()
    if text not in _BOOLEANS:
        raise Undecidable(f"its option header {text} is not known")
    return _BOOLEANS[text]


def _forced(argument: Any, names: Sequence[str]) -> frozenset[int]:
    if isinstance(argument, dict) and "A_Star" in argument:
        return frozenset(range(len(names)))
    items = argument.get("List", {}).get("items", []) if isinstance(argument, dict) else []
    wanted = {_text(item, "force_quote") for item in items}
    if not wanted or len(set(names)) != len(names):
        raise Undecidable("which columns it quotes can't be told")
    return frozenset(n for n, name in enumerate(names) if name in wanted)
