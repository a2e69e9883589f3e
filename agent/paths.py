"""Where the daemon keeps its things, by the configuration."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..identity.paths import Pattern
from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..policy.document import Document
from ..policy.sections import Daemon
from ..policy.workloads import place_of
from ..recorder.note import BadNote, Signer, Verifier, parse_signer
from . import wholefile
from .failures import Failure

HASH_KEY_BYTES = 32
SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders and files of one daemon."""

    state: Path
    run: Path
    pins: Path

    @classmethod
    def of(cls, document: Document) -> Paths:
        """The paths that the configuration names."""
        return cls.in_section(document.daemon)

    @classmethod
    def in_section(cls, daemon: Daemon) -> Paths:
        """The paths that the section ``[daemon]`` names."""
        return cls(Path(daemon.state_dir), Path(daemon.run_dir), Path(daemon.pin_dir))

    @property
    def log(self) -> Path:
        """The log's folder."""
        return self.state / "log"

    @property
    def key(self) -> Path:
        """The secret key that signs the log's checkpoints."""
        return self.state / "log.key"

    @property
    def next_key(self) -> Path:
        """The one that takes over from it, while it does (`rotation`)."""
        return self.state / "log.key.next"

    @property
    def key_file(self) -> Path:
        """The file of the key that is in force: the next one's from the moment on at which the log is handed over to it."""
        from ..recorder.handover import keys_of  # a third of the time in which a command starts, and few commands need it

        try:
            new = parse_signer(self.next_key.read_text(encoding="ascii", errors="replace")).verifier
            return self.next_key if any(each.new == new for each in keys_of(self.log, new).handovers) else self.key
        except (OSError, BadNote):
            return self.key

    @property
    def search(self) -> Path:
        """The index over the log's statements; whoever searches makes it."""
        return self.state / "search.sqlite"

    @property
    def ledger(self) -> Path:
        """What ``hostguard ship`` knows of the bucket."""
        return self.state / "ship.sqlite"

    @property
    def restraint(self) -> Path:
        """Who is stopped, and what else holds agents back beyond one decision (`restraint`)."""
        return self.state / "restraint.sqlite"

    @property
    def grants(self) -> Path:
        """Grants and tickets."""
        return self.state / "grants.sqlite"

    @property
    def notices(self) -> Path:
        """Notices that no channel has taken yet (`outbox`)."""
        return self.state / "notices.sqlite"

    @property
    def held(self) -> Path:
        """What is long about requests that wait."""
        return self.state / "held"

    @property
    def cursors(self) -> Path:
        """How far each forwarder has come."""
        return self.state / "forward"

    def authority(self, document: Document) -> Path:
        """The folder of this host's certificate authorities."""
        return Path(document.tls.ca_dir) if document.tls.ca_dir else self.state / "ca"

    @property
    def bundle(self) -> Path:
        """The roots of the system with this host's own, for agents."""
        return self.run / "bundle.pem"

    @property
    def authorities(self) -> Path:
        """This host's own roots alone, for what already has a file of roots."""
        return self.run / "authorities.pem"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control.sock"

    @property
    def identity(self) -> Path:
        """The socket on which agents present their tokens."""
        return self.run / "identity.sock"

    @property
    def identities(self) -> Path:
        """What is remembered of tokens."""
        return self.state / "identity.sqlite"

    def make(self) -> None:
        """Make the folders; the state is root's alone, since it holds what agents asked. Raises Failure."""
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(f"can't make {error.filename}: {error.strerror}") from None

    def lock(self) -> int:
        """Hold the run folder for as long as the returned descriptor is open. Raises Failure when another daemon does."""
        fd = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise Failure(f"another hostguard daemon uses {self.run} (daemon.run_dir)") from None
        return fd

    def hash_key(self) -> bytes:
        """The deployment's key for ``hash`` masks; made at the first start. Raises Failure."""
        path = self.state / "hash.key"
        try:
            key = _kept(path, lambda: os.urandom(HASH_KEY_BYTES))
        except OSError as error:
            raise Failure(f"the key for hash masks {path}: {error.strerror}") from None
        if len(key) != HASH_KEY_BYTES:
            raise Failure(
                f"{path} has {len(key)} bytes instead of {HASH_KEY_BYTES}; restore it, or remove it to begin with new hashes"
            )
        return key

    def log_signer(self) -> Signer:
        """The key that signs the log's checkpoints; made at the first start, with the host in its name. Raises Failure."""

        def fresh() -> bytes:
            seed = os.urandom(SEED_BYTES)
            host = "".join(char if char.isalnum() else "-" for char in socket.gethostname()) or "host"
            # The log's name must be its own also among clones of this host: it ends with a piece of its key's hash.
            number = Signer("hostguard", seed).verifier.key_id.hex()
            return f"{Signer(f'{host}/hostguard/{number}', seed)}\n".encode()

        return self._signer(lambda path: _kept(path, fresh))

    def next_signer(self) -> Signer:
        """The key that is to take over, made if there is none; of the same name, which is the log's. Raises Failure."""
        name = self.log_signer().name

        def read(path: Path) -> bytes:
            return _kept(path, lambda: f"{Signer(name, os.urandom(SEED_BYTES))}\n".encode())

        return self._signer(read, self.next_key)

    def log_verifier(self) -> Verifier:
        """The public half of the log's key, once the daemon has made it. Raises Failure."""
        return self._signer(Path.read_bytes).verifier

    def _signer(self, read: Callable[[Path], bytes], file: Path | None = None) -> Signer:
        path = file or self.key_file
        try:
            return parse_signer(read(path).decode("ascii", "replace"))
        except OSError as error:
            raise Failure(f"the log's key {path}: {error.strerror}") from None
        except BadNote as error:
            raise Failure(f"the log's key {path}: {error}; restore it: another key can't go on with this log") from None


def _kept(path: Path, fresh: Callable[[], bytes]) -> bytes:
    """A secret that is made once, for its owner only. Raises OSError."""
    if not path.exists():
        # Whole, so that a crash can't leave a short one; durable under its name, so that it is never made twice.
        wholefile.write(path, fresh())
    return path.read_bytes()


def attach_point(document: Document) -> Path:
    """The cgroup that the hooks are attached to. Raises Failure."""
    if document.daemon.attach != "auto":
        return Path(document.daemon.attach)
    try:
        return cgroups.mount_point()
    except KernelError as error:
        raise Failure(str(error)) from None


def made_cgroup(document: Document, workload: str) -> Path | None:
    """The directory of the cgroup that hostguard makes for a workload; None for one whose cgroups others make. Raises Failure."""
    place = place_of(document.workloads[workload])
    exact = place.exact if isinstance(place, Pattern) else None
    return None if exact is None else workload_path(document, exact)


def workload_path(document: Document, cgroup: str) -> Path:
    """The directory of a workload's cgroup, which must be below the attach point. Raises Failure."""
    try:
        path = cgroups.mount_point() / cgroup.lstrip("/")
    except KernelError as error:
        raise Failure(str(error)) from None
    point = attach_point(document)
    if not path.is_relative_to(point):
        raise Failure(f"{document.file}: the cgroup {cgroup} is not below daemon.attach ({point}), so the hooks would not see it")
    return path
