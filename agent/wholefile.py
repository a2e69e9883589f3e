"""Files that are whole or not there, for whoever reads them meanwhile as after a crash."""

from __future__ import annotations

import os
from pathlib import Path


def write(place: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a file in place, or in the place of another: written aside, synced, renamed, its name synced. Raises OSError."""
    aside = place.with_name(f".{place.name}.new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as file:
        os.fchmod(fd, mode)
        file.write(data)
        file.flush()
        os.fsync(fd)
    aside.rename(place)
    sync_names(place.parent)


def sync_names(folder: Path) -> None:
    """A file's name is durable only when its folder is synced (fsync(2)). Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
