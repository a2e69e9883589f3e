"""Who asks for a name, as it goes on record."""

from __future__ import annotations

import msgspec

from ...policy.bearers import UNVERIFIED, Bearer


class Asker(msgspec.Struct, frozen=True):
    """The process that sent a question; plain data, so that it can cross to the process that parses the question."""

    ref: int
    """What the supervisor knows it by: entries about it are put on record by this number, not by what is said below."""
    agent: str
    workload: str
    server: str
    """Address and port of the name server that the process meant to ask."""
    netns: int = 0
    """Cookie of the network namespace that it asks from."""
    pid: int = 0
    start_ticks: int = 0
    uid: int = -1
    comm: str = ""
    exe: str = ""
    cgroup: str = ""
    bearer: Bearer = UNVERIFIED
    """What is verified of its agent."""
    cgroup_id: int = 0
    unverified: str = ""
    """Why its agent may do nothing, a sentence; empty where it may."""
