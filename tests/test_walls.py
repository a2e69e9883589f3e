"""The walls between the rooms, checked over the syntax trees of the whole package."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent")

# What a room may import of ours, as prefixes of dotted names. A room may always import itself.
ARROWS: dict[str, tuple[str, ...]] = {
    "kernel": (),
    "reassembly": (),
    "identity": (),
    "recorder": (),
    "protocols": ("reassembly.frames",),
    "policy": ("protocols.events", "protocols.copies", "protocols.disclosure", "protocols.detector", "identity"),
    "agent": ROOMS,
}

# Below agent/ time, chance, files and sockets come in as arguments; these modules are the edge where they enter.
BANNED_BELOW_AGENT = {"asyncio", "uvloop", "socket", "click", "logging", "time", "random", "secrets"}
EDGE = ("kernel/", "identity/process.py", "recorder/durable.py")

BANNED_NAMES = {"util", "utils", "helper", "helpers", "common", "base", "misc"}
MAX_LINES = 400
TABLES = {"policy/sql/postgres_names.py", "recorder/entry.py"}
"""Nothing but words: one is generated, long because PostgreSQL is; the other is the vocabulary of the log, a class each."""


def package_modules() -> list[Path]:
    """Every module that ships, relative to the root."""
    return sorted(path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def all_modules() -> list[Path]:
    """Every module of the repository, tests and tools included."""
    others = sorted(path.relative_to(ROOT) for folder in ("tests", "bench", "examples") for path in (ROOT / folder).rglob("*.py"))
    return [Path("__init__.py"), Path("setup.py"), *package_modules(), *others]


def imported_names(module: Path, source: str) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of each import; what is ours starts with ``hostguard.``."""
    package = ("hostguard", *module.parent.parts)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join((*start, *([node.module] if node.module else [])))
            yield from ((node.lineno, f"{stem}.{alias.name}") for alias in node.names)


def crossings(module: Path, source: str) -> list[str]:
    """The imports of `module` that the table of arrows does not allow."""
    room = module.parts[0]
    allowed = (room, *ARROWS[room])
    found = []
    for line, name in imported_names(module, source):
        if name == "hostguard" or name.startswith("hostguard."):
            ours = name.removeprefix("hostguard").lstrip(".")
            if not any(ours == prefix or ours.startswith(f"{prefix}.") for prefix in allowed):
                found.append(f"{module}:{line} imports {name}")
    return found


def banned_imports(module: Path, source: str) -> list[str]:
    """The imports of `module` that only agent/ or an edge module may have."""
    if module.parts[0] == "agent" or str(module).startswith(EDGE):
        return []
    return [
        f"{module}:{line} imports {name}"
        for line, name in imported_names(module, source)
        if name.split(".")[0] in BANNED_BELOW_AGENT
    ]


def docstring_faults(module: Path, source: str) -> list[str]:
    """What is wrong with the module's docstring: its first line must be one sentence without "and"."""
    docstring = ast.get_docstring(ast.parse(source))
    if not docstring:
        return [f"{module} has no docstring"]
    first = docstring.splitlines()[0]
    faults = [] if first.endswith(".") else [f"{module}: the docstring's first line does not end with a full stop: {first!r}"]
    # A package's front door may list what is in the room; a module is one idea.
    if module.name != "__init__.py" and module.parts[0] in ROOMS and " and " in first:
        faults.append(f'{module}: the docstring\'s first line needs an "and", so this is two modules: {first!r}')
    return faults


def unfinished(module: Path, source: str) -> list[str]:
    """Comments that put work off."""
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    comments = (token for token in tokenize.generate_tokens(io.StringIO(source).readline) if token.type == tokenize.COMMENT)
    return [f"{module}:{token.start[0]} {token.string}" for token in comments if any(mark in token.string for mark in marks)]


def read(module: Path) -> str:
    return (ROOT / module).read_text(encoding="utf-8")


def test_imports_point_down() -> None:
    assert [fault for module in package_modules() for fault in crossings(module, read(module))] == []


def test_only_the_edges_touch_time_chance_and_sockets() -> None:
    assert [fault for module in package_modules() for fault in banned_imports(module, read(module))] == []


def test_every_module_says_what_it_is_in_one_sentence() -> None:
    assert [fault for module in all_modules() for fault in docstring_faults(module, read(module))] == []


def test_no_module_is_a_drawer() -> None:
    assert [str(module) for module in all_modules() if {module.stem, *module.parts} & BANNED_NAMES] == []


def test_no_module_is_the_big_one() -> None:
    lengths = {str(module): len(read(module).splitlines()) for module in all_modules()}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES and name not in TABLES} == {}


def test_nothing_is_put_off() -> None:
    assert [fault for module in all_modules() for fault in unfinished(module, read(module))] == []


def test_each_room_has_a_front_door_without_code() -> None:
    for room in ("", *ROOMS):
        body = ast.parse(read(Path(room) / "__init__.py")).body
        assert len(body) == 1, f"{room or 'the root'}: a front door is a docstring and nothing else"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("kernel/flows.py", "from ..identity.process import Process"),
        ("kernel/flows.py", "import hostguard.agent.loop"),
        ("protocols/postgres/values.py", "from ...policy.masks import apply"),
        ("protocols/postgres/values.py", "from ...reassembly import stream"),
        ("policy/decide.py", "from ..protocols.postgres import messages"),
        ("policy/decide.py", "from ..recorder import log"),
        ("recorder/log.py", "def f():\n    from ..protocols import events"),
    ],
)
def test_the_wall_sees_a_forbidden_import(module: str, source: str) -> None:
    assert len(crossings(Path(module), source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "protocols/postgres/values.py",
            "from ..events import Mask\nfrom ...reassembly.frames import Buffer",
        ),
        (
            "policy/decide.py",
            "from ..identity.process import Process\nfrom .sql import parse",
        ),
        ("agent/loop.py", "from ..kernel import flows\nfrom .gate import Gate"),
    ],
)
def test_the_wall_lets_the_arrows_through(module: str, source: str) -> None:
    assert crossings(Path(module), source) == []


def test_the_wall_sees_a_banned_import() -> None:
    source = "import time\nfrom asyncio import run"
    assert len(banned_imports(Path("policy/decide.py"), source)) == 2
    assert banned_imports(Path("agent/loop.py"), source) == []
    assert banned_imports(Path("kernel/flows.py"), source) == []


def test_the_wall_sees_a_bad_docstring() -> None:
    assert docstring_faults(Path("kernel/x.py"), "x = 1") != []
    assert docstring_faults(Path("kernel/x.py"), '"""No stop"""') != []
    assert docstring_faults(Path("kernel/x.py"), '"""Reads this and that."""') != []
    assert docstring_faults(Path("kernel/x.py"), '"""Reads this."""') == []
