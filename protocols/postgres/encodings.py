"""PostgreSQL's client encodings as Python codecs, as far as text can be read in them without doubt.

Only encodings in which every byte below 0x80 is ASCII wherever it stands are here. In SJIS, BIG5, GBK, GB18030, UHC and JOHAB the
second byte of a character may be a quote or a backslash, where one wrong guess about validity shifts every token behind it: a
statement in one of these can't be read, and what can't be read is not permitted.
"""

from __future__ import annotations

# Names as ParameterStatus reports them (PostgreSQL 18 docs §23.3, "PostgreSQL Character Sets").
CODECS = {
    "UTF8": "utf-8",
    "LATIN1": "iso8859-1",
    "LATIN2": "iso8859-2",
    "LATIN5": "iso8859-9",
    "LATIN9": "iso8859-15",
    "WIN1250": "cp1250",
    "WIN1251": "cp1251",
    "WIN1252": "cp1252",
    "KOI8R": "koi8-r",
    # No conversion takes place: bytes above 0x7f mean whatever the database's encoding says, which we don't know.
    "SQL_ASCII": "ascii",
}


def decode(text: bytes, codec: str | None) -> str | None:
    """The text, or None when it can't be read with certainty."""
    if codec is None:
        return None
    try:
        return text.decode(codec)
    except UnicodeDecodeError:
        return None


def encode(text: str, codec: str | None) -> bytes:
    """Text of ours for the client; characters that its encoding lacks become ``?``. NUL would end the field early."""
    return text.replace("\0", "").encode(codec or "ascii", "replace")
