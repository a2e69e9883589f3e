"""Decides operations by the policy of the day, with caches in front of it, for each flow.

Theory of operation
-------------------
`Decider` holds what changes seldom: the `Policy` (one epoch), the catalog of every database, and one `Scope` for each
(epoch, agent, resource, session facts, catalog), in which everything that a decision depends on is fixed but the text.
`FlowPolicy` belongs to one flow and keeps its scope's cache at hand: while the session is the very object of the last operation
and nobody has changed a policy or a catalog, an operation costs one look-up of its text, and nothing is parsed or built.

A text that was not seen is looked up by its shape (the text without its literals) before it is judged, unless literals matter.
What depends on the flow's own past (EXECUTE, FETCH, what they name) is never shared, nor is what was judged with an approval.

Whatever can't be told is denied, and the reason says what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from ..protocols.events import Operation, OperationKind, Session, Verdict
from .approvers import Approvers
from .asks import Answer, Approval
from .bearers import UNVERIFIED, Bearer
from .cedar import Rulebook
from .connect import ConnectScope
from .disclosure import Disclosure
from .document import Document
from .entities import column_tags, standing
from .hiding import disclose
from .judge import Asker
from .judgement import Judgement
from .making import Made, beside
from .memory import Memory
from .rules import Rule, RuleError, parse
from .scope import Scope, refused
from .sql.catalog import Catalog
from .stats import Stats

AnyScope: TypeAlias = Scope | ConnectScope
"""What decides texts of a resource, by its protocol."""
MAX_ASKERS = 256
"""Agents, each with what is verified of it, whose policies are kept at hand."""
MAX_SCOPES = 256
"""An agent can vary the facts of its sessions at will, so their number is bounded; the one not opened for longest goes."""

# Under names of their own, because Python 3.11 finds a member of an enum twenty times slower than a global.
_DENY: Final = Verdict.DENY
_PREPARE: Final = OperationKind.PREPARE

_NO_TEXT = refused(
    "what it runs was prepared out of hostguard's sight, so it is unknown", "Prepare the statement on this connection."
)
_NO_FUNCTION = refused(
    "a function called by number is unknown: its name and what it does are not in the message", "Call the function in a SELECT."
)


class Policy:
    """One epoch: a document with its policies, parsed. Immutable."""

    def __init__(self, document: Document, epoch: int = 1) -> None:
        """`document` as `document.load` gave it. Raises ValueError when a policy is wrong, which `load` would have told."""
        errors: list[RuleError] = []
        rules = parse(document.sources, errors)
        if errors:
            raise ValueError(f"{errors[0].file}:{errors[0].line}: {errors[0].message}")
        self.document = document
        self.epoch = epoch
        """Counts the policies that were in force since the start, from 1."""
        self.book = Rulebook(rules, standing(document), column_tags(document))
        self.approvers = Approvers(document, self.book)
        self.offline: dict[tuple[str, str, str], AnyScope] = {}
        """Scopes without a database behind them, by (agent, resource, database); see `explain`."""
        self.databases: dict[str, str] = {}
        """The database to assume on a resource, as `explain` found it."""
        self._askers: dict[tuple[str, Bearer], Asker] = {}

    @property
    def rules(self) -> Sequence[Rule]:
        """Every policy, the base policy's included."""
        return list(self.book.rules.values())

    def asker(self, agent: str, bearer: Bearer = UNVERIFIED) -> Asker:
        """The agent with the policies that concern it. Raises KeyError for an agent that the document does not know."""
        key = (agent, bearer)
        found = self._askers.get(key)
        if found is None:
            if len(self._askers) >= MAX_ASKERS:
                del self._askers[next(iter(self._askers))]
            found = self._askers[key] = self._asker(agent, bearer)
        return found

    def _asker(self, agent: str, bearer: Bearer) -> Asker:
        roles, book = self.document.agents[agent].roles, self.book
        if bearer != UNVERIFIED:
            book = Rulebook(self.rules, standing(self.document, agent, bearer), column_tags(self.document))
        return Asker(book, agent, (*roles, *bearer.roles))


class Decider:
    """The policy in force, and what it needs to know of the databases."""

    def __init__(
        self, policy: Policy, *, hash_key: bytes = b"", scopes: Callable[[str, str, Session], AnyScope] | None = None
    ) -> None:
        """`hash_key`: the deployment's key for masks of kind ``hash``, at most 64 bytes.

        `scopes`: what makes an agent's scope on a resource in a session, where it is not to follow from the catalogs (offline).
        """
        self.policy = policy
        self.stats = Stats()
        self.stamp = object()
        """Replaced whenever a scope may have to be looked up again."""
        self._hash_key = hash_key
        self._make = scopes
        self._catalogs: dict[tuple[str, str], Catalog] = {}
        self._scopes: dict[tuple[str, str, Session, Bearer], AnyScope] = {}
        self._disclosures: dict[tuple[str, str, str, Bearer], Disclosure] = {}
        """By (agent, resource, database, bearer): the same for all sessions."""

    def reload(self, policy: Policy) -> None:
        """Put another policy in force, for open flows as well, from their next operation on."""
        policy.epoch = self.policy.epoch + 1
        self.policy = policy
        self._scopes.clear()
        self._disclosures.clear()
        self.stamp = object()

    def set_catalog(self, resource: str, database: str, catalog: Catalog | None) -> None:
        """What a database holds, as read last; None when it can't be read any more."""
        if catalog is None:
            self._catalogs.pop((resource, database), None)
        else:
            self._catalogs[resource, database] = catalog
        self._scopes = {key: scope for key, scope in self._scopes.items() if (key[1], key[2].database) != (resource, database)}
        self._disclosures = {key: found for key, found in self._disclosures.items() if key[1:3] != (resource, database)}
        self.stamp = object()

    def open(self, agent: str, resource: str, bearer: Bearer = UNVERIFIED) -> FlowPolicy:
        """The decider of one flow. Raises KeyError for an agent or a resource that the document does not know."""
        _ = self.policy.document.agents[agent], self.policy.document.resources[resource]
        return FlowPolicy(self, agent, resource, bearer)

    def scope(self, agent: str, resource: str, session: Session, bearer: Bearer, made: Made) -> AnyScope | None:
        """Everything that a decision depends on but the text; None once the policy no longer knows the agent or the resource.

        `made`: relations that the flow made.
        """
        document = self.policy.document
        if agent not in document.agents or resource not in document.resources:
            return None
        if self._make is not None:
            return self._make(agent, resource, session)
        if made and (own := self._beside(agent, resource, session, bearer, made)) is not None:
            return own
        key = (agent, resource, session, bearer)
        found = self._scopes.pop(key, None)
        if found is None:
            found = self._scope(agent, resource, session, bearer)
            if len(self._scopes) >= MAX_SCOPES:
                del self._scopes[next(iter(self._scopes))]
        self._scopes[key] = found
        return found

    def _scope(self, agent: str, resource: str, session: Session, bearer: Bearer) -> AnyScope:
        if self.policy.document.resources[resource].protocol == "tls":
            return ConnectScope(self.policy, agent, resource, self.stats, bearer)
        catalog = self._catalogs.get((resource, session.database))
        disclosure = self._disclosure(agent, resource, session.database, bearer)
        return Scope(self.policy, agent, resource, session, catalog, disclosure, self.stats, bearer)

    def _beside(self, agent: str, resource: str, session: Session, bearer: Bearer, made: Made) -> AnyScope | None:
        """The scope of one flow, with what it made; None where that is nothing new."""
        known = self._catalogs.get((resource, session.database))
        if known is None:
            return None
        catalog, places = beside(known, made, session.search_path)
        if not places:
            return None
        asker = self.policy.asker(agent, bearer)
        found = disclose(self.policy.document, asker, resource, session.database, catalog, self._hash_key, made=places)
        return Scope(self.policy, agent, resource, session, catalog, found, self.stats, bearer)

    def _disclosure(self, agent: str, resource: str, database: str, bearer: Bearer) -> Disclosure:
        key = (agent, resource, database, bearer)
        if key not in self._disclosures:
            if len(self._disclosures) >= MAX_SCOPES:
                self._disclosures.clear()
            catalog = self._catalogs.get((resource, database))
            asker = self.policy.asker(agent, bearer)
            self._disclosures[key] = disclose(self.policy.document, asker, resource, database, catalog, self._hash_key)
        return self._disclosures[key]


class FlowPolicy:
    """Decides the operations of one flow, in their order."""

    __slots__ = ("_decider", "_memory", "_scope", "_session", "_stamp", "_texts", "agent", "bearer", "observed", "resource")

    def __init__(self, decider: Decider, agent: str, resource: str, bearer: Bearer = UNVERIFIED) -> None:
        self.agent = agent
        self.bearer = bearer
        """What is verified of the agent in this flow, which is fixed when it opens."""
        self.resource = resource
        self.observed = False
        """What is denied reaches the server all the same."""
        self._decider = decider
        self._memory = Memory()
        self._session: Session | None = None
        self._stamp: object = None
        self._scope: AnyScope | None = None
        self._texts: dict[str | None, Judgement] = {}

    @property
    def owner(self) -> str:
        """The user who answers for the agent; empty once the policy no longer knows the agent."""
        agent = self._decider.policy.document.agents.get(self.agent)
        return agent.owner if agent is not None else ""

    def decide(self, operation: Operation, approval: Approval | None = None) -> Judgement:
        """What policy says of the operation, with the approval that it has, if any. O(1) for a text that was judged before."""
        if approval is None and operation.session is self._session and self._decider.stamp is self._stamp:
            known = self._texts.get(operation.text)
            if known is not None:
                if operation.statement or known.defines or known.uncovers:
                    self._remember(operation, known)
                return known
        judgement = self._judge(operation, approval)
        self._remember(operation, judgement)
        return judgement

    def settle(self) -> None:
        """No transaction is open: what the flow made is no more than what the catalog tells."""
        if self._memory.made:
            self._memory.made = ()
            self._session = None

    def read(self) -> None:
        """The catalog was read through this flow: what it dropped before is in none."""
        if self._memory.uncovered:
            self._memory.uncovered = False
            self._session = None

    def may_approve(self, user: str, groups: Sequence[str], actions: Sequence[str], escalation: int = 0) -> Answer:
        """Whether the user may approve these actions of the flow's agent. `groups`: those that the user is known to be in."""
        policy = self._decider.policy
        if self.agent not in policy.document.agents or self.resource not in policy.document.resources:
            return Answer(False, (), f"the policy no longer knows agent {self.agent} on {self.resource}")
        return policy.approvers.may_approve(user, groups, self.agent, self.resource, actions, escalation)

    def _judge(self, operation: Operation, approval: Approval | None) -> Judgement:
        if operation.kind is OperationKind.FUNCTION_CALL:
            return _NO_FUNCTION
        if operation.text is None:
            return _NO_TEXT
        scope = self._look_up(operation.session)
        if scope is None:
            return refused(f"the policy no longer knows agent {self.agent} on {self.resource}", "Ask an operator of hostguard.")
        # The flow may be new, or its session's facts written anew, while the scope is not.
        known = self._texts.get(operation.text) if approval is None else None
        return known if known is not None else scope.judge(operation.text, approval, self._memory)

    def _look_up(self, session: Session) -> AnyScope | None:
        if session is not self._session or self._decider.stamp is not self._stamp:
            scope = self._decider.scope(self.agent, self.resource, session, self.bearer, self._memory.made)
            self._scope = scope
            # Those judgements hold while the catalog does.
            self._texts = scope.texts if scope is not None and not self._memory.uncovered else {}
            self._session, self._stamp = session, self._decider.stamp
        return self._scope

    def _remember(self, operation: Operation, judgement: Judgement) -> None:
        """Keep what a later EXECUTE or FETCH may refer to. What is denied never reaches the server."""
        if judgement.decision.verdict is _DENY and not self.observed:
            return
        if operation.statement and operation.kind is _PREPARE and operation.text is not None:
            self._memory.prepared(operation.statement, operation.text)
        if judgement.defines:
            self._memory.defined(judgement.makes)
            self._session = None
        if judgement.uncovers:
            self._memory.uncovered = True
            self._session = None
        analysis = judgement.analysis
        if analysis is not None:
            for name, body in analysis.prepares:
                self._memory.prepared(name, body)
            for name in analysis.declares:
                self._memory.declared(name, judgement.touches, judgement.decision.plan)
