"""What a confined program can no longer do, tried by the program itself; the same program unconfined can."""

from __future__ import annotations

import errno
import functools
import http.server
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from hostguard.kernel import confine
from hostguard.kernel.errors import KernelError
from hostguard.policy.sections import SEEN_FAMILIES, Family

pytestmark = pytest.mark.kernel

CONFINE = """
import json, os, sys
from hostguard.kernel import confine
families, io_uring, argv = json.loads(sys.argv[1])
calls = confine.call_filter(families, io_uring=io_uring)
confine.bound_capabilities()
confine.renounce(calls)
os.execv(argv[0], argv)
"""

# Runs on Debian's Python alone. Machine code, because no library makes calls of another ABI: int 0x80 is i386's.
TRY = r"""
import ctypes, errno, json, mmap, os, socket, struct, subprocess, sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.argtypes = [ctypes.c_long] * 7

def call(*arguments):
    ctypes.set_errno(0)
    result = libc.syscall(*arguments, *[0] * (7 - len(arguments)))
    if result >= 0:
        os.close(result)
        return "made"
    return errno.errorcode[ctypes.get_errno()]

def call_i386(number, first, second=0, third=0):
    code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)  # MAP_32BIT
    code.write(b"\x53\xb8" + struct.pack("<I", number) + b"\xbb" + struct.pack("<I", first) + b"\xb9" + struct.pack("<I", second)
               + b"\xba" + struct.pack("<I", third) + b"\xcd\x80\x5b\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    result = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    if result >= 0:
        os.close(result)
        return "made"
    return errno.errorcode[-result]

# socketcall's arguments lie in memory that 32 bits reach.
arguments = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 3)
arguments.write(struct.pack("<3I", 17, 3, 0))
at = ctypes.addressof(ctypes.c_char.from_buffer(arguments))

STREAM, DGRAM, RAW = 1, 2, 3
FAMILIES = {"unix": (1, STREAM), "inet": (2, STREAM), "inet6": (10, STREAM), "netlink": (16, RAW), "packet": (17, RAW),
            "vsock": (40, STREAM), "alg": (38, 5), "can": (29, RAW), "nothing": (99, STREAM)}
seen = {name: call(41, family, kind) for name, (family, kind) in FAMILIES.items()}
seen["packet, high bits"] = call(41, 17 | 1 << 32, RAW)
seen["pair"] = call(53, 1, STREAM, 0, at + 64)
seen["packet pair"] = call(53, 17, RAW, 0, at + 64)
for number, name in enumerate(("io_uring_setup", "io_uring_enter", "io_uring_register"), 425):
    seen[name] = call(number, 8, 0)
seen["packet, x32"] = call(41 | 1 << 30, 17, RAW)
seen["packet, i386"] = call_i386(359, 17, RAW)
seen["inet, i386"] = call_i386(359, 2, STREAM)
seen["packet, socketcall"] = call_i386(102, 1, at)
seen["io_uring_setup, i386"] = call_i386(425, 8)
status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines())
for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"):
    seen[name] = int(status[name], 16)
if len(sys.argv) > 1:
    os.setresuid(65534, 65534, 65534)
    seen["setuid"] = int(subprocess.run([sys.argv[1], "-u"], capture_output=True, text=True).stdout)
print(json.dumps(seen))
"""

X86 = platform.machine() == "x86_64"


def confined(argv: list[str], families: tuple[str, ...] = SEEN_FAMILIES, *, io_uring: bool = False, stdin: str = "") -> str:
    """What a program prints that runs confined. AssertionError with its stderr when it fails."""
    command = [sys.executable, "-c", CONFINE, json.dumps([families, io_uring, argv])]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input=stdin)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def setuid_id() -> Iterator[str]:
    """A copy of id(1) that runs as root whoever starts it."""
    folder = Path("/usr/local/bin")  # /tmp may be mounted nosuid
    copy = folder / f"hostguard-test-id-{os.getpid()}"
    shutil.copy("/usr/bin/id", copy)
    copy.chmod(0o4755)
    yield str(copy)
    copy.unlink()


@pytest.fixture(scope="module")
def free(setuid_id: str) -> Any:
    """What the program can do unconfined."""
    argv = ["/usr/bin/python3", "-I", "-c", TRY, setuid_id]
    return json.loads(subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout)


@pytest.fixture(scope="module")
def bound(setuid_id: str) -> Any:
    """What it can do confined."""
    return json.loads(confined(["/usr/bin/python3", "-I", "-c", TRY, setuid_id]))


def test_families_that_no_hook_sees_are_refused(free: Any, bound: Any) -> None:
    for name in ("packet", "vsock", "can", "alg", "nothing", "packet, high bits", "packet pair"):
        assert bound[name] == "EAFNOSUPPORT", name
    assert free["packet"] == free["packet, high bits"] == "made"


def test_the_families_of_ordinary_programs_stay(free: Any, bound: Any) -> None:
    for name in ("unix", "inet", "inet6", "netlink", "pair"):
        assert bound[name] == free[name] == "made", name


def test_io_uring_is_as_in_a_kernel_without_it(free: Any, bound: Any) -> None:
    for name in confine.IO_URING_CALLS:
        assert bound[name] == "ENOSYS"
        assert free[name] != "ENOSYS"


@pytest.mark.skipif(not X86, reason="the other ABIs of x86")
def test_the_other_abis_of_the_machine_are_no_way_around(free: Any, bound: Any) -> None:
    assert free["packet, i386"] == free["packet, socketcall"] == "made"
    assert bound["packet, i386"] == bound["packet, socketcall"] == "EAFNOSUPPORT"
    assert bound["inet, i386"] == "made"
    assert bound["io_uring_setup, i386"] == "ENOSYS" != free["io_uring_setup, i386"]
    assert bound["packet, x32"] == "EAFNOSUPPORT" != free["packet, x32"]


def test_even_root_keeps_no_capability_that_could_undo_the_guard(free: Any, bound: Any) -> None:
    kept = sum(1 << number for number in confine.KEPT_CAPABILITIES.values())
    assert bound["CapEff"] == bound["CapPrm"] == bound["CapBnd"] == free["CapEff"] & kept
    assert bound["CapInh"] == bound["CapAmb"] == 0
    for number in (12, 13, 16, 17, 19, 21, 27, 38, 39):  # NET_ADMIN NET_RAW MODULE RAWIO PTRACE ADMIN MKNOD PERFMON BPF
        assert free["CapEff"] >> number & 1
        assert not bound["CapBnd"] >> number & 1


def test_setuid_programs_give_no_privileges(free: Any, bound: Any) -> None:
    assert (free["setuid"], bound["setuid"]) == (0, 65534)
    assert (bound["NoNewPrivs"], bound["Seccomp"]) == (1, 2)


def test_what_a_workload_may_have_beyond_is_left_to_it() -> None:
    seen = json.loads(confined(["/usr/bin/python3", "-I", "-c", TRY], (*SEEN_FAMILIES, "alg", "packet"), io_uring=True))
    assert seen["io_uring_setup"] not in ("ENOSYS", "made")
    assert seen["packet"] == "EPERM", "CAP_NET_RAW is gone all the same"
    assert seen["vsock"] == seen["nothing"] == "EAFNOSUPPORT"


def test_the_configuration_knows_the_families_of_the_filter() -> None:
    assert set(get_args(Family)) == set(confine.FAMILIES)
    for name, number in confine.FAMILIES.items():
        assert getattr(socket, f"AF_{name.upper()}", number) == number


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Logs nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def page(tmp_path: Path) -> Iterator[str]:
    """A URL on loopback whose page says "hello"."""
    (tmp_path / "index.txt").write_text("hello")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.txt"
        server.shutdown()
        thread.join()


PYTHON = "import asyncio, urllib.request as u, sys; asyncio.run(asyncio.sleep(0)); print(u.urlopen(sys.argv[1]).read().decode())"
NODE = "fetch(process.argv[1]).then(r => r.text()).then(t => console.log(t))"
PROGRAMS = {
    "python3": ["-I", "-c", PYTHON],
    "curl": ["-sS"],
    "node": ["-e", NODE],
    "bash": [
        "-c",
        'exec 3<>"/dev/tcp/$(cut -d/ -f3 <<<"$0" | tr : /)"; printf "GET /index.txt HTTP/1.0\\r\\n\\r\\n" >&3; tail -1 <&3',
    ],
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_ordinary_programs_run(program: str, page: str) -> None:
    path = shutil.which(program, path="/usr/bin:/usr/local/bin")
    if path is None:
        pytest.skip(f"no {program} on this host")
    assert confined([path, *PROGRAMS[program], page]).strip() == "hello"


def test_psql_runs(postgres15: Any) -> None:
    port, host = str(postgres15.port), postgres15.host
    said = confined(["/usr/bin/psql", "-h", host, "-p", port, "-U", "postgres", "-d", "postgres", "-Atc", "SELECT 'hello'"])
    assert said.strip() == "hello"


def test_without_libseccomp_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(KernelError, match="libseccomp does not load") as caught:
        confine.call_filter(["unix"], io_uring=False)
    assert caught.value.errno == errno.ENOENT
