"""The commands that print secrets, as the configuration names them.

The supervisor starts a command, the broker reads what it prints: `Run` says which by its place in this list, so that a broker
that is somebody else's can start nothing but these.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping

from ...policy.credential_sections import Credential
from ...policy.credentials import reference, variants


def commands(credentials: Mapping[str, Credential]) -> list[str]:
    """Command lines, in the order of the file, each once."""
    found: dict[str, None] = {}
    for name, credential in credentials.items():
        for text in (*(chosen.secret for chosen in variants(name, credential)), credential.key):
            if text and (place := reference(text)).kind == "command":
                found[place.place] = None
    return list(found)


def arguments(line: str) -> list[str]:
    """A command line as a program with its arguments; no shell is involved."""
    return shlex.split(line)
