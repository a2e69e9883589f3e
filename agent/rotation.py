"""Another key for the log's checkpoints: introduced under the old one's word, then the old one is destroyed.

Only with the daemon stopped: the log has one writer, and a key that is exchanged under a running one would be in two memories at
once. Agents are refused meanwhile, for seconds.

What is true when we crash: until the hand-over is kept (`handover`), the old key is the log's, and `rotate` takes up where it
stopped. From then on the new one is, also while the old one's file is still there: whoever reads the key looks for that
(`Paths.key_file`), and the next start removes the old one (`finish`).
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from dataclasses import dataclass

from ..recorder.durable import LogUnavailable
from ..recorder.entry import LogKey
from ..recorder.handover import Keys, keep, keys_of
from ..recorder.log import Log
from ..recorder.note import BadNote, Signer, Verifier
from ..recorder.packing import LogCorrupt
from ..recorder.prove import TileMissing, prove
from ..recorder.reader import Reader
from ..recorder.seal import Sealer, SealFailed
from ..recorder.tree import BadProof
from ..recorder.treefiles import CHECKPOINT, TreeFiles
from .failures import Failure
from .paths import Paths
from .wholefile import sync_names


@dataclass(slots=True)
class _Work:
    """One rotation under way."""

    paths: Paths
    log: Log
    old: Signer
    new: Signer
    index: int = -1
    """Of the entry."""
    sealer: Sealer | None = None

    @property
    def checkpoint_note(self) -> str:
        assert self.sealer is not None
        return str(self.sealer.checkpoint.signed(self.old, self.new))


def rotate(paths: Paths, log: Log) -> tuple[Verifier, Verifier]:
    """Hand the log over to a new key; returns the old and the new one. The caller has the log open and no daemon runs.

    One that broke off is completed: then the key is the one that it had made. Raises Failure.
    """
    finish(paths)
    work = _Work(paths, log, paths.log_signer(), paths.next_signer())
    try:
        for step in STEPS:
            step(work)
    except (SealFailed, LogUnavailable, LogCorrupt, TileMissing, BadProof, OSError) as error:
        raise Failure(f"the key was not changed, the old one is in force: {error}") from None
    finish(paths)
    return work.old.verifier, work.new.verifier


def _record(work: _Work) -> None:
    """Put the new key on record, once."""
    old, new = str(work.old.verifier), str(work.new.verifier)
    found = [index for index, entry in Reader(work.paths.log).entries((LogKey,)) if getattr(entry, "new", "") == new]
    if not found:
        work.log.append(0, LogKey(old=old, new=new, user=pwd.getpwuid(os.getuid()).pw_name))
    work.index = found[-1] if found else work.log.position - 1
    # A crash up to here: the entry names a key that never came into force.


def _seal(work: _Work) -> None:
    """Put the entry under a head of the old key."""
    work.sealer = Sealer(work.paths.log, work.old, work.log.sync)
    work.sealer.seal()


def _sign_both(work: _Work) -> None:
    """Have the same head signed by both, for whoever reads it next."""
    TreeFiles(work.paths.log).replace(CHECKPOINT, work.checkpoint_note.encode())
    # A crash up to here: the log opens with the old key, which goes on.


def _hand_over(work: _Work) -> None:
    """Keep the proof of the entry under that head. The new key is the log's from here on."""
    assert work.sealer is not None
    keep(work.paths.log, work.index, prove(work.paths.log, work.index, work.sealer.checkpoint, work.checkpoint_note))


STEPS: tuple[Callable[[_Work], None], ...] = (_record, _seal, _sign_both, _hand_over)
"""Tests stop a rotation after each step, as a crash does."""


def finish(paths: Paths) -> None:
    """Remove the old key if the log was handed over to the new one; nothing otherwise. Raises Failure."""
    if paths.key_file != paths.next_key:
        return
    try:
        _overwrite(paths)
        # A crash here: the old key's file has nothing in it, and the new one is found as before.
        paths.next_key.rename(paths.key)
        sync_names(paths.state)
    except OSError as error:
        raise Failure(f"the old key {paths.key} can't be removed: {error.strerror}") from None


def _overwrite(paths: Paths) -> None:
    """As far as a file system lets: one that copies on write, and a disk that remaps, may keep what was there."""
    if not paths.key.exists():
        return
    with paths.key.open("r+b") as file:
        file.write(bytes(os.fstat(file.fileno()).st_size))
        file.flush()
        os.fsync(file.fileno())


def keys(paths: Paths) -> Keys:
    """All keys of this host's log. Raises Failure."""
    try:
        return keys_of(paths.log, paths.log_verifier())
    except BadNote as error:
        raise Failure(f"the log's key: {error}") from None
