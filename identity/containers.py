"""Which container a cgroup path belongs to.

Container runtimes put the container's id into the name of its cgroup, each in a way of its own; the tables below are all that is
recognised. The names come from the runtimes' sources: docker and podman with the systemd driver (``docker-ID.scope``,
``libpod-ID.scope``), with the cgroupfs driver (``docker/ID``, ``libpod_parent/libpod-ID``), CRI runtimes below ``kubepods``,
nerdctl, systemd-nspawn.

A path counts only where root alone can have made it: what lies inside a service or scope (``user@UID.service``, where rootless
containers are, or whatever a user named like one) or inside another container is nobody's container.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .paths import glob
from .systemd import unescaped

RUNTIMES = ("docker", "podman", "containerd", "cri-o", "nspawn")
_ID = r"(?P<id>[0-9a-f]{64})"
_DIRECTORIES = (
    ("docker", re.compile(rf"docker-{_ID}\.scope")),
    ("podman", re.compile(rf"libpod-{_ID}(\.scope)?")),
    ("containerd", re.compile(rf"(cri-containerd|nerdctl)-{_ID}\.scope")),
    ("cri-o", re.compile(rf"crio-{_ID}(\.scope)?")),
    ("nspawn", re.compile(r"(systemd-nspawn@(?P<id>[^/]+)\.service|machine-(?P<scope>[^/]+)\.scope)")),
)
_BARE_ID = re.compile(_ID)
_SHORT_ID = re.compile("[0-9a-f]{12,63}")
"""As ``docker ps`` shows it."""
_HEX_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class ContainerRef:
    """What a cgroup path tells of a container."""

    runtime: str
    """One of `RUNTIMES`."""
    id: str
    """64 hexadecimal digits; the machine's name for nspawn."""
    depth: int
    """Components of the container's own cgroup; processes may be deeper."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container with what its runtime's files tell of it."""

    runtime: str
    id: str
    name: str | None = None
    """None: not known."""
    image: str | None = None
    labels: tuple[tuple[str, str], ...] | None = None


def container_of(path: Sequence[str]) -> ContainerRef | None:
    """The container that a cgroup with these components is, or lies in; the outermost one."""
    for depth, directory in enumerate(path, 1):
        for runtime, pattern in _DIRECTORIES:
            found = pattern.fullmatch(unescaped(directory))
            if found:
                return ContainerRef(runtime, _plain(found["id"] or found["scope"]), depth)
        if _BARE_ID.fullmatch(directory) and depth > 1:
            runtime = _bare_runtime(path[: depth - 1])
            if runtime:
                return ContainerRef(runtime, directory, depth)
        if directory.endswith((".service", ".scope")):
            return None
    return None


def _bare_runtime(parents: Sequence[str]) -> str:
    """The cgroupfs drivers' scheme: ``docker/ID``, ``kubepods/…/podUID/ID``."""
    if parents[-1] == "docker":
        return "docker"
    return "containerd" if parents[0] == "kubepods" and parents[-1].startswith("pod") else ""


def _plain(text: str) -> str:
    r"""systemd.unit(5), "String escaping": ``\x2d`` is a dash."""
    return _HEX_ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


@dataclass(frozen=True, slots=True)
class ContainerPattern:
    """Containers by what all of the given texts match, each with ``*`` and ``?``; at least one is given."""

    id: str = ""
    """In full, or its first 12 digits or more."""
    name: str = ""
    image: str = ""
    label: tuple[str, ...] = ()
    """``KEY=VALUE`` each, all of which must be there."""
    runtime: str = ""

    @property
    def text(self) -> str:
        """For people."""
        given = {"runtime": self.runtime, "id": self.id, "name": self.name, "image": self.image, "label": ",".join(self.label)}
        return " ".join(f"{key}={value}" for key, value in given.items() if value)

    def suits(self, container: Container) -> bool | None:
        """Whether it is one of these; None when that depends on what isn't known of it."""
        answers = [
            _suits(self.runtime, container.runtime),
            _suits(f"{self.id}*" if _SHORT_ID.fullmatch(self.id) else self.id, container.id),
            _suits(self.name, container.name),
            _suits(self.image, container.image),
            *(_has_label(label, container.labels) for label in self.label),
        ]
        if False in answers:
            return False
        return None if None in answers else True

    def may_lie_below(self, path: Sequence[str]) -> bool:
        """Whether a container's cgroup can lie strictly below this one: not in a service or scope, nor in a container."""
        return container_of(path) is None and not any(directory.endswith((".service", ".scope")) for directory in path)


def _suits(pattern: str, value: str | None) -> bool | None:
    """True when nothing is asked for, None when it isn't known."""
    if not pattern:
        return True
    return None if value is None else glob(pattern).fullmatch(value) is not None


def _has_label(pattern: str, labels: tuple[tuple[str, str], ...] | None) -> bool | None:
    if labels is None:
        return None
    return any(_suits(pattern, f"{key}={value}") for key, value in labels)
