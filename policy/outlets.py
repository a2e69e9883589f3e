"""Statements by which a database could show hidden values under a name that has no tags, or by a name that means something else.

Tags go by resource, database, schema, table, column. A copy of the database, a foreign table that leads back to it, a file of the
server's have other names. And a function that is called as a built-in one is would run in its place, unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .sql.analysis import Analysis, Name
from .sql.functions import CLASSES
from .sql.held import Function

_DEFINES = frozenset(["create", "alter"])
_READS_FILES = ("file", "program")


def outlet(analyses: Sequence[Analysis]) -> str:
    """What of the statements is one, as the beginning of a sentence; empty when nothing is."""
    return next((said for analysis in analyses for said in _outlets(analysis)), "")


def _outlets(analysis: Analysis) -> Iterable[str]:
    effects = set(analysis.effects)
    for access in analysis.accesses:
        if access.action != "create":
            continue
        if access.kind == "function" and access.name is not None and access.name.name in CLASSES:
            yield f"a function called {access.name.name} would be taken for the built-in one, and"
        if access.kind == "database" and " template " in access.detail:
            yield "a copy of a database"
    if "network" in analysis.flags and _DEFINES & effects:
        yield "what leads to another server, or back to this one,"
    if "copy_in" in effects and any(flag in analysis.flags for flag in _READS_FILES):
        yield "a file or program of the server"
    if any(name.name == "lo_import" for name, _ in analysis.functions):
        yield "a file of the server"


def stand_ins(functions: Iterable[Function]) -> frozenset[str]:
    """Names of a database's functions that may run where a built-in one is named: their arguments' types may match better.

    What an extension brings in C, as citext does, reads no tables.
    """
    return frozenset(found.name for found in functions if found.name in CLASSES and found.language not in ("c", "internal"))


def is_stood_in_for(name: Name, found: frozenset[str]) -> bool:
    """Whether a call may be one of `found`."""
    return name.schema is None and name.name in found
