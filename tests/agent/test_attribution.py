"""Where a cgroup lies, asked of the kernel once; which of two cgroups decides."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guarded_cgroups import attach_root

from hostguard.agent.attribution import CgroupPaths
from hostguard.kernel import cgroups
from hostguard.kernel.layouts import Origin


@pytest.fixture
def root() -> Iterator[Path]:
    with attach_root() as path:
        yield path


def below_the_mount(path: Path) -> str:
    return f"/{path.relative_to(cgroups.mount_point())}"


def test_a_path_outlives_its_cgroup(root: Path) -> None:
    inner = root / "inner"
    identifier = cgroups.create(inner)
    paths = CgroupPaths()
    assert paths.of(identifier) == below_the_mount(inner)
    inner.rmdir()
    assert paths.of(identifier) == below_the_mount(inner)
    assert CgroupPaths().of(identifier) == ""


def test_the_guarded_cgroup_decides_where_the_task_is_not_in_it(root: Path) -> None:
    ids = {name: cgroups.create(root / name) for name in ("agent", "agent/tool", "agents", "elsewhere")}

    def deciding(task: str, guarded: str) -> str:
        origin = Origin("", 0, "", 0, False, 0, 0, 0, 0, "", ids[task], 0, ids.get(guarded, 0), 0, 0, 0, 0)
        return CgroupPaths().deciding(origin).removeprefix(below_the_mount(root) + "/")

    assert deciding("agent/tool", "agent") == "agent/tool"
    assert deciding("agent", "agent") == "agent"
    assert deciding("elsewhere", "agent") == "agent"
    assert deciding("agents", "agent") == "agent"
    assert deciding("elsewhere", "") == "elsewhere"
