"""How the rows of a COPY stand in its data, which says neither what its fields are nor where they come from."""

from __future__ import annotations

import msgspec


class CopyShape(msgspec.Struct, frozen=True):
    """The form of a COPY's data: its options, as far as they decide about bytes, and its columns.

    Single bytes are those of the client's encoding, in which every byte below 0x80 is ASCII.
    """

    form: str
    """``text``, ``csv`` or ``binary``."""
    names: tuple[str, ...]
    """The columns in their order."""
    types: tuple[int, ...]
    """Their types' OIDs; a domain's is that of its base type. 0 where that is not known: then the field can't be shaped."""
    delimiter: bytes = b"\t"
    null: bytes = b"\\N"
    header: bool = False
    """Whether a line of names comes first."""
    quote: bytes = b'"'
    escape: bytes = b'"'
    forced: frozenset[int] = frozenset()
    """Positions of the fields that are quoted whenever they are not NULL."""
    unwatched: frozenset[int] = frozenset()
    """Positions of the fields that detectors do not look at."""
