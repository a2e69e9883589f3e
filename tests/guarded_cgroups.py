"""Cgroups, namespaces, guarded children for tests on the real kernel; each cleans up after itself, also on failure."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from hostguard.kernel import cgroups, pins
from hostguard.kernel.mounts import BPF_MOUNT, require_bpffs

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
_numbers = itertools.count(1)


def unique_name() -> str:
    """A name that no other test run uses at the same time."""
    return f"hostguard-test-{os.getpid()}-{next(_numbers)}"


@contextmanager
def attach_root() -> Iterator[Path]:
    """A fresh cgroup to attach at; what still runs in it or below is killed at the end, and it is removed."""
    path = cgroups.mount_point() / unique_name()
    cgroups.create(path)
    try:
        yield path
    finally:
        cgroups.remove(path)


@contextmanager
def pin_directory() -> Iterator[Path]:
    """A pin directory's name (not made yet); all that was pinned and attached there is gone at the end."""
    path = BPF_MOUNT / unique_name()
    require_bpffs(path)
    try:
        yield path
    finally:
        pins.detach(path)


@contextmanager
def loop_listeners(make: Callable[[socket.AddressFamily], socket.socket] = socket.socket) -> Iterator[list[socket.socket]]:
    """Listeners on 127.0.0.1 and ::1, as the enforcement loop has them; `make` makes a TCP socket of a family."""
    sock4, sock6 = make(socket.AF_INET), make(socket.AF_INET6)
    try:
        sock4.bind(("127.0.0.1", 0))
        sock6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock6.bind(("::1", 0))
        for sock in (sock4, sock6):
            sock.settimeout(10)
            sock.listen(1024)
        yield [sock4, sock6]
    finally:
        sock4.close()
        sock6.close()


def python_in(cgroup: Path, program: str, *arguments: str, netns: Path | None = None) -> subprocess.Popen[str]:
    """Start a Python program that enters `cgroup` (and the network namespace) before its first line; text pipes on all three.

    The program finds `errno`, `os`, `socket`, `sys`, `threading`, `time` and ``enter(cgroup)`` at hand.
    """
    prelude = (
        # idna: a program that gives up root can't read the standard library of a private Python any more.
        "import encodings.idna, errno, os, socket, sys, threading, time\n"
        "def enter(cgroup):\n"
        "    with open(cgroup + '/cgroup.procs', 'w') as file: file.write('0')\n"
        f"enter({str(cgroup)!r})\n"
    )
    command = [sys.executable, "-I", "-S", "-c", prelude + program, *arguments]
    if netns:
        command = ["nsenter", f"--net={netns}", *command]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output_of(child: subprocess.Popen[str], timeout_s: float = 20) -> str:
    """What a child printed, once it has ended well; AssertionError with its stderr when it has not."""
    try:
        out, err = child.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"child still ran after {timeout_s} s\n{out}\n{err}") from None
    assert child.returncode == 0, err
    return out.strip()


class Namespace:
    """A network namespace with nothing but `lo`, up: what is sent in there can't leave the machine."""

    def __init__(self) -> None:
        self._fd = _in_thread(self._unshare)
        self.path = Path(f"/proc/{os.getpid()}/fd/{self._fd}")
        """For nsenter."""

    def run(self, *command: str) -> None:
        """Run a command in the namespace."""
        subprocess.run(["nsenter", f"--net={self.path}", *command], check=True)

    def output(self, *command: str) -> str:
        """What a command prints in the namespace."""
        full = ["nsenter", f"--net={self.path}", *command]
        return subprocess.run(full, check=True, capture_output=True, text=True).stdout.strip()

    def tcp_socket(self, family: socket.AddressFamily) -> socket.socket:
        """A TCP socket of this namespace."""
        return self.make_socket(family, socket.SOCK_STREAM)

    def make_socket(self, family: socket.AddressFamily, kind: socket.SocketKind, protocol: int = 0) -> socket.socket:
        """A socket of this namespace."""
        return in_namespace(self, lambda: socket.socket(family, kind, protocol))

    def enter(self) -> None:
        """Move the calling thread into the namespace, for good."""
        _libc("setns", self._fd, CLONE_NEWNET)

    def close(self) -> None:
        """Let go; the namespace ends with its last process and socket."""
        os.close(self._fd)

    @staticmethod
    def _unshare() -> int:
        _libc("unshare", CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY)


@contextmanager
def network_namespace() -> Iterator[Namespace]:
    """A fresh network namespace for the length of a block."""
    namespace = Namespace()
    try:
        yield namespace
    finally:
        namespace.close()


def in_namespace(namespace: Namespace, function: Callable[[], T]) -> T:
    """What a function returns that runs in a namespace; a socket that it makes stays of that namespace."""

    def entered() -> T:
        namespace.enter()
        return function()

    return _in_thread(entered)


def _in_thread(function: Callable[[], T]) -> T:
    """Run in a throw-away thread: it alone changes namespace."""
    results: list[T] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def _libc(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), name)
