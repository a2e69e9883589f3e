"""Where the daemon keeps its things, by the configuration."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..kernel import cgroups
from ..kernel.errors import KernelError
from ..policy.document import Document
from .failures import Failure

HASH_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Paths:
    """Folders and files of one daemon."""

    state: Path
    run: Path
    pins: Path

    @classmethod
    def of(cls, document: Document) -> Paths:
        """The paths that the configuration names."""
        daemon = document.daemon
        return cls(Path(daemon.state_dir), Path(daemon.run_dir), Path(daemon.pin_dir))

    @property
    def log(self) -> Path:
        """The log's folder."""
        return self.state / "log"

    @property
    def search(self) -> Path:
        """The index over the log's statements; whoever searches makes it."""
        return self.state / "search.sqlite"

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control.sock"

    def make(self) -> None:
        """Make the folders; the state is root's alone, since it holds what agents asked. Raises Failure."""
        try:
            self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.run.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise Failure(f"can't make {error.filename}: {error.strerror}") from None

    def hash_key(self) -> bytes:
        """The deployment's key for ``hash`` masks; made at the first start. Raises Failure."""
        path = self.state / "hash.key"
        try:
            if not path.exists():
                # Written aside and renamed, so that a crash can't leave a short key that later hashes differ from.
                fresh = path.with_suffix(".new")
                fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                with os.fdopen(fd, "wb") as file:
                    file.write(os.urandom(HASH_KEY_BYTES))
                    file.flush()
                    os.fsync(file.fileno())
                fresh.rename(path)
            key = path.read_bytes()
        except OSError as error:
            raise Failure(f"the key for hash masks {path}: {error.strerror}") from None
        if len(key) != HASH_KEY_BYTES:
            raise Failure(
                f"{path} has {len(key)} bytes instead of {HASH_KEY_BYTES}; restore it, or remove it to begin with new hashes"
            )
        return key


def attach_point(document: Document) -> Path:
    """The cgroup that the hooks are attached to. Raises Failure."""
    if document.daemon.attach != "auto":
        return Path(document.daemon.attach)
    try:
        return cgroups.mount_point()
    except KernelError as error:
        raise Failure(str(error)) from None


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
