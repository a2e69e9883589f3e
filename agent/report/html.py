"""A report as one self-contained page that prints well."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ...policy.rules import base_source
from .facts import Report
from .times import utc


def render(report: Report) -> str:
    """The page: no script, nothing loaded from elsewhere, every text escaped."""
    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["utc"] = utc
    environment.tests["base"] = lambda place: place.startswith(f"{base_source().file}:")
    return environment.get_template("report.html").render(report=report)
