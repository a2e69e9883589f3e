"""An extension that mypyc made is imported in place of its source, so it must have been made of just that source."""

from __future__ import annotations

import hashlib
import importlib.machinery
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUFFIX = next(suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES if "cpython" in suffix)
MODULES = (ROOT / "compiled.txt").read_text().split()
SUMS = ROOT / "compiled.sha256"
EXTENSIONS = sorted(
    str(path.relative_to(ROOT)).removesuffix(SUFFIX) + ".py"
    for path in ROOT.rglob(f"*{SUFFIX}")
    if path.with_name(path.name.removesuffix(SUFFIX) + ".py").exists()
    and not {".venv", "build"} & set(path.relative_to(ROOT).parts)
)
"""Sources beside which an extension lies; none after a build with HOSTGUARD_PURE=1."""


def _recorded() -> dict[str, str]:
    lines = SUMS.read_text().splitlines() if SUMS.exists() else []
    return {module: digest for digest, module in (line.split() for line in lines)}


@pytest.mark.parametrize("module", EXTENSIONS)
def test_an_extension_was_made_of_its_source(module: str) -> None:
    now = hashlib.sha256((ROOT / module).read_bytes()).hexdigest()
    assert _recorded().get(module) == now, f"{module} has changed since it was compiled: run make setup"


def test_all_or_none_are_compiled() -> None:
    assert EXTENSIONS in ([], sorted(MODULES)), "compiled.txt has changed since the last build: run make setup"
