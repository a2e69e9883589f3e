"""Workloads and users as configured."""

from __future__ import annotations

import pytest

from hostguard.identity.process import Process
from hostguard.identity.users import UserMistake, UserRule, Users
from hostguard.identity.workload import WorkloadMistake, WorkloadRule, Workloads

OUTER = WorkloadRule("outer", "a", "/agents")
INNER = WorkloadRule("inner", "b", "/agents/shop/inner")
OTHER = WorkloadRule("other", "c", "/agents2")


def process_in(cgroup: str) -> Process:
    return Process(1, 1, 0, 0, "x", cgroup=cgroup)


@pytest.mark.parametrize(
    ("number", "cgroup", "expected"),
    [
        (1, "/agents", OUTER),
        (1, "/agents/any/depth", OUTER),
        (1, "/agents/shop", OUTER),
        (1, "/agents/shop/inner", INNER),
        (1, "/agents/shop/inner/deeper", INNER),
        (1, "/agents/shop/inner2", OUTER),
        (2, "/agents/shop/inner", INNER),
        (2, "/agents/elsewhere", INNER),
        (1, "", OUTER),
        (1, "/", OUTER),
        (1, "/agents2/x", OUTER),
        (3, "/agents2", OTHER),
        (3, "/agents/shop/inner", OTHER),
        (0, "/agents", None),
        (4, "/agents", None),
        (-1, "/agents", None),
    ],
)
def test_the_kernels_number_decides_and_the_longest_path_below_it(
    number: int, cgroup: str, expected: WorkloadRule | None
) -> None:
    assert Workloads([OUTER, INNER, OTHER]).workload_of(number, process_in(cgroup)) == expected


def test_numbers_are_given_in_order_from_one() -> None:
    workloads = Workloads([OUTER, WorkloadRule("x", "y", "b//c/")])
    assert workloads.numbers == {"/agents": 1, "/b/c": 2}
    assert [rule.cgroup for rule in workloads.rules] == ["/agents", "/b/c"]


@pytest.mark.parametrize(
    ("rules", "problems"),
    [
        ([OUTER, WorkloadRule("again", "z", "agents/")], ["workloads outer and again have the same cgroup /agents"]),
        ([OUTER, WorkloadRule("outer", "z", "/x")], ["workload outer is configured twice"]),
        ([WorkloadRule("r", "z", "//")], ["workload r: the root cgroup can't"]),
        (
            [WorkloadRule("r", "z", "/a/../b"), WorkloadRule("s", "z", "./b")],
            ["workload r: the cgroup /a/../b", "workload s: the cgroup /./b"],
        ),
    ],
)
def test_contradictions_are_told_all_at_once(rules: list[WorkloadRule], problems: list[str]) -> None:
    with pytest.raises(WorkloadMistake) as caught:
        Workloads(rules)
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(expected)


def test_a_uid_is_the_user_who_was_given_it_and_root_is_nobody() -> None:
    users = Users([UserRule("alice", (1000, 1001)), UserRule("bob", (1002,))])
    assert [users.user_of(uid) for uid in (1000, 1001, 1002, 0, -1, 1003)] == ["alice", "alice", "bob", None, None, None]
    assert Users([UserRule("root", (0,))]).user_of(0) == "root"


def test_users_who_would_be_each_other_are_told_all_at_once() -> None:
    with pytest.raises(UserMistake) as caught:
        Users([UserRule("alice", (1, -2)), UserRule("bob", (1,)), UserRule("alice", (3,))])
    assert caught.value.problems == (
        "user alice: -2 is no uid",
        "users alice and bob have the same uid 1",
        "user alice is configured twice",
    )
