"""The section of the configuration file that names a witness of the log."""

from __future__ import annotations

from typing import Annotated

import msgspec

from .section import Section


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
