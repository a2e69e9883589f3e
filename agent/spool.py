"""What is long about requests that wait, kept in files while they do: the supervisor's memory for one request is bounded.

Nothing here has to survive a crash: the flows that wait end with the daemon. A daemon that takes over from another finds it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import msgspec

from ..policy.approvals import RequestBook
from ..policy.requests import SHOWN_CHARACTERS, Request
from .failures import Failure

KEPT_BYTES = 16 * 1024
"""Up to so many bytes a request stays in memory whole."""


SHOWN_ACCESSES = 16


class _Long(msgspec.Struct, frozen=True):
    """The fields of a request that may be long."""

    text: str
    parameters: tuple[bytes | None, ...]
    prepared: tuple[str, ...]
    accesses: tuple[str, ...]


class Spool:
    """A folder with a file for each long request that waits."""

    def __init__(self, folder: Path, *, keep: bool = False) -> None:
        """Make it, or empty it unless `keep`. Raises Failure."""
        self._folder = folder
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            for file in () if keep else folder.iterdir():
                file.unlink()
        except OSError as error:
            raise Failure(f"{folder} can't be used: {error.strerror}") from None

    def lighten(self, book: RequestBook, request: Request) -> None:
        """Let the book forget what is long about a request, which is in a file from here on. Raises OSError, and withdraws it."""
        texts = (request.text, *request.prepared, *request.accesses)
        size = 4 * sum(map(len, texts)) + sum(len(value or b"") for value in request.parameters)
        if size <= KEPT_BYTES:
            return
        try:
            fd = os.open(self._folder / request.id, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with open(fd, "wb") as file:
                file.write(msgspec.msgpack.encode(_Long(request.text, request.parameters, request.prepared, request.accesses)))
        except OSError as error:
            book.withdraw(request.id, "it could not be kept while it waits")
            raise OSError(f"this can't be kept while it waits: {error.strerror}") from None
        shown, text = request.accesses[:SHOWN_ACCESSES], request.text[:SHOWN_CHARACTERS]
        book.note(request.id, text=text, parameters=(), prepared=(), accesses=shown)

    def whole(self, request: Request) -> Request:
        """The request with all that it had. Raises OSError."""
        try:
            data = (self._folder / request.id).read_bytes()
        except FileNotFoundError:
            return request
        return msgspec.structs.replace(request, **msgspec.structs.asdict(msgspec.msgpack.decode(data, type=_Long)))

    def forget(self, request_id: str) -> None:
        """It is over."""
        with suppress(FileNotFoundError):
            (self._folder / request_id).unlink()
