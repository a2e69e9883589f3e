"""The command line's connection to the daemon's control socket."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from . import session_file

TIMEOUT_S = 10.0
LEFT_OUT = "Hostguard-Left-Out"
"""Header of an answer's: how many rows are not in it."""


class DaemonDown(Exception):
    """Nobody answers on the control socket; the message says where it was looked for."""


class Refused(Exception):
    """The daemon understood and refused; the message is the daemon's sentence."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a UNIX stream socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("hostguard", timeout=timeout_s)
        self._path = path
        self._timeout_s = timeout_s

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._timeout_s)
        self.sock.connect(str(self._path))


class Client:
    """Calls of the control API (agent/control.py), one connection each."""

    def __init__(self, socket_path: Path, *, signed_in: bool = True) -> None:
        """`signed_in`: whether calls are made as the user who has signed in, if one has."""
        self._path = socket_path
        self.left_out = 0
        """How many rows the last answer does not have, since they are of agents that one may not look at."""
        self._headers = {"Content-Type": "application/json"}
        if signed_in and (kept := session_file.kept(socket_path)) is not None:
            self._headers["Authorization"] = f"Hostguard {kept.secret}"

    def get(self, path: str, query: Mapping[str, str] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        """The answer's JSON. Raises DaemonDown or Refused."""
        return self._call("GET", quote(path, safe="/?=&") + (f"?{urlencode(query)}" if query else ""), None, timeout_s)

    def post(self, path: str, body: dict[str, Any] | None = None, timeout_s: float = TIMEOUT_S) -> Any:
        """The answer's JSON. Raises DaemonDown or Refused."""
        return self._call("POST", quote(path, safe="/?=&"), body or {}, timeout_s)

    def lines(self, path: str) -> Iterator[Any]:
        """Objects of a stream that goes on until the daemon ends; raises DaemonDown when it does."""
        connection, response = self._open("GET", path, None, None)
        try:
            for line in response:
                if line.strip():
                    yield json.loads(line)
        finally:
            connection.close()
        raise DaemonDown("the daemon ended")

    def _call(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float = TIMEOUT_S) -> Any:
        connection, response = self._open(method, path, body, timeout_s)
        try:
            return json.loads(response.read())
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float | None
    ) -> tuple[_UnixConnection, http.client.HTTPResponse]:
        connection = _UnixConnection(self._path, timeout_s)
        data = None if body is None else json.dumps(body)
        try:
            connection.request(method, path, body=data, headers=self._headers)
            response = connection.getresponse()
        except PermissionError as error:
            connection.close()
            raise Refused(f"no permission to use the control socket {self._path}: {error.strerror}", 403) from None
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise DaemonDown(f"no daemon answers on {self._path} ({error})") from None
        if response.status != 200:
            text = response.read().decode("utf-8", "replace")
            connection.close()
            raise Refused(_message(text), response.status)
        self.left_out = int(response.headers.get(LEFT_OUT, "0"))
        return connection, response


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "the daemon refused without saying why"
