"""The sections about those who vouch for agents."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Name, Section

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024, description="a text of 1 to 1024 characters")]
_Url = Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")]
_Path = Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")]

MAX_GROUPS = 256
"""Rules for groups of one issuer."""


class RoleRule(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuers.NAME.roles]]``: what a claim must say for a role; exactly one of `equals`, `contains`, `glob`."""

    claim: _Text
    """The claim's name, or a JSON pointer to it: ``/kubernetes.io/namespace``. Required."""
    equals: str = ""
    """The claim is this text, or ``true`` or ``false``. Default none."""
    contains: str = ""
    """The claim is a list with this text, or a text with this among its words. Default none."""
    glob: str = ""
    """The claim, or something in its list, is like this; with ``*`` and ``?``. Default none."""
    role: Name
    """The role that it gives. Required."""


class UserRule(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuers.NAME.users]]``: what a claim must say for a user; exactly one of `equals`, `contains`."""

    claim: _Text
    """The claim's name, or a JSON pointer to it. Required."""
    equals: str = ""
    """The claim is this text. Default none."""
    contains: str = ""
    """The claim is a list with this text. Default none."""
    user: Name
    """The user that it is. Required."""


class GroupRule(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[[issuers.NAME.groups]]``: what a claim must say for a user's group; exactly one of `equals`, `contains`."""

    claim: _Text
    """The claim's name, or a JSON pointer to it. Required."""
    equals: str = ""
    """The claim is this text. Default none."""
    contains: str = ""
    """The claim is a list with this text. Default none."""
    group: Name
    """The group that who signs in is in, as long as they are signed in. Required."""


class Issuer(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[issuers.NAME]``: who vouches for agents or users."""

    kind: Literal["oidc", "spiffe", "saml"] = "oidc"
    """``oidc``: an OpenID provider, or a platform like it; ``spiffe``: a trust domain; ``saml``. Default ``oidc``."""
    issuer: _Text
    """Exactly what tokens say: its URL; the trust domain, ``spiffe://example.org``; the entity's id for SAML. Required."""
    audiences: Annotated[tuple[_Text, ...], msgspec.Meta(min_length=1)]
    """What tokens must be for; one of these. Required."""
    algorithms: Annotated[tuple[Algorithm, ...], msgspec.Meta(min_length=1)] = ("RS256", "PS256", "ES256", "EdDSA", "Ed25519")
    """How tokens may be signed. Default RS256, PS256, ES256, EdDSA, Ed25519."""
    jwks_url: _Url = ""
    """Where its keys are. Default what discovery finds; required for ``spiffe``."""
    ca: _Path = ""
    """PEM file of the authorities that may vouch for its server. Default the system's."""
    certificates: _Path = ""
    """``saml``: PEM file of the certificates that it signs with. Required there."""
    recipient: str = ""
    """``saml``: the recipient that assertions must be for. Required there."""
    skew_s: Annotated[int, msgspec.Meta(ge=0, le=300)] = 60
    """Seconds by which its clock may be ahead of ours. Default 60."""
    max_lifetime_s: Annotated[int, msgspec.Meta(ge=1, le=31_536_000)] = 86_400
    """Seconds for which a token may be valid at most. Default 86400."""
    refresh_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """Seconds after which its keys are fetched again. Default 300."""
    keep_s: Annotated[int, msgspec.Meta(ge=1, le=604_800)] = 3600
    """Seconds for which keys are good that can't be fetched again. Default 3600."""
    once: bool = False
    """Whether a token (its ``jti``) is good for one bearer only. Default false; assertions always are."""
    roles: tuple[RoleRule, ...] = ()
    """What claims give which role. Default none."""
    users: tuple[UserRule, ...] = ()
    """What claims stand for which user. Default none."""
    groups: Annotated[tuple[GroupRule, ...], msgspec.Meta(max_length=MAX_GROUPS)] = ()
    """What claims give which group to a user who signs in. Default none."""


class Requirement(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[agents.NAME.identity.ISSUER]``: the issuer must vouch for the agent; all that are given must."""

    subject: _Text
    """Who the agent is to that issuer; with ``*`` and ``?``. Required."""
    token_file: _Path = ""
    """File with the token, which is read again when it changes; it is all its processes'. Default none."""
