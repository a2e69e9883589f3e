"""What messages between hostguard's processes are made of: their base, how long what is said may be."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

MAX_TEXT = 8192
"""Characters of a sentence, a name, a list's item. `cut` sees to it at the sender's."""
MAX_ITEMS = 4096

Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
Texts = Annotated[tuple[Text, ...], msgspec.Meta(max_length=MAX_ITEMS)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Bytes = Annotated[bytes, msgspec.Meta(max_length=1024)]


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag=True):
    """One thing said."""


Said = TypeVar("Said")


def decoded(decoder: msgspec.msgpack.Decoder[Said], data: bytes) -> Said:
    """What was said. Raises msgspec.DecodeError for whatever is no message, how deep it may be: it is hostile, or broken."""
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from None


def cut(text: str) -> str:
    """A text as it may stand in a message: not too long, and UTF-8 whatever an agent had a hand in it."""
    return text[:MAX_TEXT].encode("utf-8", "backslashreplace").decode()[:MAX_TEXT]


def cut_all(texts: tuple[str, ...]) -> tuple[str, ...]:
    """`cut` for each of them."""
    return tuple(cut(text) for text in texts[:MAX_ITEMS])
