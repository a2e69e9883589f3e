"""The second loader: the same programs through bcc do the same, with what they can't know left empty."""

from __future__ import annotations

import errno
import re
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from guarded_redirect import Guarded, attach

from hostguard.kernel import bcc, libbpf
from hostguard.kernel.errors import KernelError
from hostguard.kernel.hooks import HOOKS, REQUIRED
from hostguard.kernel.loader import Redirect

pytestmark = pytest.mark.kernel

CONNECT = """
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
sock.settimeout(10)
try:
    sock.connect((sys.argv[1], 99))
    print(sock.getpeername()[0])
except OSError as error:
    print(errno.errorcode[error.errno])
"""
DENIED = """
def tried(make):
    try:
        make()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "passed"
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print(tried(lambda: udp.sendto(b"x", ("127.0.0.1", 9))), tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)),
      tried(lambda: udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")))
"""


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    """A redirect that bcc has loaded."""
    with ExitStack() as stack:
        yield attach(stack, None, loader="bcc")


def program_names(redirect: Redirect) -> dict[str, int]:
    return {hook.name: hook.program_id for hook in redirect.hooks() if hook.attached}


@pytest.mark.parametrize("host", ["127.0.0.9", "::1", "::ffff:127.0.0.9"])
def test_connects_are_redirected_with_their_record(guarded: Guarded, host: str) -> None:
    assert guarded.run(CONNECT, host) == host
    origin = guarded.accept(guarded.sock6 if host == "::1" else guarded.sock4)
    assert (origin.host, origin.port, origin.workload) == (host.removeprefix("::ffff:"), 99, 7)
    assert origin.guarded_cgroup_id == guarded.agent.stat().st_ino
    assert (origin.comm, origin.start_ticks, origin.socket_cgroup_id) == ("python", 0, 0)


def test_others_are_left_alone_and_guarded_ones_denied_the_other_roads(guarded: Guarded) -> None:
    assert guarded.run(CONNECT, "127.0.0.1", cgroup=guarded.outside) == "ECONNREFUSED"
    assert guarded.run(DENIED, cgroup=guarded.outside).split()[0] == "passed"
    assert guarded.run(DENIED) == "EPERM EPERM EPERM"


def test_all_that_is_required_is_attached_by_links_and_fails_closed(guarded: Guarded) -> None:
    assert guarded.redirect.loader == "bcc"
    assert set(REQUIRED) <= set(program_names(guarded.redirect))
    guarded.redirect.beat(time.monotonic_ns() - 120 * 10**9)
    assert guarded.run(CONNECT, "127.0.0.9") == "ECONNREFUSED"
    guarded.redirect.beat(time.monotonic_ns())


def test_libbpf_takes_over_what_bcc_has_attached(guarded: Guarded) -> None:
    before = program_names(guarded.redirect)
    guarded.redirect.close()
    guarded.redirect = Redirect.attach(guarded.root, guarded.pin_dir, 60_000, "libbpf")
    try:
        after = program_names(guarded.redirect)
        assert all(before[name] != after[name] for name in REQUIRED)
        assert guarded.redirect.guarded()[guarded.agent.stat().st_ino] == 7
        guarded.redirect.beat(time.monotonic_ns())
        assert guarded.run(CONNECT, "127.0.0.9") == "127.0.0.9"
        assert guarded.accept().start_ticks > 0
    finally:
        guarded.redirect.close()


@pytest.mark.parametrize("source", sorted({HOOKS[name].path.with_suffix(".c") for name in REQUIRED}), ids=lambda path: path.name)
def test_a_translated_source_has_no_trace_of_libbpf(source: Path) -> None:
    fds = {
        name: number for number, name in enumerate(re.findall(r"\} (hg_\w+) SEC", source.with_name("maps.bpf.h").read_text()), 10)
    }
    text = bcc.translate(source, fds, "{}")
    assert not re.search(r"&hg_|\.maps|bpf_helpers\.h|preserve_access_index|BPF_CORE_READ", text)
    assert "static const struct hg_settings settings = {};" in text


def test_where_libbpf_can_not_load_bcc_is_tried_and_without_bcc_it_is_said(
    guarded: Guarded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_: libbpf.Object) -> None:
        raise KernelError(errno.EINVAL, "redirect.bpf.o", "no BTF")

    monkeypatch.setattr(libbpf.Object, "load", load)
    monkeypatch.setattr(bcc, "PACKAGE", tmp_path)
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    pins = guarded.pin_dir.with_name(f"{guarded.pin_dir.name}-other")
    with pytest.raises(KernelError, match=r"not installed .* apt-get install python3-bpfcc"):
        Redirect.attach(guarded.root, pins, 60_000, "auto")
    assert not pins.exists()
    with pytest.raises(KernelError, match="no BTF"):
        Redirect.attach(guarded.root, pins, 60_000, "libbpf")
