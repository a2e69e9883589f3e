"""Decides which names an agent may ask name servers for.

A name is an object like a table: the action is ``resolve``, the object a ``Name`` in the ``Domain`` of each of its suffixes,
itself included. A name that an address of a resource has is in that ``Resource`` too, so that a policy which closes the resource
to somebody closes its name as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from .addresses import parse_address
from .asks import Ask, Uid
from .bearers import UNVERIFIED, Bearer
from .document import Document
from .judge import quoted

if TYPE_CHECKING:
    from .decide import Policy

MAX_VERDICTS = 8192
"""Verdicts kept for one policy. An agent can ask for as many names as it likes; 0.2 ms is what one costs that is not kept."""
OF_RESOURCE: Uid = ("NameClass", "resource")


class NameVerdict(msgspec.Struct, frozen=True):
    """What policy says of one question."""

    allowed: bool
    policies: tuple[str, ...]
    reason: str
    """A sentence for the person refused; empty when allowed."""
    epoch: int


class NamePolicy:
    """One epoch's verdicts on names."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._verdicts: dict[tuple[str, tuple[str, ...], str, frozenset[str], Bearer], NameVerdict] = {}
        self.resources = resource_names(policy.document)
        """A name to the resources that have it in an address."""

    def decide(
        self, agent: str, labels: tuple[str, ...], kind: str, flags: frozenset[str], bearer: Bearer = UNVERIFIED
    ) -> NameVerdict:
        """Whether the agent may ask for records of type `kind` of the name. `labels`: from the leaf to the top, lower case.

        An agent that the policy no longer knows may nothing.
        """
        key = (agent, labels, kind, flags, bearer)
        found = self._verdicts.get(key)
        if found is None:
            if len(self._verdicts) >= MAX_VERDICTS:
                self._verdicts.clear()
            found = self._verdicts[key] = self._judge(*key)
        return found

    def observes(self, workload: str) -> bool:
        """Whether the workload is only observed: its questions are answered whatever the verdict."""
        section = self._policy.document.workloads.get(workload)
        return section is not None and section.observed

    def _judge(self, agent: str, labels: tuple[str, ...], kind: str, flags: frozenset[str], bearer: Bearer) -> NameVerdict:
        epoch = self._policy.epoch
        if agent not in self._policy.document.agents:
            return NameVerdict(False, (), f"the policy no longer knows agent {agent}", epoch)
        ask = self._ask(labels, kind)
        (answer,) = self._policy.asker(agent, bearer).ask([ask], flags)
        if answer.allowed:
            return NameVerdict(True, answer.policies, "", epoch)
        what = f"resolve on {ask.id} ({kind}) for agent {agent}"
        if answer.error:
            return NameVerdict(False, (), f"the policies can't be evaluated for {what}: {answer.error}", epoch)
        if answer.policies:
            because = f" ({', '.join(sorted(flags))})" if flags else ""
            return NameVerdict(False, answer.policies, f"{quoted(answer.policies)} forbids {what}{because}", epoch)
        return NameVerdict(False, (), f"no policy permits {what}", epoch)

    def _ask(self, labels: tuple[str, ...], kind: str) -> Ask:
        name = ".".join(labels)
        groups: list[Uid] = [("Domain", ".".join(labels[at:])) for at in range(len(labels))]
        if owners := self.resources.get(name):
            groups += [OF_RESOURCE, *(("Resource", owner) for owner in owners)]
        return Ask("resolve", "Name", name or ".", (("type", kind),), tuple(groups))


def resource_names(document: Document) -> Mapping[str, tuple[str, ...]]:
    """Every host name of a resource, in lower case without a final dot, to the resources that have it.

    In an address, or among the names that its server is called by; but with a star no name, since it is the agent's to fill.
    """
    found: dict[str, dict[str, None]] = {}
    for resource, section in document.resources.items():
        for address in section.addresses:
            host, _ = parse_address(address)
            if not is_numeric(host):
                found.setdefault(host.rstrip("."), {})[resource] = None
        for name in section.names:
            if not name.startswith("*."):
                found.setdefault(name, {})[resource] = None
    return {name: tuple(owners) for name, owners in found.items()}


def is_numeric(host: str) -> bool:
    """Whether a host of `parse_address` is an address rather than a name."""
    return ":" in host or not host.replace(".", "").strip("0123456789")
