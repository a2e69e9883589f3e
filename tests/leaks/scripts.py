"""Scripts of statements with how each is sent, read from folders of .sql files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
WORDS = {"simple", "extended", "binary", "portal", "pipeline", "together", "18", "15", "16+", "inference"}
CONNECT = "\\connect"
"""A statement that stands for a new session."""


class Script(NamedTuple):
    """What an agent sends in one session, or in several when CONNECT is among it."""

    place: str
    """File and the first statement."""
    sent: str
    """``simple`` (one Query each), ``extended``, ``binary`` (results in binary), ``portal`` (two rows at a time),
    ``pipeline`` (one Sync for all), ``together`` (one Query for all)."""
    words: frozenset[str]
    today: str
    """What hostguard does wrong with it, why; empty when nothing."""
    statements: tuple[str, ...]

    def runs_on(self, version: int) -> bool:
        """Whether the server's version has what the script uses."""
        if "16+" in self.words and version < 16:
            return False
        return not ({"15", "18"} & self.words) or str(version) in self.words

    def message(self) -> str:
        """The line that tells the agent's program."""
        return json.dumps({"sent": self.sent, "statements": self.statements})


def read(folder: str) -> list[Script]:
    """Every script of every file; each begins with a line ``--= words | what is wrong today`` and its statements end in ``;``."""
    return [script for file in sorted((FOLDER / folder).glob("*.sql")) for script in _of(file)]


def _of(file: Path) -> list[Script]:
    _, *blocks = ("\n" + file.read_text()).split("\n--=")
    found = []
    for block in blocks:
        header, _, text = block.partition("\n")
        words, _, today = header.partition("|")
        chosen = frozenset(words.split())
        assert chosen <= WORDS, f"{file}: {chosen - WORDS}"
        lines = re.sub(r"^-- .*\n", "", text, flags=re.MULTILINE)
        statements = tuple(part.strip() for part in re.split(r";\n", lines + "\n") if part.strip())
        sent = next(iter(chosen & {"extended", "binary", "portal", "pipeline", "together"}), "simple")
        found.append(Script(f"{file.stem}: {' ; '.join(statements)}", sent, chosen, today.strip(), statements))
    return found
