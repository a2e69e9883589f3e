"""One flow from the log, with its failures said as the command line says them."""

from __future__ import annotations

from pathlib import Path

from ...recorder.entry import Captured
from ...recorder.exchanges import History, NoSuchFlow, history
from ...recorder.packing import LogCorrupt
from ...recorder.reader import Reader
from ...recorder.recording import Recording
from ...recorder.replay import replayed
from ..failures import Failure
from .asking import asked, daemon_of
from .identity import decrypt_with, tell_unopened
from .options import places


def load(
    config: Path, flow: int, identity: tuple[Path, ...] = (), *, payloads: bool = True, by_daemon: bool = False
) -> Recording:
    """The recording of a flow, fit to be shown.

    `payloads`: with captured replies, and what lies beside the log. Raises Failure, DaemonDown, Refused.
    """
    paths = places(config)
    if (client := daemon_of(paths, by_daemon)) is not None:
        return asked(client, flow, identity, payloads=payloads)
    return replayed(load_history(paths.log, flow, identity, payloads=payloads))


def load_history(folder: Path, flow: int, identity: tuple[Path, ...] = (), *, payloads: bool = True) -> History:
    """The entries of a flow as recorded; says on stderr what could not be opened. Raises Failure."""
    reader = Reader(folder, start=max(0, flow), decrypt=decrypt_with(identity))
    try:
        if not payloads:
            small = (record for record in reader.flow(flow) if not isinstance(record[1], Captured))
            return history(flow, small, lambda _: None)
        found = history(flow, reader.flow(flow), reader.payload)
        tell_unopened(len(reader.unopened), bool(identity))
        return found
    except NoSuchFlow as error:
        raise Failure(f"{error}; `hostguard recordings list` has the numbers") from None
    except LogCorrupt as error:
        raise Failure(f"the log is damaged: {error}") from None
