"""What the sections of the configuration file are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

Name = Annotated[
    str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@-]{0,62}\Z", description="a name of letters, digits, _ . @ -")
]
"""What workloads, agents, users, groups, roles, resources, environments and tags may be called: no "/" (it separates a path)."""

AbsolutePath = Annotated[str, msgspec.Meta(pattern=r"^/", description="an absolute path")]


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file in which every key is known."""
