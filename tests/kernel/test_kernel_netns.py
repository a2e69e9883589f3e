"""Sockets made in namespaces that the test made."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from hostguard.kernel import netns
from hostguard.kernel.errors import KernelError
from hostguard.kernel.loader import netns_cookie

WAITS = "import sys; print('r', end='', flush=True); sys.stdin.read()"


@contextmanager
def process_in_namespace(prepare: str = "ip link set lo up") -> Iterator[int]:
    """The pid of a process in a fresh network namespace."""
    shell = f'{prepare} && exec {sys.executable} -c "{WAITS}"'
    child = subprocess.Popen(["unshare", "--net", "sh", "-c", shell], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.read(1) == b"r"
        yield child.pid
    finally:
        child.kill()
        child.communicate()


@contextmanager
def entered(pid: int) -> Iterator[int]:
    fd = netns.opened(pid)
    assert fd is not None
    try:
        yield fd
    finally:
        os.close(fd)


def test_sockets_are_of_the_namespace_and_the_caller_stays_where_it_is() -> None:
    with process_in_namespace() as pid, entered(pid) as fd, socket.socket() as here:
        assert netns.identity(pid) == os.fstat(fd).st_ino != netns.identity()
        with netns.stream_socket(fd, socket.AF_INET) as sock:
            assert netns_cookie(sock) != netns_cookie(here)
            assert sock.getblocking() is False
        assert netns.inside(fd, lambda: os.stat("/proc/thread-self/ns/net").st_ino) == os.fstat(fd).st_ino
        with socket.socket() as still_here:
            assert netns_cookie(still_here) == netns_cookie(here)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_listeners_take_connections_of_their_namespace(family: socket.AddressFamily) -> None:
    with process_in_namespace() as pid, entered(pid) as fd:
        made = netns.listeners(fd)
        listener = made.sock4 if family == socket.AF_INET else made.sock6
        assert listener is not None
        try:
            assert made.lo_up
            with netns.stream_socket(fd, family) as client, socket.socket(family) as stranger:
                client.connect_ex(listener.getsockname())
                listener.settimeout(5)
                sock, peer = listener.accept()
                sock.close()
                assert peer == client.getsockname()
                assert stranger.connect_ex(listener.getsockname()) != 0
        finally:
            made.close()


def test_a_loopback_that_is_down_is_told_and_served_once_it_is_up() -> None:
    with process_in_namespace("true") as pid, entered(pid) as fd:
        made = netns.listeners(fd)
        try:
            assert made.sock6 is not None
            assert not made.lo_up
            subprocess.run(["nsenter", f"--target={pid}", "--net", "ip", "link", "set", "lo", "up"], check=True)
            assert made.lo_up
            with netns.stream_socket(fd, socket.AF_INET6) as client:
                client.connect_ex(made.sock6.getsockname())
                made.sock6.settimeout(5)
                made.sock6.accept()[0].close()
        finally:
            made.close()


def test_what_is_no_namespace_is_refused_and_errors_come_out_of_the_thread() -> None:
    with pytest.raises(KernelError, match="cannot be entered"), open("/dev/null") as file:
        netns.listeners(file.fileno())
    assert netns.opened(2**22 + 1) is None
    assert netns.identity(2**22 + 1) is None
    with process_in_namespace() as pid, entered(pid) as fd, pytest.raises(ZeroDivisionError):
        netns.inside(fd, lambda: 1 // 0)


def test_a_hundred_namespaces_leave_no_descriptor() -> None:
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with process_in_namespace() as pid:
        for _ in range(100):
            with entered(pid) as fd:
                netns.listeners(fd).close()
                netns.stream_socket(fd, socket.AF_INET).close()
    assert len(os.listdir("/proc/self/fd")) == before
