"""The wheel holds the compiled pieces, so that a guarded host needs neither compiler nor kernel headers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The files of a wheel that was built from a copy of the tree, so that nothing built before can slip into it."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    built = (".git", ".venv", "build", "dist", "*.egg-info", "*.so", "*.o", "_*_cffi.c", "__pycache__", ".*_cache")
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*built))
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(tree)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("hostguard-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.parametrize("room", ROOMS)
def test_every_module_of_a_room_is_in(names: list[str], room: str) -> None:
    modules = {f"hostguard/{path.relative_to(ROOT)}" for path in (ROOT / room).rglob("*.py")}
    assert modules - set(names) == set()


@pytest.mark.parametrize(
    "pattern", ["hostguard/py.typed", "hostguard/kernel/bpf/redirect.bpf.o", "hostguard/policy/*.cedarschema"]
)
def test_data_files_are_in(names: list[str], pattern: str) -> None:
    assert [name for name in names if Path(name).match(pattern)] != []


@pytest.mark.parametrize("extension", ["hostguard/kernel/_libbpf_cffi", "hostguard/protocols/postgres/_rows_cffi"])
def test_extensions_are_in(names: list[str], extension: str) -> None:
    assert [name for name in names if name.startswith(extension) and name.endswith(".so")] != []


def test_nothing_else_is_in(names: list[str]) -> None:
    tops = {name.split("/")[1] for name in names if name.startswith("hostguard/")}
    assert tops == {*ROOMS, "__init__.py", "py.typed"}
    assert {name.split("/")[0] for name in names if not name.startswith("hostguard/")} <= {"hostguard-0.1.0.dist-info"}
    assert [name for name in names if name.endswith(("_cffi.c", "setup.py")) or "/tests/" in name] == []
