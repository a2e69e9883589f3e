"""The authorities of this host in their folder: at most times one, while one takes over from the other two.

``NUMBER.pem`` is a certificate, ``NUMBER.key`` its key; there is no other state, so nothing can contradict it. A new authority is
in the bundles as soon as it is made, but signs only when the overlap is over, unless no older one can vouch for the names asked
for. When it signs, the older ones' keys are removed; their certificates stay until the last leaf that they signed has ended.
"""

from __future__ import annotations

import datetime
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from .. import wholefile
from .issue import BACKDATED, Leaf, make_authority, make_leaf, permits
from .names import Names

RENEWED_BEFORE = datetime.timedelta(days=30)
"""So long before an authority ends another one is made; a third of its time where that is less."""


class BadStore(Exception):
    """The folder can't be read or written, or what is in it is no authority; says which file."""


@dataclass(frozen=True, slots=True)
class Held:
    """One authority."""

    number: int
    certificate: x509.Certificate
    key: Path | None
    """None once it signs no more."""

    @property
    def made_at(self) -> datetime.datetime:
        """When it was made, UTC."""
        return self.certificate.not_valid_before_utc + BACKDATED

    @property
    def ends_at(self) -> datetime.datetime:
        """Until when it is valid, UTC."""
        return self.certificate.not_valid_after_utc

    @property
    def pem(self) -> bytes:
        """Its certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long what lasts: the section ``[tls]``."""

    ca_days: int
    leaf_hours: int
    overlap_hours: int

    @property
    def overlap(self) -> datetime.timedelta:
        """From the making of an authority to its first signature."""
        return datetime.timedelta(hours=self.overlap_hours)

    @property
    def renewed_before(self) -> datetime.timedelta:
        """From the making of the next authority to the end of this one."""
        return min(RENEWED_BEFORE, datetime.timedelta(days=self.ca_days) / 3)


class Store:
    """The folder; everything in here is read anew each time, since the command line changes it while a daemon runs."""

    def __init__(self, folder: Path, terms: Terms, host: str) -> None:
        """`host`: what the authorities are called after."""
        self._folder = folder
        self.terms = terms
        self._host = host

    def make_folder(self) -> None:
        """Root's alone. Raises BadStore."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise BadStore(f"{self._folder}: {error.strerror}") from None

    def authorities(self) -> list[Held]:
        """All, the oldest first. Raises BadStore."""
        found = []
        try:
            for place in self._folder.glob("*.pem"):
                if place.stem.isdecimal():
                    key = place.with_suffix(".key")
                    certificate = x509.load_pem_x509_certificate(place.read_bytes())
                    found.append(Held(int(place.stem), certificate, key if key.exists() else None))
        except OSError as error:
            raise BadStore(f"{error.filename}: {error.strerror}") from None
        except ValueError:
            raise BadStore(f"{place} is no certificate: restore it, or remove it with its key") from None
        return sorted(found, key=lambda held: held.number)

    def ensure(self, names: Names, now: datetime.datetime) -> bool:
        """Have an authority that can vouch for all these names for some time; whether one had to be made. Raises BadStore."""
        with self._locked():
            late = now + self.terms.renewed_before
            if any(held.key and held.ends_at > late and permits(held.certificate, names) for held in self.authorities()):
                return False
            self._make(names, now)
            return True

    def rotate(self, names: Names, now: datetime.datetime, *, at_once: bool = False) -> Held:
        """Make another authority, whatever there is. Raises BadStore.

        `at_once`: the others sign no more, and nobody is to trust them: their keys are not only ours any more.
        """
        with self._locked():
            before = self.authorities()
            made = self._make(names, now)
            if at_once:
                for held in before:
                    self._remove(held, certificate=True)
            return made

    def sign(self, names: Names, now: datetime.datetime) -> Leaf:
        """A leaf for these names. Raises BadStore when no authority can vouch for them."""
        held = self.signing(names, now)
        if held is None or held.key is None:
            raise BadStore(f"no authority in {self._folder} can vouch for {', '.join((*names.dns, *names.ips))}")
        try:
            return make_leaf(held.certificate, held.key.read_bytes(), names, self.terms.leaf_hours, now)
        except OSError as error:
            raise BadStore(f"{held.key}: {error.strerror}") from None
        except ValueError:
            raise BadStore(f"{held.key} is no key: restore it, or `hostguard ca rotate --now`") from None

    def settle(self, names: Names, now: datetime.datetime) -> None:
        """Remove what no leaf needs any more, for these are all names that there are. Raises BadStore."""
        with self._locked():
            held = self.authorities()
            settled = [each for each in held if self._is_settled(each, now) and permits(each.certificate, names)]
            if not settled:
                return
            current = settled[-1]
            over = current.made_at + self.terms.overlap + datetime.timedelta(hours=self.terms.leaf_hours)
            for each in held:
                if each.number < current.number:
                    self._remove(each, certificate=now >= over or now >= each.ends_at)

    def signing(self, names: Names, now: datetime.datetime) -> Held | None:
        """The one that would sign for these names now. Raises BadStore."""
        able = [each for each in self.authorities() if each.key and now < each.ends_at and permits(each.certificate, names)]
        settled = [each for each in able if self._is_settled(each, now)]
        # The first ever, or the only one for these names, can wait for nobody.
        return settled[-1] if settled else able[0] if able else None

    def _is_settled(self, held: Held, now: datetime.datetime) -> bool:
        return bool(held.key) and held.made_at + self.terms.overlap <= now < held.ends_at

    def _make(self, names: Names, now: datetime.datetime) -> Held:
        numbers = [int(place.stem) for place in self._folder.glob("*.*") if place.stem.isdecimal()]
        number = max(numbers, default=0) + 1
        certificate, key = make_authority(self._host, number, names, self.terms.ca_days, now)
        place = self._folder / f"{number}.key"
        try:
            # The certificate is what makes it count: a crash between the two leaves a key that is nobody's.
            wholefile.write(place, key)
            wholefile.write(place.with_suffix(".pem"), certificate.public_bytes(Encoding.PEM))
        except OSError as error:
            raise BadStore(f"{error.filename or place}: {error.strerror}") from None
        return Held(number, certificate, place)

    def _remove(self, held: Held, *, certificate: bool) -> None:
        try:
            if held.key is not None:
                held.key.unlink(missing_ok=True)
            if certificate:
                (self._folder / f"{held.number}.pem").unlink(missing_ok=True)
        except OSError as error:
            raise BadStore(f"{error.filename}: {error.strerror}") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One at a time, among the daemon's process and the command line."""
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise BadStore(f"{self._folder}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)
