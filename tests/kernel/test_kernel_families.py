"""Sockets of families that no cgroup hook sees: whoever is guarded and makes one is ended, on the real kernel."""

from __future__ import annotations

import platform
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from guarded_cgroups import output_of
from guarded_redirect import Guarded, attach, refresh

from hostguard.kernel import cgroups
from hostguard.kernel.layouts import Mode

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def attached() -> Iterator[Guarded]:
    with ExitStack() as stack:
        yield attach(stack, None)


@pytest.fixture
def guarded(attached: Guarded) -> Guarded:
    return refresh(attached)


MAKE = """
try:
    socket.socket(*map(int, sys.argv[1:]))
    print("made")
except OSError as error:
    print(errno.errorcode[error.errno])
"""

# io_uring by hand (io_uring(7)): one IORING_OP_SOCKET, with the family where a descriptor would be, the type for an offset.
URING = """
import ctypes, mmap, struct
libc = ctypes.CDLL(None, use_errno=True)
parameters = bytearray(120)
ring = libc.syscall(425, 4, (ctypes.c_char * 120).from_buffer(parameters))
assert ring >= 0, os.strerror(ctypes.get_errno())
offsets = struct.unpack_from("=10I", parameters, 40)
tail, array = offsets[1], offsets[6]
completions = struct.unpack_from("=10I", parameters, 80)
queue = mmap.mmap(ring, 4096, flags=mmap.MAP_SHARED, offset=0)
entries = mmap.mmap(ring, 4096, flags=mmap.MAP_SHARED, offset=0x10000000)
family, kind = map(int, sys.argv[1:3])
entries[0:64] = struct.pack("=BBHiQQIIQ", 45, 0, 0, family, kind, 0, 0, 0, 1) + bytes(24)
queue[array:array + 4] = bytes(4)
queue[tail:tail + 4] = struct.pack("=I", 1)
assert libc.syscall(426, ring, 1, 1, 1, None, 0) == 1
# cqes: user_data, res, flags
_, result = struct.unpack_from("=Qi", queue, completions[5])
print("made" if result >= 0 else errno.errorcode[-result])
"""

# Machine code, because no library makes calls of another ABI: int 0x80 is i386's, whoever makes it. Argument: by socketcall(2)?
I386 = """
import ctypes, mmap, struct
def low():
    return mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40, 7)  # MAP_32BIT
family, kind = map(int, sys.argv[2:4])
words = low()
words.write(struct.pack("<3I", family, kind, 0))
if sys.argv[1] == "socketcall":
    number, first, second = 102, 1, ctypes.addressof(ctypes.c_char.from_buffer(words))
else:
    number, first, second = 359, family, kind
code = low()
code.write(b"\\x53\\xb8" + struct.pack("<I", number) + b"\\xbb" + struct.pack("<I", first) + b"\\xb9" + struct.pack("<I", second)
           + b"\\xba\\0\\0\\0\\0\\xcd\\x80\\x5b\\xc3")
result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
print("made" if result >= 0 else errno.errorcode[-result])
"""

PACKET, VSOCK, NETLINK = 17, 40, 16
X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="i386's calls are those of x86")


@pytest.mark.parametrize("family", [PACKET, VSOCK], ids=["packet", "vsock"])
@pytest.mark.parametrize(("program", "kind"), [(MAKE, "killed_family"), (URING, "killed_uring")], ids=["socket", "io_uring"])
def test_who_makes_one_is_ended(guarded: Guarded, program: str, kind: str, family: int) -> None:
    arguments = (str(family), "3" if family == PACKET else "1", "0")
    child = guarded.start(program, *arguments)
    out, err = child.communicate(timeout=10)
    assert (out, child.returncode) == ("", -signal.SIGKILL), err
    events = guarded.redirect.events()
    (event,) = events.read()
    events.close()
    assert (event.kind, event.family, event.pid, event.workload) == (kind, family, child.pid, 7)
    assert guarded.run(program, *arguments, cgroup=guarded.outside) == "made"


@X86
@pytest.mark.parametrize("call", ["socket", "socketcall"])
@pytest.mark.parametrize("family", [PACKET, VSOCK], ids=["packet", "vsock"])
def test_who_makes_one_by_a_call_of_32_bits_is_ended(guarded: Guarded, call: str, family: int) -> None:
    kind = "3" if family == PACKET else "1"
    child = guarded.start(I386, call, str(family), kind)
    out, err = child.communicate(timeout=10)
    assert (out, child.returncode) == ("", -signal.SIGKILL), err
    events = guarded.redirect.events()
    (event,) = events.read()
    events.close()
    assert (event.kind, event.pid, event.workload) == ("killed_family", child.pid, 7)
    assert event.family == (family if call == "socket" else 0), "what socketcall asks for can change behind a look at it"
    assert guarded.run(I386, call, str(family), kind, cgroup=guarded.outside) == "made"


@X86
def test_a_program_of_32_bits_makes_ordinary_sockets(guarded: Guarded) -> None:
    assert guarded.run(I386, "socket", "2", "1") == "made"


@pytest.mark.parametrize("program", [MAKE, URING], ids=["socket", "io_uring"])
@pytest.mark.parametrize(("family", "kind"), [(1, 1), (2, 1), (10, 2), (NETLINK, 3)])
def test_what_programs_need_passes(guarded: Guarded, program: str, family: int, kind: int) -> None:
    assert guarded.run(program, str(family), str(kind), "0") == "made"


def test_other_netlink_does_not_pass(guarded: Guarded) -> None:
    child = guarded.start(MAKE, str(NETLINK), "3", "16")
    child.communicate(timeout=10)
    assert child.returncode == -signal.SIGKILL


def test_an_observed_process_lives_and_it_is_told(guarded: Guarded) -> None:
    guarded.redirect.set_modes({7: Mode.OBSERVE})
    assert output_of(guarded.start(MAKE, str(VSOCK), "1")) == "made"
    counters = guarded.redirect.counters()
    assert (counters["killed_family"], counters["observed"]) == (1, 1)


def test_a_cgroup_that_is_not_classified_kills_nobody(guarded: Guarded) -> None:
    guarded.redirect.watch(cgroups.cgroup_id(guarded.outside))
    cgroups.create(guarded.outside / "new")
    assert guarded.run(MAKE, str(VSOCK), "1", cgroup=guarded.outside / "new") == "made"
