"""The logins under way: for each flow the machine that answers its server."""

from __future__ import annotations

import asyncio
import os

from ...protocols.postgres.login import Answer, Login, LoginRefused, Password
from .secret import Secret, Secrets
from .unreadable import Unreadable

METHODS = {"scram-sha-256": "scram-sha-256", "md5": "md5"}
"""Words of the configuration to those of the machine. ``cleartext`` is not among them: only a link that the broker itself carries
(`carry`) may have it."""


class NoLogin(Exception):
    """The login is over; says why, in a sentence without secrets."""


class Logins:
    """Answers what servers ask."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._under: dict[int, Login] = {}
        self._used: dict[int, list[tuple[Secret, int]]] = {}
        """Of each flow's login: what it took, in which version."""
        self._bindings: dict[int, bytes] = {}
        """Of links that the broker carries: what a worker can't know."""

    def bind(self, flow: int, binding: bytes) -> None:
        """The flow's link is carried, to a server whose certificate has this end point."""
        self._bindings[flow] = binding

    def use(self, flow: int, secret: Secret, version: int) -> None:
        """The flow's login took this."""
        self._used.setdefault(flow, []).append((secret, version))

    async def begin(self, flow: int, variant: str, request: bytes, binding: bytes) -> Answer:
        """Begin a flow's login, in place of one that it had. Raises NoLogin."""
        self._under.pop(flow, None)
        chosen = self._secrets.chosen[variant]
        secret = self._secrets.password(variant)
        try:
            version = None if secret is None else await secret.have()
        except Unreadable as error:
            raise NoLogin(f"the secret of credential {variant} can't be read: {error}") from None
        password = Password(None) if version is None else Password(version.secret, version.derive)
        methods = frozenset({"none", *(METHODS[method] for method in chosen.credential.methods if method in METHODS)})
        machine = Login(chosen.user, password, os.urandom(18), binding=self._bindings.get(flow, binding) or None, methods=methods)
        self._under[flow] = machine
        if secret is not None and version is not None:
            self.use(flow, secret, version.number)
        return await self.answer(flow, request)

    async def answer(self, flow: int, request: bytes) -> Answer:
        """Answer the next thing that the flow's server asks. Raises NoLogin."""
        machine = self._under.get(flow)
        if machine is None:
            raise NoLogin("no login is under way")
        try:
            # PBKDF2 may take half a second; the broker has others to answer.
            return await asyncio.to_thread(machine.answer, request)
        except LoginRefused as error:
            raise NoLogin(str(error)) from None

    async def refused(self, flow: int) -> bool:
        """The server did not take what was said: whether a secret is another one now."""
        self._under.pop(flow, None)
        return any([await secret.refused(version) for secret, version in self._used.pop(flow, [])])

    def forget(self, flow: int) -> None:
        """The flow has ended."""
        self._under.pop(flow, None)
        self._bindings.pop(flow, None)
        self._used.pop(flow, None)
