"""Mount tables, cgroups, features: what the room says of the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from guarded_cgroups import attach_root, python_in
from hypothesis import given
from hypothesis import strategies as st

from hostguard.kernel import cgroups, probe
from hostguard.kernel.errors import KernelError
from hostguard.kernel.features import features
from hostguard.kernel.mounts import Mount, parse_mountinfo, require_bpffs

MOUNTINFO = r"""31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 31 0:38 /a\040b /mnt/with\040blank rw,relatime shared:1 master:2 - cgroup2 cgroup2 rw
not a line
"""


def test_mountinfo_with_optional_fields_and_blanks() -> None:
    assert parse_mountinfo(MOUNTINFO) == [
        Mount(Path("/sys/fs/cgroup"), "tmpfs", "/"),
        Mount(Path("/sys/fs/cgroup/unified"), "cgroup2", "/"),
        Mount(Path("/mnt/with blank"), "cgroup2", "/a b"),
    ]


@given(st.text())
def test_no_mount_table_breaks_the_parser(text: str) -> None:
    parse_mountinfo(text)


@pytest.mark.kernel
def test_a_cgroup_has_an_id_that_leads_back_to_it() -> None:
    with attach_root() as root:
        identifier = cgroups.create(root / "a" / "b")
        assert identifier == cgroups.cgroup_id(root / "a" / "b")
        assert cgroups.path_of(identifier) == root / "a" / "b"
    assert cgroups.path_of(identifier) is None


@pytest.mark.kernel
def test_removal_ends_whatever_runs_below() -> None:
    with attach_root() as root:
        cgroups.create(root / "a" / "b")
        child = python_in(root / "a" / "b", "print('ready', flush=True); time.sleep(60)")
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        assert cgroups.pids(root / "a" / "b") == [child.pid]
        assert cgroups.of_process(child.pid) == root / "a" / "b"
        cgroups.remove(root / "a")
        assert not (root / "a").exists()
        child.communicate()
        assert child.returncode == -9
        cgroups.remove(root / "a")
        assert cgroups.pids(root / "a") == []


@pytest.mark.kernel
def test_a_process_is_moved_by_number() -> None:
    with attach_root() as root:
        cgroups.create(root / "a")
        cgroups.create(root / "b")
        child = python_in(root / "a", "print('ready', flush=True); input(); print(open('/proc/self/cgroup').read())")
        assert child.stdout is not None
        child.stdout.readline()
        cgroups.enter(root / "b", child.pid)
        out, _ = child.communicate("go\n", timeout=10)
        assert f"0::/{root.name}/b\n" in out


@pytest.mark.kernel
@pytest.mark.parametrize("path", ["/no/such/path", "/tmp", "/sys/fs/cgroup"])
def test_what_is_no_cgroup2_says_so(path: str) -> None:
    with pytest.raises(KernelError, match=path):
        cgroups.cgroup_id(Path(path))


def test_a_pin_directory_elsewhere_says_where_pins_live(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="/sys/fs/bpf"):
        require_bpffs(tmp_path / "pins")


@pytest.mark.kernel
def test_this_host_has_what_is_required() -> None:
    assert [feature for feature in features() if feature.required and not feature.ok] == []
    assert all(feature.ok or feature.remedy for feature in features())


UNPRIVILEGED = """
import os
from hostguard.kernel.features import features
os.setgid(65534)
os.setuid(65534)
print([feature.name for feature in features() if feature.remedy == "run as root"])
"""


@pytest.mark.kernel
def test_an_unprivileged_user_is_told_what_is_missing() -> None:
    out = subprocess.run([sys.executable, "-c", UNPRIVILEGED], capture_output=True, check=True, text=True).stdout
    assert "privileges" in out
    assert "hook connect4" in out


@pytest.mark.kernel
def test_the_probe_reports_each_target() -> None:
    with attach_root() as root:
        targets = [("127.0.0.9", 1), ("::ffff:127.0.0.9", 1)]
        out = subprocess.run(probe.command(root, targets), capture_output=True, check=True).stdout
    results = probe.parse(out)
    assert [(result.host, result.port) for result in results] == targets
    assert [(result.connected, result.errno, result.peer_kept) for result in results] == [(False, 111, False)] * 2


@pytest.mark.parametrize("output", [b"{", b"[]", b'{"host": 1}', b"nonsense\n"])
def test_what_is_not_the_probe_s_output_is_refused(output: bytes) -> None:
    with pytest.raises(ValueError, match=r"not the output|Expecting"):
        probe.parse(output)


def test_this_process_is_where_the_kernel_says() -> None:
    assert cgroups.of_process(os.getpid()) == cgroups.of_process()
