"""The logins that workers ask for: which are theirs to ask for, carried to the broker.

A worker passes on what a server says and hears what to answer. It can't choose the credential: that follows from the flow, which
the kernel's record of a process made. What it can do with a flow that it has been given is log in once to where that flow goes,
with the answers that this takes; more is more than a worker of ours would say, and ends it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from ..policy.credentials import expected_name, login_of, server_tls
from ..policy.decide import Decider
from . import messages
from .broker.keeper import BrokerAway, Keeper
from .flows import OpenFlow
from .leaves import Roots
from .messages import BadMessage
from .wording import cut

MAX_REQUESTS = 4
"""Of a server in one login: SASL, its continuation, its end, and that all is well (PostgreSQL 18 docs §54.3)."""
MAX_LOGINS = 2
"""Of one flow: the second after the server refused the first and the secret turned out to be another one by then."""


@dataclass(slots=True)
class _Login:
    requests: int = 0
    logins: int = 1
    asking: bool = False
    over: bool = False
    refused: bool = False


class Logins:
    """Of all flows."""

    def __init__(self, broker: Keeper, decider: Decider, roots: Callable[[], Sequence[Roots]]) -> None:
        """`roots`: whom the links to servers are verified against, now."""
        self._roots = roots
        self._broker = broker
        self._decider = decider
        self._logins: dict[int, _Login] = {}

    def choose(self, flow: OpenFlow) -> None:
        """Decide whose login the flow's server is to see; before any worker hears of the flow."""
        if flow.unread:
            return
        document = self._decider.policy.document
        if flow.resource not in document.resources:
            return  # it is only observed, and goes to no resource
        agent = document.agents.get(flow.agent)
        chosen = login_of(document, flow.resource, flow.agent, (*agent.roles, *flow.bearer.roles) if agent else ())
        if chosen is not None:
            flow.user, flow.credential, flow.variant = chosen.user, chosen.variant.partition("/")[0], chosen.variant
            flow.carried = chosen.carried

    async def carry(self, flow: OpenFlow, sock: socket.socket) -> tuple[socket.socket, str]:
        """A plain socket in place of a server's, and the TLS that the broker speaks behind it. Raises OSError with a sentence."""
        try:
            link = self._link(flow)
            roots = next(each.pem for each in self._roots() if flow.resource in each.resources)
            return await self._broker.carry(flow.id, flow.variant, link.tls, link.name, roots, sock)
        except (BrokerAway, ValueError) as error:
            sock.close()
            raise OSError(_sentence(flow, str(error))) from None

    def link(self, flow: OpenFlow) -> messages.Link | None:
        """How its worker has to protect the flow's link to the server; None for as it is. Raises OSError with a sentence.

        The link of an observed flow is what the agent makes of it, unless the session there is hostguard's own. By a UNIX socket
        PostgreSQL has no TLS.
        """
        if flow.origin.unix or flow.carried or flow.unread or (flow.observed and not flow.variant):
            return None
        try:
            link = self._link(flow)
        except ValueError as error:
            raise OSError(_sentence(flow, str(error))) from None
        return None if link.tls == "off" else link

    def _link(self, flow: OpenFlow) -> messages.Link:
        """Raises ValueError when the name that is to be verified can't be told."""
        resource = self._decider.policy.document.resources[flow.resource]
        mode = server_tls(resource)
        name = expected_name(resource, flow.origin.host, flow.origin.port) if mode == "verify-full" else resource.server_name
        return messages.Link(mode, name, resource.server_negotiation == "direct")

    def asked(self, flow: OpenFlow, message: messages.Authenticate) -> Coroutine[None, None, None]:
        """What a worker passes on for one of its flows; returns the work that answers it. Raises BadMessage."""
        if not flow.variant:
            raise BadMessage(f"it asked for a login of flow {flow.id}, which has no credential")
        if not flow.dialled:
            raise BadMessage(f"it asked for a login of flow {flow.id}, whose server was not dialled")
        login = self._logins.setdefault(flow.id, _Login())
        if login.asking:
            raise BadMessage(f"it asked for a login of flow {flow.id} while one was being answered")
        if login.over:
            raise BadMessage(f"it asked for a second login of flow {flow.id}")
        login.requests += 1
        if login.requests > MAX_REQUESTS:
            raise BadMessage(f"it asked for more of a login of flow {flow.id} than one takes")
        login.asking = True
        return self._answer(flow, login, message)

    async def _answer(self, flow: OpenFlow, login: _Login, message: messages.Authenticate) -> None:
        begins = login.requests == 1
        try:
            found = await self._broker.log_in(flow.id, flow.variant, message.request, message.binding, begins=begins)
        except BrokerAway as error:
            login.over = True
            flow.berth.say(messages.LoginFailed(flow.id, cut(str(error))))
        else:
            login.over = found.done
            flow.berth.say(messages.Authenticated(flow.id, found.say, found.done))
        finally:
            login.asking = False

    def refused(self, flow: OpenFlow) -> Coroutine[None, None, None]:
        """A worker says that the server did not take the login; returns the work that answers it. Raises BadMessage."""
        login = self._logins.get(flow.id)
        if login is None and flow.carried and flow.dialled:
            login = self._logins[flow.id] = _Login()  # the broker made it
        if login is None or login.asking or login.refused:
            raise BadMessage(f"it said that a login of flow {flow.id} was refused, which was not made")
        login.refused = True
        return self._reread(flow, login)

    async def _reread(self, flow: OpenFlow, login: _Login) -> None:
        try:
            changed = await self._broker.refused(flow.id) and login.logins < MAX_LOGINS
        except BrokerAway:
            changed = False
        if changed:
            self._logins[flow.id] = _Login(logins=login.logins + 1, refused=True)
            flow.dialled = False
        flow.berth.say(messages.CredentialRead(flow.id, changed))

    def forget(self, flow: OpenFlow) -> None:
        """The flow has ended."""
        # Of a link that the broker carries it has something to forget whatever its worker asked for.
        if self._logins.pop(flow.id, None) is not None or flow.carried:
            self._broker.forget(flow.id)


def _sentence(flow: OpenFlow, why: str) -> str:
    return f"hostguard could not connect to {flow.destination} for you: {why}"
