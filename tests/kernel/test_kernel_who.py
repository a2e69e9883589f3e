"""Who is guarded on the real kernel: cgroups, watched and cleared ones, users, executables, cgroups made again."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guarded_redirect import Guarded

from hostguard.kernel import cgroups
from hostguard.kernel.layouts import CLEARED, WATCHED, Mode

pytestmark = pytest.mark.kernel

CONNECT = """
print(errno.errorcode.get(socket.socket().connect_ex(("127.0.0.9", 7)), "connected"))
"""
PASSED = "ECONNREFUSED"
"""Nobody listens there; only the loop would have answered. Whether it was refused by us the counters say."""


def pending(guarded: Guarded) -> int:
    return guarded.redirect.counters()["refused_pending"]


def test_a_new_cgroup_below_a_watched_one_is_refused_until_it_is_classified(guarded: Guarded) -> None:
    watched = guarded.outside
    guarded.redirect.watch(cgroups.cgroup_id(watched))
    assert guarded.run(CONNECT, cgroup=watched) == PASSED
    assert pending(guarded) == 0
    new = cgroups.create(watched / "new")
    assert guarded.run(CONNECT, cgroup=watched / "new") == "ECONNREFUSED"
    assert pending(guarded) == 1
    guarded.redirect.clear(new)
    assert guarded.run(CONNECT, cgroup=watched / "new") == PASSED
    assert pending(guarded) == 1
    guarded.redirect.guard(new, 9)
    assert guarded.run(CONNECT, cgroup=watched / "new") == "connected"
    assert guarded.accept().workload == 9
    assert guarded.redirect.guarded()[cgroups.cgroup_id(watched)] == WATCHED


def test_a_verdict_satisfies_one_watch_and_the_walk_goes_on_to_outer_cgroups(guarded: Guarded) -> None:
    outer, inner = guarded.agent / "outer", guarded.agent / "outer" / "inner"
    guarded.redirect.watch(cgroups.create(outer))
    guarded.redirect.watch(cgroups.create(inner))
    cgroups.create(inner / "leaf")
    assert guarded.run(CONNECT, cgroup=inner / "leaf") == "ECONNREFUSED"
    assert pending(guarded) == 1
    # Both watches are met: the inner by the verdict, the outer by the inner. What is left is the guarded cgroup around them.
    guarded.redirect.clear(cgroups.cgroup_id(inner / "leaf"))
    assert guarded.run(CONNECT, cgroup=inner / "leaf") == "connected"
    assert guarded.accept().guarded_cgroup_id == cgroups.cgroup_id(guarded.agent)
    assert guarded.redirect.guarded()[cgroups.cgroup_id(inner / "leaf")] == CLEARED


@pytest.mark.parametrize("below", [True, False])
def test_a_user_is_guarded_where_no_cgroup_says_otherwise(guarded: Guarded, below: bool) -> None:
    program = "os.setuid(4242)\n" + CONNECT
    guarded.redirect.set_users({4242: 11})
    if below:
        assert guarded.run(program, cgroup=guarded.outside) == "connected"
        origin = guarded.accept()
        assert (origin.workload, origin.uid, origin.guarded_cgroup_id) == (11, 4242, 0)
    else:
        assert guarded.run(program) == "connected"
        assert guarded.accept().workload == 7
    guarded.redirect.set_users({})
    assert guarded.run(program, cgroup=guarded.outside) == PASSED
    assert guarded.redirect.counters()["redirected"] == 1


@pytest.fixture(params=["plain", "overlay"])
def own(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A program of the test's own; the kernel's numbers for it are those of stat(2), or others."""
    lower, above, merged = tmp_path, tmp_path / "above", tmp_path / "merged"
    with ExitStack() as undo:
        if request.param == "overlay":
            lower = tmp_path / "lower"
            for folder in (lower, above, merged):
                folder.mkdir()
            mounted(undo, "tmpfs", "size=64M", lower)
            mounted(undo, "tmpfs", "size=64M", above)
        shutil.copy(Path(sys.executable).resolve(), lower / "python")
        if request.param == "plain":
            yield lower / "python"
            return
        for name in ("upper", "work"):
            (above / name).mkdir()
        mounted(undo, "overlay", f"xino=off,lowerdir={lower},upperdir={above}/upper,workdir={above}/work", merged)
        yield merged / "python"


def mounted(undo: ExitStack, kind: str, options: str, at: Path) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, kind, at], check=True)
    undo.callback(lambda: subprocess.run(["umount", "--lazy", at], check=True))


def test_an_executable_is_guarded_by_its_inode(guarded: Guarded, own: Path) -> None:
    guarded.redirect.set_programs({own: 12})
    program = f"import subprocess\nprint(subprocess.run([{str(own)!r}, '-I', '-S', '-c', sys.argv[1]], text=True, "
    program += "capture_output=True, env={'PYTHONHOME': sys.base_prefix}).stdout.strip())"
    inner = "import errno, socket\n" + CONNECT
    assert guarded.run(program, inner, cgroup=guarded.outside) == "connected"
    assert guarded.accept().workload == 12
    assert guarded.run(CONNECT, cgroup=guarded.outside) == PASSED


def test_a_cgroup_that_is_removed_and_made_again_is_filed_at_once(guarded: Guarded) -> None:
    guarded.redirect.set_paths({guarded.agent: 7, guarded.root / "later": WATCHED})
    before = cgroups.cgroup_id(guarded.agent)
    guarded.redirect.close()  # as a daemon that died
    cgroups.remove(guarded.agent)
    again = cgroups.create(guarded.agent)
    assert again != before
    assert guarded.run(CONNECT) == "connected"
    cgroups.create(guarded.root / "later" / "new")
    assert guarded.run(CONNECT, cgroup=guarded.root / "later" / "new") == "ECONNREFUSED"


def test_a_user_s_udp_stops_at_the_hook_and_at_the_fence(guarded_netns: Guarded) -> None:
    program = """
os.setuid(4242)
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: sock.sendto(b"x", ("127.0.0.1", 9))
except OSError as error: print(errno.errorcode[error.errno])
"""
    guarded_netns.redirect.set_users({4242: 11})
    assert guarded_netns.run(program, cgroup=guarded_netns.outside) == "EPERM"
    late = "sock = socket.socket(2, 2)\nsock.connect(('127.0.0.1', 9))\n" + program.replace("sock = ", "new = ").replace(
        'sock.sendto(b"x", ("127.0.0.1", 9))', 'sock.send(b"x")'
    )
    assert guarded_netns.run(late, cgroup=guarded_netns.outside) == "EPERM"


def test_observed_tcp_goes_to_the_loop_or_else_its_own_way(guarded: Guarded) -> None:
    guarded.redirect.set_modes({7: Mode.OBSERVE})
    assert guarded.run(CONNECT) == "connected"
    assert guarded.accept().host == "127.0.0.9"
    guarded.sock4.close()
    assert guarded.run(CONNECT) == PASSED
    counters = guarded.redirect.counters()
    # Once by the hook, once by the fence that lets its packet pass.
    assert (counters["refused_no_listener"], counters["dropped"], counters["observed"]) == (1, 1, 2)
