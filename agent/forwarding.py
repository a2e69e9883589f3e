"""Sends entries of the log to one SIEM, each at least once, in order.

A cursor file holds the index of the next entry. It is written after what was before it has been handed over, so a crash sends
some entries twice, never none. What "handed over" means is the protocol's: a 2xx answer (OTLP), bytes with the kernel (TCP,
UNIX), a datagram sent (UDP, which may lose it).
"""

from __future__ import annotations

import http.client
import os
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from ..policy.outlet_sections import Forward
from ..recorder.entry import Captured, Entry, Unknown
from ..recorder.export.messages import kind_name, otlp, syslog
from ..recorder.packing import restore
from ..recorder.reader import Reader, Record
from .failures import Failure

BATCH_ENTRIES = 512
TIMEOUT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024


class Link(Protocol):
    """A way to one SIEM."""

    def send(self, records: list[Record]) -> str:
        """Hand the records over. Returns what the SIEM has to say against some of them, empty for nothing.

        Raises OSError; some of them may have been handed over then.
        """
        ...

    def close(self) -> None: ...


class Syslog:
    """RFC 5424 over UDP, TCP (octet counting, RFC 6587 §3.4.1) or a UNIX datagram socket."""

    def __init__(self, to: str, max_bytes: int, host: str) -> None:
        self._url = urlsplit(to)
        self._max_bytes = max_bytes
        self._host = host
        self._socket: socket.socket | None = None

    def send(self, records: list[Record]) -> str:
        """As `Link`. A connection that breaks is made anew for the next batch."""
        try:
            if self._socket is None:
                self._socket = self._connected()
            messages = [syslog(index, entry, self._host, os.getpid(), self._max_bytes) for index, entry in records]
            if self._url.scheme == "tcp":
                self._socket.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
            else:
                for message in messages:
                    self._socket.send(message)
        except OSError:
            self.close()
            raise
        return ""

    def close(self) -> None:
        """Break the connection."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self) -> socket.socket:
        if self._url.scheme == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            address: Any = self._url.path
        else:
            kind = socket.SOCK_STREAM if self._url.scheme == "tcp" else socket.SOCK_DGRAM
            found = socket.getaddrinfo(self._url.hostname, self._url.port, type=kind)
            made, address = socket.socket(found[0][0], kind), found[0][4][:2]
        made.settimeout(TIMEOUT_S)
        try:
            made.connect(address)
        except OSError:
            made.close()
            raise
        return made


class Otlp:
    """OpenTelemetry logs over HTTP with JSON."""

    def __init__(self, url: str, max_bytes: int, host: str, version: str) -> None:
        self._url = url
        self._max_bytes = max_bytes
        self._host = host
        self._version = version

    def send(self, records: list[Record]) -> str:
        """As `Link`. Any answer but 2xx is a failure, and the batch is sent again; what a 2xx answer rejects must not be."""
        data = otlp(records, self._host, self._version, time.time_ns(), self._max_bytes)
        request = urllib.request.Request(self._url, data, {"Content-Type": "application/json", "User-Agent": "hostguard"})
        try:
            with _OPENER.open(request, timeout=TIMEOUT_S) as response:
                return _rejected(response.read(MAX_ANSWER_BYTES))
        except http.client.HTTPException as error:
            raise OSError(None, f"its answer is no HTTP: {error!r}") from None

    def close(self) -> None:
        """Nothing is kept open."""


def link(section: Forward, host: str, version: str) -> Link:
    """The way that the configuration names."""
    if section.to.startswith("http"):
        return Otlp(section.to, section.max_bytes, host, version)
    return Syslog(section.to, section.max_bytes, host)


class _StayHere(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET: the redirect is shown as the failure that it is."""

    def redirect_request(self, *_: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_StayHere)


class _PartialSuccess(msgspec.Struct, rename="camel"):
    rejected_log_records: int | str = 0
    error_message: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    """ExportLogsServiceResponse."""

    partial_success: _PartialSuccess | None = None


def _rejected(data: bytes) -> str:
    """What a server says against a batch that it took; one that answers otherwise than OTLP asks has taken it."""
    try:
        partial = msgspec.json.decode(data, type=_Answer).partial_success
    except msgspec.DecodeError:
        return ""
    if partial is None or not int(partial.rejected_log_records or 0):
        return ""
    return f"it rejected {partial.rejected_log_records} entries: {partial.error_message}"


class Forwarder:
    """The log's way to one SIEM."""

    def __init__(self, name: str, section: Forward, folder: Path, cursors: Path, way: Link) -> None:
        """Go on where the cursor is. Raises Failure when it can't be read."""
        self.name = name
        self._kinds = frozenset(section.kinds)
        self._cursor = cursors / f"{name}.cursor"
        self._link = way
        cursors.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.position = self._read_cursor()
        """Index of the entry that comes next."""
        if self.position and not Reader(folder, self.position - 1).poll():
            raise Failure(
                f"the log has no entry {self.position - 1}, up to which the cursor {self._cursor} says that all was sent: "
                "is it another log? Write a number into the cursor, or delete it to send the whole log"
            )
        self._reader = Reader(folder, self.position)
        self._waiting: list[Record] = []
        self.failure = ""
        """Why the last attempt failed; empty when it did not."""

    def run(self) -> int:
        """Send what there is, as far as it goes; returns how many entries were handed over. Raises LogCorrupt, Failure."""
        sent = 0
        while batch := self._batch():
            missed = _missed(self.position, batch[0][0])
            wanted = [(index, self._whole(entry)) for index, entry in batch if not self._kinds or kind_name(entry) in self._kinds]
            try:
                self.failure = (self._link.send(wanted) if wanted else "") or missed
            except OSError as error:
                self.failure = _why(error)
                return sent
            sent += len(wanted)
            self._waiting = self._waiting[BATCH_ENTRIES:]
            self.position = batch[-1][0] + 1
            self._write_cursor()
            if missed:
                return sent
        return sent

    def _batch(self) -> list[Record]:
        """The entries that come next; none when there are no more now."""
        if not self._waiting:
            self._waiting = self._reader.poll()
        return self._waiting[:BATCH_ENTRIES]

    def close(self) -> None:
        """Break the connection; the cursor is where it was."""
        self._link.close()

    def _whole(self, entry: Entry | Unknown) -> Entry | Unknown:
        # Rows that were captured stay on this host: a SIEM gets their hash.
        return entry if isinstance(entry, Unknown | Captured) else restore(entry, self._reader.payload)

    def _read_cursor(self) -> int:
        try:
            return int(self._cursor.read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0
        except (OSError, ValueError) as error:
            raise Failure(f"the cursor {self._cursor}: {error}; delete it to send the whole log again") from None

    def _write_cursor(self) -> None:
        fresh = self._cursor.with_suffix(".new")
        try:
            fresh.write_text(f"{self.position}\n", encoding="ascii")
            # A crash here leaves the old cursor: entries are sent twice.
            fresh.replace(self._cursor)
        except OSError as error:
            raise Failure(f"the cursor {self._cursor} can't be written: {error.strerror}") from None


def _missed(position: int, found: int) -> str:
    """What retention took away before it could be sent."""
    return f"entries {position} to {found - 1} were removed from the log before they were sent" if found > position else ""


def _why(error: OSError) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"it answered {error.code} {error.reason}"
    return str(error.strerror or error)


def follow(forwarders: list[Forwarder], every_s: float, tell: Callable[[Forwarder], None]) -> None:
    """Send for good, every `every_s` seconds; `tell` hears of each change from working to failing and back."""
    failing: dict[str, str] = {}
    while True:
        for forwarder in forwarders:
            forwarder.run()
            if failing.get(forwarder.name, "") != forwarder.failure:
                failing[forwarder.name] = forwarder.failure
                tell(forwarder)
        time.sleep(every_s)
