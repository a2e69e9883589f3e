"""From verified claims to roles, or to a user, by explicit rules; what no rule maps is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .paths import glob
from .verified import MAX_TEXT, Verified

How = Literal["equals", "contains", "glob"]


@dataclass(frozen=True, slots=True)
class ClaimRule:
    """A claim that says something gives something."""

    claim: str
    """A claim's name, or a JSON pointer (RFC 6901) into the claims, which begins with ``/``: ``/kubernetes.io/namespace``."""
    how: How
    value: str
    gives: str

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claims say so. A claim of another shape says nothing."""
        found = look_up(claims, self.claim)
        if self.how == "equals":
            # What SAML has are lists, whatever is in them.
            only = found[0] if isinstance(found, list) and len(found) == 1 else found
            return _text(only) == self.value
        if self.how == "contains":
            # OAuth's scope is a text of words (RFC 6749 3.3); what other issuers have many of is a list.
            items = found.split(" ") if isinstance(found, str) else found
            return isinstance(items, list) and self.value in (_text(item) for item in items)
        items = found if isinstance(found, list) else [found]
        pattern = glob(self.value)
        texts = (_text(item) for item in items)
        # Patterns with several stars take long over long texts.
        return any(len(text) <= MAX_TEXT and pattern.fullmatch(text) is not None for text in texts if text is not None)


def look_up(claims: Mapping[str, Any], name: str) -> Any:
    """What the claims have under a name or a JSON pointer; None for nothing."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for part in name[1:].split("/"):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part.replace("~1", "/").replace("~0", "~"))
    return found


def given(rules: Iterable[ClaimRule], verified: Verified) -> tuple[str, ...]:
    """What the rules that hold give, sorted, each once. Subject and issuer are the claims ``sub``, ``iss``."""
    claims = {**verified.claims, "sub": verified.subject, "iss": verified.issuer}
    return tuple(sorted({rule.gives for rule in rules if rule.holds(claims)}))


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None
