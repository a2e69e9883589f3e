"""Attaching the redirect: all or nothing, again, elsewhere, and off."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from guarded_cgroups import attach_root, pin_directory
from guarded_redirect import Guarded

from hostguard.kernel import cgroups, libbpf, pins
from hostguard.kernel.errors import KernelError
from hostguard.kernel.hooks import HOOKS
from hostguard.kernel.loader import Redirect

pytestmark = pytest.mark.kernel

AT_CGROUP = [name for name, place in HOOKS.items() if place.at_cgroup]
# bpftool 7.1 does not list the hooks of UNIX sockets.
LISTED = [name for name in AT_CGROUP if not name.startswith("unix")]

CONNECT = """
print(errno.errorcode.get(socket.socket().connect_ex(("127.0.0.9", 7)), "connected"))
"""


def link_ids(pin_dir: Path) -> list[int]:
    """The kernel's numbers of the pinned links."""
    ids = []
    for name in AT_CGROUP:
        with pins.opened(pins.link_path(pin_dir, name)) as fd:
            assert fd is not None
            ids.append(libbpf.link_info(fd, name).id)
    return ids


def programs_at(cgroup: Path) -> list[int]:
    """Program ids attached at a cgroup itself, asked of the kernel by another way than ours."""
    out = subprocess.run(["bpftool", "-j", "cgroup", "show", cgroup], check=True, capture_output=True, text=True).stdout
    return sorted(entry["id"] for entry in json.loads(out)) if out.strip() else []


def test_pins_for_another_cgroup_are_attached_here_and_it_is_said(guarded: Guarded, stack: ExitStack) -> None:
    elsewhere = stack.enter_context(attach_root())
    guarded.redirect.close()
    again = Redirect.attach(elsewhere, guarded.pin_dir, 60_000)
    stack.callback(again.close)
    assert len(again.remarks) == len(AT_CGROUP)
    assert all(str(guarded.root) in remark for remark in again.remarks)
    assert {hook.cgroup for hook in again.hooks() if hook.name in AT_CGROUP} == {elsewhere}
    assert programs_at(guarded.root) == []
    assert len(programs_at(elsewhere)) == len(LISTED)
    assert sorted(path.name for path in (guarded.pin_dir / "links").iterdir()) == sorted(HOOKS)


def test_a_cgroup_made_again_is_told_and_attached_anew(place: tuple[Path, Path], stack: ExitStack) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    cgroups.remove(root)
    cgroups.create(root)
    status = pins.status(pin_dir)
    assert not status.attached
    assert all(hook.detail for hook in status.hooks if hook.name in AT_CGROUP)
    again = Redirect.attach(root, pin_dir, 60_000)
    stack.callback(again.close)
    assert len(again.remarks) == len(AT_CGROUP)
    assert pins.status(pin_dir).attached


@pytest.mark.parametrize("bad", ["{tmp}", "/no/such", "/sys/fs/cgroup"])
def test_no_cgroup2_attaches_nothing(bad: str, tmp_path: Path, stack: ExitStack) -> None:
    pin_dir = stack.enter_context(pin_directory())
    with pytest.raises(KernelError):
        Redirect.attach(Path(bad.format(tmp=tmp_path)), pin_dir, 60_000)
    assert not pin_dir.exists()


@pytest.mark.parametrize("name", ["{tmp}/pins", "/sys/fs/bpf/no.dots.here"])
def test_a_pin_directory_that_cannot_be_attaches_nothing(name: str, tmp_path: Path, place: tuple[Path, Path]) -> None:
    pin_dir = Path(name.format(tmp=tmp_path))
    with pytest.raises(KernelError, match=str(pin_dir)):
        Redirect.attach(place[0], pin_dir, 60_000)
    assert programs_at(place[0]) == []
    assert not os.path.exists(pin_dir)
    assert not pins.detach(pin_dir)


@contextmanager
def spoiled(pin_dir: Path, hook: str) -> Iterator[None]:
    """For a while something that is no link lies where a hook's link belongs."""
    path = pins.link_path(pin_dir, hook)
    pins.detach_link(path)
    with pins.opened(pins.map_path(pin_dir, "counters")) as fd:
        assert fd is not None
        libbpf.pin(fd, path)
    try:
        yield
    finally:
        path.unlink()


def test_a_failure_half_way_undoes_what_was_attached(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    for hook in list(HOOKS)[:-1]:
        pins.detach_link(pins.link_path(pin_dir, hook))
    with spoiled(pin_dir, "connect6"):
        assert programs_at(root) == []
        with pytest.raises(KernelError, match="connect6"):
            Redirect.attach(root, pin_dir, 60_000)
        assert programs_at(root) == []
        assert [path.name for path in (pin_dir / "links").iterdir()] == ["connect6"]
    Redirect.attach(root, pin_dir, 60_000).detach()


def test_a_failure_half_way_of_the_first_attempt_leaves_no_maps(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    blocker = pins.link_path(pin_dir, "connect6")
    blocker.parent.mkdir(parents=True)
    make_map(blocker)
    try:
        with pytest.raises(KernelError, match="connect6"):
            Redirect.attach(root, pin_dir, 60_000)
        assert [path for path in pin_dir.rglob("*") if not path.is_dir()] == [blocker]
    finally:
        blocker.unlink()


def make_map(path: Path) -> None:
    """Pin a map that is none of ours."""
    command = ["bpftool", "map", "create", str(path), "type", "hash"]
    subprocess.run([*command, "key", "4", "value", "4", "entries", "1", "name", "hg_paths"], check=True)


def test_a_failure_half_way_swaps_the_old_programs_back(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    with spoiled(pin_dir, "connect6"):
        before = programs_at(root)
        with pytest.raises(KernelError, match="connect6"):
            Redirect.attach(root, pin_dir, 60_000)
        assert programs_at(root) == before
    assert len(before) == len(LISTED) - 1


def test_a_failure_half_way_leaves_the_other_cgroup_attached(place: tuple[Path, Path], stack: ExitStack) -> None:
    root, pin_dir = place
    elsewhere = stack.enter_context(attach_root())
    Redirect.attach(root, pin_dir, 60_000).close()
    before = programs_at(root)
    with spoiled(pin_dir, "connect6"), pytest.raises(KernelError, match="connect6"):
        Redirect.attach(elsewhere, pin_dir, 60_000)
    assert programs_at(elsewhere) == []
    hooks = [pins.read_hook(pin_dir, name) for name in LISTED]
    assert [hook.cgroup for hook in hooks] == [*[root] * (len(LISTED) - 1), None]
    assert programs_at(root) == sorted(hook.program_id for hook in hooks[:-1])
    assert set(programs_at(root)) < set(before)


@pytest.mark.parametrize("finish", [True, False])
def test_what_a_dead_attempt_left_beside_is_cleared(place: tuple[Path, Path], finish: bool) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    beside = pins.link_path(pin_dir, "connect4-new")
    pins.link_path(pin_dir, "connect4").rename(beside)
    if finish:
        Redirect.attach(root, pin_dir, 60_000).close()
        assert programs_at(root) == sorted(pins.read_hook(pin_dir, name).program_id for name in LISTED)
        assert not beside.exists()
    else:
        assert pins.detach(pin_dir)
        assert programs_at(root) == []
        assert not pin_dir.exists()


def test_a_map_of_another_layout_is_refused_with_its_name(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).detach()
    (pin_dir / "maps").mkdir(parents=True)
    make_map(pins.map_path(pin_dir, "paths"))
    with pytest.raises(KernelError, match="maps/paths"):
        Redirect.attach(root, pin_dir, 60_000)
    assert programs_at(root) == []
    assert [path.name for path in (pin_dir / "maps").iterdir()] == ["paths"]


def test_counters_of_an_earlier_layout_are_begun_anew(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    counters = pins.map_path(pin_dir, "counters")
    counters.unlink()
    command = ["bpftool", "map", "create", str(counters), "type", "array", "key", "4", "value", "8", "entries", "11"]
    subprocess.run([*command, "name", "hg_counters"], check=True)
    with spoiled(pin_dir, "connect6"), pytest.raises(KernelError, match="connect6"):
        Redirect.attach(root, pin_dir, 60_000)
    with pins.opened(counters) as fd:
        assert fd is not None
        assert libbpf.map_shape(fd, "counters").max_entries == 11
    again = Redirect.attach(root, pin_dir, 60_000)
    assert [remark for remark in again.remarks if "counters" in remark]
    assert again.counters()["redirected"] == 0
    assert not list((pin_dir / "maps").glob("*-old"))
    again.close()


def test_descriptors_are_all_given_back(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2):
        Redirect.attach(root, pin_dir, 60_000).close()
    with spoiled(pin_dir, "connect6"), pytest.raises(KernelError):
        Redirect.attach(root, pin_dir, 60_000)
    assert len(os.listdir("/proc/self/fd")) == before


def test_another_daemon_is_kept_out(guarded: Guarded) -> None:
    with pytest.raises(KernelError, match="another hostguard daemon"):
        Redirect.attach(guarded.root, guarded.pin_dir, 60_000)
    assert guarded.run(CONNECT) == "connected"


def test_a_restart_swaps_the_programs_and_keeps_the_maps(guarded: Guarded) -> None:
    agent = cgroups.cgroup_id(guarded.agent)
    before, links = guarded.redirect.hooks(), link_ids(guarded.pin_dir)
    assert guarded.run(CONNECT) == "connected"
    guarded.redirect.close()
    assert pins.status(guarded.pin_dir).attached
    with ExitStack() as stack:
        again = Redirect.attach(guarded.root, guarded.pin_dir, 60_000)
        stack.callback(again.close)
        after = again.hooks()
        assert again.remarks == ()
        # The same links with other programs: there was no moment without.
        assert link_ids(guarded.pin_dir) == links
        assert again.guarded() == {agent: 7}
        assert again.counters()["redirected"] == 1
        assert all(hook.attached for hook in after)
        assert not {hook.program_id for hook in before} & {hook.program_id for hook in after}
        assert programs_at(guarded.root) == sorted(hook.program_id for hook in after if hook.name in LISTED)
        assert guarded.run(CONNECT) == "connected"


def test_detach_frees_the_host_even_while_a_daemon_holds_on(guarded: Guarded) -> None:
    assert guarded.run(CONNECT) == "connected"
    assert pins.detach(guarded.pin_dir)
    assert guarded.run(CONNECT) == "ECONNREFUSED"
    assert programs_at(guarded.root) == []
    assert guarded.redirect.counters()["redirected"] == 1
    assert not guarded.pin_dir.exists()
    assert not pins.detach(guarded.pin_dir)


def test_one_optional_program_that_does_not_load_costs_none_of_the_others(
    place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, stack: ExitStack
) -> None:
    only, load = libbpf.Object.only, libbpf.Object.load
    chosen: dict[int, set[str]] = {}

    def choose(self: libbpf.Object, names: set[str]) -> None:
        chosen[id(self)] = names
        only(self, names)

    def refuse(self: libbpf.Object) -> None:
        if "hg_compat_socket" in chosen[id(self)]:
            raise KernelError(errno.EINVAL, "families.bpf.o", "this kernel lacks it")
        load(self)

    monkeypatch.setattr(libbpf.Object, "only", choose)
    monkeypatch.setattr(libbpf.Object, "load", refuse)
    redirect = Redirect.attach(*place, 60_000)
    stack.callback(redirect.close)
    assert [remark.split(":")[0] for remark in redirect.remarks] == ["compat_socket"]
    assert [hook.name for hook in redirect.hooks() if not hook.attached] == ["compat_socket"]
