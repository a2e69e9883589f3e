"""What this host offers of the cage that workers run in, for ``hostguard doctor``."""

from __future__ import annotations

from ...kernel.features import Feature
from . import landlock, seccomp


def cage_features() -> list[Feature]:
    """A filter of system calls, Landlock: taken where they are, and not needed to guard."""
    return [_seccomp(), _landlock()]


def _seccomp() -> Feature:
    try:
        size = len(seccomp.compiled()) // seccomp.INSTRUCTION_BYTES
    except seccomp.NoSeccomp as error:
        return Feature("workers: seccomp", False, str(error), "apt-get install libseccomp2", required=False)
    detail = f"{len(seccomp.ALLOWED)} system calls and a few uses of others, {size} instructions"
    return Feature("workers: seccomp", True, detail, "", required=False)


def _landlock() -> Feature:
    try:
        version = landlock.abi()
    except landlock.NoLandlock as error:
        return Feature("workers: Landlock", False, str(error), landlock.REMEDY, required=False)
    covers = "files, TCP, abstract sockets, signals" if version >= 6 else "files, TCP" if version >= 4 else "files"
    return Feature("workers: Landlock", True, f"ABI {version}: {covers}", "", required=False)
