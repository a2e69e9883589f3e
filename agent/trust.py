"""What TLS takes, kept up to date: leaves with roots for the workers, the combined bundle for the agents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..policy.credentials import client_tls, is_verified, server_tls
from ..policy.document import Document
from . import messages
from .authority.bundle import combined, system_bundle, write
from .authority.installed import not_in_system
from .authority.own import renew
from .authority.variables import FOLDER
from .broker.keeper import Keeper
from .failures import Failure
from .leaves import WEB, Roots

LOOK_S = 10.0
"""How often the files are looked at; a system's roots change some times a year."""

Broadcast = Callable[[messages.Tls], None]


class Trust:
    """One daemon's."""

    def __init__(self, document: Document, bundle: Path, authorities: Path) -> None:
        """Reads the roots that the configuration names. Raises Failure."""
        self._document = document
        self._bundle = bundle
        self._authorities = authorities
        self._broker: Keeper | None = None
        self._broadcast: Broadcast = lambda _tls: None
        self.also: list[Callable[[], None]] = []
        """Called when the broker has other leaves."""
        self._stamps: dict[str, tuple[int, int]] = {}
        self._roots: tuple[Roots, ...] = ()
        self.failure = ""
        """Why bundle or roots can't be kept up to date; empty when they can."""
        self._read_roots()

    def serve(self, broker: Keeper, broadcast: Broadcast) -> None:
        """Take leaves from the broker, tell the workers by `broadcast`."""
        self._broker, self._broadcast = broker, broadcast

    @property
    def tls(self) -> messages.Tls:
        """For workers."""
        leaves = self._broker.leaves if self._broker else ()
        return messages.Tls(tuple(leaf for leaf in leaves if leaf.resource != WEB), self._roots)

    def changed(self) -> None:
        """The broker has other leaves, or authorities."""
        self._write_bundle()
        self._broadcast(self.tls)
        for call in self.also:
            call()

    async def run(self) -> None:
        """Follow the files; runs until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            before = dict(self._stamps)
            if self._look() != before:
                try:
                    self._read_roots()
                except Failure as failure:
                    self.failure = str(failure)  # what was read before stays
                self.changed()

    def facts(self) -> dict[str, Any]:
        """For ``status``."""
        authorities = [each.pem for each in self._broker.authorities] if self._broker else []
        return {"bundle": str(self._bundle), "failure": self.failure, "not_in_system": not_in_system(authorities)}

    def _read_roots(self) -> None:
        self._look()
        by_file: dict[str, list[str]] = {}
        for name, resource in self._document.resources.items():
            if is_verified(resource):
                by_file.setdefault(resource.server_roots or str(system_bundle() or ""), []).append(name)
        found = []
        for place, resources in by_file.items():
            named = self._document.resources[resources[0]].server_roots
            key = f"{self._document.file}: resources.{resources[0]}.{'server_roots' if named else 'server_tls'}"
            if not place:
                raise Failure(f"{key}: this system has no bundle of roots in a place that is known: set server_roots")
            try:
                pem = Path(place).read_text(encoding="utf-8", errors="replace")
            except OSError as error:
                raise Failure(f"{key}: {place}: {error.strerror}") from None
            if "-----BEGIN" not in pem:
                raise Failure(f"{key}: {place} holds no certificate in PEM")
            found.append(Roots(tuple(resources), pem))
        self._roots, self.failure = tuple(found), ""

    def _look(self) -> dict[str, tuple[int, int]]:
        places = {resource.server_roots for resource in self._document.resources.values() if resource.server_roots}
        places.add(str(system_bundle() or ""))
        self._stamps = {place: _stamp(place) for place in places if place}
        return self._stamps

    def _write_bundle(self) -> None:
        """Never ours alone: without the system's roots there is no bundle, and agents keep what they have."""
        system = system_bundle()
        if system is None or self._broker is None or not self._broker.authorities:
            return
        ours = [each.pem for each in self._broker.authorities]
        try:
            write(self._authorities, combined(b"", ours))
            write(self._bundle, combined(system.read_bytes(), ours))
            renew(self._bundle.with_name(FOLDER), combined(b"", ours))
        except OSError as error:
            self.failure = f"{error.filename} can't be written: {error.strerror}"


def _stamp(place: str) -> tuple[int, int]:
    """Changes when the file does."""
    try:
        found = os.stat(place)
    except OSError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)


def link_facts(document: Document, name: str) -> dict[str, Any]:
    """How a resource's two links are protected, and whose login its servers see."""
    resource = document.resources[name]
    return {"client_tls": client_tls(resource), "server_tls": server_tls(resource), "credential": resource.credential or ""}
