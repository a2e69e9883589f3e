"""The sections about TLS with the credentials that hostguard logs in with."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Name, Section

ClientTls = Literal["offer", "require", "off"]
ServerTls = Literal["verify-full", "verify-ca", "require", "prefer", "off"]
VERIFIED: tuple[ServerTls, ...] = ("verify-full", "verify-ca")
"""What makes sure that nobody listens in the middle."""
HostName = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?|[0-9A-Fa-f:.]+)?\Z",
        description="a host name or an IP address",
    ),
]
_Path = Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")]


class Tls(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[tls]``: this host's own certificate authority."""

    ca_dir: _Path = ""
    """Directory of the authority's keys, root's alone. Default ``ca`` in ``daemon.state_dir``."""
    ca_days: Annotated[int, msgspec.Meta(ge=2, le=3650)] = 825
    """Days for which an authority's certificate is valid. Default 825."""
    leaf_hours: Annotated[int, msgspec.Meta(ge=1, le=720)] = 24
    """Hours for which a resource's certificate is valid; another is made after two thirds of them. Default 24."""
    overlap_hours: Annotated[int, msgspec.Meta(ge=0, le=8760)] = 24
    """Hours in which a new authority is in the bundles, but does not sign yet. Default 24."""


class Login(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[credentials.NAME.roles.ROLE]``, ``[credentials.NAME.agents.AGENT]``: what is different for them."""

    user: str = ""
    """The server's user. Default the credential's."""
    secret: str = ""
    """Where its password is. Default the credential's."""


class Credential(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[credentials.NAME]``: what a server wants to hear from hostguard."""

    user: Annotated[str, msgspec.Meta(min_length=1, max_length=63, description="a text of 1 to 63 characters")]
    """The server's user. Required."""
    secret: str = ""
    """Where the password is: ``file:``, ``env:``, ``command:``, ``vault:``, ``aws:``. Default none."""
    certificate: _Path = ""
    """PEM file of a client certificate, with those between it and its root. Default none."""
    key: str = ""
    """Where its private key is, as `secret`. Default none."""
    methods: Annotated[tuple[Literal["scram-sha-256", "md5", "cleartext"], ...], msgspec.Meta(min_length=1)] = ("scram-sha-256",)
    """How the server may ask for the password; ``cleartext`` only over verified TLS. Default scram-sha-256."""
    refresh_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 300
    """Seconds after which the secret is read again; at once when the server refuses it. Default 300."""
    roles: dict[Name, Login] = {}
    """What is different for agents with a role; the first in the file that the agent has. Default nothing."""
    agents: dict[Name, Login] = {}
    """What is different for an agent, whatever its roles. Default nothing."""


class Vault(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[vault]``: the HashiCorp Vault or OpenBao of ``vault:`` secrets."""

    address: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """Its URL; plain http only on the loopback. Required for ``vault:`` secrets."""
    token_file: _Path = ""
    """File with a token. Default none."""
    role_id: str = ""
    """Role of an AppRole login. Default none."""
    secret_id_file: _Path = ""
    """File with the secret of that role. Default none."""
    approle_mount: Annotated[str, msgspec.Meta(pattern=r"^[\w.-]+(/[\w.-]+)*\Z", description="a mount's path")] = "approle"
    """Where AppRole is mounted. Default ``approle``."""
    namespace: str = ""
    """Its namespace. Default none."""
    ca: _Path = ""
    """PEM file of the authorities that may vouch for it. Default the system's."""


class Aws(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[aws]``: the AWS Secrets Manager of ``aws:`` secrets."""

    region: str = ""
    """Region of the secrets. Default what boto3 finds."""
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """URL of another Secrets Manager. Default Amazon's."""
    profile: str = ""
    """Profile of root's AWS configuration. Default boto3's."""
