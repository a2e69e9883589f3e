"""The system's trust store: this host's authorities go in as files of ours, and out again.

Programs that ask the system trust hostguard then, without a variable set for them. The system's own tool makes the bundle from
those files, with Java's store where the distribution keeps one (Debian's ca-certificates-java has a hook there).
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..failures import Failure
from ..install.place import Step, below
from .bundle import write

PREFIX = "hostguard-"
LIMIT_S = 120


@dataclass(frozen=True, slots=True)
class Anchors:
    """Where a family of systems takes authorities from."""

    folder: str
    suffix: str
    command: tuple[str, ...]


KNOWN = (
    Anchors("/usr/local/share/ca-certificates", ".crt", ("update-ca-certificates",)),
    Anchors("/etc/pki/ca-trust/source/anchors", ".pem", ("update-ca-trust", "extract")),
    Anchors("/etc/pki/trust/anchors", ".pem", ("update-ca-certificates",)),
    Anchors("/etc/ca-certificates/trust-source/anchors", ".pem", ("update-ca-trust", "extract")),
)
"""Debian, Red Hat, SUSE, Arch."""


def anchors(root: Path) -> Anchors | None:
    """Those of the system below `root`; None where none is known."""
    return next((each for each in KNOWN if below(root, each.folder).is_dir()), None)


def trust(root: Path, wanted: Mapping[int, bytes], *, dry_run: bool) -> list[Step]:
    """Have exactly these authorities (number to PEM) of ours in the store. Any number of times. Raises Failure."""
    found = anchors(root)
    if found is None:
        return []
    folder = below(root, found.folder)
    texts = {f"{PREFIX}{number}{found.suffix}": pem for number, pem in wanted.items()}
    steps: list[Step] = []
    try:
        for name, pem in texts.items():
            place = folder / name
            if place.exists() and place.read_bytes() == pem:
                steps.append(Step("same", f"{found.folder}/{name}"))
                continue
            steps.append(Step("write", f"{found.folder}/{name}", "system trust"))
            if not dry_run:
                write(place, pem)
        for place in sorted(folder.glob(f"{PREFIX}*{found.suffix}")):
            if place.name not in texts:
                steps.append(Step("remove", f"{found.folder}/{place.name}", "system trust"))
                if not dry_run:
                    place.unlink()
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    if any(step.changes for step in steps):
        steps.append(_update(root, found, dry_run=dry_run))
    return steps


def _update(root: Path, found: Anchors, *, dry_run: bool) -> Step:
    """Have the system make its bundle again; an image does so when it is put together, or first boots."""
    command = " ".join(found.command)
    if root != Path("/"):
        return Step("keep", command, f"run it in {root}")
    if dry_run:
        return Step("run", command)
    try:
        result = subprocess.run(
            [shutil.which(found.command[0]) or found.command[0], *found.command[1:]],
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except OSError as error:
        raise Failure(f"{command}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise Failure(f"{command} does not end") from None
    if result.returncode:
        raise Failure(f"{command}: {result.stderr.strip()[-500:]}")
    return Step("run", command)
