"""The relations that a name in a text may stand for.

The grammar has folded case, taken off quotes, decoded ``U&""`` already; what is left is PostgreSQL's search (namespace.c,
RelnameGetRelid): the first schema of the path that holds a relation of this name. The path is the effective one, as
``current_schemas(true)`` gives it: with the session's temporary schema in front once it exists, and ``pg_catalog`` where it is
searched, so no implicit schema has to be guessed here.

What may be gone by the time a text runs does not end the search. Where the path is not certain a name stands for every relation
of that name, and policy must permit all of them.
"""

from __future__ import annotations

from .analysis import Name
from .catalog import Catalog
from .postgres_names import RELATIONS

DEFAULT_SCHEMA = "public"
"""Where an unqualified relation is assumed when nothing is known, as without a session."""

TEMPORARY = "pg_temp"


def resolve(
    name: Name, search_path: tuple[str, ...] | None, catalog: Catalog | None, *, doubted: bool = False
) -> tuple[Name, ...]:
    """Every fully qualified relation that `name` may stand for: at least one, in a stable order.

    `search_path`: the effective one, None where it isn't certain. `catalog`: None where the database has not been asked;
    `doubted`: what it holds may be gone. A name that no schema holds stands for the relation that would be made by it.
    """
    if name.schema == TEMPORARY:
        return _temporary(name, search_path, catalog)
    if name.schema is not None:
        return (Name(name.name, name.schema),)
    if catalog is None:
        return _on_path(name, search_path)
    if search_path is None:
        anywhere = tuple(Name(relation.name, relation.schema) for relation in catalog.named(name.name))
        return anywhere or (Name(name.name, DEFAULT_SCHEMA),)
    found = []
    for schema in search_path:
        if catalog.oids_of(schema, name.name) or (schema == "pg_catalog" and name.name in RELATIONS):
            found.append(Name(name.name, schema))
            # What is temporary goes at any time (DISCARD, ON COMMIT DROP): then it hides what is behind it no more.
            if not doubted and not schema.startswith(TEMPORARY):
                break
    if found:
        return tuple(found)
    # Of a release newer than the lists, rather than a table yet to be made.
    return (Name(name.name, "pg_catalog" if name.name.startswith("pg_") else created_in(search_path)),)


def created_in(search_path: tuple[str, ...] | None) -> str:
    """The schema in which an unqualified CREATE makes its relation."""
    return next((schema for schema in search_path or () if not is_implicit(schema)), DEFAULT_SCHEMA)


def temporary_schema(search_path: tuple[str, ...] | None) -> str:
    """The session's own temporary schema; by its other name where the session has made nothing temporary yet."""
    return next((schema for schema in search_path or () if schema.startswith(TEMPORARY + "_")), TEMPORARY)


def is_implicit(schema: str) -> bool:
    """Schemas that are on a path without having been listed."""
    return schema == "pg_catalog" or schema.startswith("pg_temp")


def _on_path(name: Name, search_path: tuple[str, ...] | None) -> tuple[Name, ...]:
    """Without a catalog any schema of the path may hold it."""
    schemas = [schema for schema in search_path or () if not is_implicit(schema)]
    return tuple(Name(name.name, schema) for schema in schemas) or (Name(name.name, DEFAULT_SCHEMA),)


def _temporary(name: Name, search_path: tuple[str, ...] | None, catalog: Catalog | None) -> tuple[Name, ...]:
    """``pg_temp`` is another name for the session's own temporary schema, ``pg_temp_3`` or so."""
    own = temporary_schema(search_path)
    if own != TEMPORARY or catalog is None:
        return (Name(name.name, own),)
    held = [relation.schema for relation in catalog.named(name.name) if relation.schema.startswith(TEMPORARY + "_")]
    return tuple(Name(name.name, schema) for schema in held) or (Name(name.name, TEMPORARY),)
