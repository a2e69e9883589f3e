"""Every denial says what would help: looked up in the sources, over all places that make one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
HELPLESS = {
    # The server's own error, with its words; what withdraws it, and asked for that; nobody is told of this one.
    ("policy/scope.py", "_misspelt"),
    ("protocols/postgres/conversation.py", "withdraw"),
    ("protocols/tls/conversation.py", "withdraw"),
    ("agent/holds.py", "_judgement"),
}


def denials(file: Path) -> Iterator[tuple[str, ast.Call]]:
    """(name of the function, call) for each `Decision` that is made as a denial."""
    for function in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node).startswith(("Decision(Verdict.DENY", "Decision(_DENY")):
                    yield function.name, node


def helps(call: ast.Call) -> bool:
    return len(call.args) >= 3 or any(keyword.arg == "hint" for keyword in call.keywords)


def test_every_denial_has_a_hint() -> None:
    found = [
        (str(file.relative_to(ROOT)), name, call)
        for room in ("policy", "agent", "protocols")
        for file in sorted((ROOT / room).rglob("*.py"))
        for name, call in denials(file)
    ]
    assert len(found) >= 8
    helpless = [(file, name, call.lineno) for file, name, call in found if not helps(call)]
    assert [each for each in helpless if each[:2] not in HELPLESS] == []
