"""The sections about people: who they are, where they sign in, the page that they see."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .section import Name, Section

_Path = Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]{1,256}\Z", description="a word of 1 to 256 characters")]


class User(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[users.NAME]``: a human."""

    unix: tuple[str, ...] = ()
    """UNIX user names that are this user on the control socket. Default none."""
    groups: tuple[Name, ...] = ()
    """Groups that policies can name. Default none."""


class Web(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[web]``: the page where people see what waits for them."""

    listen: Annotated[
        str,
        msgspec.Meta(pattern=r"^((\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]+\]):\d{1,5})?\Z", description="an address with its port"),
    ] = ""
    """Where the page is served, ``IPv4:port`` or ``[IPv6]:port``, by TLS only. Default nowhere."""
    public_url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^(https://[a-z0-9.-]+(:\d{1,5})?|https://\[[0-9a-f:.]+\](:\d{1,5})?)?\Z",
            description="https://, a host in lower case, a port if it is not 443; no path",
        ),
    ] = ""
    """How browsers reach it, ``https://hostguard.example.com``; no other name is answered to. Required with `listen`."""
    certificate: _Path = ""
    """PEM file of its certificate, with those between it and its root. Default one of this host's own authority."""
    key: _Path = ""
    """PEM file of the certificate's private key. Required with `certificate`."""
    user: str = ""
    """UNIX user that its process runs as. Default ``hostguard-web`` where the host has it, else ``daemon.worker_user``."""
    session_s: Annotated[int, msgspec.Meta(ge=60, le=86_400)] = 3600
    """Seconds after which who signed in must do so again. Default 3600."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None for none."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


class SignIn(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[sign_in.ISSUER]``: users may sign in at ``[issuers.ISSUER]``, which says who they are."""

    client_id: _Word
    """What hostguard is called there: the client's id, for SAML the entity's. Required."""
    client_secret_file: _Path = ""
    """File with the client's secret. Default none: a public client."""
    sso_url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """``saml``: where browsers are sent to sign in (HTTP-Redirect binding). Required there."""
    scopes: tuple[_Word, ...] = ("openid",)
    """What is asked for; ``openid`` must be among it. Default openid."""
    label: Annotated[str, msgspec.Meta(max_length=64)] = ""
    """What stands on the button. Default the issuer's name."""
