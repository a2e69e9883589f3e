"""What a workload's table in the configuration says, as the rule that `identity` matches by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from ..identity.containers import ContainerPattern
from ..identity.paths import Pattern, PatternMistake, components
from ..identity.systemd import Slice, Unit, UnitMistake
from ..identity.workload import Place, WorkloadRule, exact_path, same_place
from .sections import Tables, Workload
from .strict import Mistake

PLACES = ("cgroup", "unit", "slice", "container")
NOBODY = 0xFFFF_FFFF
"""Stands for the users that this host doesn't know: no process can have this uid (credentials(7)), so none is let in."""
UidOf = Callable[[str], int | None]
"""The uid of a UNIX user name, None for one that this host doesn't know."""


def workload_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """What is wrong within the workloads and between them. `raw` has the keys that were given, also those with mistakes."""
    for name, workload in tables.workloads.items():
        yield from _own_mistakes(name, workload, set(raw["workloads"][name]))
    yield from _overlaps(tables)
    yield from _ways_out(tables)


def rule_of(name: str, workload: Workload, uid_of: UidOf, real_path: Callable[[str], str]) -> WorkloadRule:
    """The rule of a workload without mistakes. real_path: a program's path with all symbolic links followed."""
    program = workload.executable
    return WorkloadRule(
        name=name,
        agent=workload.agent,
        place=place_of(workload),
        uids=frozenset(_uid(user, uid_of) for user in workload.user),
        executable=real_path(program.path) if program is not None else "",
        sha256=frozenset(program.sha256) if program is not None else frozenset(),
    )


def place_of(workload: Workload) -> Place | None:
    """Where the workload's cgroups are; None for anywhere. Raises PatternMistake or UnitMistake."""
    if workload.cgroup:
        return Pattern(workload.cgroup)
    if workload.unit:
        return Unit(workload.unit)
    if workload.slice:
        return Slice(workload.slice)
    wanted = workload.container
    return None if wanted is None else ContainerPattern(wanted.id, wanted.name, wanted.image, wanted.label, wanted.runtime)


def _uid(user: str, uid_of: UidOf) -> int:
    if user.isdecimal():
        return int(user)
    found = uid_of(user)
    return NOBODY if found is None else found


def _own_mistakes(name: str, workload: Workload, keys: set[str]) -> Iterator[Mistake]:
    table = ("workloads", name)
    given = [key for key in PLACES if key in keys]
    if len(given) > 1:
        yield Mistake((*table, given[1]), f"a workload has only one of {', '.join(PLACES)}; it has {given[0]} already")
    elif not keys & {*PLACES, "user", "executable"}:
        yield Mistake(table, f"a workload needs one of {', '.join(PLACES)}, user, executable")
    try:
        place_of(workload)
    except (PatternMistake, UnitMistake) as mistake:
        yield Mistake((*table, given[0]), str(mistake))
    else:
        if "container" in keys and workload.container is not None and not place_text(workload):
            yield Mistake((*table, "container"), "needs at least one of id, name, image, label, runtime")
    if "user" in keys and not workload.user:
        yield Mistake((*table, "user"), "an empty list lets nobody in")
    if not given and {"root", "0"} & set(workload.user):
        yield Mistake((*table, "user"), "root can't be a workload by itself, hostguard would be part of it")


def place_text(workload: Workload) -> str:
    """The place in words for people: ``unit agent@*.service``; empty for none. For workloads without mistakes."""
    place = place_of(workload)
    key = next((key for key in PLACES if getattr(workload, key)), "")
    return f"{key} {place.text}" if place is not None and place.text else ""


def workload_text(workload: Workload) -> str:
    """All selectors in words for people: ``cgroup agents/*, user bot``. For workloads without mistakes."""
    program = workload.executable
    parts = [place_text(workload), "user " + " or ".join(workload.user) if workload.user else ""]
    return ", ".join(part for part in (*parts, f"executable {program.path}" if program is not None else "") if part)


def _overlaps(tables: Tables) -> Iterator[Mistake]:
    seen: list[tuple[str, Workload, Place | None]] = []
    for name, workload in tables.workloads.items():
        try:
            place = place_of(workload)
        except (PatternMistake, UnitMistake):
            continue
        for other, before, other_place in seen:
            if same_place(other_place, place) and _same_selectors(before, workload):
                yield Mistake(_key(name, workload), f'workload "{other}" has the same {_said(workload)}')
        if place is not None or workload.user or workload.executable is not None:
            seen.append((name, workload, place))


def _ways_out(tables: Tables) -> Iterator[Mistake]:
    """Observed workloads that a process of an enforced one could make itself part of."""
    places: dict[str, Place | None] = {}
    for name, workload in tables.workloads.items():
        with suppress(PatternMistake, UnitMistake):
            places[name] = place_of(workload)
    for name, place in places.items():
        if not tables.workloads[name].observed:
            continue
        for outer, around in places.items():
            enforced = tables.workloads[outer]
            if not enforced.observed and _leads_in(enforced, around, tables.workloads[name], place):
                reason = f'it can\'t be observed inside of workload "{outer}", which is not: agents could move in'
                yield Mistake(("workloads", name, "mode"), reason)
                break


def _leads_in(outer: Workload, around: Place | None, inner: Workload, place: Place | None) -> bool:
    """Who may make cgroups in his own, as delegation allows, can make one so named in it; who runs programs, that program."""
    if around is None or place is None:
        return around is place and _narrower(outer, inner)
    if same_place(around, place):
        return _narrower(outer, inner)
    path, other = exact_path(place), exact_path(around)
    if other is not None:
        return place.may_lie_below(components(other))
    if path is not None:
        parts = components(path)
        return not isinstance(around, ContainerPattern) and any(around.matches(parts[:depth]) for depth in range(1, len(parts)))
    # Neither is one path. Units and slices are where systemd put them; patterns and containers are found wherever they are made.
    return isinstance(around, Pattern) and isinstance(place, Pattern | ContainerPattern)


def _narrower(outer: Workload, inner: Workload) -> bool:
    """Whether a process can become one of `inner` by becoming another user or running another program, in the same place."""
    if outer.user and inner.user and not set(outer.user) & set(inner.user):
        return False
    return (bool(inner.user), inner.executable is not None) > (bool(outer.user), outer.executable is not None)


def _same_selectors(one: Workload, other: Workload) -> bool:
    users = (not one.user and not other.user) or bool(set(one.user) & set(other.user))
    paths = [program.path if program is not None else "" for program in (one.executable, other.executable)]
    return users and paths[0] == paths[1]


def _key(name: str, workload: Workload) -> tuple[str, ...]:
    keys = [key for key in (*PLACES, "user", "executable") if getattr(workload, key)]
    return ("workloads", name, *keys[:1])


def _said(workload: Workload) -> str:
    return ", ".join(key for key in (*PLACES, "user", "executable") if getattr(workload, key)) or "selectors"
