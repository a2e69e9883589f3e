"""`make setup` stops, with the compiler's words, at a piece that does not compile, and comes back to it the next time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# All of it: a build removes what earlier ones compiled, which must not be this tree's.
ROOMS = ("kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent")
FILES = ("Makefile", "setup.py", "pyproject.toml", "compiled.txt", "__init__.py", "py.typed", *ROOMS)


# A build is a minute of one core, which other tests share.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of the tree in which nothing of native code is built; its packages count as provisioned."""
    listed = subprocess.run(["git", "ls-files", *FILES], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.split():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/provision", ".venv/.provisioned"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("broken", "words", "pure"),
    [
        ("kernel/bpf/redirect.bpf.c", "unknown type name 'no_such_type'", "1"),
        ("protocols/postgres/rows.c", "unknown type name ‘no_such_type’", "1"),
        ("recorder/packing.py", "packing.py:", "0"),
    ],
    ids=["clang", "cffi", "mypyc"],
)
def test_what_does_not_compile_stops_make_with_the_compilers_words(clone: Path, broken: str, words: str, pure: str) -> None:
    with (clone / broken).open("a") as source:
        source.write("\nno_such_type broken;\n")
    # What a defect here would install must neither join the environment's own packages nor replace them.
    aside = {"PIP_PREFIX": str(clone / "prefix"), "PIP_IGNORE_INSTALLED": "1"}
    environment = {**os.environ, **aside, "LC_ALL": "C.UTF-8", "HOSTGUARD_PURE": pure}
    command = ["make", ".venv/.native", f"PYTHON={sys.executable}"]
    made = subprocess.run(command, cwd=clone, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert words in made.stdout + made.stderr
    assert not (clone / ".venv" / ".native").exists(), "the next make would take it for built"
