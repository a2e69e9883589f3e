"""What looks like data carried in names rather than names, by agent.

Theory of operation. Whoever may ask for names below a domain of his own can send through them: he puts data into the labels, and
his name server answers with data in the records. No single question proves it, so each gets flags, and policy decides what they
mean (``hostguard: no tunnels through names`` forbids them all):

- ``long_name``: a name longer than people or schemes of naming make them. Tunnels fill the 253 characters, since each question
  costs a round trip.
- ``coded_name``: more characters in pieces of random looks than a hash or two. See `coded_characters`.
- ``many_names``: many different names below one registered domain in a minute, or a few of random looks: a tunnel never asks
  twice, since the answer would come from a cache. Names that were asked for within the minute before stay ordinary.
- ``many_texts``: many questions for records that carry free data. One for a token of ownership, a key or a policy is ordinary.
- ``rare_type``: a type of records that programs do not ask for.

What is left to a tunnel that knows these numbers is 120 names a minute of 150 characters that look like words: less than 200
bytes a second, all of it on record. Only a policy that permits names rather than domains closes that.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter, OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from .sections import Dns

WINDOW_S = 60.0
MAX_DOMAINS = 512
"""Registered domains watched for one agent; the one not asked about for longest is forgotten."""
MAX_AGENTS = 4096
FREE_TYPES = frozenset(["TXT", "NULL", "ANY", "SPF", "CAA", "NAPTR", "KEY", "CERT", "SSHFP", "TLSA", "OPENPGPKEY"])
"""Types of records with room for data of the answerer's choice."""
CODED_PIECE = 16
"""Characters from which on a piece of a label can be told from a word; a shorter one may be a serial number."""
_SPLIT = re.compile(r"[-_]+")
_ESCAPED = re.compile(r"\\(\d{3}|.)")
_SECOND_LEVEL = frozenset(["ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"])


class Watch:
    """What each agent has asked for lately."""

    def __init__(self, settings: Dns) -> None:
        self._settings = settings
        self._agents: OrderedDict[str, _Agent] = OrderedDict()
        self._numbers = itertools.count()

    def flags(self, agent: str, labels: Sequence[str], kind: str, now: float) -> frozenset[str]:
        """The flags of one question, which counts from here on. `labels`: from the leaf; `now`: monotonic seconds."""
        settings, found = self._settings, set()
        coded = coded_characters(labels)
        if settings.max_name and len(".".join(labels)) > settings.max_name:
            found.add("long_name")
        if settings.max_coded and coded > settings.max_coded:
            found.add("coded_name")
        if kind not in settings.types:
            found.add("rare_type")
        state = self._state(agent)
        if (
            kind in FREE_TYPES
            and settings.texts_per_minute
            and not state.texts.take(str(next(self._numbers)), now, settings.texts_per_minute)
        ):
            found.add("many_texts")
        domain, name = registered_domain(labels), ".".join(labels)
        seen = state.domain(domain)
        if settings.names_per_minute and not seen.names.take(name, now, settings.names_per_minute):
            found.add("many_names")
        if coded and settings.coded_per_minute and not seen.coded.take(name, now, settings.coded_per_minute):
            found.add("many_names")
        return frozenset(found)

    def _state(self, agent: str) -> _Agent:
        state = self._agents.get(agent)
        if state is None:
            if len(self._agents) >= MAX_AGENTS:
                self._agents.popitem(last=False)
            state = self._agents[agent] = _Agent()
        self._agents.move_to_end(agent)
        return state


class _Window:
    """Different things of the last minute, as many as may be; memory is bounded by that number."""

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: OrderedDict[str, float] = OrderedDict()

    def take(self, thing: str, now: float, most: int) -> bool:
        """Whether the thing is one of at most `most` in this minute. What is too much does not prolong it."""
        while self._last and next(iter(self._last.values())) <= now - WINDOW_S:
            self._last.popitem(last=False)
        if thing not in self._last and len(self._last) >= most:
            return False
        self._last[thing] = now
        self._last.move_to_end(thing)
        return True


@dataclass(slots=True)
class _Domain:
    names: _Window = field(default_factory=_Window)
    coded: _Window = field(default_factory=_Window)


@dataclass(slots=True)
class _Agent:
    texts: _Window = field(default_factory=_Window)
    domains: OrderedDict[str, _Domain] = field(default_factory=OrderedDict)

    def domain(self, name: str) -> _Domain:
        found = self.domains.get(name)
        if found is None:
            # Whoever has more domains than this has names of his own in each; forgetting all but these costs him as much.
            if len(self.domains) >= MAX_DOMAINS:
                self.domains.popitem(last=False)
            found = self.domains[name] = _Domain()
        self.domains.move_to_end(name)
        return found


def registered_domain(labels: Sequence[str]) -> str:
    """The domain that somebody registered, as far as a name tells: two labels, three below ``co.uk`` and its like.

    No public suffix list: it would go stale in a release. Names below a shared suffix (``s3.amazonaws.com``) share its count.
    """
    country = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL
    return ".".join(labels[-3:] if country else labels[-2:])


def coded_characters(labels: Sequence[str]) -> int:
    """How many characters of the labels look like coded data: pieces between hyphens, long and unlike words."""
    return sum(len(piece) for label in labels for piece in _pieces(label) if _looks_coded(piece))


def _pieces(label: str) -> list[str]:
    # A byte that no host name has (RFC 952) carries data if anything does: a piece of its own, whatever its length.
    plain, escapes = _ESCAPED.subn("-", label)
    return [*_SPLIT.split(plain), *(["\\" * CODED_PIECE * 2] if escapes > 2 else [])]


def _looks_coded(piece: str) -> bool:
    if len(piece) < CODED_PIECE:
        return False
    if "\\" in piece:
        return True
    digits = sum(char.isdigit() for char in piece)
    if digits == len(piece):
        return len(piece) > 20  # longer than a 64-bit number
    return digits >= 3 or _entropy(piece) > _WORDLIKE or not _pronounceable(piece)


_WORDLIKE = 3.9
"""Bits a character. Words written together reach 3.8 at 30 characters; base32 of random bytes is above 4.0 from there on."""


def _entropy(text: str) -> float:
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _pronounceable(text: str) -> bool:
    """Whether there are about as many vowels as words have: two of five letters; base32 has one of five."""
    return sum(char in "aeiouy" for char in text) / len(text) > 0.25
