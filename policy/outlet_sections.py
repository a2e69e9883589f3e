"""The sections of where the log, its checkpoints, its figures go beside the state folder."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from .section import Section


class Metrics(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[metrics]``: figures for Prometheus."""

    listen: Annotated[
        str,
        msgspec.Meta(pattern=r"^((127\.\d+\.\d+\.\d+|\[::1\]):\d{1,5})?\Z", description="a loopback address with its port"),
    ] = ""
    """A loopback address that answers ``GET /metrics``; the control socket always does. Default none."""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None for none."""
        host, _, port = self.listen.rpartition(":")
        return (host.strip("[]"), int(port)) if host else None


class Ship(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[ship]``: the S3 bucket that ``hostguard ship`` copies the log to."""

    bucket: str = ""
    """Name of the bucket. Default none."""
    prefix: str = "{host}"
    """Prefix of all keys; ``{host}`` is this host's name. Default ``{host}``."""
    endpoint: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """URL of an S3 that is not Amazon's. Default Amazon's."""
    region: str = ""
    """Region of the bucket. Default what boto3 finds."""
    retain_days: Annotated[int, msgspec.Meta(ge=0, le=36_500)] = 0
    """Days for which Object Lock keeps each object; 0 sets no lock. Default 0."""
    lock: Literal["compliance", "governance"] = "compliance"
    """``compliance``: nobody can shorten it; ``governance``: who has the permission can. Default ``compliance``."""
    tiles: bool = False
    """Whether the tree's tiles go along, so that the bucket is a C2SP tlog-tiles log. Default false."""
    every_s: Annotated[int, msgspec.Meta(ge=1, le=86_400)] = 60
    """Seconds between passes. Default 60."""


class Forward(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[forward.NAME]``: a SIEM that ``hostguard forward`` sends entries to."""

    to: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^((udp|tcp)://\S+:\d{1,5}|unix:///\S+|https?://\S+)\Z",
            description="udp://HOST:PORT, tcp://HOST:PORT, unix:///PATH or http(s)://…/v1/logs",
        ),
    ]
    """``udp://``, ``tcp://``, ``unix://`` for syslog; ``http://``, ``https://`` for OTLP. Required."""
    kinds: tuple[str, ...] = ()
    """Kinds of entries to send. Default all."""
    max_bytes: Annotated[int, msgspec.Meta(ge=480, le=1_048_576)] = 8192
    """Bytes of one message; longer texts in it are cut. Default 8192."""


class Witness(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``[witnesses.NAME]``: who else keeps the log's checkpoints; exactly one of `url`, `file`, `webhook`."""

    url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """Submission prefix of a witness that speaks C2SP tlog-witness. Default none."""
    key: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^([^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44})?\Z", description="a verifier key: <name>+<key id>+<base64>"
        ),
    ] = ""
    """The verifier key of that witness. Required with `url`."""
    file: Annotated[str, msgspec.Meta(pattern=r"^(/.+)?\Z", description="an absolute path")] = ""
    """A file, on another mount, that is replaced with the newest checkpoint. Default none."""
    webhook: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?\Z", description="an http or https URL")] = ""
    """Where the newest checkpoint is POSTed as text. Default none."""
