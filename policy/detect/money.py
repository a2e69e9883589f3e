"""Detectors of payment cards, bank accounts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import iban, luhn
from stdnum.exceptions import ValidationError

from .found import LEFT, RIGHT, Detector, whole

# ISO/IEC 7812 issuers with the lengths that they use: without these every tenth number passes for a card.
_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d{2}|222[1-9]|22[3-9]\d|2[3-6]\d{2}|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners Club
    r"|(?:6011|64[4-9]\d|65\d{2})\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}|(?:2131|1800)\d{11}"  # JCB
    r"|62\d{14}(?:\d{3})?"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{8,15}"  # Maestro
)
_SHORTEST_IBAN = 15
_IBAN = re.compile(rf"{LEFT}[A-Z]{{2}}\d{{2}}(?:[ -]?[A-Z0-9]){{11,30}}", re.IGNORECASE)


def _is_card(text: str) -> bool:
    digits = re.sub("[ -]", "", text)
    return _ISSUERS.fullmatch(digits) is not None and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        end = _iban_end(match[0])
        if end:
            yield match.start(), match.start() + end


def _iban_end(text: str) -> int:
    """Where the account ends in a text that may go on with other words; 0 for none."""
    for end in range(len(text), _SHORTEST_IBAN - 1, -1):
        if text[end - 1] not in " -" and text[end : end + 1] in ("", " ", "-") and _is_iban(text[:end]):
            return end
    return 0


def _is_iban(text: str) -> bool:
    try:
        # What a country checks beyond ISO 13616 would be imported when it is first met.
        iban.validate(text, check_country=False)
    except ValidationError:
        return False
    return True


CARD = Detector("card", (r"\d(?:[ -]?\d){11}",), whole(rf"{LEFT}\d(?:[ -]?\d){{11,18}}{RIGHT}", check=_is_card))
IBAN = Detector("iban", (r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11}",), _ibans)
