"""What somebody says to a request, as the form of its page brings it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...policy.grants import MAX_USES
from .line import Said

MAX_REASON = 1000
TERMS: Mapping[int, str] = {
    900: "15 minutes",
    3600: "1 hour",
    14_400: "4 hours",
    28_800: "8 hours",
    86_400: "1 day",
    604_800: "7 days",
    2_592_000: "30 days",
}
"""For how long more than one use may be granted on the page, seconds; the command line takes any time."""
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_NUMBER = re.compile(r"[0-9]{1,7}\Z", re.ASCII)


def said_in(form: Mapping[str, str], now: float) -> Said:
    """A yes, a no, or a yes for more than this once (``grant``). Raises ValueError with a sentence for what is none of these."""
    answer, digest, reason = form.get("answer"), form.get("digest", ""), form.get("reason", "").strip()
    if answer not in ("approve", "deny", "grant") or not _DIGEST.match(digest) or len(reason) > MAX_REASON:
        raise ValueError(f"An answer is a yes or a no, for what was shown, with at most {MAX_REASON} characters why.")
    if answer != "grant":
        return Said(answer == "approve", digest, reason)
    uses, term = form.get("uses", ""), form.get("for", "")
    if not _NUMBER.match(uses) or not 1 <= int(uses) <= MAX_USES:
        raise ValueError(f"How often is a number from 1 to {MAX_USES}.")
    if not _NUMBER.match(term) or int(term) not in TERMS:
        raise ValueError(f"For how long is one of {', '.join(TERMS.values())}.")
    return Said(True, digest, reason, int(uses), now + int(term))
