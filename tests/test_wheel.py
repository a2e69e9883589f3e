"""The wheel holds the compiled pieces, so that a guarded host needs neither compiler nor kernel headers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent")


# A build is a minute of one core, which other tests share.
pytestmark = pytest.mark.timeout(600)

COMPILED = (ROOT / "compiled.txt").read_text().split()
CONVERSE = """
import hostguard
from hostguard.protocols.events import Started
from hostguard.protocols.postgres import conversation
from hostguard.protocols.postgres.limits import Limits
print(hostguard.__file__, conversation.__file__)
packet = bytes([0, 3, 0, 0]) + b"user\\0anna\\0\\0"
packet = (len(packet) + 4).to_bytes(4, "big") + packet
(effect,) = conversation.PostgresConversation(Limits(), b"12345678").from_client(packet)
assert isinstance(effect, Started) and effect.session.user == "anna"
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel that was built from a copy of the tree, so that nothing built before can slip into it.

    Built without optimising: what is in it, and whether that works, does not depend on it.
    """
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    built = (
        ".git",
        ".venv",
        "build",
        "dist",
        "*.egg-info",
        "*.so",
        "*.o",
        "compiled.sha256",
        "_*_cffi.c",
        "__pycache__",
        ".*_cache",
    )
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*built))
    options = ["--quiet", "--no-build-isolation", "--no-deps", "--wheel-dir", str(folder)]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(tree)]
    environment = {**os.environ, "HOSTGUARD_PURE": "", "HOSTGUARD_OPT_LEVEL": "0"}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stderr
    (wheel,) = folder.glob("hostguard-*.whl")
    return wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> list[str]:
    """The wheel's files."""
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


@pytest.mark.parametrize(
    "extension",
    [
        "hostguard/kernel/_libbpf_cffi",
        "hostguard/protocols/postgres/_rows_cffi",
        "hostguard/recorder/_ring_cffi",
        "hostguard/agent/tls/_alpn_cffi",
    ],
)
def test_extensions_are_in(names: list[str], extension: str) -> None:
    assert [name for name in names if name.startswith(extension) and name.endswith(".so")] != []


@pytest.mark.parametrize("module", COMPILED)
def test_compiled_modules_are_in(names: list[str], module: str) -> None:
    assert [name for name in names if Path(name).match(f"hostguard/{module.removesuffix('.py')}.cpython-*.so")] != []


def test_an_installed_wheel_holds_a_conversation(wheel: Path, tmp_path: Path) -> None:
    """From a folder that holds the wheel alone; dependencies come from the environment, which needs no network."""
    options = ["--quiet", "--no-deps", "--no-index", "--target", str(tmp_path / "installed")]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    command = [sys.executable, "-c", CONVERSE]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert result.returncode == 0, result.stderr
    package, conversation = result.stdout.split()
    assert Path(package).parent == Path(conversation).parents[2] == tmp_path / "installed" / "hostguard"
    assert conversation.endswith(".so")


def test_nothing_else_is_in(names: list[str]) -> None:
    tops = {name.split("/")[1].split(".cpython-")[0] for name in names if name.startswith("hostguard/")}
    assert tops == {*ROOMS, "__init__.py", "py.typed", "compiled__mypyc"}
    assert {name.split("/")[0] for name in names if not name.startswith("hostguard/")} <= {"hostguard-0.1.0.dist-info"}
    assert [name for name in names if name.endswith(("_cffi.c", "setup.py")) or "/tests/" in name] == []
