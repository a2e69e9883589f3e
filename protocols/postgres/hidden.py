"""What a statement's text may change that the protocol's messages do not show.

Two kinds of state are shared between SQL and the protocol: prepared statements and portals live in one name space with what
PREPARE, DEALLOCATE and DECLARE make and drop, and ``client_encoding`` and ``standard_conforming_strings`` decide how the next
text is read. A keyword can't be escaped or split, so a text in which the word does not stand can't do it, save through dynamic
SQL (DO, a function): DO is a keyword too, and functions are policy's to judge. The answer errs on the side of "may".
"""

from __future__ import annotations

import re

import msgspec

# ``DO NOTHING`` and ``DO UPDATE`` belong to ON CONFLICT (and rules), never to a DO block.
_DO = r"\bdo\b(?!\s+(?:nothing|update)\b)"
_FACTS = re.compile(
    rf"client_encoding|standard_conforming_strings|set_config|pg_settings|\breset\b|\bdiscard\b|\bset\b.*\bnames\b|u&\"|{_DO}",
    re.IGNORECASE | re.DOTALL,
)
_STATEMENTS = re.compile(rf"\bprepare\b|\bdeallocate\b|\bdiscard\b|{_DO}", re.IGNORECASE)
_PORTALS = re.compile(rf"\bdeclare\b|\bdiscard\b|{_DO}", re.IGNORECASE)
# Where these stand, any name may be meant, or one that can't be read off the text.
_ANY_NAME = re.compile(rf"\ball\b|\bdiscard\b|u&\"|{_DO}", re.IGNORECASE)
# What nearly every text holds none of, looked for before any of the above: looking for words costs a twentieth of a pattern.
_SUSPECT = (
    "client_encoding", "standard_conf", "set_config", "pg_settings", "reset", "discard", "names", 'u&"', "prepare", "deallocate",
    "declare",
)  # fmt: skip
_DO_BLOCK = re.compile(_DO, re.IGNORECASE)
_PLAIN = re.compile(r"[\w$]+")
# An identifier is cut to this many bytes, so more may follow in the text.
_TRUNCATED_BYTES = 63


class Hidden(msgspec.Struct, frozen=True):
    """What running a text may do beside its reply."""

    facts: bool = False
    """It may change how later texts are read."""
    statements: bool = False
    """It may make or drop prepared statements."""
    portals: bool = False
    """It may make portals."""
    any_name: bool = False
    """Not only those whose names stand in the text."""


NOTHING = Hidden()
EVERYTHING = Hidden(facts=True, statements=True, portals=True, any_name=True)


def of(text: str | None) -> Hidden:
    """What running `text` may do; of one that can't be read: everything. O(len(text))."""
    if text is None:
        return EVERYTHING
    if not _is_suspect(text):
        return NOTHING
    return Hidden(
        facts=bool(_FACTS.search(text)),
        statements=bool(_STATEMENTS.search(text)),
        portals=bool(_PORTALS.search(text)),
        any_name=bool(_ANY_NAME.search(text)),
    )


def _is_suspect(text: str) -> bool:
    lowered = text.lower()
    for word in _SUSPECT:
        if word in lowered:
            return True
    return "do" in lowered and _DO_BLOCK.search(text) is not None


def names_it(text: str, name: bytes) -> bool:
    """Does the identifier `name` stand in `text`, in any case? True as well where quoting or truncation could hide it."""
    word = name.decode("utf-8", "replace")
    if '"' in word or "\ufffd" in word:
        return True
    if len(name) >= _TRUNCATED_BYTES or not _PLAIN.fullmatch(word):
        return word.lower() in text.lower()
    # As a whole word: drivers number their names, and dropping s_10 must not forget s_1.
    return re.search(rf"(?<![\w$]){re.escape(word)}(?![\w$])", text, re.IGNORECASE) is not None
