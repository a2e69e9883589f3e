"""The redirect meets what another version pinned: nothing passes meanwhile, nothing is read at another length than it has."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from guarded_cgroups import loop_listeners, output_of, python_in

from hostguard.kernel import cgroups, hooks, layouts, libbpf, pins
from hostguard.kernel.errors import KernelError
from hostguard.kernel.loader import Redirect

pytestmark = pytest.mark.kernel

GREW = {"sockets": 16, "origins": 16, "queries": 16}
"""By how many bytes the values of these maps have grown since the version that `former` compiles."""
EDITS = {
    "shared.h": [
        (r"\t__u64 exe_inode;.*\n\t__u32 exe_device;.*\n\t__u32 zero;\n", ""),
        (r"sizeof\(struct hg_origin\) == 120", "sizeof(struct hg_origin) == 104"),
    ],
    "maps.bpf.h": [(r"sizeof\(struct socket_state\) == 128", "sizeof(struct socket_state) == 112")],
    "flow.bpf.h": [(r"\tdescribe_program\(.*\n\torigin->zero = 0;\n", "")],
}
CONNECT = """
print(errno.errorcode.get(socket.socket().connect_ex(("127.0.0.9", 7)), "connected"))
"""
# Argument 1: the folder of the former version's objects; what follows is what its daemon does.
DAEMON = f"""
import socket, sys, time
from pathlib import Path
from hostguard.kernel import cgroups, hooks, layouts
from hostguard.kernel.loader import Redirect
hooks.OBJECTS = Path(sys.argv[1])
for name, bytes_more in {GREW!r}.items():
    key, value = layouts.MAP_SIZES[name]
    layouts.MAP_SIZES[name] = (key, value - bytes_more)
root = Path(sys.argv[2])
redirect = Redirect.attach(root, Path(sys.argv[3]), 60_000)
redirect.guard(cgroups.cgroup_id(root / "agent"), 7)
redirect.set_users({{4321: 9}})
sock4 = socket.create_server(("127.0.0.1", 0), backlog=1024)
redirect.set_listeners(sock4, None)
redirect.beat(time.monotonic_ns())
print("up", flush=True)
time.sleep(60)
"""
# Connects without a pause until told to end; prints how often it got past the guard, to a server that it must never reach.
HAMMER = """
past = connects = 0
print("begun", flush=True)
while not os.path.exists(sys.argv[1]):
    with socket.socket() as sock:
        sock.settimeout(1)
        connects += 1
        if sock.connect_ex(("127.0.0.1", int(sys.argv[2]))) == 0:
            try:
                past += sock.recv(4) == b"free"
            except OSError:
                pass
print(past, connects)
"""


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the objects of a version before the origin had the program."""
    folder = tmp_path_factory.mktemp("former") / "bpf"
    shutil.copytree(hooks.OBJECTS, folder, ignore=shutil.ignore_patterns("*.o"))
    for name, edits in EDITS.items():
        text = (folder / name).read_text()
        for pattern, instead in edits:
            text, count = re.subn(pattern, instead, text)
            assert count == 1, pattern
        (folder / name).write_text(text)
    flags = ["-target", "bpf", "-mcpu=v3", "-g", "-O2", "-I/usr/include/x86_64-linux-gnu"]
    clang = os.environ.get("CLANG", "clang")
    for source in folder.glob("*.bpf.c"):
        subprocess.run([clang, *flags, "-c", source, "-o", source.with_suffix(".o")], check=True)
    return folder


@contextmanager
def running(former: Path, root: Path, pin_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The former version's daemon."""
    command = [sys.executable, "-c", DAEMON, str(former), str(root), str(pin_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def test_maps_of_a_former_version_are_begun_anew_and_nobody_passes(
    former: Path, place: tuple[Path, Path], tmp_path: Path
) -> None:
    root, pin_dir = place
    agent, end = root / "agent", tmp_path / "end"
    with socket.create_server(("127.0.0.1", 0)) as free:
        with running(former, root, pin_dir) as process:
            assert output_of(python_in(agent, CONNECT)) == "connected"
            hammer = python_in(agent, HAMMER, str(end), str(free.getsockname()[1]))
            assert hammer.stdout is not None
            hammer.stdout.readline()
            process.kill()
        redirect = Redirect.attach(root, pin_dir, 60_000)
        try:
            end.touch()
            past, connects = map(int, output_of(hammer).split())
            free.setblocking(False)
            with pytest.raises(BlockingIOError):
                free.accept()
            assert past == 0 < connects
            assert {remark.split(":")[0] for remark in redirect.remarks if "begun anew" in remark} == set(GREW)
            assert redirect.guarded() == {cgroups.cgroup_id(agent): 7}
            assert redirect.users() == {4321: 9}
            assert output_of(python_in(agent, CONNECT)) == "ECONNREFUSED"
            with loop_listeners() as (sock4, sock6):
                redirect.set_listeners(sock4, sock6)
                redirect.beat(time.monotonic_ns())
                assert output_of(python_in(agent, CONNECT)) == "connected"
            assert not list((pin_dir / "maps").glob("*-old"))
        finally:
            redirect.close()


def test_a_map_that_says_whom_to_guard_is_never_begun_anew(place: tuple[Path, Path]) -> None:
    root, pin_dir = place
    Redirect.attach(root, pin_dir, 60_000).close()
    before = [pins.read_hook(pin_dir, name) for name in hooks.HOOKS]
    path = pins.map_path(pin_dir, "users")
    path.unlink()
    command = ["bpftool", "map", "create", str(path), "type", "hash", "key", "4", "value", "8", "entries", "4096"]
    subprocess.run([*command, "name", "hg_users", "flags", "1"], check=True)
    with pytest.raises(KernelError, match=r"maps/users.*another layout"):
        Redirect.attach(root, pin_dir, 60_000)
    assert [pins.read_hook(pin_dir, name) for name in hooks.HOOKS] == before
    assert pins.detach(pin_dir)


def test_sizes_of_all_maps_are_those_of_the_object() -> None:
    with libbpf.Object(hooks.HOOKS["connect4"].path) as loaded:
        shapes = {name: loaded.map_shape(f"hg_{name}") for name in pins.MAPS}
    assert {name: (shape.key_size, shape.value_size) for name, shape in shapes.items()} == layouts.MAP_SIZES


@pytest.mark.parametrize(("key", "value"), [(4, 4), (8, 8), (4, 9)])
def test_a_map_with_other_sizes_is_not_read(place: tuple[Path, Path], key: int, value: int) -> None:
    """One that was read into a shorter buffer wrote past its end."""
    path = place[1] / "other"
    place[1].mkdir(parents=True, exist_ok=True)
    command = ["bpftool", "map", "create", str(path), "type", "hash", "key", "4", "value", "8", "entries", "1"]
    subprocess.run([*command, "name", "other"], check=True)
    try:
        with pins.opened(path) as fd:
            assert fd is not None
            with pytest.raises(KernelError, match="keys of 4 bytes, values of 8"):
                libbpf.Map(fd, "other", key, value)
            held = libbpf.Map(fd, "other", 4, 8)
            for wrong in (b"", b"123", b"12345"):
                for step in (held.lookup, held.take, held.delete, lambda key: held.update(key, bytes(8))):
                    with pytest.raises(KernelError, match="instead of 4"):
                        step(wrong)
            with pytest.raises(KernelError, match="instead of 8"):
                held.update(bytes(4), bytes(7))
            held.update(b"abcd", b"12345678")
            assert held.content() == {b"abcd": b"12345678"}
            assert held.take(b"abcd") == b"12345678"
    finally:
        path.unlink()


def test_a_map_with_a_value_for_each_processor_is_not_read(place: tuple[Path, Path]) -> None:
    path = place[1] / "each"
    place[1].mkdir(parents=True, exist_ok=True)
    command = ["bpftool", "map", "create", str(path), "type", "percpu_hash", "key", "4", "value", "8", "entries", "1"]
    subprocess.run([*command, "name", "each"], check=True)
    try:
        with pins.opened(path) as fd:
            assert fd is not None
            with pytest.raises(KernelError, match="processor"):
                libbpf.Map(fd, "each", 4, 8)
    finally:
        path.unlink()
