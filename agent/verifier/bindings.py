"""Which processes an issuer vouches for, until when.

Theory of operation
-------------------
A binding ties what an issuer says in one token to a set of processes: all of an agent's (its `token_file`), or those in one
cgroup and below, which is the tree that the kernel keeps and no process leaves by forking. A flow is attributed to its agent by
the kernel; what is verified of it follows from its cgroup at connect and the bindings of that agent, the innermost first. So a
token that is presented elsewhere does nothing for another agent, nor for another cgroup of the same one.

A binding is good while its token has not expired, nobody has revoked it, its subject is the one that the configuration wants, and
the issuer is known to publish the key that signed it. Known means: seen no longer ago than `keep_s`. So an issuer that can't be
asked any more comes to an end as well.

Pure: times come in as arguments, wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec

from ...identity.paths import glob
from ...policy.bearers import UNVERIFIED, Bearer
from ...policy.document import Document
from . import messages

How = Literal["file", "exec", "presented"]
ALL = 0
"""In place of a cgroup's id: all processes of the agent."""
MAX_BINDINGS = 20_000
GRACE_S = 60.0
"""Beyond `keep_s`, in which the verifier may be busy or be started again before its word on keys counts as missing."""


class Binding(msgspec.Struct, kw_only=True):
    """One token's word for some processes."""

    agent: str
    issuer: str
    """Its name in the configuration."""
    cgroup_id: int
    cgroup: str
    """Path, with a leading slash; empty for all."""
    how: How
    token_file: str = ""
    """That is followed; empty for a token that was presented."""
    pid: int = 0
    """Of the process that presented it; 0 for a file."""
    digest: str = ""
    """SHA-256 of the token, in hex."""
    vouched: messages.Vouched
    seen_at: float
    """When the issuer was last known to publish the token's key."""

    @property
    def key(self) -> tuple[str, str, int]:
        """What there is one of."""
        return self.agent, self.issuer, self.cgroup_id


class Standing(msgspec.Struct, frozen=True):
    """What is verified of a process."""

    bearer: Bearer = UNVERIFIED
    missing: str = ""
    """Why it may not do anything, a sentence; empty where all that the configuration wants is verified."""
    until: float = 0.0
    """When the first of its tokens expires; 0 for never."""


NOTHING_NEEDED = Standing()


class Bindings:
    """All of them."""

    def __init__(self) -> None:
        self._bindings: dict[tuple[str, str, int], Binding] = {}
        self._reasons: dict[tuple[str, str, int], str] = {}
        """Why there is none, where one was, or was refused."""
        self._published: dict[str, frozenset[str]] = {}
        """By issuer: the keys that it is known to publish."""

    def __iter__(self) -> Iterator[Binding]:
        return iter(list(self._bindings.values()))

    def put(self, binding: Binding) -> str:
        """Have it in place of the one before. Why that can't be; empty when it is done."""
        if binding.key not in self._bindings and len(self._bindings) >= MAX_BINDINGS:
            return "too many tokens are in force"
        self._bindings[binding.key] = binding
        self._reasons.pop(binding.key, None)
        return ""

    def get(self, key: tuple[str, str, int]) -> Binding | None:
        """The one in force."""
        return self._bindings.get(key)

    def drop(self, key: tuple[str, str, int], reason: str) -> Binding | None:
        """It counts no more. The one that it was, if any."""
        self.explain(key, reason)
        return self._bindings.pop(key, None)

    def explain(self, key: tuple[str, str, int], reason: str) -> None:
        """Why there is none; of as many as there may be bindings."""
        self._reasons.pop(key, None)
        self._reasons[key] = reason
        if len(self._reasons) > MAX_BINDINGS:
            del self._reasons[next(iter(self._reasons))]

    def published(self, told: messages.Published, now: float) -> None:
        """The keys of an issuer, as the verifier knows them."""
        for binding in self:
            if binding.issuer == told.issuer and binding.vouched.key in told.keys and told.fetched_at <= now:
                binding.seen_at = max(binding.seen_at, told.fetched_at)
        if told.keys:
            self._published[told.issuer] = frozenset(told.keys)

    def fault(self, binding: Binding, document: Document, now: float) -> str:
        """Why it counts no more; empty while it does."""
        agent, issuer = document.agents.get(binding.agent), document.issuers.get(binding.issuer)
        wanted = agent.identity.get(binding.issuer) if agent is not None else None
        if issuer is None or wanted is None:
            return f"the configuration no longer wants {binding.issuer} to vouch for {binding.agent}"
        vouched = binding.vouched
        if vouched.expires_at <= now:
            return "it has expired"
        if why := not_the_one(vouched, wanted.subject, issuer.issuer):
            return why
        keys = self._published.get(binding.issuer)
        if issuer.kind != "saml" and keys is not None and vouched.key not in keys:
            return "its issuer has withdrawn the key that signed it"
        if issuer.kind != "saml" and now - binding.seen_at > issuer.keep_s + GRACE_S:
            return "its issuer could not be asked for its keys for too long"
        return ""

    def expire(self, document: Document, now: float) -> list[tuple[Binding, str]]:
        """Drop those that count no more, each with the reason."""
        ended = []
        for binding in self:
            if why := self.fault(binding, document, now):
                self.drop(binding.key, why)
                ended.append((binding, why))
        return ended

    def standing(self, document: Document, agent: str, lineage: Sequence[int], now: float) -> Standing:
        """What is verified of a process of the agent. `lineage`: ids of its cgroup and those above, innermost first.

        What has expired counts no more, be it dropped already or not.
        """
        section = document.agents.get(agent)
        if section is None or not section.identity:
            return NOTHING_NEEDED
        found: list[Binding] = []
        for issuer in section.identity:
            binding = next((b for at in (*lineage, ALL) if (b := self._bindings.get((agent, issuer, at)))), None)
            if binding is None:
                return Standing(missing=self.why_not(agent, issuer, lineage))
            if binding.vouched.expires_at <= now:
                return Standing(missing=_nobody(agent, issuer, "it has expired"))
            found.append(binding)
        roles = tuple(sorted({role for binding in found for role in binding.vouched.roles}))
        first = found[0].vouched
        return Standing(Bearer(roles, first.issuer, first.subject), "", min(binding.vouched.expires_at for binding in found))

    def why_not(self, agent: str, issuer: str, lineage: Sequence[int]) -> str:
        """Why the issuer does not vouch for it, a sentence."""
        why = next((why for at in (*lineage, ALL) if (why := self._reasons.get((agent, issuer, at)))), "")
        return _nobody(agent, issuer, why)


def _nobody(agent: str, issuer: str, why: str) -> str:
    said = f"its token counts no more, or was refused: {why}" if why else "no token of its was presented"
    return f"nobody vouches for agent {agent}: it takes a token of issuer {issuer}, and {said}"


def not_the_one(vouched: messages.Vouched, subject: str, issuer: str) -> str:
    """Why a good token is not this agent's; empty when it is."""
    if vouched.issuer != issuer:
        return f"it is issued by {vouched.issuer}"
    if glob(subject).fullmatch(vouched.subject) is None:
        return f'it is about "{vouched.subject}", not about this agent ("{subject}")'
    return ""


def binding_facts(binding: Binding) -> dict[str, Any]:
    """For people; never the token."""
    vouched = binding.vouched
    return {
        "agent": binding.agent,
        "source": binding.issuer,
        "issuer": vouched.issuer,
        "subject": vouched.subject,
        "roles": list(vouched.roles),
        "expires_at": vouched.expires_at,
        "how": binding.how,
        "token_file": binding.token_file,
        "cgroup": binding.cgroup if binding.cgroup_id != ALL else "",
        "pid": binding.pid,
        "digest": binding.digest,
    }
