"""Which workloads are only observed: as the configuration says, for the kernel as for whoever asks.

Nothing but the configuration, which is root's, decides it: there is no call of the control socket, no message of a worker and no
place in a cgroup by which an agent could be observed.
"""

from __future__ import annotations

from ..identity.workload import Workloads
from ..kernel.layouts import Mode
from ..kernel.loader import Redirect
from ..policy.decide import Decider
from ..policy.document import Document
from ..policy.sections import SEEN_FAMILIES, Workload

OBSERVED = ("mode", "observe")
"""What the entry of a flow says of it."""


class Modes:
    """The modes in force."""

    def __init__(self, workloads: Workloads, redirect: Redirect, decider: Decider) -> None:
        self._workloads = workloads
        self._redirect = redirect
        self._decider = decider

    def observes(self, workload: str) -> bool:
        """Whether the workload is only observed."""
        section = self._decider.policy.document.workloads.get(workload)
        return section is not None and section.observed

    def tell(self, document: Document) -> None:
        """Have the kernel do as this document says. Raises KernelError."""
        tell(document, self._workloads, self._redirect)


def tell(document: Document, workloads: Workloads, redirect: Redirect) -> None:
    """Have the kernel do as the document says. Raises KernelError."""
    found = {number: _mode(document.workloads[rule.name]) for number, rule in enumerate(workloads.rules, 1)}
    redirect.set_modes({number: mode for number, mode in found.items() if mode})


def _mode(workload: Workload) -> Mode:
    loosened = not set(SEEN_FAMILIES).issuperset(workload.families)
    return (Mode.FAMILIES if loosened else Mode.ENFORCE) | (Mode.OBSERVE if workload.observed else Mode.ENFORCE)


def observed(document: Document) -> list[str]:
    """Names of the workloads that are only observed."""
    return [name for name, workload in document.workloads.items() if workload.observed]
