"""Detectors that others bring: entry points of the group ``hostguard.detectors``.

For what has no form by itself, such as names of persons. An entry point's name is the kind that tags `detect`; it leads to a
function without arguments that gives a `found.Detector`, of that entity. Workers load all that are installed before their cage
closes; no root process loads any. What a plug-in raises ends the flow whose value it looked at.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from .found import Detector

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hostguard.detectors"
_loaded: dict[str, Detector] = {}


class NoPlugin(Exception):
    """There is no such plug-in, or it is none; says why."""


def installed() -> frozenset[str]:
    """The kinds that plug-ins detect; none is loaded for this."""
    return frozenset(point.name for point in _points())


def load_all() -> None:
    """Load every plug-in: later there may be no files. Raises NoPlugin."""
    for name in installed():
        plugin(name)


def plugin(name: str) -> Detector:
    """The detector of a plug-in, loaded once. Raises NoPlugin."""
    if name not in _loaded:
        points = [point for point in _points() if point.name == name]
        if len(points) != 1:
            raise NoPlugin(f"{len(points)} plug-ins detect {name}; expected one (entry points of {GROUP})")
        _loaded[name] = _made(points[0])
    return _loaded[name]


def _points() -> Iterable[EntryPoint]:
    from importlib.metadata import entry_points  # dear to import, and most configurations name no plug-in

    return entry_points(group=GROUP)


def _made(point: EntryPoint) -> Detector:
    made = point.load()()
    if not isinstance(made, Detector) or made.entity != point.name or not made.suspects:
        raise NoPlugin(f"{point.value} gives no hostguard.policy.detect.found.Detector of the entity {point.name}")
    return made
