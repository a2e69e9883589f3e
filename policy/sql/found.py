"""What has been found in a text so far, on the way to an Analysis."""

from __future__ import annotations

from typing import Any

from .analysis import Access, Analysis, Name, Output
from .functions import CONSEQUENCES, PURE, THREE_ARGUMENTS_PURE, UNKNOWN, classify, is_builtin_operator
from .postgres_names import RELATIONS

Tree = dict[str, Any]
"""One node of libpg_query's JSON: a bare body, or a body wrapped as ``{"NodeType": body}``."""


def strings(items: list[Tree]) -> tuple[str, ...]:
    """The texts of a list of String nodes, such as the parts of a qualified name."""
    return tuple(item["String"].get("sval", "") for item in items if "String" in item)


def name_of(parts: tuple[str, ...]) -> Name:
    """A name from its one, two or three parts; more parts stay in the first, where nothing will match them."""
    if len(parts) < 2:
        return Name(parts[0] if parts else "")
    if len(parts) == 2:
        return Name(parts[1], parts[0])
    return Name(parts[-1], parts[-2], ".".join(parts[:-2]))


def relation_name(body: Tree) -> Name:
    """The name a RangeVar stands for; a bare name of a system relation is qualified, as the server's search would."""
    name, schema = body.get("relname", ""), body.get("schemaname")
    if schema is None and name in RELATIONS:
        schema = "pg_catalog"
    return Name(name, schema, body.get("catalogname"))


class Found:
    """Collects effects, accesses, flags while the trees are walked; `analysis` freezes them."""

    __slots__ = (
        "accesses",
        "declares",
        "effects",
        "ends_transaction",
        "executes",
        "fetches",
        "flags",
        "folded",
        "functions",
        "keys",
        "literal_sensitive",
        "prepares",
        "reads",
        "reasons",
        "text",
        "writes",
    )

    def __init__(self, text: str = "") -> None:
        self.text = text
        self.effects: set[str] = set()
        self.accesses: set[Access] = set()
        self.reads: set[Name] = set()
        self.writes: set[Name] = set()
        self.flags: set[str] = set()
        self.functions: set[tuple[Name, str]] = set()
        self.reasons: list[str] = []
        self.prepares: list[tuple[str, str]] = []
        self.executes: list[str] = []
        self.declares: list[str] = []
        self.fetches: list[str] = []
        self.ends_transaction = False
        self.literal_sensitive = False
        self.folded: dict[int, Any] = {}
        """What each expression folded to, by identity: conditions nest, so no part may be folded once for each level above it."""
        self.keys: dict[tuple[int, bool], object] = {}

    def unknown(self, reason: str) -> None:
        """Close: something in the text is not understood."""
        self.effects.add("unknown")
        if reason not in self.reasons:
            self.reasons.append(reason)

    def read(self, name: Name) -> None:
        """Rows of a relation are read."""
        self.effects.add("select")
        self.reads.add(name)
        self.accesses.add(Access("select", "table", name))

    def write(self, action: str, name: Name, detail: str = "") -> None:
        """A relation's rows or definition change."""
        self.effects.add(action)
        self.writes.add(name)
        self.accesses.add(Access(action, "table", name, detail))

    def touch(self, action: str, name: Name, detail: str = "") -> None:
        """A relation is acted on although neither its rows are read nor it changes."""
        self.effects.add(action)
        self.accesses.add(Access(action, "table", name, detail))

    def session(self, action: str, detail: str = "") -> None:
        """An access to the session or to the database as a whole."""
        self.effects.add(action)
        self.accesses.add(Access(action, "database", None, detail))

    def function(self, name: Name, arguments: int = 0) -> str:
        """A function is called with so many arguments: its class, with what follows from it."""
        kind = classify(name)
        if kind == "runs_sql_text" and arguments == 3 and name.name in THREE_ARGUMENTS_PURE:
            kind = PURE
        self.functions.add((name, kind))
        if kind == PURE:
            return kind
        consequence = CONSEQUENCES[kind]
        self.flags |= consequence.flags
        self.effects |= consequence.effects
        self.accesses.add(Access("call", "function", name))
        if "unknown" in consequence.effects:
            self.unknown(f"{name} runs a text as SQL, so what runs is not in this statement")
        return kind

    def operator(self, parts: tuple[str, ...]) -> None:
        """An operator is used; those PostgreSQL did not bring call functions of unknown body."""
        name = name_of(parts)
        if not is_builtin_operator(name):
            self.functions.add((name, UNKNOWN))
            self.flags.add("opaque")
            self.effects.add("call")
            self.accesses.add(Access("call", "function", name))

    def absorb(self, other: Found) -> None:
        """Take over everything that a nested walk found."""
        for field in ("effects", "accesses", "reads", "writes", "flags", "functions"):
            getattr(self, field).update(getattr(other, field))
        for field in ("reasons", "prepares", "executes", "declares", "fetches"):
            getattr(self, field).extend(getattr(other, field))
        self.ends_transaction |= other.ends_transaction
        self.literal_sensitive |= other.literal_sensitive

    def analysis(self, statements: int, outputs: tuple[Output, ...] | None = None, shown: tuple[Output, ...] = ()) -> Analysis:
        """Freeze what was found."""
        if statements > 1:
            self.flags.add("multi_statement")
        return Analysis(
            effects=tuple(sorted(self.effects)),
            accesses=tuple(sorted(self.accesses, key=_access_order)),
            reads=tuple(sorted(self.reads, key=str)),
            writes=tuple(sorted(self.writes, key=str)),
            flags=tuple(sorted(self.flags)),
            functions=tuple(sorted(self.functions, key=str)),
            statements=statements,
            outputs=outputs,
            shown=shown,
            unknown="; ".join(self.reasons),
            ends_transaction=self.ends_transaction,
            literal_sensitive=self.literal_sensitive,
            prepares=tuple(self.prepares),
            executes=tuple(self.executes),
            declares=tuple(self.declares),
            fetches=tuple(self.fetches),
        )


def _access_order(access: Access) -> tuple[str, str, str, str]:
    return access.action, access.kind, str(access.name or ""), access.detail
