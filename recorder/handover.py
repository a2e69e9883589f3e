"""Hand-overs of the log's key: which keys signed the log, one after the other, each introduced under the word of the one before.

A hand-over is an entry (`LogKey`) with the old and the new key, under a checkpoint that both have signed. It is kept as
``handover/<20 digits>``, by the entry's index: a proof file as `prove` makes it, so that it stays checkable when retention has
removed the entry. Who trusts one key of the chain comes to all the others: forward because the old key signed the entry that
names the new one, backward because the new key signed the same.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from .checkpoint import Checkpoint, open_checkpoint
from .entry import DaemonStart, LogKey
from .note import BadNote, Verifier, parse_verifier
from .packing import LogCorrupt, unpack
from .prove import check_proof, extra_of
from .stored import Stored
from .tree import BadProof
from .treefiles import FRESH, TreeFiles, read_file

FOLDER = "handover"
KEY_DETAIL = "log key"
"""Name of the detail of a `DaemonStart` that is the verifier key of its checkpoints."""


@dataclass(frozen=True, slots=True)
class Handover:
    """One change of the key."""

    index: int
    """Of its entry."""
    old: Verifier
    new: Verifier
    checkpoint: Checkpoint
    """Signed by both."""


@dataclass(frozen=True, slots=True)
class Keys:
    """All keys that have signed one log, by the word of one that is trusted."""

    trusted: Verifier
    handovers: tuple[Handover, ...] = ()
    """In order."""

    @property
    def all(self) -> tuple[Verifier, ...]:
        """Oldest first."""
        return (self.handovers[0].old, *(each.new for each in self.handovers)) if self.handovers else (self.trusted,)

    @property
    def current(self) -> Verifier:
        """The one that signs now."""
        return self.all[-1]

    def objection(self, index: int, entry: LogKey | DaemonStart) -> tuple[str, str, str] | None:
        """What is wrong with what an entry says of the log's key: problem, expected, found; None when nothing is."""
        names = tuple(map(str, self.all))
        if isinstance(entry, LogKey):
            # A key that was announced and never came into force does no harm.
            if entry.new in names and index not in [each.index for each in self.handovers]:
                return "the key that it introduces signs the log, but its hand-over is not there", f"{FOLDER}/{index:020d}", ""
            return None
        key = None if isinstance(entry.details, Stored) else dict(entry.details).get(KEY_DETAIL)
        if key is not None and key not in names:
            return "a daemon signed with a key that no hand-over leads to", ", ".join(names), key
        return None

    def open(self, data: str) -> Checkpoint:
        """A checkpoint that was signed at any time: by any of the keys. Raises BadNote."""
        for verifier in reversed(self.all[:-1]):
            try:
                return open_checkpoint(data, verifier)[0]
            except BadNote:
                continue
        return open_checkpoint(data, self.current)[0]


def keep(folder: Path, index: int, proof: str) -> None:
    """Put a hand-over down, durable on return. Raises OSError."""
    TreeFiles(folder).replace(f"{FOLDER}/{index:020d}", proof.encode())


def keys_of(folder: Path, trusted: Verifier) -> Keys:
    """The chain that `trusted` is a key of. Raises BadNote for a hand-over that is not good or follows from none."""
    found = [_opened(folder, name) for name in _names(folder)]
    for before, after in itertools.pairwise(found):
        if before.new != after.old:
            raise BadNote(f"{FOLDER}/{after.index:020d} does not take the key over from the hand-over before it")
    keys = Keys(trusted, tuple(found))
    if trusted not in keys.all:
        raise BadNote(f"none of the log's hand-overs leads to or from {trusted.name}+{trusted.key_id.hex()}")
    return keys


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / FOLDER).glob("*") if not path.name.endswith(FRESH))


def _opened(folder: Path, name: str) -> Handover:
    place = f"{FOLDER}/{name}"
    text = (read_file(folder, place) or b"").decode("utf-8", "replace")
    try:
        # Which keys to check it with is in the entry itself; what they are worth is for the chain to say.
        entry = _entry(text)
        old, new = parse_verifier(entry.old), parse_verifier(entry.new)
        proven = check_proof(text, old)
        check_proof(text, new)
    except (BadNote, BadProof, LogCorrupt) as error:
        raise BadNote(f"{place}: {error}") from None
    if f"{proven.index:020d}" != name:
        raise BadNote(f"{place}: it is about entry {proven.index}")
    return Handover(proven.index, old, new, proven.checkpoint)


def _entry(text: str) -> LogKey:
    entry = unpack(extra_of(text))
    if not isinstance(entry, LogKey):
        raise BadNote("its entry hands no key over")
    return entry
