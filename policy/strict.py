"""Reads plain data into strict structs without stopping at the first mistake."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

Path = tuple[str, ...]
"""Where something stands in the file: ``("resources", "shop", "addresses")``."""


class Mistake(msgspec.Struct, frozen=True):
    """One thing that is wrong, and where."""

    path: Path
    message: str


UNSAID = ("secret", "client_password")
"""Keys whose values are never repeated: what stands there may be a password."""


def suggest(word: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for the nearest known word, or what is known when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; known here: {', '.join(names)}" if names else ""


def read(data: object, kind: Any, path: Path, mistakes: list[Mistake]) -> Any:
    """What of `data` can be read as `kind`, adding a mistake for all that can't.

    A faulty key stands with its default, a faulty entry of a table of tables is left out, and None means that nothing is
    left. So the result is for nothing but finding further mistakes, unless `mistakes` stayed as it was.
    """
    kind = _without_none(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _read_struct(data, kind, path, mistakes)
    if get_origin(kind) is dict:
        return _read_named(data, kind, path, mistakes)
    if isinstance(data, list) and get_origin(_bare(kind)) is tuple and data:
        return _read_list(data, kind, path, mistakes)
    return _read_value(data, kind, path, mistakes)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _without_none(kind: Any) -> Any:
    """``X | None`` is X here: TOML has no null."""
    if get_origin(kind) in (types.UnionType, Union):
        return next(part for part in get_args(kind) if part is not type(None))
    return kind


def _read_struct(data: object, kind: type[msgspec.Struct], path: Path, mistakes: list[Mistake]) -> Any:
    if not isinstance(data, Mapping):
        mistakes.append(Mistake(path, f"expected a table, got {_say(data)}"))
        return None
    hints = _hints(kind)
    for key in data:
        if key not in hints:
            mistakes.append(Mistake((*path, key), "unknown key" + suggest(key, hints)))
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.name in data:
            value = read(data[field.name], hints[field.name], (*path, field.name), mistakes)
            if value is not None:
                values[field.name] = value
        elif field.required:
            mistakes.append(Mistake((*path, field.name), "required, but missing"))
    complete = all(field.name in values for field in msgspec.structs.fields(kind) if field.required)
    return kind(**values) if complete else None


def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _read_named(data: object, kind: Any, path: Path, mistakes: list[Mistake]) -> Any:
    """A table of tables under names of the user's choice."""
    if not isinstance(data, Mapping):
        mistakes.append(Mistake(path, f"expected a table, got {_say(data)}"))
        return None
    name_kind, value_kind = get_args(kind)
    result: dict[str, Any] = {}
    for name, entry in data.items():
        _read_value(name, name_kind, (*path, name), mistakes)
        value = read(entry, value_kind, (*path, name), mistakes)
        if value is not None:
            result[name] = value
    return result


def _read_list(data: list[object], kind: Any, path: Path, mistakes: list[Mistake]) -> Any:
    items = [read(item, get_args(_bare(kind))[0], path, mistakes) for item in data]
    seen: set[object] = set()
    for item in items:
        if item is not None and item in seen:
            mistakes.append(Mistake(path, f"{_say(item)} stands here twice"))
        seen.add(item)
    return tuple(item for item in items if item is not None)


def _read_value(data: object, kind: Any, path: Path, mistakes: list[Mistake]) -> Any:
    try:
        return msgspec.convert(data, kind, strict=True)
    except msgspec.ValidationError:
        said = "something else" if path[-1:] and path[-1] in UNSAID else f"{_say(data)}{_nearest(data, kind)}"
        mistakes.append(Mistake(path, f"expected {_expected(kind)}, got {said}"))
        return None


_WORDS = {str: "a text", int: "a whole number", bool: "true or false", tuple: "a list"}


def _expected(kind: Any) -> str:
    """The type in words: its own where it has a description."""
    metas = [meta for meta in getattr(kind, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    for meta in metas:
        if meta.description:
            return meta.description
    bare = _bare(kind)
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(f'"{choice}"' for choice in get_args(bare))
    words = _WORDS[get_origin(bare) or bare]
    return f"{words} from {metas[0].ge} to {metas[0].le}" if metas else words


def _nearest(data: object, kind: Any) -> str:
    if get_origin(_bare(kind)) is not Literal or not isinstance(data, str):
        return ""
    near = difflib.get_close_matches(data, get_args(_bare(kind)), n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def _say(data: object) -> str:
    match data:
        case bool():
            return "true" if data else "false"
        case str():
            return f'"{data}"' if len(data) <= 60 else f'"{data[:57]}…"'
        case int() | float():
            return str(data)
        case Mapping():
            return "a table"
        case list():
            return "a list" if data else "an empty list"
        case _:
            return f"a {type(data).__name__}"
