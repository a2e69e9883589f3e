"""Which workload a process belongs to.

A workload is a place (a cgroup pattern, a systemd unit or slice, containers), a user, an executable, or one narrowed by
another. `Workloads` is asked twice, both times about facts that its caller took from the kernel:

- `standing`: what a cgroup directory is to the kernel's map. A number (a workload's own cgroup), INSIDE (below a workload's),
  WATCH (a workload may lie below: whatever is made there is refused until it was looked at), CLEAR (never ours), PENDING (can't
  be told yet).
- `workload_of`: whose a connection is. The kernel has found that it is guarded, by the number that it carries; the cgroup, the
  user, the executable at connect tell workloads apart that hold the same process: the innermost cgroup wins, then the workload
  that names the user, then the one that names the executable. Two that are alike in all three are refused, not chosen from.

A process in a guarded cgroup that no workload's selectors let in is refused: `user` on a cgroup says who may be in there at
all.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .containers import Container, ContainerPattern, container_of
from .paths import Pattern, components
from .systemd import Slice, Unit

Place = Pattern | Unit | Slice | ContainerPattern


class WorkloadMistake(ValueError):
    """The configured workloads contradict each other; `problems` has a sentence for each mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    """One configured workload: the processes that all of its selectors hold of."""

    name: str
    agent: str
    """The agent that their traffic is attributed to."""
    place: Place | None = None
    """The cgroup they are in, or below; None for any."""
    uids: frozenset[int] = frozenset()
    """Real user ids in the initial user namespace; empty for any."""
    executable: str = ""
    """Path of the program; empty for any."""
    sha256: frozenset[str] = frozenset()
    """Lower-case hexadecimal hashes that the program may have; empty for any."""


@dataclass(frozen=True, slots=True)
class Who:
    """What is known of the process behind a connection, at its connect."""

    cgroup: str
    """Path in the unified hierarchy: of the task, or of the guarded cgroup where only the socket was made in it."""
    uid: int
    exe: str = ""
    """Empty if unknown."""
    exe_here: bool = False
    """That path leads to the very file in hostguard's own mount namespace; a process can make itself one where it doesn't."""
    sha256: str = ""
    """Of the program's bytes; empty if not taken (yet)."""
    container: Container | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection belongs to no workload."""

    reason: str


NEEDS_HASH = Refusal("the executable's hash is not known")
"""Asked again with `Who.sha256`, there may be an answer."""


class Standing(enum.Enum):
    """What a cgroup is that is not a workload's own."""

    INSIDE = "inside"
    WATCH = "watch"
    CLEAR = "clear"
    PENDING = "pending"


class Workloads:
    """The configured workloads with their numbers for the kernel's maps: 1, 2, … in the order given; 0 is no workload."""

    def __init__(self, rules: Iterable[WorkloadRule]) -> None:
        """Raises WorkloadMistake for names given twice, rules without a selector, and rules that nothing tells apart."""
        self._rules = tuple(rules)
        problems = tuple(_mistakes(self._rules))
        if problems:
            raise WorkloadMistake(problems)
        self._placed = tuple((number, rule.place) for number, rule in enumerate(self._rules, 1) if rule.place is not None)

    @property
    def rules(self) -> tuple[WorkloadRule, ...]:
        """In the order of their numbers."""
        return self._rules

    @property
    def paths(self) -> Mapping[str, int]:
        """Cgroup paths that are known beforehand, with a leading slash, to their numbers."""
        found: dict[str, int] = {}
        for number, place in self._placed:
            path = exact_path(place)
            if path is not None:
                found.setdefault(path, number)
        return found

    @property
    def users(self) -> Mapping[int, int]:
        """Uids that are guarded wherever their processes are, to their numbers."""
        found: dict[int, int] = {}
        for number, rule in enumerate(self._rules, 1):
            for uid in rule.uids if rule.place is None else ():
                found.setdefault(uid, number)
        return found

    @property
    def executables(self) -> Mapping[str, int]:
        """Programs that are guarded wherever they run, to their numbers: of workloads without a place and without a user."""
        found: dict[str, int] = {}
        for number, rule in enumerate(self._rules, 1):
            if rule.place is None and not rule.uids:
                found.setdefault(rule.executable, number)
        return found

    @property
    def searches(self) -> bool:
        """Whether there is a workload whose cgroups can't be told beforehand."""
        return any(exact_path(place) is None for _, place in self._placed)

    @property
    def knows_containers(self) -> bool:
        """Whether `standing` and `workload_of` look at a container's facts."""
        return any(isinstance(place, ContainerPattern) for _, place in self._placed)

    def standing(self, path: Sequence[str], container: Container | None = None) -> int | Standing:
        """What the cgroup with these components is; `container`: the one it is or lies in, as far as that is known."""
        for depth in range(len(path), 0, -1):
            for number, place in self._placed:
                if _is(place, path[:depth], container):
                    return number if depth == len(path) else Standing.INSIDE
        if any(_is(place, path[:depth], container) is None for depth in range(len(path) + 1) for _, place in self._placed):
            return Standing.PENDING
        return Standing.WATCH if self.searches_below(path) else Standing.CLEAR

    def searches_below(self, path: Sequence[str]) -> bool:
        """Whether a cgroup strictly below this one can be one that `searches` is about."""
        return any(exact_path(place) is None and place.may_lie_below(path) for _, place in self._placed)

    def workload_of(self, number: int, who: Who) -> WorkloadRule | Refusal:
        """The workload of a connection that the kernel found guarded under `number`, or why it is nobody's."""
        if not 1 <= number <= len(self._rules):
            return Refusal("its cgroup is no workload's")
        seen = self._rules[number - 1]
        path = components(who.cgroup)
        if seen.place is not None and not _depth(seen.place, path, who.container):
            # The path isn't where the kernel found it (the cgroup is gone by now): the kernel's word counts.
            ranked = [((0, bool(seen.uids), bool(seen.executable)), seen)] if _lets_in(seen, who) else []
        else:
            ranked = list(self._ranked(path, who))
        if not ranked:
            return Refusal(f"workload {seen.name} has its cgroup, but not its {_strangeness(seen, who)}")
        best = max(rank for rank, _ in ranked)
        rules = [rule for rank, rule in ranked if rank == best]
        if len(rules) > 1:
            return Refusal(f"it belongs to the workloads {' and '.join(rule.name for rule in rules)} alike")
        return _with_right_hash(rules[0], who)

    def number_of(self, who: Who) -> int:
        """What the kernel finds a process guarded under: by its innermost cgroup, else its user, else its executable; 0: none."""
        path = components(who.cgroup)
        for depth in range(len(path), 0, -1):
            standing = self.standing(path[:depth], who.container)
            if isinstance(standing, int):
                return standing
        return self.users.get(who.uid) or self.executables.get(who.exe, 0)

    def _ranked(self, path: Sequence[str], who: Who) -> Iterable[tuple[tuple[int, bool, bool], WorkloadRule]]:
        for rule in self._rules:
            depth = _depth(rule.place, path, who.container) if rule.place is not None else 0
            if (rule.place is None or depth) and _lets_in(rule, who):
                yield (depth, bool(rule.uids), bool(rule.executable)), rule


def exact_path(place: Place) -> str | None:
    """The only cgroup path that the place can have, with a leading slash; None when it is known only by looking."""
    return place.exact if isinstance(place, Pattern | Slice) else None


def _is(place: Place, path: Sequence[str], container: Container | None) -> bool | None:
    """Whether the cgroup with these components is the place's own; None when that can't be told."""
    if not isinstance(place, ContainerPattern):
        return place.matches(path)
    ref = container_of(path)
    if ref is None or ref.depth != len(path):
        return False
    return place.suits(container if container is not None and container.id == ref.id else Container(ref.runtime, ref.id))


def _depth(place: Place, path: Sequence[str], container: Container | None) -> int:
    """Components of the innermost of the place's cgroups that holds the path; 0 when none does."""
    return next((depth for depth in range(len(path), 0, -1) if _is(place, path[:depth], container)), 0)


def _lets_in(rule: WorkloadRule, who: Who) -> bool:
    return (not rule.uids or who.uid in rule.uids) and (not rule.executable or who.exe == rule.executable)


def _strangeness(rule: WorkloadRule, who: Who) -> str:
    return f"user ({who.uid})" if rule.uids and who.uid not in rule.uids else f"executable ({who.exe or 'unknown'})"


def _with_right_hash(rule: WorkloadRule, who: Who) -> WorkloadRule | Refusal:
    if not rule.executable:
        return rule
    if not rule.sha256:
        if who.exe_here:
            return rule
        return Refusal(f"{who.exe} is another file in its mount namespace than on this host; workload {rule.name} needs a sha256")
    if not who.sha256:
        return NEEDS_HASH
    if who.sha256 in rule.sha256:
        return rule
    return Refusal(f"the SHA-256 of {who.exe} is {who.sha256}, which workload {rule.name} does not allow")


def _mistakes(rules: tuple[WorkloadRule, ...]) -> Iterable[str]:
    names: set[str] = set()
    for index, rule in enumerate(rules):
        if rule.name in names:
            yield f"workload {rule.name} is configured twice"
        names.add(rule.name)
        if rule.place is None and not rule.uids and not rule.executable:
            yield f"workload {rule.name} has neither a cgroup nor a user nor an executable"
        if rule.place is None and 0 in rule.uids:
            yield f"workload {rule.name}: root can't be a workload by itself, hostguard would be part of it"
        if rule.sha256 and not rule.executable:
            yield f"workload {rule.name}: a sha256 belongs to an executable"
        for other in rules[:index]:
            if _alike(other, rule):
                yield f"workloads {other.name} and {rule.name} have the same {_said(rule)}: nothing tells them apart"


def _alike(one: WorkloadRule, other: WorkloadRule) -> bool:
    """Nothing in the order of precedence decides between the two, whatever the process."""
    users = (not one.uids and not other.uids) or bool(one.uids & other.uids)
    return same_place(one.place, other.place) and users and one.executable == other.executable


def same_place(one: Place | None, other: Place | None) -> bool:
    """Whether the two are the same cgroups, as far as their texts tell."""
    if one is None or other is None:
        return one is other
    path = exact_path(one)
    return (path is not None and path == exact_path(other)) or (type(one) is type(other) and one.text == other.text)


def _said(rule: WorkloadRule) -> str:
    parts = [f"place {exact_path(rule.place) or rule.place.text}"] if rule.place is not None else []
    return " with the same ".join([*parts, *(["user"] if rule.uids else []), *(["executable"] if rule.executable else [])])
