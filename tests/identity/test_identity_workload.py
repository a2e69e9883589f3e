"""Workloads and users as configured."""

from __future__ import annotations

import pytest

from hostguard.identity.containers import Container, ContainerPattern
from hostguard.identity.paths import Pattern, components
from hostguard.identity.systemd import Slice, Unit
from hostguard.identity.users import UserMistake, UserRule, Users
from hostguard.identity.workload import (
    NEEDS_HASH,
    Place,
    Refusal,
    Standing,
    Who,
    WorkloadMistake,
    WorkloadRule,
    Workloads,
)

OUTER = WorkloadRule("outer", "a", Pattern("agents"))
INNER = WorkloadRule("inner", "b", Pattern("/agents/shop/inner"))
OTHER = WorkloadRule("other", "c", Pattern("agents2"))
ID = "0123456789abcdef" * 4


def process_in(cgroup: str) -> Who:
    return Who(cgroup, 1000)


def rule(name: str, place: Place | None = None, *uids: int, exe: str = "", sha256: str = "") -> WorkloadRule:
    return WorkloadRule(name, "a", place, frozenset(uids), exe, frozenset(sha256.split()))


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
    found = Workloads([OUTER, INNER, OTHER]).workload_of(number, process_in(cgroup))
    assert found == (expected or Refusal("its cgroup is no workload's"))


def test_numbers_are_given_in_order_from_one() -> None:
    workloads = Workloads([
        OUTER,
        rule("x", Pattern("b/c/")),
        rule("s", Slice("a-b.slice")),
        rule("u", Unit("a.service")),
        rule("p", None, 7, 8),
        rule("q", None, 8, exe="/bin/a"),
        rule("e", exe="/bin/b"),
    ])  # fmt: skip
    assert workloads.paths == {"/agents": 1, "/b/c": 2, "/a.slice/a-b.slice": 3}
    assert workloads.users == {7: 5, 8: 5}
    assert workloads.executables == {"/bin/b": 7}


@pytest.mark.parametrize(
    ("rules", "problems"),
    [
        (
            [OUTER, rule("again", Pattern("agents/"))],
            ["workloads outer and again have the same place /agents: nothing tells them apart"],
        ),
        ([OUTER, rule("outer", Pattern("x"))], ["workload outer is configured twice"]),
        (
            [rule("s", Slice("a-b.slice")), rule("p", Pattern("a.slice/a-b.slice"))],
            ["workloads s and p have the same place /a.slice/a-b.slice: nothing tells them apart"],
        ),
        (
            [rule("a", Unit("x@*.service"), 1, 2), rule("b", Unit("x@*.service"), 2, 3), rule("c", Unit("x@*.service"), 4)],
            ["workloads a and b have the same place x@*.service with the same user: nothing tells them apart"],
        ),
        (
            [rule("e"), rule("r", None, 0), rule("h", OTHER.place, sha256="ab")],
            ["workload e has neither", "workload r: root can't", "workload h: a sha256 belongs to an executable"],
        ),
    ],
)
def test_contradictions_are_told_all_at_once(rules: list[WorkloadRule], problems: list[str]) -> None:
    with pytest.raises(WorkloadMistake) as caught:
        Workloads(rules)
    assert len(caught.value.problems) == len(problems)
    for found, expected in zip(caught.value.problems, problems, strict=True):
        assert found.startswith(expected)


NEST = Workloads([
    rule("outer", Pattern("agents")),
    rule("tool", Pattern("agents/*/tool")),
    rule("unit", Unit("bot@*.service")),
    rule("box", ContainerPattern(name="bot-*")),
])  # fmt: skip


@pytest.mark.parametrize(
    ("path", "container", "expected"),
    [
        ("/", None, Standing.WATCH),
        ("/agents", None, 1),
        ("/agents/x", None, Standing.INSIDE),
        ("/agents/x/tool", None, 2),
        ("/agents/x/tool/y", None, Standing.INSIDE),
        ("/system.slice", None, Standing.WATCH),
        ("/system.slice/bot@7.service", None, 3),
        ("/system.slice/bot@7.service/sub", None, Standing.INSIDE),
        ("/system.slice/sshd.service", None, Standing.CLEAR),
        ("/user.slice/user-1.slice/user@1.service/bot@7.service", None, Standing.CLEAR),
        (f"/docker/{ID}", None, Standing.PENDING),
        (f"/docker/{ID}", Container("docker", ID), Standing.PENDING),
        (f"/docker/{ID}", Container("docker", ID, "bot-1"), 4),
        (f"/docker/{ID}/init", Container("docker", ID, "bot-1"), Standing.INSIDE),
        (f"/docker/{ID}", Container("docker", ID, "web"), Standing.CLEAR),
        (f"/docker/{ID}", Container("docker", ID[::-1], "bot-1"), Standing.PENDING),
        (f"/agents/docker/{ID}", None, Standing.INSIDE),
        (f"/user.slice/user-1.slice/user@1.service/docker-{ID}.scope", Container("docker", ID, "bot-1"), Standing.CLEAR),
    ],
)
def test_what_a_cgroup_is_to_the_kernel(path: str, container: Container | None, expected: int | Standing) -> None:
    assert NEST.standing(components(path), container) == expected


def test_nothing_below_a_cleared_cgroup_is_ever_a_workloads() -> None:
    """What CLEAR promises: the kernel lets go of everything below it without asking again."""
    names = ("agents", "tool", "system.slice", "bot@7.service", "docker", ID, f"docker-{ID}.scope", "user@1.service", "a.slice")
    box = Container("docker", ID, "bot-1")
    for first in names:
        for second in names:
            for third in names:
                path = (first, second, third)
                cleared = [depth for depth in (1, 2) if NEST.standing(path[:depth], box) is Standing.CLEAR]
                if cleared:
                    assert NEST.standing(path, box) is Standing.CLEAR, path


CASE = Workloads([
    rule("all", Pattern("agents")),
    rule("bob", Pattern("agents"), 7),
    rule("psql", Pattern("agents"), exe="/bin/psql"),
    rule("signed", Pattern("agents/in"), exe="/bin/psql", sha256="aa bb"),
    rule("user", None, 9),
    rule("both", None, 9, exe="/bin/psql"),
    rule("strict", Pattern("strict"), 7),
    rule("left", Pattern("x/*/z")),
    rule("right", Pattern("x/y/*")),
])  # fmt: skip


@pytest.mark.parametrize(
    ("number", "who", "expected"),
    [
        (1, Who("/agents", 1), "all"),
        (1, Who("/agents", 7), "bob"),
        (1, Who("/agents", 7, "/bin/psql", True), "bob"),
        (1, Who("/agents", 1, "/bin/psql", True), "psql"),
        (1, Who("/agents", 1, "/bin/psql"), "another file in its mount namespace"),
        (1, Who("/agents/in", 7, "/bin/psql", True), NEEDS_HASH.reason),
        (1, Who("/agents/in", 7, "/bin/psql", False, "aa"), "signed"),
        (1, Who("/agents/in", 7, "/bin/psql", True, "cc"), "SHA-256 of /bin/psql is cc, which workload signed does not allow"),
        (1, Who("/agents/in", 7, "/bin/cat", True, "aa"), "bob"),
        (5, Who("/elsewhere", 9), "user"),
        (5, Who("/elsewhere", 9, "/bin/psql", True), "both"),
        (5, Who("/elsewhere", 8), "not its user (8)"),
        (7, Who("/strict", 7), "strict"),
        (7, Who("/strict", 8, "/bin/psql", True), "not its user (8)"),
        (7, Who("/strict/deep", 9), "user"),
        (8, Who("/x/y/z", 1), "the workloads left and right alike"),
        (8, Who("/x/1/z", 1), "left"),
    ],
)
def test_the_innermost_cgroup_then_the_user_then_the_executable(number: int, who: Who, expected: str) -> None:
    found = CASE.workload_of(number, who)
    if isinstance(found, Refusal):
        assert expected in found.reason
    else:
        assert found.name == expected


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
