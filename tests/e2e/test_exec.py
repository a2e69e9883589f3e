"""``hostguard exec``: what it refuses to run, what its programs are left with, what the status tells of that."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import guard
import pytest

LOOSE = 'families = ["unix", "inet", "inet6", "netlink", "alg"]\nallow_io_uring = true\n'
LOOK = """
import ctypes, errno, json, os
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
libc = ctypes.CDLL(None, use_errno=True)
def fails(*arguments):
    return errno.errorcode.get(ctypes.get_errno()) if libc.syscall(*arguments) < 0 else ""
print(json.dumps({
    "fds": sorted(map(int, os.listdir("/proc/self/fd"))), "uid": os.getuid(), "groups": os.getgroups(),
    "effective": int(status["CapEff"], 16), "bound": int(status["CapBnd"], 16), "seccomp": int(status["Seccomp"]),
    "vsock": fails(41, 40, 1, 0), "alg": fails(41, 38, 5, 0), "io_uring": fails(425, 8, 0),
}))
"""
PROGRAM = ["/usr/bin/python3", "-I", "-c", LOOK]


@dataclasses.dataclass(frozen=True)
class WithLoose:
    """Two workloads, one of which may have more than the hooks see."""

    setup: guard.Setup

    def files(self, place: guard.Place) -> Mapping[str, str]:
        files = dict(self.setup.files(place))
        files["hostguard.toml"] = files["hostguard.toml"].replace('agent = "loose"\n', f'agent = "loose"\n{LOOSE}')
        return files


@pytest.fixture(scope="module")
def running() -> Iterator[guard.Guard]:
    setup = guard.Setup({"tight": guard.Agent(), "loose": guard.Agent()}, {"shop": "127.0.0.1:5432"}, policies="")
    with guard.guarding(WithLoose(setup)) as guarded:
        yield guarded


def test_a_program_of_roots_keeps_nothing_that_undoes_the_guard(running: guard.Guard) -> None:
    seen = json.loads(running.run("tight", PROGRAM, {}).stdout)
    assert (seen["vsock"], seen["alg"], seen["io_uring"]) == ("EAFNOSUPPORT", "EAFNOSUPPORT", "ENOSYS")
    assert seen["seccomp"] == 2
    assert not seen["bound"] >> 12 & 3, "CAP_NET_ADMIN, CAP_NET_RAW"
    assert not seen["bound"] >> 21 & 1, "CAP_SYS_ADMIN"


def test_a_program_of_another_user_has_that_user_alone(running: guard.Guard) -> None:
    options: list[str | Path] = ["--config", running.config, "--workload", "tight", "--user", "nobody"]
    command: list[str | Path] = [guard.HOSTGUARD, "exec", *options, "--", *PROGRAM]
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)
    assert (seen["uid"], seen["effective"], seen["io_uring"]) == (65534, 0, "ENOSYS")


def test_a_workload_has_what_its_configuration_allows_beyond_with_a_mark_in_the_status(running: guard.Guard) -> None:
    seen = json.loads(running.run("loose", PROGRAM, {}).stdout)
    assert seen["vsock"] == "EAFNOSUPPORT"
    assert seen["io_uring"] == "EFAULT"
    assert {w["name"]: w["loosened"] for w in running.ask("status")["workloads"]} == {
        "tight": [],
        "loose": ["alg sockets", "io_uring"],
    }
    assert "! loose may use what the hooks don't see: alg sockets, io_uring" in running.cli("status").stdout


def test_no_descriptor_is_inherited_above_a_lowered_limit_either(running: guard.Guard) -> None:
    with socket.socket() as outside:
        high = os.dup2(outside.fileno(), 900)
        command = ["prlimit", "--nofile=64:64", *running.command("tight", PROGRAM)]
        result = subprocess.run(command, capture_output=True, text=True, pass_fds=[high], timeout=60, check=True)
        os.close(high)
    # The fourth is the listing's own.
    assert json.loads(result.stdout)["fds"] == [0, 1, 2, 3]


def test_a_socket_from_outside_is_no_stdin(running: guard.Guard) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as connected:
        result = subprocess.run(
            running.command("tight", PROGRAM), stdin=connected.fileno(), capture_output=True, text=True, check=False
        )
    assert result.returncode == 1
    assert "stdin is a socket of the family AF_INET, made outside" in result.stderr
    assert result.stdout == ""


def test_a_service_of_this_host_is_no_stdout(running: guard.Guard) -> None:
    path = running.folder / "service.sock"
    with socket.socket(socket.AF_UNIX) as service, socket.socket(socket.AF_UNIX) as connected:
        service.bind(str(path))
        service.listen()
        connected.connect(str(path))
        command = running.command("tight", PROGRAM)
        result = subprocess.run(command, stdout=connected.fileno(), stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 1
    assert f"stdout is a UNIX socket connected to '{path}'" in result.stderr


def test_a_pair_of_sockets_is_as_good_as_a_pipe(running: guard.Guard) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        subprocess.run(running.command("tight", PROGRAM), stdin=theirs.fileno(), stdout=theirs.fileno(), check=True, timeout=60)
        assert json.loads(ours.recv(65536))["seccomp"] == 2


def test_a_kernel_object_is_no_stdin(running: guard.Guard) -> None:
    poll = os.eventfd(0)
    result = subprocess.run(running.command("tight", PROGRAM), stdin=poll, capture_output=True, text=True, check=False)
    os.close(poll)
    assert (result.returncode, result.stdout) == (1, "")
    assert "stdin is the kernel object anon_inode:[eventfd]" in result.stderr
