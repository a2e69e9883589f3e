"""Sentences about agents, for those who may look at these agents."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

Sees = Callable[[str | None], bool]
"""Whether somebody may look at an agent; for None: at every one that there is."""
ANY = None
"""Of whom a sentence may tell that quotes what nobody has looked through, such as an exception."""


class About(str):
    """A sentence that tells of agents. It is a text like any other where it isn't asked about."""

    agents: tuple[str, ...] | None
    """Whom it tells of; `ANY`."""
    otherwise: str
    """What those read who may not look at all of them; empty for nothing."""

    def __new__(cls, text: str, agents: Iterable[str] | None, otherwise: str = "") -> About:
        """`agents`: an empty name, as of what concerns all, asks for nothing."""
        made = super().__new__(cls, text)
        made.agents = ANY if agents is None else tuple(agent for agent in agents if agent)
        made.otherwise = otherwise
        return made


def within_sight(text: str, sees: Sees) -> str | None:
    """The sentence as somebody may read it; None when they may not at all."""
    if not isinstance(text, About):
        return text
    seen = sees(ANY) if text.agents is ANY else all(map(sees, text.agents))
    return text if seen else text.otherwise or None


def for_anybody(sentences: Collection[str]) -> list[str]:
    """Those that can be read by whoever may look at no agent; the others are counted."""
    read = [said for sentence in sentences if (said := within_sight(sentence, lambda _: False)) is not None]
    more = len(sentences) - len(read)
    return [*read, f"{more} more in hostguard status"] if more else read
