"""The page's texts: templates that are read before the cage is closed, every value escaped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined

FOLDER = Path(__file__).parent / "pages"
STATIC = {"app.css": "text/css", "app.js": "text/javascript", "icon.svg": "image/svg+xml"}


class Views:
    """Made before the cage is closed."""

    def __init__(self) -> None:
        texts = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.html")}
        self._environment = Environment(
            loader=DictLoader(texts), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.filters["utc"] = utc
        self._environment.filters["span"] = span
        for name in texts:
            self._environment.get_template(name)
        self.static = {name: (FOLDER / name).read_bytes() for name in STATIC}

    def render(self, name: str, **values: Any) -> str:
        """The template's text."""
        return self._environment.get_template(name).render(now=time.time(), **values)


def utc(seconds: float) -> str:
    """Wall time for people."""
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def span(seconds: float) -> str:
    """How long, for people."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    return f"{whole // 60} min" if whole < 7200 else f"{whole // 3600} h"
