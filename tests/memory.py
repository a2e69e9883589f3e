"""What another process has in its memory, read as root by ``/proc/PID/mem``: for finding what must not be there."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

MAX_PIECE_BYTES = 16 << 20
_AREA = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (r\S+) ")


def found_in(pid: int, wanted: Mapping[str, bytes]) -> set[str]:
    """Which of these the process has in any page that it can read, its arguments and first environment among them."""
    found: set[str] = set()
    longest = max(map(len, wanted.values()))
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace").splitlines():
            area = _AREA.match(line)
            if area is None or line.endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            begin, end = int(area[1], 16), int(area[2], 16)
            for start in range(begin, end, MAX_PIECE_BYTES):
                with contextlib.suppress(OSError):  # a page behind the end of a file
                    memory.seek(start)
                    piece = memory.read(min(MAX_PIECE_BYTES + longest, end - start))
                    found.update(name for name, data in wanted.items() if data in piece)
    return found


def descendants(pid: int) -> list[int]:
    """The process with all below it."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (task / "children").read_text().split():
                found += descendants(int(child))
    return found
