"""From what a text names to what Cedar is asked: every object a name may stand for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..protocols.events import Session
from . import catalogs
from .asks import Ask, Uid
from .paths import path
from .sql.analysis import Access, Analysis, Name
from .sql.catalog import Catalog
from .sql.functions import UNKNOWN, classify
from .sql.names import DEFAULT_SCHEMA, TEMPORARY, created_in, is_implicit, resolve, temporary_schema

SETTING_ACTIONS = frozenset(["set", "show", "alter_system"])
CHANGES_CATALOG = frozenset(["create", "alter", "drop"])
_UNCOVERS = frozenset(["alter", "drop"])
CHANGES_SESSION = frozenset(["set", "discard"])
NAMES_DEPEND_ON = frozenset(["search_path", "role", "session_authorization", "all", "*", ""])
"""Settings by which an unqualified name may come to mean another table: "$user" in a search_path is the role, "*" may be any."""
SERVER_SIDE_COPY = {"file": "server_file", "program": "server_program"}
"""Flag of a COPY to the action that it is as well."""

# The one setting whose value decides: hostguard reads UTF-8 alone. The whole text has to be this one statement.
_UTF8 = re.compile(
    r"\s*set\s+(?:(?:session|local)\s+)?(?:client_encoding\s*(?:=|\sto\s)|names\s)\s*(['\"]?)(utf-?8|unicode|default)\1\s*;?\s*",
    re.I,
)


class Unresolved(Exception):
    """What a name stands for can't be told; the message is a sentence."""


class Resolver:
    """Finds the objects of one session's statements on one resource."""

    def __init__(self, resource: str, session: Session, catalog: Catalog | None, *, doubted: bool = False) -> None:
        """`doubted`: what the catalog holds may be gone."""
        self._doubted = doubted
        self._resource = resource
        self._session = session
        self._catalog = catalog
        self._database = path(resource, session.database)

    def asks(self, analysis: Analysis, text: str) -> list[Ask]:
        """Every access of the analysis on every object that it may be about; sorted. Raises `Unresolved`."""
        asks = {ask for access in analysis.accesses for ask in self._asks(access, text)}
        for access in analysis.accesses:
            if access.action == "explain" and access.kind == "table":
                # A plan tells of the rows it was made for.
                asks |= set(self._asks(Access("select", "table", access.name), text))
        if {"copy_in", "copy_out"} & set(analysis.effects):
            for flag, action in SERVER_SIDE_COPY.items():
                if flag in analysis.flags:
                    asks.add(Ask(action, "Database", self._database, (("detail", ""),)))
        return sorted(asks)

    def _asks(self, access: Access, text: str) -> Iterator[Ask]:
        facts = _facts(access, text)
        if access.kind == "database" or access.name is None:
            yield Ask(access.action, "Database", self._database, facts)
        elif access.kind == "table":
            for schema, name in self.relations(access):
                yield Ask(access.action, "Table", self._path(schema, name), facts, _tags(schema, name))
        elif access.kind == "function":
            for schema in self._function_schemas(access.name):
                yield Ask(access.action, "Function", self._path(schema, access.name.name), facts, _classes(access.name))
        else:
            assert access.kind == "schema", access
            yield Ask(access.action, "Schema", self._path(access.name.name), facts)

    def _path(self, *names: str) -> str:
        return "/".join((self._database, path(*names)))

    def relations(self, access: Access) -> list[tuple[str, str]]:
        """(schema, name) of every relation that a table access may be about; without any, where it would be made."""
        name = access.name
        assert name is not None
        self._check_database(name)
        # Without a path the catalog tells where relations of this name are, but not where a new one would be.
        if name.schema is None and self._session.search_path is None and (self._catalog is None or _makes(access)):
            raise Unresolved(f"which {name} is meant depends on the search_path, which is not certain: write its schema")
        if name.schema is None and _makes(access):
            return [(created_in(self._session.search_path), name.name)]
        if name.schema == TEMPORARY and _makes(access):
            # Other sessions' temporary relations of that name are none of its business.
            return [(temporary_schema(self._session.search_path), name.name)]
        found = resolve(name, self._session.search_path, self._catalog, doubted=self._doubted)
        return [(one.schema or "", one.name) for one in found]

    def hiding(self, analysis: Analysis) -> set[tuple[str, str]]:
        """Relations behind which the search_path has others of their names: the text means these as soon as those are gone."""
        found: set[tuple[str, str]] = set()
        if self._catalog is None or self._session.search_path is None:
            return found
        for access in analysis.accesses:
            name = access.name
            if access.kind == "table" and name is not None and name.schema is None and len(self._catalog.named(name.name)) > 1:
                *hiding, _ = resolve(name, self._session.search_path, self._catalog, doubted=True)
                found |= {(one.schema or "", one.name) for one in hiding}
        return found

    def _function_schemas(self, name: Name) -> list[str]:
        self._check_database(name)
        if name.schema is not None:
            return [name.schema]
        if classify(name) != UNKNOWN:
            return ["pg_catalog"]
        return self._user_schemas(name)

    def _user_schemas(self, name: Name) -> list[str]:
        """The schemas of the search_path that may hold what PostgreSQL did not bring."""
        if self._session.search_path is None:
            raise Unresolved(f"which {name} is meant depends on the search_path, which is not certain: write its schema")
        return [schema for schema in self._session.search_path if not is_implicit(schema)] or [DEFAULT_SCHEMA]

    def _check_database(self, name: Name) -> None:
        if name.database is not None and name.database != self._session.database:
            raise Unresolved(f"{name} is in another database, which PostgreSQL can't reach from {self._session.database}")


def moves_path(analysis: Analysis) -> bool:
    """Whether it may change the schemas in which an unqualified name is looked for."""
    return sets_path(analysis) or any(
        access.kind == "schema" and access.action in CHANGES_CATALOG for access in analysis.accesses
    )


def sets_path(analysis: Analysis) -> bool:
    """Whether it may change the setting by which an unqualified name is looked for."""
    return any(access.action in CHANGES_SESSION and access.detail in NAMES_DEPEND_ON for access in analysis.accesses)


def defines(analysis: Analysis) -> bool:
    """Whether it leaves a definition behind, which may run what it says at another time."""
    return any(access.action in ("create", "alter") and access.kind != "schema" for access in analysis.accesses)


def uncovers(analysis: Analysis) -> bool:
    """Whether relations may be gone after it, or have other names: what they hid is then what a name stands for."""
    return not _UNCOVERS.isdisjoint(analysis.effects)


def _makes(access: Access) -> bool:
    """Whether the access makes the relation, rather than something on it (an index, a trigger)."""
    return access.action == "create" and access.detail in ("", "view", "sequence")


def _tags(schema: str, name: str) -> tuple[Uid, ...]:
    return tuple(("Tag", tag) for tag in catalogs.tags_of(schema, name))


def _classes(name: Name) -> tuple[Uid, ...]:
    kind = classify(name)
    classes = [("FunctionClass", kind)]
    if kind == "locks" and name.name.startswith("pg_advisory_unlock"):
        classes.append(("FunctionClass", "unlocks"))
    return tuple(classes)


def _facts(access: Access, text: str) -> tuple[tuple[str, str], ...]:
    if access.action not in SETTING_ACTIONS:
        return (("detail", access.detail),)
    if access.action == "set" and access.detail == "client_encoding" and (found := _UTF8.fullmatch(text)):
        return (("setting", access.detail), ("value", found[2].lower()))
    return (("setting", access.detail),)
