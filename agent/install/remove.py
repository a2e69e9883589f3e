"""Removes what an installation wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..failures import Failure
from . import manifest
from .parts import CONFIG, STATE
from .place import Step, below, digest


def remove(root: Path, *, purge: bool, dry_run: bool) -> list[Step]:
    """Remove the files of the manifest; what people edit, with the state, only by a purge. Raises Failure."""
    installed = manifest.read(root)
    steps: list[Step] = []
    try:
        for path, written in installed.files.items():
            step = _remove_file(root, path, written, path in installed.kept, purge, dry_run)
            if step is not None:
                steps.append(step)
        if purge:
            steps += [step for path in (CONFIG, STATE) if (step := _remove_tree(root, path, dry_run)) is not None]
        else:
            steps += [Step("keep", path, "--purge removes it") for path in (CONFIG, STATE) if _has_more(below(root, path))]
            if not dry_run:
                below(root, manifest.PATH).unlink(missing_ok=True)
        for folder in reversed(installed.folders):
            step = _remove_folder(root, folder, dry_run, {step.subject for step in steps if step.changes})
            if step is not None:
                steps.append(step)
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}") from None
    return steps


def _remove_file(root: Path, path: str, written: str, kept: bool, purge: bool, dry_run: bool) -> Step | None:
    place = below(root, path)
    if not place.exists() or (kept and not purge):
        return None
    if digest(place.read_bytes()) != written and not purge:
        return Step("keep", path, "it was edited; --purge removes it")
    if not dry_run:
        place.unlink()
    return Step("remove", path)


def _has_more(folder: Path) -> bool:
    """Whether there is anything but the manifest in a folder."""
    return folder.is_dir() and any(place.name != Path(manifest.PATH).name for place in folder.iterdir())


def _remove_tree(root: Path, path: str, dry_run: bool) -> Step | None:
    place = below(root, path)
    if not place.exists():
        return None
    if not dry_run:
        shutil.rmtree(place)
    return Step("remove", path, "with all that is in it")


def _remove_folder(root: Path, path: str, dry_run: bool, gone: set[str]) -> Step | None:
    """A folder that was made for us goes when nothing of anybody else is in it."""
    place = below(root, path)
    if not place.is_dir() or any(Path(path).is_relative_to(other) for other in gone):
        return None
    left = {f"{path}/{name.name}" for name in place.iterdir()}
    if left - (gone if dry_run else set()):
        return None
    gone.add(path)
    if not dry_run:
        place.rmdir()
    return Step("remove", path)
