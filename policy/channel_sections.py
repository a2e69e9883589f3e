"""The sections of channels: who is told of requests for approval."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Section

Event = Literal["filed", "collected", "approved", "denied", "expired", "withdrawn", "escalated"]
_Path = Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")]


class Channel(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[channels.NAME]``: who is told of requests for approval; exactly one of `url`, `url_file`, `command`."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """Where a notice is POSTed. Default none."""
    url_file: _Path = ""
    """A file with that URL in it, since some are secret. Default none."""
    format: Literal["json", "slack", "teams"] = "json"
    """The shape of what is POSTed. Default ``json``."""
    secret_file: _Path = ""
    """A file with the secret that signs it, ``whsec_`` with base64 (Standard Webhooks). Default none, then it is not signed."""
    command: tuple[str, ...] = ()
    """A program, by its absolute path, with its arguments: it gets the notice as JSON on its stdin. Default none."""
    run_as: str = ""
    """UNIX user that the program runs as. Default as of ``daemon.worker_user``."""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 10.0
    """Seconds that one attempt may take. Default 10."""
    events: tuple[Event, ...] = ("filed", "escalated", "approved", "denied", "expired", "withdrawn")
    """What is told. Default all but ``collected``."""
    escalation: Annotated[int, msgspec.Meta(ge=0, le=100)] = 0
    """Only of requests that have escalated so often (``approvals.escalate_s``). Default 0."""
    statement: bool = False
    """Whether the statement is told as well; values of parameters never are. Default false."""
    link: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """Where people look at a request; ``{id}`` in it is the request's. Default none."""
