"""What others have of the log: for each witness the newest head that it has taken, kept beside the log.

``witness/<name>`` is the checkpoint as that witness has it: signed by the log, and cosigned when the witness is one that signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .checkpoint import Checkpoint, cosignature_time
from .handover import Keys
from .note import BadNote, parse_note, parse_verifier
from .treefiles import TreeFiles, read_file


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The newest head that one witness has."""

    name: str
    checkpoint: Checkpoint
    note: str
    """As the witness has it, with its cosignature if it gives one."""
    cosigned_s: int | None
    """When it signed, seconds since 1970, by its own clock; None for one that keeps heads without signing."""


def keep(folder: Path, name: str, note: str) -> None:
    """Put down what a witness has. Raises OSError."""
    TreeFiles(folder).replace(f"witness/{name}", note.encode())


def kept(folder: Path, name: str, keys: Keys, key: str = "") -> Witnessed | None:
    """What the witness has, by what is kept here; `key` is its own verifier key. None before the first. Raises BadNote."""
    data = read_file(folder, f"witness/{name}")
    return None if data is None else taken(name, data.decode("utf-8", "replace"), keys, key)


def taken(name: str, note: str, keys: Keys, key: str = "") -> Witnessed:
    """What a witness has taken, by its words. Raises BadNote unless the log signed it, and the witness if it has a key."""
    checkpoint = keys.open(note)
    cosigned_s = cosignature_time(parse_verifier(key), parse_note(note)) if key else None
    if key and cosigned_s is None:
        raise BadNote(f"not cosigned by {key.partition('+')[0]}")
    return Witnessed(name, checkpoint, note, cosigned_s)


def kept_names(folder: Path) -> list[str]:
    """Names of the witnesses of which something is kept."""
    found = (path.name for path in (folder / "witness").glob("*") if path.is_file())
    return sorted(name for name in found if not name.endswith(".new"))
