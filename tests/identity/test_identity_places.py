"""Where workloads' cgroups are: patterns, systemd's scheme, the containers' schemes."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.identity.container_state import described
from hostguard.identity.containers import RUNTIMES, Container, ContainerPattern, ContainerRef, container_of
from hostguard.identity.paths import Pattern, PatternMistake, components
from hostguard.identity.systemd import Slice, Unit, UnitMistake, escaped, is_in_slices, slice_chain, unescaped

ID = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "yes", "no", "below"),
    [
        ("a/b", ["a/b"], ["a", "a/b/c", "b"], ["", "a"]),
        ("a/*", ["a/b", "a/*"], ["a", "a/b/c", "b/a"], ["", "a"]),
        ("a/*/c", ["a/b/c"], ["a/c", "a/b/c/d", "a/b/b/c"], ["", "a", "a/x"]),
        ("a/b-?", ["a/b-1"], ["a/b-", "a/b-12"], ["a"]),
        ("**/c", ["c", "a/c", "a/b/c"], ["", "a", "c/a"], ["", "a", "c", "c/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/b/c"], ["c", "a", "b/c"], ["a", "a/c", "a/x/y"]),
        ("a/**/b/*", ["a/b/c", "a/b/b", "a/x/b/c"], ["a/b", "b/c"], ["a/x", "a/b"]),
        ("a.b/x[1]", ["a.b/x[1]"], ["acb/x[1]", "a.b/x1"], []),
    ],
)
def test_a_pattern_matches_what_it_says(text: str, yes: list[str], no: list[str], below: list[str]) -> None:
    pattern = Pattern(text)
    assert [path for path in yes if not pattern.matches(components(path))] == []
    assert [path for path in no if pattern.matches(components(path))] == []
    assert [path for path in below if not pattern.may_lie_below(components(path))] == []


@pytest.mark.parametrize("text", ["", "/", "a/../b", "a//b", "./a", "a**/b", "a/**", "**", "/".join("a" * 65)])
def test_what_is_no_pattern_is_told(text: str) -> None:
    with pytest.raises(PatternMistake):
        Pattern(text)


PARTS = st.lists(st.sampled_from(["a", "b", "ab", "*", "a*", "?", "**"]), min_size=1, max_size=5).filter(lambda p: p[-1] != "**")
PATHS = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=6)


@given(PARTS, PATHS)
def test_whatever_matches_was_announced_by_all_its_parents(parts: list[str], path: list[str]) -> None:
    """What the watching of cgroups rests on: no match below where none may lie."""
    pattern = Pattern("/".join(parts))
    if pattern.matches(path):
        assert all(pattern.may_lie_below(path[:depth]) for depth in range(len(path)))


@given(PARTS, PATHS)
def test_a_pattern_agrees_with_the_plain_definition(parts: list[str], path: list[str]) -> None:
    def match(parts: list[str], path: list[str]) -> bool:
        if not parts:
            return not path
        if parts[0] == "**":
            return match(parts[1:], path) or bool(path and match(parts, path[1:]))
        return bool(path) and fnmatch.fnmatchcase(path[0], parts[0]) and match(parts[1:], path[1:])

    assert Pattern("/".join(parts)).matches(path) == match(parts, path)


def test_slices_nest_by_their_names() -> None:
    assert slice_chain("a-b-c.slice") == ("a.slice", "a-b.slice", "a-b-c.slice")
    assert slice_chain("-.slice") == ()
    assert Slice("a-b.slice").exact == "/a.slice/a-b.slice"
    assert Slice("memory.slice").exact == "/_memory.slice"
    for text in ("a--b.slice", "a-.slice", "-a.slice", "a", ".slice", "a/b.slice"):
        with pytest.raises(UnitMistake):
            Slice(text)
    for text in ("-.slice", "a*-b.slice"):
        with pytest.raises(UnitMistake):
            Slice(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [("", True), ("a.slice", True), ("a.slice/a-b.slice", True), ("a.slice/b.slice", False), ("a-b.slice", False), ("x", False)],
)
def test_only_slices_in_their_slices_are_the_system_managers(path: str, expected: bool) -> None:
    assert is_in_slices(components(path)) is expected


@pytest.mark.parametrize(
    ("place", "yes", "no"),
    [
        (
            Unit("agent@*.service"),
            ["system.slice/agent@1.service", "system.slice/system-agent.slice/agent@a-b.service", "agent@.service"],
            [
                "system.slice/agent.service",
                "user.slice/user-7.slice/user@7.service/agent@1.service",
                "user.slice/user-7.slice/user@7.service/app.slice/agent@1.service",
                "docker/agent@1.service",
                "system.slice/agent@1.service/agent@1.service",
                "a.slice/b.slice/agent@1.service",
            ],
        ),
        (Unit("cpu.service"), ["system.slice/_cpu.service"], ["system.slice/__cpu.service"]),
        (Unit("_x.service"), ["system.slice/__x.service"], ["system.slice/_x.service"]),
        (Slice("a-*.slice"), ["a.slice/a-b.slice"], ["a.slice", "a-b.slice", "a.slice/a-b.slice/x", "b.slice/a-b.slice"]),
    ],
)
def test_units_are_found_where_only_systemd_puts_them(place: Unit | Slice, yes: list[str], no: list[str]) -> None:
    assert [path for path in yes if not place.matches(components(path))] == []
    assert [path for path in no if place.matches(components(path))] == []
    for path in yes:
        parts = components(path)
        assert all(place.may_lie_below(parts[:depth]) for depth in range(len(parts)))


@given(st.text("_.-ab", min_size=1, max_size=6))
def test_escaping_a_units_name_can_be_undone(name: str) -> None:
    assert unescaped(escaped(name)) == name


@pytest.mark.parametrize("text", ["agent", "a b.service", "a/b.service", "x.slice", ".service"])
def test_what_is_no_unit_is_told(text: str) -> None:
    with pytest.raises(UnitMistake):
        Unit(text)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/system.slice/docker-{ID}.scope", ("docker", ID, 2)),
        (f"/docker/{ID}", ("docker", ID, 2)),
        (f"/docker/{ID}/inner", ("docker", ID, 2)),
        (f"/my.slice/docker-{ID}.scope", ("docker", ID, 2)),
        (f"/machine.slice/libpod-{ID}.scope/container", ("podman", ID, 2)),
        (f"/libpod_parent/libpod-{ID}", ("podman", ID, 2)),
        (f"/machine.slice/libpod-conmon-{ID}.scope", None),
        (f"/kubepods.slice/kubepods-podu.slice/cri-containerd-{ID}.scope", ("containerd", ID, 3)),
        (f"/kubepods/burstable/pod12/{ID}", ("containerd", ID, 4)),
        (f"/kubepods/burstable/{ID}", None),
        (f"/kubepods.slice/crio-{ID}.scope", ("cri-o", ID, 2)),
        (f"/system.slice/nerdctl-{ID}.scope", ("containerd", ID, 2)),
        ("/machine.slice/systemd-nspawn@box.service/payload", ("nspawn", "box", 2)),
        (r"/machine.slice/machine-my\x2dbox.scope", ("nspawn", "my-box", 2)),
        (f"/user.slice/user-7.slice/user@7.service/user.slice/libpod-{ID}.scope", None),
        (f"/system.slice/web.service/docker-{ID}.scope", None),
        (f"/docker/{ID}/docker/{ID[::-1]}", ("docker", ID, 2)),
        (f"/{ID}", None),
        (f"/docker/{ID[:-1]}", None),
        ("/", None),
    ],
)
def test_a_container_is_known_by_its_runtimes_scheme(path: str, expected: tuple[str, str, int] | None) -> None:
    assert container_of(components(path)) == (ContainerRef(*expected) if expected else None)


DOCKER = {"ID": ID, "Name": "/bot-1", "Config": {"Image": "acme/bot:2", "Labels": {"team": "shop"}}}
PODMAN = [{"id": "x", "names": ["no"]}, {"id": ID, "names": ["bot-1"], "metadata": '{"image-name": "acme/bot:2"}'}]
CRI = {
    "annotations": {
        "io.kubernetes.cri.container-name": "bot-1",
        "io.kubernetes.cri.image-name": "acme/bot:2",
        "io.kubernetes.cri.sandbox-namespace": "shop",
    }
}


@pytest.mark.parametrize(
    ("runtime", "state", "expected"),
    [
        ("docker", DOCKER, Container("docker", ID, "bot-1", "acme/bot:2", (("team", "shop"),))),
        ("docker", DOCKER | {"ID": ID[::-1]}, Container("docker", ID)),
        ("podman", PODMAN, Container("podman", ID, "bot-1", "acme/bot:2")),
        ("podman", PODMAN[:1], Container("podman", ID)),
        ("containerd", CRI, Container("containerd", ID, "bot-1", "acme/bot:2", (("io.kubernetes.pod.namespace", "shop"),))),
        ("containerd", {}, Container("containerd", ID)),
        ("cri-o", {"annotations": {"io.kubernetes.container.name": "bot-1"}}, Container("cri-o", ID, "bot-1")),
        ("nspawn", None, Container("nspawn", ID, ID)),
    ],
)
def test_what_a_runtimes_file_says(runtime: str, state: Any, expected: Container) -> None:
    assert described(ContainerRef(runtime, ID, 1), json.dumps(state).encode()) == expected


KEYS = st.sampled_from(["ID", "Name", "Config", "annotations", "id", "names", "metadata"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner),
)


@given(st.sampled_from(RUNTIMES), JSON.map(lambda value: json.dumps(value).encode()) | st.binary())
def test_a_broken_file_is_no_knowledge(runtime: str, state: bytes) -> None:
    found = described(ContainerRef(runtime, ID, 1), state)
    assert (found.runtime, found.id) == (runtime, ID)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (ContainerPattern(name="bot-*"), True),
        (ContainerPattern(name="web"), False),
        (ContainerPattern(image="acme/*"), True),
        (ContainerPattern(image="*:3"), False),
        (ContainerPattern(id=ID[:12]), True),
        (ContainerPattern(id=ID[:11]), False),
        (ContainerPattern(id=ID), True),
        (ContainerPattern(label=("team=*",)), None),
        (ContainerPattern(name="web", label=("team=*",)), False),
        (ContainerPattern(runtime="docker", name="bot-1"), True),
        (ContainerPattern(runtime="podman"), False),
    ],
)
def test_what_is_not_known_of_a_container_is_neither_yes_nor_no(pattern: ContainerPattern, expected: bool | None) -> None:
    assert pattern.suits(Container("docker", ID, "bot-1", "acme/bot:2")) is expected


def test_labels_must_all_be_there() -> None:
    box = Container("docker", ID, "x", "y", (("a", "1"), ("b", "2")))
    assert ContainerPattern(label=("a=1", "b=*")).suits(box) is True
    assert ContainerPattern(label=("a=1", "c=*")).suits(box) is False
