"""What an installation wrote, so that exactly that can be removed: ``/var/lib/hostguard/installed.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..failures import Failure
from .parts import STATE

PATH = f"{STATE}/installed.json"


class Manifest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Everything that is there because of `hostguard install`."""

    version: str = ""
    """Of the hostguard that wrote it last."""
    program: str = ""
    """The command that the unit starts."""
    files: dict[str, str] = {}
    """Path, as the installed host sees it, to the SHA-256 of what was written, in hex."""
    kept: list[str] = []
    """Of these files the ones that people edit."""
    folders: list[str] = []
    """Folders that were not there before, outermost first."""
    user: bool = False
    """Whether the system user was made."""


def read(root: Path) -> Manifest:
    """The manifest below `root`, an empty one when nothing is installed. Raises Failure."""
    path = root / PATH.lstrip("/")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise Failure(f"{path}: {error.strerror}") from None
    except msgspec.MsgspecError as error:
        raise Failure(f"{path} is not what hostguard wrote: {error}") from None


def encode(manifest: Manifest) -> bytes:
    """The manifest as it is kept."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
