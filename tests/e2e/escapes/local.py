"""Escapes over UNIX sockets: a process outside that would pass everything on, to a resource or in its place."""

from __future__ import annotations

import os
import socket

from road import NONCE, PATIENCE_S, enter, escape, peer4, say


class Accomplice:
    """A process outside that forwards to the peer what it hears on a UNIX socket."""

    def __init__(self, kind: socket.SocketKind, address: str | bytes) -> None:
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(address)
        if isinstance(address, str):
            os.chmod(address, 0o777)
        if kind == socket.SOCK_STREAM:
            sock.listen()
        self.child = os.fork()
        if not self.child:
            self._serve(sock)
        sock.close()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(2 * PATIENCE_S)
            heard = sock.accept()[0] if sock.type == socket.SOCK_STREAM else sock
            heard.settimeout(PATIENCE_S)
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(heard.recv(100), peer4())
        finally:
            os._exit(0)

    def wait(self) -> None:
        """Until it has passed on what it heard, or heard nothing."""
        os.waitpid(self.child, 0)


def _path(name: str) -> str:
    return os.path.join(os.environ["ESCAPE_FOLDER"], f"{name}-{os.getpid()}")


def _stream(address: str | bytes, ask: str | bytes) -> None:
    _say_through(Accomplice(socket.SOCK_STREAM, address), ask)


def _say_through(accomplice: Accomplice, ask: str | bytes) -> None:
    enter()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.connect(ask)
        sock.send(NONCE)
        say("connected and sent")
    finally:
        accomplice.wait()


@escape("UNIX stream socket of a process outside")
def unix_stream() -> None:
    path = _path("stream")
    _stream(path, path)


@escape("abstract UNIX socket of a process outside")
def unix_abstract() -> None:
    name = f"\0hostguard-escape-{os.getpid()}".encode()
    _stream(name, name)


@escape("UNIX socket by a relative path")
def unix_relative() -> None:
    path = _path("relative")
    os.chdir(os.path.dirname(path))
    _stream(path, os.path.basename(path))


@escape("UNIX socket through a symbolic link")
def unix_link() -> None:
    path = _path("linked")
    os.symlink(path, path + ".link")
    _stream(path, path + ".link")


@escape("UNIX datagram to a process outside")
def unix_datagram() -> None:
    path = _path("datagram")
    accomplice = Accomplice(socket.SOCK_DGRAM, path)
    enter()
    try:
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(NONCE, path)
        say("sent")
    finally:
        accomplice.wait()


def _resource() -> str:
    """The path of the resource's socket, free for whoever serves there."""
    path = os.environ["ESCAPE_RESOURCE"]
    if os.path.lexists(path):
        os.unlink(path)
    return path


def _stand_in() -> bytes | None:
    """The abstract name that the loop stands for the resource with, or did; None in the control run."""
    name = os.environ.get("ESCAPE_STAND_IN")
    return b"\0" + name.encode() if name else None


@escape("a resource's UNIX socket, with words that are no protocol's")
def unix_resource() -> None:
    path = _resource()
    _stream(path, path)


@escape("a resource's UNIX socket, its path spelled otherwise")
def unix_resource_spelled() -> None:
    path = _resource()
    folder, name = os.path.split(path)
    _stream(path, f"{folder}/.//{name}")


@escape("a resource's UNIX socket under a second name (hard link)")
def unix_resource_linked() -> None:
    path = _resource()
    second = _path("second")
    accomplice = Accomplice(socket.SOCK_STREAM, path)
    os.link(path, second)
    _say_through(accomplice, second)


@escape("the loop's stand-in for a UNIX socket, dialled by its own name")
def unix_stand_in() -> None:
    """The peer hears of it only in the control run, where the name is an accomplice's."""
    own = f"\0hostguard/{os.getpid()}".encode()
    _stream(own, _stand_in() or own)


@escape("the name of the loop's stand-in, taken by a process outside")
def unix_impostor() -> None:
    """While the loop lives the name can't be had; in the control run the accomplice is the resource itself."""
    path = _resource()
    _stream(_stand_in() or path, path)
