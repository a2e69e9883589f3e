"""Raises the generation of tags' keyed masks in a configuration's text, all else of it left as it is."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from .toml_lines import key_lines

KEYED = ("hash", "format")
"""Kinds of masks that have a key."""

_GENERATION = re.compile(r"(\bgeneration\s*=\s*)\d[\d_]*")
_KIND = re.compile(r"""(\bkind\s*=\s*(?:"[^"]*"|'[^']*'))""")


class CantRaise(Exception):
    """The text can't be changed as was asked; its message is a sentence."""


def keyed_tags(text: str) -> dict[str, int]:
    """Tags with a keyed mask, to its generation. `text`: a configuration without mistakes."""
    tags = tomllib.loads(text).get("tags", {})
    masks = {name: tag.get("mask", {}) for name, tag in tags.items()}
    return {name: mask.get("generation", 0) for name, mask in masks.items() if mask.get("kind") in KEYED}


def raised(text: str, tags: Sequence[str], generation: int) -> str:
    """`text` with that generation for the masks of `tags`. Raises CantRaise for a tag without a keyed mask, or one that is
    written in a way that is not followed."""
    known = keyed_tags(text)
    wanted: dict[str, Any] = deepcopy(tomllib.loads(text))
    lines = text.splitlines(keepends=True)
    for tag in tags:
        if tag not in known:
            raise CantRaise(f"tags.{tag} has no mask of kind {' or '.join(KEYED)} in this file")
        wanted["tags"][tag]["mask"]["generation"] = generation
        places = key_lines("".join(lines))
        in_table = ("tags", tag, "mask", "generation")
        line = places.get(in_table) or places.get(("tags", tag, "mask", "kind")) or places.get(("tags", tag, "mask"), 0)
        found = lines[line - 1] if line else ""
        if _GENERATION.search(found):
            lines[line - 1] = _GENERATION.sub(rf"\g<1>{generation}", found)
        elif ("tags", tag, "mask", "kind") in places:
            lines.insert(line, f"generation = {generation}\n")
        else:
            lines[line - 1] = _KIND.sub(rf"\1, generation = {generation}", found, count=1)
    changed = "".join(lines)
    # What was changed by its look has to say what was meant, to the parser that reads it later.
    try:
        right = tomllib.loads(changed) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise CantRaise(
            f"the masks of {', '.join(tags)} are written in a way that is not followed: set generation = {generation} by hand"
        )
    return changed
