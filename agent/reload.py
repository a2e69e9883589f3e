"""A configuration that was edited while the daemon runs: in force as a whole, or not at all."""

from __future__ import annotations

import asyncio
import pwd
import sys
import traceback
from hashlib import sha256

import msgspec

from ..identity.users import UserMistake, UserRule, Users
from ..kernel.errors import KernelError
from ..policy.decide import Decider, Policy
from ..policy.document import ConfigErrors, Document, load
from ..policy.sections import Tables
from ..recorder import entry
from ..recorder.durable import LogUnavailable
from ..recorder.log import Log
from . import messages
from .crew import Crew
from .holds import Holds
from .modes import Modes
from .names.keeper import Keeper
from .verifier.keeper import needed_issuers

RELOADED = ("policy", "agents", "users", "tags", "duties", "exclusions", "budgets")
"""Beside these only the mode of a workload: whether it is only observed."""
FIXED = tuple(section for section in Tables.__struct_fields__ if section not in RELOADED)
"""Sections that the kernel's map, the listeners and the log were set up by: they take a restart."""


def users_of(document: Document) -> Users:
    """The UNIX ids of the configured users. Raises UserMistake.

    A name that this host does not know is no mistake: a configuration is shared by many hosts.
    """
    return Users(UserRule(name, tuple(_uids(user.unix))) for name, user in document.users.items())


def uid_of(name: str) -> int | None:
    """The uid of a UNIX user name; None for one that this host doesn't know."""
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _uids(names: tuple[str, ...]) -> list[int]:
    return [uid for uid in map(uid_of, names) if uid is not None]


def policy_load(policy: Policy) -> entry.PolicyLoad:
    """The entry that puts a policy on record, with the texts of the files that it was made of, and their hashes."""
    document = policy.document
    texts = ((document.file, document.text), *((source.file, source.text) for source in document.sources))
    files = tuple((file, sha256(text.encode()).hexdigest()) for file, text in texts)
    return entry.PolicyLoad(epoch=policy.epoch, accepted=True, files=files, texts=texts)


def _fixed(document: Document, section: str) -> object:
    """What of a section takes a restart."""
    if section == "workloads":
        return {name: msgspec.structs.replace(workload, mode="enforce") for name, workload in document.workloads.items()}
    return getattr(document, section)


class Reload:
    """Puts policies, agents, users, tags of the edited files in force; open flows follow from their next operation on."""

    def __init__(self, decider: Decider, modes: Modes, crew: Crew, names: Keeper, holds: Holds, log: Log) -> None:
        self._decider = decider
        self._modes = modes
        self._crew = crew
        self._names = names
        self._holds = holds
        self._log = log
        self._task: asyncio.Task[None] | None = None
        self._wanted = False
        self.failure = ""
        """Why the last reload was refused; empty when it was not. The policy before it is in force then."""

    def soon(self) -> None:
        """Reload in the background, one at a time. A signal while one runs asks for another: files may be read by then."""
        self._wanted = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._supervise())

    async def _supervise(self) -> None:
        while self._wanted:
            self._wanted = False
            try:
                await self.run()
            except (LogUnavailable, OSError, ValueError) as error:
                self.failure = str(error)
            except Exception as error:  # the supervising handler of a work that nobody waits for: status tells
                traceback.print_exc()
                self.failure = f"{type(error).__name__}: {error}"

    async def run(self) -> None:
        """Reload once. A mistake leaves everything as it was, is printed, on record, and shown by ``status``."""
        current, current_epoch = self._decider.policy.document, self._decider.policy.epoch
        try:
            document = await asyncio.to_thread(load, current.file)
            users = users_of(document)
        except ConfigErrors as mistakes:
            self._refuse([str(mistake) for mistake in mistakes.errors])
            return
        except UserMistake as mistake:
            self._refuse(list(mistake.problems))
            return
        changed = [section for section in FIXED if _fixed(document, section) != _fixed(current, section)]
        if changed:
            self._refuse([f"{document.file}: {', '.join(changed)} can't change while the daemon runs: restart it"])
            return
        if more := set(needed_issuers(document)) - set(needed_issuers(current)):
            self._refuse([f"{document.file}: agents need issuers {', '.join(sorted(more))} now, which takes a restart"])
            return
        policy = Policy(document, current_epoch + 1)
        # On record before it decides anything.
        self._log.append(0, policy_load(policy))
        try:
            self._modes.tell(document)
        except KernelError as error:
            self._refuse([f"{document.file}: the kernel does not take the workloads' modes: {error}"])
            return
        self._decider.reload(policy)
        self._observe()
        self._holds.users = users
        self._names.reload(document, policy.epoch)
        await self._crew.new_policy(document, policy.epoch)
        self.failure = ""
        print(f"the configuration was reloaded: epoch {self._decider.policy.epoch}", flush=True)

    def _observe(self) -> None:
        """Open flows follow the modes; their workers hear of them with the policy."""
        for flow in self._crew.flows:
            flow.observed = self._modes.observes(flow.rule.name)
            if flow.barred and not flow.observed:
                flow.berth.say(messages.End(flow.id, flow.barred))

    def _refuse(self, errors: list[str]) -> None:
        self.failure = errors[0] + (f", and {len(errors) - 1} more" if len(errors) > 1 else "")
        for error in errors:
            print(f"reload refused: {error}", file=sys.stderr, flush=True)
        self._log.append(0, entry.PolicyLoad(epoch=self._decider.policy.epoch, accepted=False, errors=tuple(errors)))
