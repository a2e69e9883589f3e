"""Files that commands write for somebody: whole or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from ..failures import Failure


def write(output: Path | None, data: Iterator[bytes]) -> int:
    """Write to the file, which appears only once it is whole, or to stdout. Returns the number of bytes. Raises Failure."""
    if output is None:
        return sum(sys.stdout.buffer.write(piece) for piece in data)
    fresh = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        # Owner only: it holds what agents asked.
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            count = sum(file.write(piece) for piece in data)
        fresh.replace(output)
    except OSError as error:
        raise Failure(f"{output} can't be written: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)
    return count
