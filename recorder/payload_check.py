"""Checks the payloads of a log against the entries that name them."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from .findings import Fault, Report
from .payloads import payload_path, payload_paths
from .stored import Stored
from .treefiles import read_file
from .wrapping import Decrypt, value_in


def check_payloads(
    folder: Path, meant: Mapping[Stored, int], allowed: int, decrypt: Decrypt, report: Report, fault: Fault
) -> None:
    """Every payload's file by its name, and its value as far as it can be read; counts in `report`.

    meant: payloads that entries name, with the first such entry. allowed: those of entries before this one may be gone.
    """
    named: dict[Path, list[tuple[Stored, int]]] = {}
    for reference, index in sorted(meant.items(), key=lambda item: item[1]):
        path = payload_path(folder, reference)
        named.setdefault(path, []).append((reference, index))
        if not path.is_file() and index >= allowed:
            fault(f"entry {index}", f"its payload {path.name} is not there")
    for path in payload_paths(folder):
        place = str(path.relative_to(folder))
        data = read_file(folder, place)
        if data is None:
            continue
        found, expected = sha256(data).hexdigest(), path.name.partition(".")[0]
        report.payloads += 1
        if found != expected:
            fault(place, "its content is not what its name says", expected, found)
            continue
        for reference, index in named.get(path, ()):
            opened = decrypt(data) if reference.encrypted else data
            report.encrypted += reference.encrypted
            report.opened += reference.encrypted and opened is not None
            if opened is not None and value_in(reference, opened) is None:
                problem = f"what is in its payload {path.name} is not what it has the hash of"
                fault(f"entry {index}", problem, reference.sha256.hex())
