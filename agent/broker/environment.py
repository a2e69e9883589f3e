"""Secrets that come in the daemon's environment: out of its memory, out of /proc, for the broker alone.

A process can't forget its first environment: the kernel put it into its memory, and shows it in ``/proc/PID/environ``. So the
daemon, before it does anything, writes the variables that hold secrets into an anonymous file and executes itself again without
them. From then on it has a descriptor that it never reads; the broker's process inherits it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping

import msgspec

from ...policy.credentials import reference, variants
from ...policy.document import Document

VARIABLE = "HOSTGUARD_SECRETS_FD"
"""In the environment of the daemon that was executed again: the descriptor's number."""
NOTHING = -1


def secret_variables(document: Document) -> set[str]:
    """The variables that hold secrets by the configuration."""
    found = set()
    for name, credential in document.credentials.items():
        for text in (*(chosen.secret for chosen in variants(name, credential)), credential.key):
            place = reference(text) if text else None
            if place is not None and place.kind == "env":
                found.add(place.place)
            elif place is not None and place.kind == "aws":
                found.update(name for name in os.environ if name.startswith("AWS_"))
    return found


def hide(names: Iterable[str], environment: Mapping[str, str], command: list[str]) -> None:
    """Execute `command` in this process's place, without these variables; returns when none of them is set. Raises OSError."""
    held = {name: environment[name] for name in names if name in environment}
    if not held:
        return
    # What an earlier execution hid is not lost by another one.
    held = taken(descriptor(environment)) | held
    fd = os.memfd_create("hostguard-secrets", 0)
    os.write(fd, msgspec.msgpack.encode({os.fsencode(name): os.fsencode(value) for name, value in held.items()}))
    left = {name: value for name, value in environment.items() if name not in held}
    os.set_inheritable(fd, True)
    sys.stdout.flush()
    os.execve(command[0], command, left | {VARIABLE: str(fd)})


def descriptor(environment: Mapping[str, str]) -> int:
    """Of what was hidden; `NOTHING` for nothing. It is not inherited by programs that this process starts."""
    text = environment.get(VARIABLE, "")
    fd = int(text) if text.isdecimal() else NOTHING
    if fd != NOTHING:
        try:
            os.set_inheritable(fd, False)
        except OSError:
            return NOTHING
    return fd


def taken(fd: int) -> dict[str, str]:
    """What is in there, for the broker, as often as one is started."""
    if fd == NOTHING:
        return {}
    found: dict[bytes, bytes] = {}
    with contextlib.suppress(msgspec.DecodeError):
        found = msgspec.msgpack.decode(os.pread(fd, os.fstat(fd).st_size, 0), type=dict[bytes, bytes])
    return {os.fsdecode(name): os.fsdecode(value) for name, value in found.items()}
