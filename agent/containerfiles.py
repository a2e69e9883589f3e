"""The state files of container runtimes, read when a container's cgroup or a connection of its is looked at."""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path

from ..identity.container_state import MAX_STATE_BYTES, STATE_FILES, described
from ..identity.containers import Container, ContainerRef

MAX_KNOWN = 4096


class ContainerFiles:
    """Containers by what their runtimes' files say. What was found once is kept: an id names one container for good."""

    def __init__(self, root: Path = Path("/")) -> None:
        """root: where the runtimes' paths begin."""
        self._root = root
        self._known: OrderedDict[tuple[str, str], Container] = OrderedDict()

    def __call__(self, ref: ContainerRef) -> Container:
        """The container; what isn't known of it yet is None in it. Never raises."""
        found = self._known.get((ref.runtime, ref.id))
        if found is None:
            found = described(ref, self._state(ref))
            if found.name is not None:
                self._known[ref.runtime, ref.id] = found
                if len(self._known) > MAX_KNOWN:
                    self._known.popitem(last=False)
        return found

    def _state(self, ref: ContainerRef) -> bytes | None:
        """The first of the runtime's files that can be read; None for none, and for one that is too large."""
        for template in STATE_FILES[ref.runtime]:
            try:
                fd = os.open(self._root / template.format(id=ref.id).lstrip("/"), os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                continue
            with os.fdopen(fd, "rb") as file:
                try:
                    data = file.read(MAX_STATE_BYTES + 1)
                except OSError:
                    return None
            return data if len(data) <= MAX_STATE_BYTES else None
        return None
