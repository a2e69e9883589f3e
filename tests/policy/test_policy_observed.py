"""Which workloads may only be observed."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import SMALL, mistakes, of_workloads, write

from hostguard.policy.document import load


def test_a_workload_inside_of_an_enforced_one_can_t_be_observed(tmp_path: Path) -> None:
    toml = SMALL + '[workloads.other]\ncgroup = "hostguard/bot/inner/most"\nagent = "bot"\nmode = "observe"\n'
    wrong = 'it can\'t be observed inside of workload "bot", which is not: agents could move in'
    assert mistakes(tmp_path, toml) == [f"hostguard.toml:15: workloads.other.mode: {wrong}"]
    beside = SMALL + '[workloads.other]\ncgroup = "hostguard/bot-two"\nagent = "bot"\nmode = "observe"\n'
    assert load(write(tmp_path, beside)).workloads["other"].observed


@pytest.mark.parametrize(
    ("enforced", "observed", "leads_in"),
    [
        ('cgroup = "a"', 'cgroup = "a/b"', True),
        ('cgroup = "a"', 'cgroup = "**/b"', True),
        ('cgroup = "a"', 'cgroup = "b/*"', False),
        ('cgroup = "a/*"', 'cgroup = "a/b/c"', True),
        ('cgroup = "a/*"', 'cgroup = "a/b"', False),
        ('cgroup = "a/*"', 'cgroup = "b/*"', True),
        ('cgroup = "a"', 'container = { name = "bot" }', True),
        ('unit = "a.service"', 'cgroup = "system.slice/a.service/b"', True),
        ('unit = "a.service"', 'unit = "b.service"', False),
        ('slice = "a.slice"', 'cgroup = "a.slice/b"', True),
        ('cgroup = "a"', 'cgroup = "a"\nuser = ["nobody"]', True),
        ('cgroup = "a"\nuser = ["bin"]', 'cgroup = "a"\nuser = ["nobody"]', False),
        ('user = ["nobody"]', 'user = ["nobody"]\nexecutable = { path = "/bin/psql" }', True),
        ('user = ["nobody"]', 'executable = { path = "/bin/psql" }', False),
        ('user = ["nobody"]', 'cgroup = "a"', False),
    ],
)
def test_no_agent_can_make_itself_observed(tmp_path: Path, enforced: str, observed: str, leads_in: bool) -> None:
    small = SMALL.replace('cgroup = "hostguard/bot"', 'user = ["irc"]')
    toml = small + f'[workloads.one]\nagent = "bot"\n{enforced}\n[workloads.two]\nagent = "bot"\n{observed}\nmode = "observe"\n'
    wrong = 'two.mode: it can\'t be observed inside of workload "one", which is not: agents could move in'
    assert of_workloads(tmp_path, toml) == [wrong] * leads_in
