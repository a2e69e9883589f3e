"""What of a reply is shown: masks by column, in plain data that needs no policy object for each row."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from .copies import CopyShape
from .detector import Detector


class Mask(msgspec.Struct, frozen=True):
    """How one value is hidden. What can't be shaped is redacted: a mask never throws."""

    kind: str
    """``null``, ``redact``, ``partial``, ``hash``, ``constant``, ``date_year`` or ``format``."""
    tag: str = ""
    """The tag that asked for the mask, for the record."""
    keep: int = 0
    """``partial``: how many trailing characters stay (an e-mail's domain stays whole as well)."""
    text: str = ""
    """``redact`` and ``constant``: the text for character types; other types get a typed neutral value or NULL."""
    key: bytes = b""
    """``hash`` and ``format``: the deployment's key, at most 64 bytes."""
    leaves: tuple[tuple[str, ...], ...] = ()
    """Of a JSON column only what is below these paths is hidden (keys from the top; ``*`` is any key, any place in an array);
    none: the whole document."""


class ReplyPlan(msgspec.Struct, frozen=True):
    """What to do with the reply's columns: a disclosure plan that needs no policy object per row."""

    masks: Mapping[tuple[int, int], Mask] = {}
    """(table OID, attribute number) as the server names a column's origin, to the mask for it."""
    clean_tables: Collection[int] = frozenset()
    """Table OIDs known to hold no column that this plan hides."""
    clean_columns: Collection[tuple[int, int]] = frozenset()
    """(table OID, attribute number) of the columns that may be seen in tables that have hidden ones beside them."""
    computed: Mask | None = None
    """For columns without an origin, whole rows, and whatever is in none of the three above."""
    clean_positions: Collection[int] = frozenset()
    """Positions (from 0) proven to depend on nothing sensitive; relaxes `computed` for origin-less columns only."""
    scrub_errors: bool = False
    """Errors and notices may carry values: keep the SQLSTATE, replace the texts."""
    columns: int = 0
    """How many columns the reply must have for `clean_positions` to hold: else they were counted by an old catalog. 0: any."""
    detector: Detector | None = None
    """Looks for values in the columns of text and JSON that pass."""
    detected: Mapping[str, Mask] = {}
    """Kind of value that it finds, to the mask for it."""
    undetected: Collection[tuple[int, int]] = frozenset()
    """(table OID, attribute number) of the columns that it does not look at."""
    copy: CopyShape | None = None
    """The form of the data, where the reply is that of a COPY whose fields can be told apart."""
    copy_masks: tuple[Mask | None, ...] = ()
    """With `copy`: the mask for each field, None to let it pass."""
    fresh: Collection[int] = frozenset()
    """Positions of columns, of so many `columns`, of a relation that was just made, whose number is in none of these."""
