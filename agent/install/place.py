"""Puts the parts in their places, or tells what that would do."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .. import wholefile
from ..failures import Failure
from . import manifest
from .parts import FOLDERS, Part, parts


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or would be."""

    action: str
    """``make``, ``write``, ``update``, ``same``, ``keep``, ``remove``, ``run``."""
    subject: str
    """Path as the installed host sees it, or a command."""
    remark: str = ""

    @property
    def changes(self) -> bool:
        """Whether it changes anything."""
        return self.action not in ("same", "keep")


def below(root: Path, path: str) -> Path:
    """The place of a host's path below `root`. Raises Failure where a link leads out of there."""
    place = root / path.lstrip("/")
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise Failure(f"{place.parent} leads out of {root}, to {place.parent.resolve()}")
    return place


def digest(data: bytes) -> str:
    """How the manifest knows a file."""
    return hashlib.sha256(data).hexdigest()


def install(root: Path, program: str, *, dry_run: bool) -> list[Step]:
    """Write what is missing, update what is ours, leave alone what was edited. Any number of times. Raises Failure."""
    installed = manifest.read(root)
    steps: list[Step] = []
    try:
        for folder in FOLDERS:
            _make_folder(root, folder.path, folder.mode, installed, steps, dry_run)
        for part in parts(program):
            _make_folder(root, os.path.dirname(part.path), 0o755, installed, steps, dry_run)
            steps.append(_put(root, part, installed, dry_run))
        installed.version, installed.program = version("hostguard"), program
        if not dry_run:
            write_manifest(root, installed)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    return steps


def write_manifest(root: Path, installed: manifest.Manifest) -> None:
    """Remember what is installed. Raises OSError."""
    wholefile.write(below(root, manifest.PATH), manifest.encode(installed), 0o600)


def _put(root: Path, part: Part, installed: manifest.Manifest, dry_run: bool) -> Step:
    place, wanted = below(root, part.path), part.text.encode()
    before = place.read_bytes() if place.exists() else None
    if before == wanted:
        step = Step("same", part.path)
    elif before is not None and part.kept:
        return Step("keep", part.path, "yours")
    elif before is not None and digest(before) != installed.files.get(part.path):
        return Step("keep", part.path, "it was edited, and is not what this version would write; remove it, then install again")
    else:
        step = Step("write" if before is None else "update", part.path)
        if not dry_run:
            wholefile.write(place, wanted, part.mode)
    installed.files[part.path] = digest(wanted)
    if part.kept and part.path not in installed.kept:
        installed.kept.append(part.path)
    return step


def _make_folder(root: Path, path: str, mode: int, installed: manifest.Manifest, steps: list[Step], dry_run: bool) -> None:
    """Make a folder with those above it, and remember which were not there."""
    missing = [str(folder) for folder in (Path(path), *Path(path).parents) if not (root / str(folder).lstrip("/")).exists()]
    for folder in reversed(missing):
        known = any(step.subject == folder for step in steps)
        if not known:
            steps.append(Step("make", folder))
        if folder not in installed.folders:
            installed.folders.append(folder)
        if not dry_run:
            place = below(root, folder)
            place.mkdir(mode=0o755)
            place.chmod(mode if folder == path else 0o755)
