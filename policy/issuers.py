"""What the issuers' sections stand for, with all that is wrong in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..identity.mapping import ClaimRule
from ..identity.trust import Trust, is_trust_domain, url_fault
from .issuer_sections import GroupRule, Issuer, RoleRule, UserRule
from .sections import Tables
from .strict import Mistake, Path, suggest

_OF_SAML = ("certificates", "recipient")


def trust_of(issuer: Issuer) -> Trust:
    """What is demanded of its tokens."""
    return Trust(
        kind=issuer.kind,
        issuer=issuer.issuer,
        audiences=frozenset(issuer.audiences),
        algorithms=issuer.algorithms,
        jwks_url=issuer.jwks_url,
        skew_s=issuer.skew_s,
        max_lifetime_s=issuer.max_lifetime_s,
        refresh_s=issuer.refresh_s,
        keep_s=issuer.keep_s,
    )


def role_rules(issuer: Issuer) -> list[ClaimRule]:
    """From claims to roles."""
    return [_rule(rule, rule.glob, rule.role) for rule in issuer.roles]


def user_rules(issuer: Issuer) -> list[ClaimRule]:
    """From claims to users."""
    return [_rule(rule, "", rule.user) for rule in issuer.users]


def group_rules(issuer: Issuer) -> list[ClaimRule]:
    """From claims to groups of a user."""
    return [_rule(rule, "", rule.group) for rule in issuer.groups]


def mapped_groups(tables: Tables, user: str) -> frozenset[str]:
    """All groups that signing in could give to the user, beside those of the configuration."""
    issuers = (tables.issuers[name] for name in tables.sign_in)
    return frozenset(rule.group for issuer in issuers if any(one.user == user for one in issuer.users) for rule in issuer.groups)


def groups_of(tables: Tables, user: str, vouched: Iterable[str] = ()) -> tuple[str, ...]:
    """The groups that count for a user: of the configuration, and of their sign-in (`vouched`) those that it still may give.

    None for a user whom the configuration does not know.
    """
    found = tables.users.get(user)
    if found is None:
        return ()
    more = mapped_groups(tables, user).intersection(vouched).difference(found.groups)
    return (*found.groups, *sorted(more))


def possible_groups(tables: Tables, user: str) -> tuple[tuple[str, ...], ...]:
    """The groups of a configured user as they may be: without a sign-in, then with what one could give."""
    more = sorted(mapped_groups(tables, user).difference(tables.users[user].groups))
    ways = [(), *([tuple(more)] if len(more) > 1 else []), *((group,) for group in more)]
    return tuple((*tables.users[user].groups, *way) for way in ways)


def mapped_roles(tables: Tables, agent: str) -> frozenset[str]:
    """All roles that claims could give to the agent, beside those of the configuration."""
    issuers = (tables.issuers.get(name) for name in tables.agents[agent].identity)
    return frozenset(rule.role for issuer in issuers if issuer is not None for rule in issuer.roles)


def _rule(rule: RoleRule | UserRule | GroupRule, glob: str, gives: str) -> ClaimRule:
    if rule.equals:
        return ClaimRule(rule.claim, "equals", rule.equals, gives)
    return (
        ClaimRule(rule.claim, "contains", rule.contains, gives) if rule.contains else ClaimRule(rule.claim, "glob", glob, gives)
    )


def issuer_mistakes(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """All of them. `raw` has the names that were declared, also where their tables have mistakes."""
    users, issuers = _names(raw, "users"), _names(raw, "issuers")
    for name, issuer in tables.issuers.items():
        place = ("issuers", name)
        yield from _own(place, issuer)
        yield from _rules((*place, "roles"), issuer.roles)
        yield from _rules((*place, "users"), issuer.users)
        yield from _rules((*place, "groups"), issuer.groups)
        for rule in issuer.users:
            if rule.user not in users:
                yield Mistake((*place, "users"), f'there is no user "{rule.user}"' + suggest(rule.user, users))
    for name, agent in tables.agents.items():
        for issuer_name, requirement in agent.identity.items():
            here = ("agents", name, "identity", issuer_name)
            if issuer_name not in issuers:
                yield Mistake(here, f'there is no issuer "{issuer_name}"' + suggest(issuer_name, issuers))
            if not requirement.subject.strip("*"):
                yield Mistake((*here, "subject"), "it would be anybody's for whom the issuer vouches")


def _own(place: Path, issuer: Issuer) -> Iterator[Mistake]:
    for key in _OF_SAML:
        if (issuer.kind == "saml") != bool(getattr(issuer, key)):
            yield Mistake(
                (*place, key), "required, but missing" if issuer.kind == "saml" else f"only an issuer of kind saml has {key}"
            )
    if issuer.kind == "spiffe":
        if not is_trust_domain(issuer.issuer):
            yield Mistake((*place, "issuer"), "expected a trust domain, spiffe://example.org")
        if not issuer.jwks_url:
            yield Mistake((*place, "jwks_url"), "required, but missing: a trust domain's bundle has no place of its own")
    if issuer.kind == "saml" and issuer.jwks_url:
        yield Mistake((*place, "jwks_url"), "an issuer of kind saml has certificates")
    if issuer.jwks_url and (fault := url_fault(issuer.jwks_url)):
        yield Mistake((*place, "jwks_url"), f"expected https, or http on the loopback: {fault}")
    if issuer.kind == "oidc" and ((fault := url_fault(issuer.issuer)) or urlsplit(issuer.issuer).query):
        yield Mistake((*place, "issuer"), f"expected https, or http on the loopback: {fault or 'it has a query'}")
    if issuer.keep_s < issuer.refresh_s:
        yield Mistake((*place, "keep_s"), "keys would be gone before they are fetched again: at least refresh_s")


def _rules(place: Path, rules: tuple[RoleRule, ...] | tuple[UserRule, ...] | tuple[GroupRule, ...]) -> Iterator[Mistake]:
    for number, rule in enumerate(rules, 1):
        ways = [key for key in ("equals", "contains", "glob") if hasattr(rule, key)]
        if sum(bool(getattr(rule, key)) for key in ways) != 1:
            yield Mistake(place, f"number {number} needs exactly one of {', '.join(ways)}")


def _names(raw: Mapping[str, Any], section: str) -> list[str]:
    table = raw.get(section)
    return list(table) if isinstance(table, Mapping) else []
