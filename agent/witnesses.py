"""Shows the log's checkpoints to witnesses.

A checkpoint is worth what others have seen of it. Three kinds of witness: one that speaks C2SP tlog-witness and cosigns, a file
that lies elsewhere, a web hook. None of them is waited for by anything but the next attempt; what goes wrong is on ``status``.

A witness that has seen more entries than this log has, or others, is not overwritten or talked over: that is what it is for.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from ..policy.outlet_sections import Witness
from ..recorder.checkpoint import Checkpoint, open_checkpoint
from ..recorder.handover import Keys
from ..recorder.note import COSIGNATURE, BadNote, Note, parse_note, parse_signatures, parse_verifier
from ..recorder.prove import TileMissing, consistency_proof, root_at
from ..recorder.treefiles import CHECKPOINT, TreeFiles
from ..recorder.witnessed import keep, kept, taken
from .failures import Failure
from .sealing import Sealing

TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 * 1024
SIZE_TYPE = "text/x.tlog.size"
"""C2SP tlog-witness, add-checkpoint: the type of a 409 answer, which is the size that the witness has."""


class NotWitnessed(Exception):
    """A witness did not take the checkpoint; the message says why."""


@dataclass(slots=True)
class Shown:
    """How it stands with one witness."""

    name: str
    to: Witness
    size: int = 0
    """Entries of the newest checkpoint that it has taken."""
    at: float = 0.0
    """When it took it, seconds since 1970."""
    failure: str = ""


class Witnesses:
    """All witnesses of one log."""

    def __init__(self, folder: Path, keys: Keys, sealing: Sealing, witnesses: Mapping[str, Witness], every_s: float):
        """Take up what is kept of each. Raises Failure for a key that is none."""
        self._folder = folder
        self._keys = keys
        self._sealing = sealing
        self._every_s = every_s
        self.shown = [self._taken_up(name, to) for name, to in witnesses.items()]

    def _taken_up(self, name: str, to: Witness) -> Shown:
        try:
            if to.key and parse_verifier(to.key).kind != COSIGNATURE:
                raise Failure(f"witnesses.{name}.key: it is not a key for cosignatures (type 0x04)")
            found = kept(self._folder, name, self._keys, to.key)
        except BadNote as error:
            raise Failure(f"witnesses.{name}.key: {error}") from None
        return Shown(name, to) if found is None else Shown(name, to, found.checkpoint.size, float(found.cosigned_s or 0))

    async def run(self) -> None:
        """Show the newest checkpoint every `every_s` seconds; runs until cancelled."""
        while self.shown:
            await self.show()
            await asyncio.sleep(self._every_s)

    async def show(self) -> None:
        """Show the newest checkpoint to all witnesses that do not have it; what goes wrong is kept in `Shown.failure`."""
        size = self._sealing.checkpoint.size
        await asyncio.gather(*(self._show(shown) for shown in self.shown if shown.size < size or shown.failure))

    async def _show(self, shown: Shown) -> None:
        try:
            checkpoint, note = await self._in_thread(self._published)
            if shown.to.url:
                cosigned = await self._cosign(shown, checkpoint, note)
            elif shown.to.file:
                cosigned = await self._in_thread(self._file, shown, checkpoint, note)
            else:
                cosigned = await self._post(shown.to.webhook, note)
            await self._in_thread(keep, self._folder, shown.name, cosigned)
        except (NotWitnessed, BadNote, TileMissing, OSError, aiohttp.ClientError, TimeoutError) as error:
            shown.failure = str(error) or type(error).__name__
        else:
            shown.size, shown.at, shown.failure = checkpoint.size, time.time(), ""

    async def _in_thread(self, call: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._sealing.thread, call, *arguments)

    def _published(self) -> tuple[Checkpoint, str]:
        text = (self._folder / CHECKPOINT).read_text(encoding="utf-8")
        return open_checkpoint(text, self._keys.current)[0], text

    async def _cosign(self, shown: Shown, checkpoint: Checkpoint, note: str) -> str:
        """C2SP tlog-witness, add-checkpoint; returns the cosigned checkpoint."""
        status, answer, kind = await self._add(shown.to.url, shown.size, checkpoint, note)
        if status == 409 and kind == SIZE_TYPE:
            # It has another size than we remember: an answer of ours was lost, or its state, or this log is not the whole one.
            has = int(answer) if answer.strip().isdecimal() else -1
            if not 0 <= has <= checkpoint.size:
                raise NotWitnessed(
                    f"it has seen {answer.strip()[:20]} entries, but this log has {checkpoint.size}: it was shortened"
                )
            status, answer, kind = await self._add(shown.to.url, has, checkpoint, note)
        if status == 422:
            raise NotWitnessed("it has seen other entries than this log's: the log's past was changed, or it is another log")
        if status != 200:
            raise NotWitnessed(f"it answered {status}: {answer.strip()[:200]}")
        return self._checked(shown, note, answer)

    def _checked(self, shown: Shown, note: str, answer: str) -> str:
        """The note with the witness's cosignature, once that is right; signatures by others in the answer are dropped."""
        key = parse_verifier(shown.to.key)
        signed = parse_note(note)
        cosignatures = key.of(Note(signed.text, parse_signatures(answer)))
        cosigned = str(Note(signed.text, (*signed.signatures, *cosignatures)))
        taken(shown.name, cosigned, self._keys, shown.to.key)
        return cosigned

    async def _add(self, url: str, old: int, checkpoint: Checkpoint, note: str) -> tuple[int, str, str]:
        proof = await self._in_thread(consistency_proof, self._folder, old, checkpoint.size)
        lines = [f"old {old}", *(base64.b64encode(hash_).decode() for hash_ in proof), "", note]
        return await _request(f"{url.rstrip('/')}/add-checkpoint", "\n".join(lines))

    async def _post(self, url: str, note: str) -> str:
        status, answer, _ = await _request(url, note)
        if not 200 <= status < 300:
            raise NotWitnessed(f"it answered {status}: {answer.strip()[:200]}")
        return note

    def _file(self, shown: Shown, checkpoint: Checkpoint, note: str) -> str:
        """Replace the file, unless it knows better."""
        path = Path(shown.to.file)
        if path.exists():
            before = self._keys.open(path.read_text(encoding="utf-8"))
            if before.size > checkpoint.size:
                raise NotWitnessed(f"it has {before.size} entries, but this log has {checkpoint.size}: it was shortened")
            if before.size and root_at(self._folder, before.size) != before.root:
                raise NotWitnessed("it has other entries than this log: the log's past was changed")
        TreeFiles(path.parent).replace(path.name, note.encode())
        return note


async def _request(url: str, body: str) -> tuple[int, str, str]:
    """POST text; returns status, text, content type."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.post(url, data=body.encode(), headers={"Content-Type": "text/plain; charset=utf-8"}) as response,
    ):
        answer = await response.content.read(MAX_ANSWER_BYTES)
        return response.status, answer.decode("utf-8", "replace"), response.content_type
