"""Which workload a process belongs to, by the cgroup that the kernel saw.

The kernel decides: its map of guarded cgroups holds a number for each, and the number that a connection carries is the evidence.
`Workloads` gives out the numbers. The process's cgroup path, read a moment later, only tells nested workloads apart, since the
kernel may have found the outer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .process import Process


class WorkloadMistake(ValueError):
    """The configured workloads contradict each other; `problems` has a sentence for each mistake."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class WorkloadRule:
    """One configured workload: the processes of a cgroup and those below it."""

    name: str
    agent: str
    """The agent that their traffic is attributed to."""
    cgroup: str
    """Path relative to the cgroup2 mount, as `Process.cgroup`: ``/agents/shop``; the leading slash may be missing."""


class Workloads:
    """The configured workloads with their numbers for the kernel's map: 1, 2, … in the order given; 0 is no workload."""

    def __init__(self, rules: Iterable[WorkloadRule]) -> None:
        """Raises WorkloadMistake for a name or a cgroup given twice, for the root, and for paths with ``.`` or ``..``."""
        self._rules = tuple(WorkloadRule(rule.name, rule.agent, _normal(rule.cgroup)) for rule in rules)
        problems = (*_repeated(self._rules), *_unusable(self._rules))
        if problems:
            raise WorkloadMistake(problems)

    @property
    def rules(self) -> tuple[WorkloadRule, ...]:
        """In the order of their numbers, paths with a leading slash."""
        return self._rules

    @property
    def numbers(self) -> Mapping[str, int]:
        """Cgroup path, with a leading slash, to the number that the kernel's map holds for it."""
        return {rule.cgroup: number for number, rule in enumerate(self._rules, 1)}

    def workload_of(self, guarded_number: int, process: Process) -> WorkloadRule | None:
        """The workload of a connection; None for a number that was never given out, which is to be refused.

        A process that has moved out of the guarded cgroup since it connected stays what the kernel saw.
        """
        if not 1 <= guarded_number <= len(self._rules):
            return None
        outer = self._rules[guarded_number - 1]
        inner = self._longest_match(process.cgroup)
        return inner if inner is not None and _is_below(inner.cgroup, outer.cgroup) else outer

    def _longest_match(self, cgroup: str) -> WorkloadRule | None:
        matching = (rule for rule in self._rules if _is_below(cgroup, rule.cgroup))
        return max(matching, key=lambda rule: len(rule.cgroup), default=None)


def _is_below(path: str, ancestor: str) -> bool:
    return path == ancestor or path.startswith(ancestor + "/")


def _normal(path: str) -> str:
    return "/" + "/".join(part for part in path.split("/") if part)


def _repeated(rules: tuple[WorkloadRule, ...]) -> Iterable[str]:
    by_name: dict[str, WorkloadRule] = {}
    by_cgroup: dict[str, WorkloadRule] = {}
    for rule in rules:
        if rule.name in by_name:
            yield f"workload {rule.name} is configured twice"
        elif rule.cgroup in by_cgroup:
            yield f"workloads {by_cgroup[rule.cgroup].name} and {rule.name} have the same cgroup {rule.cgroup}"
        by_name.setdefault(rule.name, rule)
        by_cgroup.setdefault(rule.cgroup, rule)


def _unusable(rules: tuple[WorkloadRule, ...]) -> Iterable[str]:
    for rule in rules:
        if rule.cgroup == "/":
            yield f"workload {rule.name}: the root cgroup can't be a workload, hostguard itself would be part of it"
        elif {".", ".."} & set(rule.cgroup.split("/")):
            yield f"workload {rule.name}: the cgroup {rule.cgroup} must be a plain path, without . and .."
