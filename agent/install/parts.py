"""The files that an installation consists of, with their places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...kernel.confine import KEPT_CAPABILITIES
from ..authority.variables import VARIABLES

TEXTS = Path(__file__).parent / "files"
LIBRARY = "/usr/local/lib"
"""Where what the administrator installs by hand has its units (systemd.unit(5)); /etc stays for what people change."""
UNIT = f"{LIBRARY}/systemd/system/hostguard.service"
TMPFILES = f"{LIBRARY}/tmpfiles.d/hostguard.conf"
AGENT = "/usr/local/share/hostguard/agent.conf"
CONFIG = "/etc/hostguard"
STATE = "/var/lib/hostguard"
RUN = "/run/hostguard"
USER = "hostguard"


@dataclass(frozen=True, slots=True)
class Part:
    """One file."""

    path: str
    """Absolute, as the installed host sees it."""
    text: str
    mode: int
    kept: bool = False
    """People edit it: written only where nothing is, removed only by a purge."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One folder that must be there; others come as they are needed, for everybody to read."""

    path: str
    mode: int


FOLDERS = (Folder(CONFIG, 0o755), Folder(f"{CONFIG}/policies", 0o755), Folder(STATE, 0o700))


def parts(program: str) -> tuple[Part, ...]:
    """All files. program: path of the ``hostguard`` command, as the installed host sees it."""
    return (
        Part(f"{CONFIG}/hostguard.toml", _text("hostguard.toml"), 0o640, kept=True),
        Part(f"{CONFIG}/policies/start.cedar", _text("start.cedar"), 0o640, kept=True),
        Part(UNIT, _text("hostguard.service", EXEC=program), 0o644),
        Part(f"{LIBRARY}/sysusers.d/hostguard.conf", _text("sysusers.conf"), 0o644),
        Part(TMPFILES, _text("tmpfiles.conf"), 0o644),
        Part(
            "/usr/local/share/hostguard/agent.conf", _text("agent.conf", KEPT=" ".join(KEPT_CAPABILITIES), TRUST=_trust()), 0o644
        ),
    )


def _trust() -> str:
    return "\n".join(f"Environment={name}={RUN}/bundle.pem" for name in VARIABLES)


def _text(name: str, **values: str) -> str:
    """A file's text; ``@NAME@`` stands for a value, since systemd has its own use for ``$`` with ``%``."""
    text = (TEXTS / name).read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
