"""Who is vouched for: tokens are taken in, put on record, bound, ended."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...identity.replay import token_mark
from ...identity.verified import NotVerified
from ...kernel import cgroups
from ...policy.decide import Decider
from ...policy.document import Document
from ...recorder import entry
from ..attribution import Attributor
from ..child import Child
from ..ledger import LedgerUnavailable
from ..records import Records
from ..rights import named
from ..sight import About
from ..waiting import By
from . import messages
from .bindings import ALL, Binding, Bindings, How, Standing, binding_facts, not_the_one
from .door import Peer
from .files import AGAIN_S, Followed
from .keeper import Keeper, VerifierAway
from .lineage import Lineages
from .remembered import Key, Remembered

LOOK_S = 0.2
"""How often expiries, files, keys are looked after; what has ended has ended by then."""
TIDY_S = 5.0
YOUNG_S = 60.0
"""A cgroup of `hostguard exec` may be empty for so long: its program has not entered it yet."""
NOBODY = By()
MAX_A_MINUTE = 20
"""Tokens of one agent that are looked at in a minute, however often it presents some."""


class Left(msgspec.Struct, frozen=True):
    """What one supervisor leaves to the next; the rest it finds on the disk."""

    bindings: tuple[Binding, ...] = ()


class Vouching:
    """Of one daemon."""

    def __init__(
        self, keeper: Keeper, decider: Decider, records: Records, attributor: Attributor, remembered: Remembered, left: Left
    ) -> None:
        self._keeper = keeper
        self._decider = decider
        self._records = records
        self._attributor = attributor
        self._remembered = remembered
        self.bindings = Bindings()
        self._lineages = Lineages()
        self._files: dict[Key, Followed] = {}
        self._places = remembered.places()
        """Of cgroups that `hostguard exec` made: path, the file with the token."""
        self._refused: dict[Key, tuple[str, str]] = {}
        """What was last put on record as refused: digest, fault."""
        self._reading: set[Key] = set()
        self._works: set[asyncio.Task[None]] = set()
        self._minute: tuple[int, dict[str, int]] = (0, {})
        self.on_change: Callable[[], None] = lambda: None
        """Called when what is verified of a process may be another than before."""
        self.first = asyncio.Event()
        """Set when the tokens that are in files have been looked at once."""
        keeper.on_keys = self.bindings.published
        for binding in left.bindings:
            self.bindings.put(binding)

    # -- what is asked ----------------------------------------------------------------------------------------------------------

    @property
    def _document(self) -> Document:
        return self._decider.policy.document

    def standing(self, agent: str, cgroup_id: int) -> Standing:
        """What is verified of a process of this agent's in this cgroup."""
        section = self._document.agents.get(agent)
        lineage = self._lineages.of(cgroup_id) if section is not None and section.identity else ()
        return self.bindings.standing(self._document, agent, lineage, time.time())

    def leave(self) -> Left:
        """For the next supervisor."""
        return Left(tuple(self.bindings))

    def let_go(self) -> Child | None:
        """End the verifier without waiting for that."""
        return self._keeper.leave()

    # -- time passes ------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Look after files, expiries, keys, empty cgroups; runs until cancelled."""
        tidy_at, epoch = 0.0, self._decider.policy.epoch
        while True:
            now, wall = time.monotonic(), time.time()
            ended = self.bindings.expire(self._document, wall)
            for binding, why in ended:
                self._ended(binding, why)
            if ended or epoch != self._decider.policy.epoch:
                epoch = self._decider.policy.epoch
                self.on_change()
            self._look(now)
            if not self._reading:
                self.first.set()
            if now >= tidy_at:
                tidy_at = now + TIDY_S
                self._tidy(wall)
            await asyncio.sleep(LOOK_S)

    def _look(self, now: float) -> None:
        wanted = self._wanted()
        self._files = {key: followed for key, followed in self._files.items() if wanted.get(key) == followed.path}
        for key, path in wanted.items():
            followed = self._files.setdefault(key, Followed(path))
            if key in self._reading:
                continue
            found = followed.look(now)
            if isinstance(found, bytes):
                self._reading.add(key)
                self._work(self._read(key, followed, found))
            elif found is not None:
                self.end(key, found)

    def _wanted(self) -> dict[Key, str]:
        """The files to follow."""
        found: dict[Key, str] = {
            (agent, issuer, ALL): wanted.token_file
            for agent, section in self._document.agents.items()
            for issuer, wanted in section.identity.items()
            if wanted.token_file
        }
        return found | {key: file for key, (_, file) in self._places.items()}

    async def _read(self, key: Key, followed: Followed, token: bytes) -> None:
        how: How = "exec" if key in self._places else "file"
        cgroup, _ = self._places.get(key, ("", ""))
        try:
            verdict = await self._keeper.verify(key[1], token)
        except VerifierAway:
            followed.again_at = time.monotonic() + AGAIN_S / 5
        else:
            if self._settle(key, verdict, how, cgroup=cgroup, token_file=followed.path):
                # One that is good still is not ended by what came after it: its issuer's word counts until it expires.
                followed.again_at = time.monotonic() + AGAIN_S
        finally:
            self._reading.discard(key)

    def _tidy(self, now: float) -> None:
        """Cgroups of which nothing is left, and what was verified of them."""
        kept = {binding.key: binding.cgroup for binding in self.bindings if binding.cgroup_id != ALL}
        gone = []
        for key, cgroup in (kept | {key: cgroup for key, (cgroup, _) in self._places.items()}).items():
            if not _lives(cgroup, key[2], made=key in self._places, now=now):
                gone.append(key)
                self.end(key, "its cgroup is gone")
        if left := [key for key in gone if self._places.pop(key, None) is not None]:
            with suppress(LedgerUnavailable):  # it is found to be gone again after a restart
                self._remembered.drop_places(left)

    # -- tokens ------------------------------------------------------------------------------------------------------------------

    def _settle(
        self, key: Key, verdict: messages.Verdict, how: How, *, cgroup: str = "", pid: int = 0, token_file: str = ""
    ) -> str:
        """Bind what is verified, on record before anything follows from it. Why not; empty when it is done."""
        agent, issuer, cgroup_id = key
        now, vouched = time.time(), verdict.vouched
        fault, reason = verdict.fault, verdict.reason
        if vouched is not None:
            fault, reason = self._objection(key, verdict.digest, vouched, now)
        if vouched is None or fault:
            if self.bindings.get(key) is None:
                self.bindings.explain(key, reason)
            if pid or self._refused.get(key) != (verdict.digest, fault):
                self._refused[key] = verdict.digest, fault
                self._records.note(0, entry.IdentityRefused(agent, issuer, fault, reason, how, verdict.digest, cgroup, pid))
            return reason
        before = self.bindings.get(key)
        binding = Binding(
            agent=agent,
            issuer=issuer,
            cgroup_id=cgroup_id,
            cgroup=cgroup,
            how=how,
            token_file=token_file,
            pid=pid,
            digest=verdict.digest,
            vouched=vouched,
            seen_at=now,
        )
        verified = entry.IdentityVerified(
            agent=agent,
            source=issuer,
            issuer=vouched.issuer,
            subject=vouched.subject,
            roles=vouched.roles,
            how=how,
            digest=verdict.digest,
            token_id=vouched.token_id,
            key=vouched.key,
            expires_ns=int(vouched.expires_at * 1e9),
            cgroup=cgroup,
            pid=pid,
        )
        if (before is None or before.digest != binding.digest) and not self._records.note(0, verified):
            return "it can't be put on record"
        if why := self.bindings.put(binding):
            return why
        self.on_change()
        return ""

    def _objection(self, key: Key, digest: str, vouched: messages.Vouched, now: float) -> tuple[str, str]:
        """Fault and reason for which a good token does nothing for this agent; empty for none."""
        agent, name, cgroup_id = key
        section, issuer = self._document.agents.get(agent), self._document.issuers.get(name)
        wanted = section.identity.get(name) if section is not None else None
        if issuer is None or wanted is None:
            return "issuer", f"agent {agent} takes no token of issuer {name}"
        if why := not_the_one(vouched, wanted.subject, issuer.issuer):
            return "subject", why
        if not set(vouched.roles) <= {rule.role for rule in issuer.roles}:
            return "claim", "it has roles that no rule gives"
        try:
            if any(self._remembered.is_revoked(mark) for mark in _marks(digest, vouched)):
                return "revoked", "it was revoked"
            if issuer.once or issuer.kind == "saml":
                mark, until = token_mark(vouched.issuer, vouched.token_id), vouched.expires_at
                if why := self._remembered.use(mark, f"{agent} {cgroup_id}", until, now):
                    return "replayed", why
        except NotVerified as error:
            return error.fault, str(error)
        except LedgerUnavailable as error:
            return "unavailable", f"what was revoked or used is not known: {error}"
        return "", ""

    def end(self, key: Key, reason: str, by: By = NOBODY, policies: tuple[str, ...] = ()) -> bool:
        """An issuer's word counts no more, at once. Whether there was one."""
        binding = self.bindings.get(key)
        if binding is None:
            self.bindings.explain(key, reason)
            return False
        self.bindings.drop(key, reason)
        self._ended(binding, reason, by, policies)
        self.on_change()
        return True

    def _ended(self, binding: Binding, reason: str, by: By = NOBODY, policies: tuple[str, ...] = ()) -> None:
        vouched, user = binding.vouched, "" if by is NOBODY else named(by)
        whose = binding.agent, binding.issuer, vouched.issuer, vouched.subject
        ended = entry.IdentityEnded(
            *whose, reason, binding.digest, binding.cgroup, user, by.uid, by.provider, policies, by.groups
        )
        self._records.note(0, ended)

    def revoke(self, chosen: Sequence[Binding], by: By, policies: tuple[str, ...]) -> None:
        """Have these count no more, nor their tokens if they come again. Raises LedgerUnavailable."""
        marks = {mark: b.vouched.expires_at for b in chosen for mark in _marks(b.digest, b.vouched)}
        self._remembered.revoke(marks, time.time())
        for binding in chosen:
            self.end(binding.key, "it was revoked", by, policies)

    async def follow(self, agent: str, issuer: str, cgroup: Path, token_file: str) -> str:
        """Verify the token in a file for the processes of a cgroup, and follow it. Why not; empty when it is verified."""
        key = (agent, issuer, cgroups.cgroup_id(cgroup))
        path = f"/{cgroup.relative_to(cgroups.mount_point())}"
        try:
            token = Followed(token_file).look(time.monotonic())
            if not isinstance(token, bytes):
                return f"{token_file} can't be read, or is empty"
            verdict = await self._keeper.verify(issuer, token)
        except VerifierAway as error:
            return str(error)
        why = self._settle(key, verdict, "exec", cgroup=path, token_file=token_file)
        if not why:
            try:
                self._remembered.add_place(key, path, token_file)
            except LedgerUnavailable as error:
                self.end(key, str(error))
                return str(error)
            self._places[key] = path, token_file
        return why

    # -- presented by a process of the agent's ---------------------------------------------------------------------------------

    async def admit(self, peer: Peer, sock: socket.socket) -> str:
        """Have a process's token read by the verifier. Why not, a sentence for it; empty when it is done."""
        process, rule, why = await self._attributor.attribute_peer(peer.pid)
        if rule is None or process is None:
            return f"process {peer.pid} is no agent's: {why}"
        issuers = tuple(self._document.agents[rule.agent].identity)
        if not issuers:
            return f"agent {rule.agent} takes no token"
        if not self._within_limits(rule.agent):
            return f"agent {rule.agent} has presented {MAX_A_MINUTE} tokens in this minute"
        try:
            cgroup_id = os.stat(cgroups.mount_point() / process.cgroup.lstrip("/")).st_ino
        except OSError as error:
            return f"its cgroup can't be told: {error.strerror}"
        if not peer.lives:
            return "it has ended"
        agent, cgroup, pid = rule.agent, process.cgroup, process.pid

        def then(issuer: str, verdict: messages.Verdict) -> str:
            if issuer not in issuers:
                return f"agent {agent} takes no token of issuer {issuer}"
            return self._settle((agent, issuer, cgroup_id), verdict, "presented", cgroup=cgroup, pid=pid)

        return self._keeper.take(issuers, sock.dup(), then)

    def _within_limits(self, agent: str) -> bool:
        minute, counts = self._minute
        if minute != int(time.monotonic() // 60):
            minute, counts = self._minute = int(time.monotonic() // 60), {}
        counts[agent] = counts.get(agent, 0) + 1
        return counts[agent] <= MAX_A_MINUTE

    async def agent_of(self, pid: int) -> str:
        """The agent that a process is; empty for none."""
        _, rule, _ = await self._attributor.attribute_peer(pid)
        return rule.agent if rule is not None else ""

    def facts(self) -> dict[str, Any]:
        """For ``status`` and the command line."""
        keeper = self._keeper
        return {
            "needed": keeper.needed,
            "running": keeper.ready.is_set(),
            "pid": keeper.pid,
            "cage": str(keeper.applied or ""),
            "ended": keeper.ended,
            "issuers": [
                {"source": told.issuer, "keys": len(told.keys), "fetched_at": told.fetched_at, "fault": told.fault}
                for told in keeper.published.values()
            ],
            "tokens": [binding_facts(binding) for binding in self.bindings],
        }

    def problems(self) -> list[str]:
        """What an operator should look at."""
        if not self._keeper.needed:
            return []
        found = [] if self._keeper.ready.is_set() else ["the verifier is not running: no token is verified"]
        told = self._keeper.published.values()
        found += [f"the keys of issuer {each.issuer} can't be fetched: {each.fault}" for each in told if each.fault]
        for key in self._wanted():
            if self.bindings.get(key) is None:
                found.append(About(self.bindings.why_not(key[0], key[1], (key[2],)), [key[0]]))
        return found

    def _work(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._works.add(task)
        task.add_done_callback(self._works.discard)


def _marks(digest: str, vouched: messages.Vouched) -> list[str]:
    """What a token is known by, however it is written: by what is signed, by its id if it has one."""
    return [digest, *([token_mark(vouched.issuer, vouched.token_id)] if vouched.token_id else [])]


def _lives(cgroup: str, cgroup_id: int, *, made: bool, now: float) -> bool:
    """Whether the cgroup is there. One that `hostguard exec` has `made` is removed when nothing is in it any more."""
    path = cgroups.mount_point() / cgroup.lstrip("/")
    try:
        found = path.stat()
        if found.st_ino != cgroup_id:
            return False
        if made and now - found.st_ctime > YOUNG_S and "populated 0" in (path / "cgroup.events").read_text():
            path.rmdir()
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True  # something has come into it in between
    return True
