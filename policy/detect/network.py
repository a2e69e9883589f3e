"""Detectors of network addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from .found import Detector

# Four numbers are a version as well: not behind a v or that word.
_V4 = r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d|-[0-9A-Za-z])"
_V6 = r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:\d{0,3}(?:\.\d{1,3}){3})?(?![\w:])"
_ADDRESS = re.compile(f"{_V4}|{_V6}")
_VERSION = re.compile(r"(?:\bv|version|release|build)[ =:\"']{0,3}\Z", re.IGNORECASE)
_MIN_V6_GROUPS = 3


def _find(text: str) -> Iterator[tuple[int, int]]:
    for match in _ADDRESS.finditer(text):
        if _is_somebodys(match[0]) and not _VERSION.search(text, max(0, match.start() - 12), match.start()):
            yield match.span()


def _is_somebodys(text: str) -> bool:
    """An address that is not every host's own."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    if address.version == 6 and (
        len([part for part in text.split(":") if part]) < _MIN_V6_GROUPS or not any(map(str.isdigit, text))
    ):
        return False
    return not (address.is_loopback or address.is_unspecified)


IP = Detector("ip", (r"\d\.\d{1,3}\.\d{1,3}\.\d", r"[0-9A-Fa-f]:[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]", r"::[0-9A-Fa-f]{1,4}:"), _find)
